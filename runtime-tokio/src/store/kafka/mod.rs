//! Topics that are kept in Kafka, which other brokers may share (docs/ENGINES.md).
//!
//! ```text
//! core ─▶ Request ─▶ worker: a thread with a task         ─▶ producer.rs: records   ─▶ Kafka
//!      ◀─ Answer  ◀─ topic.rs, group.rs: what is to be done ◀─ consumer.rs: one of a group ◀─
//! ```
//!
//! `window` has what came for a group: its sequences stand for offsets (`offsets.rs`) until they are settled. librdkafka has
//! threads of its own, and tells `happened.rs`; what waits for Kafka waits on a thread of the runtime's.

mod admin;
mod config;
mod consumer;
mod context;
mod group;
mod happened;
mod offsets;
mod producer;
mod record;
mod topic;
mod window;
mod worker;

pub(crate) use config::{MAX_RECORD, Options, Properties};
pub(crate) use record::Holds;

use super::engine::{Engine, Listener, SettingsOf, Store};
use super::shared::told_by;
use super::status::StoreStatus;
use admin::{Absent, look};
use config::BadFile;
use message_queue_core::names::TopicName;
use message_queue_core::{StoredTopic, TopicId};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;
use tracing::warn;
use worker::Worker;

/// How many calls wait for Kafka at a time.
const MOST_WAITING: usize = 16;

/// How long the end waits for them.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Kafka cannot be used as it is set, so other settings are needed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct RefusedByKafka(#[from] Refusal);

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    File(#[from] BadFile),
    #[error("KAFKA_CONFIG_FILE: librdkafka does not take the properties together: {0}")]
    Properties(String),
    #[error(
        "KAFKA_BROKERS: Kafka refuses the connection: {0}; see to the security properties in KAFKA_CONFIG_FILE"
    )]
    Connection(String),
}

/// The engine, before it is started.
pub(super) struct Kafka {
    options: Options,
    properties: Properties,
    status: Arc<StoreStatus>,
}

impl Kafka {
    /// Looks whether Kafka is there. If it is not, that is said, and the engine goes on trying when it is started.
    ///
    /// # Errors
    /// If its properties cannot be used, or it is there and refuses the connection.
    pub(super) async fn open(
        options: Options,
        status: Arc<StoreStatus>,
    ) -> Result<Self, RefusedByKafka> {
        let properties = Properties::read(&options).map_err(Refusal::from)?;
        match look(properties.clone()).await {
            Ok(()) => {}
            Err(Absent::Properties(error)) => return Err(Refusal::Properties(error).into()),
            Err(Absent::Refused(error)) => return Err(Refusal::Connection(error).into()),
            Err(Absent::Away(error)) => {
                warn!(error, "Kafka is out of reach; the broker goes on trying");
            }
        }
        Ok(Self {
            options,
            properties,
            status,
        })
    }
}

impl Engine for Kafka {
    /// It keeps no list of topics: they are there when somebody uses them.
    fn found(&self) -> Vec<StoredTopic> {
        Vec::new()
    }

    fn start(
        self: Box<Self>,
        _number: &dyn Fn(&TopicName) -> Option<TopicId>,
        _settings: SettingsOf,
        listener: Box<dyn Listener>,
    ) -> io::Result<Store> {
        let (tell, told) = unbounded_channel();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(MOST_WAITING)
            .thread_name("mq-kafka-wait")
            .build()?;
        let thread = thread::Builder::new()
            .name("mq-kafka".into())
            .spawn(move || {
                let worker =
                    Worker::new(self.options, self.properties, self.status, listener, told);
                runtime.block_on(worker.run());
                runtime.shutdown_timeout(END_TIMEOUT);
            })?;
        Ok(told_by(tell, thread))
    }
}
