//! The folder of stored topics, and the topics in it.

use super::LogError;
use crate::settings::FolderEngine;
use crate::store::disk::{Disk, Reserve, StdDisk};
use crate::store::folder::{DataDir, FolderError, Format};
use bytes::Bytes;
use message_queue_core::log::{DiskError, Done, File, Fsync, Operation, Settings};
use message_queue_core::names::TopicName;
use message_queue_core::store::StoreSettings;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many producers an import remembers: as many as a broker does.
const MAX_PRODUCERS: usize = 10_000;

/// The folder, which no broker has meanwhile.
#[derive(Debug)]
pub(super) struct Data(DataDir);

/// A stored topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: TopicName,
    data: PathBuf,
    path: PathBuf,
    disk: StdDisk,
}

/// What keeps the topics of a folder, as it says itself. It is for logs if it says nothing.
pub(super) fn engine_of(folder: &Path) -> FolderEngine {
    match DataDir::format_of(folder) {
        None | Some(Format::Log) => FolderEngine::Disk,
        Some(Format::RocksDb) => FolderEngine::RocksDb,
    }
}

impl Data {
    /// Takes a folder that is there.
    pub(super) fn take(folder: &Path) -> Result<Self, FolderError> {
        DataDir::take_existing(folder).map(Self)
    }

    /// Takes a folder, which is made if it is not there.
    pub(super) fn take_or_make(folder: &Path) -> Result<Self, FolderError> {
        DataDir::take(folder, Format::Log).map(Self)
    }

    /// This topic, or all that are stored, by name.
    pub(super) fn topics(&self, one: Option<&TopicName>) -> Result<Vec<Topic>, LogError> {
        let mut names = self.0.topics()?;
        if let Some(one) = one {
            names.retain(|it| it == one);
            if names.is_empty() {
                return Err(self.no_topic(one));
            }
        }
        let topics = names.into_iter().map(|it| self.topic(it));
        Ok(topics.collect::<Result<_, _>>()?)
    }

    /// This topic, which is stored.
    pub(super) fn stored(&self, name: &TopicName) -> Result<Topic, LogError> {
        if !self.0.topics()?.contains(name) {
            return Err(self.no_topic(name));
        }
        Ok(self.topic(name.clone())?)
    }

    fn no_topic(&self, name: &TopicName) -> LogError {
        LogError::NoTopic {
            folder: self.0.path().to_owned(),
            topic: name.clone(),
        }
    }

    /// This topic; its folder is made if there is none.
    pub(super) fn topic(&self, name: TopicName) -> Result<Topic, FolderError> {
        let path = self.0.topic(&name)?;
        Ok(Topic {
            name,
            data: self.0.path().to_owned(),
            disk: StdDisk::new(path.clone(), Arc::new(Reserve::new(0))),
            path,
        })
    }
}

impl Topic {
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of all topics.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// How it is written to by an import, whose writes are large.
    pub(super) fn settings() -> Settings {
        Settings {
            fsync: Fsync::Always,
            segment_bytes: StoreSettings::default().segment_bytes,
            preallocate: false,
            max_producers: MAX_PRODUCERS,
        }
    }

    /// Its files, and their sizes in bytes.
    pub(super) fn files(&self) -> Result<Vec<(File, u64)>, LogError> {
        match self.disk.carry_out(&Operation::List) {
            Ok(Done::Listed(files)) => Ok(files),
            Ok(Done::Done | Done::Wrote(_) | Done::Read(_)) => Ok(Vec::new()),
            Err(failure) => Err(self.failed(&Operation::List, failure)),
        }
    }

    /// What is read by an operation.
    pub(super) fn read(&self, operation: &Operation) -> Result<Bytes, LogError> {
        match self.disk.carry_out(operation) {
            Ok(Done::Read(bytes)) => Ok(bytes),
            Ok(Done::Done | Done::Wrote(_) | Done::Listed(_)) => Ok(Bytes::new()),
            Err(failure) => Err(self.failed(operation, failure)),
        }
    }

    /// Carries out an operation.
    pub(super) fn carry_out(&self, operation: &Operation) -> Result<Done, DiskError> {
        self.disk.carry_out(operation).map_err(|it| it.kind)
    }

    fn failed(&self, operation: &Operation, failure: impl ToString) -> LogError {
        let file = operation.file().map(|it| it.to_string());
        let path = self.path.join(file.unwrap_or_default());
        LogError::File {
            name: format!("cannot {} {}", operation.name(), path.display()),
            source: io::Error::other(failure.to_string()),
        }
    }
}
