//! Topics in an engine that brokers share, against a bare client of the same library that does the same job.
//!
//! In the order of a run: `place.rs` (which engine, and names in it that are the run's own), `broker.rs` (what a broker does,
//! by a producer and a consumer of its own), `kafka.rs` and `rabbitmq.rs` (what the bare client does), `figures.rs`.

mod broker;
mod figures;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg_attr(
    not(any(feature = "kafka", feature = "rabbitmq")),
    expect(
        dead_code,
        reason = "it is of use to the engines, which this build has not"
    )
)]
mod meter;
#[cfg_attr(
    not(any(feature = "kafka", feature = "rabbitmq")),
    expect(
        dead_code,
        reason = "it is of use to the engines, which this build has not"
    )
)]
mod place;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

pub use meter::Did;

use super::Tell;
use crate::bench::error::BenchError;
use crate::bench::guarantees::Guarantees;
use crate::bench::plan::Plan;
use crate::settings::SharedEngine;
use place::{Names, Place};

/// What is held against a bare client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// A producer that has so many messages on their way until they are confirmed.
    Confirmed,
    /// A consumer of a group that was there before: it takes all that was confirmed, and acknowledges it.
    Drain,
}

/// A broker, and what distinguishes it from others of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    name: &'static str,
    /// Settings of its own.
    settings: &'static [(&'static str, &'static str)],
}

/// What is held against each other. In a round each is run once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Broker(Variant),
    Bare,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Broker(variant) => variant.name,
            Self::Bare => "bare",
        }
    }
}

/// The brokers of a round.
const fn variants(engine: SharedEngine) -> &'static [Variant] {
    match engine {
        SharedEngine::Kafka => &[
            Variant {
                name: "message",
                settings: &[("KAFKA_RECORD", "message")],
            },
            Variant {
                name: "batch",
                settings: &[("KAFKA_RECORD", "batch")],
            },
        ],
        SharedEngine::RabbitMq => &[Variant {
            name: "broker",
            settings: &[],
        }],
    }
}

/// Brokers beside a bare client, in rounds.
pub struct BesideAClient {
    plan: Plan,
    engine: SharedEngine,
    job: Job,
    place: Box<dyn Place>,
    sides: Vec<Side>,
    /// What each of `sides` did, round by round.
    rounds: Vec<Vec<Did>>,
}

impl std::fmt::Debug for BesideAClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BesideAClient")
            .field("engine", &self.engine)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

impl BesideAClient {
    /// No round so far of this plan, in the engine that the settings of the environment name.
    ///
    /// # Errors
    /// If they name none, or none that can be used.
    pub fn new(plan: &Plan, engine: SharedEngine, job: Job) -> Result<Self, BenchError> {
        let plan = Plan {
            producers: 1,
            consumers: 1,
            guarantees: Guarantees {
                confirm: true,
                ack: true,
                ..plan.guarantees
            },
            ..plan.clone()
        };
        plan.check()?;
        let brokers = variants(engine).iter().copied().map(Side::Broker);
        Ok(Self {
            plan,
            engine,
            job,
            place: place::open(engine)?,
            sides: brokers.chain([Side::Bare]).collect(),
            rounds: Vec::new(),
        })
    }

    /// Runs each once, in the other order than the time before.
    ///
    /// # Errors
    /// If one of them comes to nothing, or what was made cannot be deleted.
    pub fn run(&mut self, tell: Tell<'_>) -> Result<(), BenchError> {
        let mut order: Vec<_> = (0..self.sides.len()).collect();
        if self.rounds.len() % 2 == 1 {
            order.reverse();
        }
        let mut done = Vec::new();
        for side in order {
            done.push((side, self.one(self.sides[side], tell)?));
        }
        done.sort_by_key(|(side, _)| *side);
        self.rounds
            .push(done.into_iter().map(|(_, did)| did).collect());
        Ok(())
    }

    fn one(&self, side: Side, tell: Tell<'_>) -> Result<Did, BenchError> {
        let names = Names::new(self.place.prefix());
        let did = match side {
            Side::Broker(variant) => {
                let settings = self.place.settings(&names);
                broker::run(&self.plan, self.job, variant, settings, tell)
            }
            Side::Bare => self.bare(&names, tell),
        };
        // It is deleted whatever came of it, and what came of it is said first.
        let deleted = self.place.delete(&names);
        let did = did?;
        deleted?;
        Ok(did)
    }

    fn bare(&self, names: &Names, tell: Tell<'_>) -> Result<Did, BenchError> {
        let plan = &self.plan;
        self.place.make(names)?;
        let published = self.place.publish(names, plan, &mut |progress| {
            tell("bare", plan, progress);
        })?;
        match self.job {
            Job::Confirmed => Ok(published),
            Job::Drain => {
                let plan = draining(plan, published.messages);
                // The message before those that were counted is there, too.
                let all = published.messages + 1;
                self.place.drain(names, &plan, all, &mut |progress| {
                    tell("bare, drain", &plan, progress);
                })
            }
        }
    }
}

/// The plan of taking so many messages.
fn draining(plan: &Plan, messages: u64) -> Plan {
    Plan {
        volume: crate::bench::plan::Volume::Messages(messages),
        ..plan.clone()
    }
}
