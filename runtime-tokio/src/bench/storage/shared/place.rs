//! An engine that runs, and what is the benchmark's own in it.

use super::Did;
#[cfg(feature = "kafka")]
use super::kafka::Kafka;
#[cfg(feature = "rabbitmq")]
use super::rabbitmq::RabbitMq;
use crate::bench::error::BenchError;
use crate::bench::plan::{Plan, PlanError};
use crate::bench::run::Progress;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use crate::settings::Settings;
use crate::settings::SharedEngine;
use std::ffi::OsString;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The topic of the broker, and the group that is to have what is published.
pub(super) const TOPIC: &str = "bench";
pub(super) const GROUP: &str = "bench";

/// What is made in the engine for one side of a round: it begins with this, and nothing else does.
pub(super) struct Names {
    pub(super) prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{prefix}bench-{}-{number}.", process::id());
        Self { prefix }
    }

    /// The topic, as a broker calls it there.
    pub(super) fn topic(&self) -> String {
        format!("{}{TOPIC}", self.prefix)
    }

    /// The group, as a broker calls it there.
    pub(super) fn group(&self) -> String {
        format!("{}{TOPIC}/{GROUP}", self.prefix)
    }
}

/// An engine, and a bare client of it.
pub(super) trait Place {
    /// What the names of the user's brokers begin with there.
    fn prefix(&self) -> &str;

    /// What has a broker keep its topics there, under these names.
    fn settings(&self, names: &Names) -> Vec<(&'static str, OsString)>;

    /// Makes the topic and the group as a broker does.
    fn make(&self, names: &Names) -> Result<(), BenchError>;

    /// Publishes a message that does not count, and then what the plan says, as fast as the library can with as many
    /// unconfirmed.
    fn publish(
        &self,
        names: &Names,
        plan: &Plan,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError>;

    /// Takes so many messages and acknowledges them. The time begins with the first.
    fn drain(
        &self,
        names: &Names,
        plan: &Plan,
        messages: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError>;

    /// Deletes what was made under these names, by whom ever. What is not there needs no deleting.
    fn delete(&self, names: &Names) -> Result<(), BenchError>;
}

/// The engine that the settings of the environment name.
pub(super) fn open(engine: SharedEngine) -> Result<Box<dyn Place>, BenchError> {
    match engine {
        #[cfg(feature = "kafka")]
        SharedEngine::Kafka => {
            let options = settings()?.kafka();
            let options = options.ok_or(PlanError::Nowhere("KAFKA_BROKERS", "kafka"))?;
            Ok(Box::new(Kafka::new(&options)?))
        }
        #[cfg(feature = "rabbitmq")]
        SharedEngine::RabbitMq => {
            let options = settings()?.rabbitmq();
            let options = options.ok_or(PlanError::Nowhere("RABBITMQ_URL", "rabbitmq"))?;
            Ok(Box::new(RabbitMq::new(options)?))
        }
        #[cfg(not(all(feature = "kafka", feature = "rabbitmq")))]
        engine => Err(PlanError::NoEngine(engine.storage().name()).into()),
    }
}

#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
fn settings() -> Result<Settings, PlanError> {
    Settings::load().map_err(|error| PlanError::Settings(error.to_string()))
}
