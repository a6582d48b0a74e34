//! What can be run: each scenario is a simulator with the plans that it is given.

use crate::checker::{Violation, check};
use crate::core_sim;
use crate::full_sim;
use crate::history::History;
use crate::plan::{Micros, Plan};
use std::fmt;
use std::str::FromStr;

/// A simulator and its plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scenario {
    /// The core alone, without sockets or a runtime: the one for volume.
    #[default]
    Core,
    /// The production driver and real TCP behaviour, on a network that loses packets.
    Full,
}

/// How to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the broker checks its own invariants after every input. Default: yes. The checker
    /// has to find every bug without that, from the outside.
    pub check_invariants: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            check_invariants: true,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened.
    pub history: History,
    /// The promises that were broken, in the order of time; none if all is well.
    pub violations: Vec<Violation>,
}

impl Outcome {
    /// How much time was simulated.
    pub fn simulated(&self) -> Micros {
        self.history.records.last().map_or(0, |record| record.at)
    }
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 2] = [Self::Core, Self::Full];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Full => "full",
        }
    }

    /// What it is, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Core => {
                "the core alone, 10 simulated seconds: resets, stalls, partitions, restarts, \
                 slow readers, hostile clients, an operator"
            }
            Self::Full => {
                "the production driver on simulated TCP, 20 simulated seconds: lost and doubled \
                 packets, partitions, crashes, power cuts, short reads and writes"
            }
        }
    }

    /// The plan of a seed.
    pub fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Core => Plan::of_seed(seed),
            Self::Full => Plan::of_seed_with_packets(seed),
        }
    }

    /// Carries out a plan and checks what happened.
    pub fn run(self, plan: &Plan, options: Options) -> Outcome {
        let (history, stopped_by) = match self {
            Self::Core => core_sim::run(plan, options.check_invariants),
            Self::Full => full_sim::run(plan, options.check_invariants),
        };
        let mut violations = check(&history);
        violations.extend(stopped_by);
        Outcome {
            history,
            violations,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No scenario has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scenario is called {name:?}; there are: {known}")]
pub struct UnknownScenario {
    /// The name.
    pub name: String,
    /// The names there are.
    pub known: String,
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownScenario {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}
