//! The engine `disk`: a log for each topic.

use super::engine::{Engine, Listener, SettingsOf, Store};
use super::opening::OpenLog;
use super::status::StoreStatus;
use super::task::{self, Latency};
use super::thread;
use super::volume::Volume;
use super::worker::Beginning;
use message_queue_core::names::TopicName;
use message_queue_core::{StoredTopic, TopicId};
use std::io;
use std::sync::Arc;

/// The logs of all topics, open.
pub(super) struct Logs {
    pub(super) volume: Box<dyn Volume>,
    pub(super) logs: Vec<(OpenLog, StoredTopic)>,
    pub(super) max_producers: usize,
    pub(super) status: Arc<StoreStatus>,
    /// How long each operation of a disk takes in a simulation, which has no threads; none: there are threads.
    pub(super) latency: Option<Latency>,
}

impl Engine for Logs {
    fn found(&self) -> Vec<StoredTopic> {
        self.logs.iter().map(|(_, found)| found.clone()).collect()
    }

    fn start(
        self: Box<Self>,
        number: &dyn Fn(&TopicName) -> Option<TopicId>,
        settings: SettingsOf,
        listener: Box<dyn Listener>,
    ) -> io::Result<Store> {
        let logs = self.logs.into_iter().filter_map(|(log, found)| {
            let id = number(&log.name)?;
            Some((id, log, found))
        });
        let beginning = Beginning {
            volume: self.volume,
            logs: logs.collect(),
            settings,
            max_producers: self.max_producers,
            status: self.status,
        };
        match self.latency {
            None => thread::start(beginning, listener),
            Some(latency) => Ok(task::start(beginning, latency, listener)),
        }
    }
}
