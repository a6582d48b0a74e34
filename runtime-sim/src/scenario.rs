//! What can be run: each scenario is a simulator with the plans that it is given.

use crate::checker::{Violation, check};
use crate::core_sim;
use crate::durable;
use crate::full_sim;
use crate::guarantees;
use crate::history;
use crate::plan::{self, Micros, PlanError, PlanFile};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A simulator and its plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// The core alone, without sockets or a runtime: the one for volume.
    #[default]
    Core,
    /// The production driver and real TCP behaviour, on a network that loses packets.
    Full,
    /// The core and its clients of version 2.
    Guarantees,
    /// The production driver and store in version 2, on a network that loses packets and disks whose power is cut.
    Durable,
}

/// What will happen in a run. Each kind of simulator has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// For [`Scenario::Core`] and [`Scenario::Full`].
    Version1(plan::Plan),
    /// For [`Scenario::Guarantees`].
    Guarantees(guarantees::Plan),
    /// For [`Scenario::Durable`].
    Durable(durable::Plan),
}

/// What happened in a run.
#[derive(Clone, Debug)]
pub enum History {
    /// In [`Scenario::Core`] and [`Scenario::Full`].
    Version1(history::History),
    /// In [`Scenario::Guarantees`] and [`Scenario::Durable`].
    Version2(guarantees::History),
}

impl Plan {
    /// The seed that it was expanded from.
    pub const fn seed(&self) -> u64 {
        match self {
            Self::Version1(plan) => plan.seed,
            Self::Guarantees(plan) => plan.seed,
            Self::Durable(plan) => plan.seed,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        match self {
            Self::Version1(plan) => plan.to_json(),
            Self::Guarantees(plan) => plan.to_json(),
            Self::Durable(plan) => plan.to_json(),
        }
    }

    /// How large it is, in words.
    pub fn size(&self) -> String {
        match self {
            Self::Version1(plan) => {
                let (faults, clients) = (plan.faults.len(), plan.clients.len());
                format!(
                    "{faults} faults, {clients} clients, {} us",
                    plan.duration_us
                )
            }
            Self::Guarantees(plan) => {
                format!("{} acts, {} clients", plan.acts.len(), plan.clients.len())
            }
            Self::Durable(plan) => {
                let disk = plan.disk.faults.len();
                let faults = plan.faults.len() + plan.packets.faults.len() + disk;
                let (actors, micros) = (plan.actors.len(), plan.duration_us);
                format!("{faults} faults, {actors} clients, {micros} us")
            }
        }
    }
}

impl History {
    /// A number that is the same for the same history, and in practice only for that.
    pub fn hash(&self) -> u64 {
        match self {
            Self::Version1(history) => history.hash(),
            Self::Version2(history) => history.hash(),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version1(history) => history.fmt(f),
            Self::Version2(history) => history.fmt(f),
        }
    }
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
        match &self.history {
            History::Version1(it) => it.records.last().map_or(0, |record| record.at),
            History::Version2(it) => it.records.last().map_or(0, |record| record.at),
        }
    }
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 4] = [Self::Core, Self::Full, Self::Guarantees, Self::Durable];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Full => "full",
            Self::Guarantees => "guarantees",
            Self::Durable => "durable",
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
            Self::Guarantees => {
                "version 2, the core and its clients, 700 acts: links cut at any byte, half-open \
                 connections, redelivery, dead letters, producers' names, an operator, drains"
            }
            Self::Durable => {
                "version 2, the production driver and store on simulated TCP and disks, 8 simulated \
                 seconds: all of the above faults of a network and of hosts, power cuts, full, slow and \
                 failing disks, torn writes, wrong bits"
            }
        }
    }

    /// The plan of a seed.
    pub fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Core => Plan::Version1(plan::Plan::of_seed(seed)),
            Self::Full => Plan::Version1(plan::Plan::of_seed_with_packets(seed)),
            Self::Guarantees => Plan::Guarantees(guarantees::Plan::of_seed(seed)),
            Self::Durable => Plan::Durable(durable::Plan::of_seed(seed)),
        }
    }

    /// The plan in a file.
    ///
    /// # Errors
    /// If the file cannot be read, holds no plan for this scenario, or a field is out of its bounds.
    pub fn read(self, path: &Path) -> Result<Plan, PlanError> {
        match self {
            Self::Core | Self::Full => plan::Plan::read(path).map(Plan::Version1),
            Self::Guarantees => guarantees::Plan::read(path).map(Plan::Guarantees),
            Self::Durable => durable::Plan::read(path).map(Plan::Durable),
        }
    }

    /// Carries out a plan and checks what happened.
    ///
    /// # Panics
    /// If the plan is for another scenario.
    pub fn run(self, plan: &Plan, options: Options) -> Outcome {
        let checks = options.check_invariants;
        match (self, plan) {
            (Self::Core, Plan::Version1(plan)) => judged_1(core_sim::run(plan, checks)),
            (Self::Full, Plan::Version1(plan)) => judged_1(full_sim::run(plan, checks)),
            (Self::Guarantees, Plan::Guarantees(plan)) => judged_2(guarantees::run(plan, checks)),
            (Self::Durable, Plan::Durable(plan)) => judged_2(durable::run(plan, checks)),
            (Self::Core | Self::Full | Self::Guarantees | Self::Durable, _) => {
                panic!("this is no plan for {self}")
            }
        }
    }
}

fn judged_2((history, stopped_by): (guarantees::History, Option<Violation>)) -> Outcome {
    let mut violations = guarantees::check(&history);
    violations.extend(stopped_by);
    Outcome {
        history: History::Version2(history),
        violations,
    }
}

fn judged_1((history, stopped_by): (history::History, Option<Violation>)) -> Outcome {
    let mut violations = check(&history);
    violations.extend(stopped_by);
    Outcome {
        history: History::Version1(history),
        violations,
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
