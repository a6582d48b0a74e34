//! Where the logs of all topics are: a data folder, or what stands for one in a simulation.

use super::disk::{Disk, Reserve, StdDisk};
use super::folder::DataDir;
use message_queue_core::names::TopicName;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the logs of all topics are. It is given back when it is dropped: then others may have it.
pub trait Volume: Send + Sync {
    /// The disk under the log of a topic, whose folder is made with the first file in it.
    fn disk(&self, topic: &TopicName) -> Arc<dyn Disk>;

    /// The folder of a topic's log, for people.
    fn folder(&self, topic: &TopicName) -> PathBuf;
}

/// A data folder.
#[derive(Debug)]
pub(crate) struct DataVolume {
    pub(crate) folder: DataDir,
    pub(crate) reserve: Arc<Reserve>,
}

impl Volume for DataVolume {
    fn disk(&self, topic: &TopicName) -> Arc<dyn Disk> {
        let reserve = Arc::clone(&self.reserve);
        Arc::new(StdDisk::new(self.folder.of_topic(topic), reserve))
    }

    fn folder(&self, topic: &TopicName) -> PathBuf {
        self.folder.of_topic(topic)
    }
}
