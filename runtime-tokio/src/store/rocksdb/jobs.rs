//! The threads that call RocksDB: one that writes, and some that read.

use super::reading::{self, Chunk, Kept, ReadError};
use super::retention;
use crate::store::clock::{elapsed, moment};
use ::rocksdb::{DB, Error, WriteBatch, WriteOptions};
use message_queue_core::log::Retention;
use message_queue_core::store::FetchFrom;
use message_queue_core::{GroupId, TopicId};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tracing::warn;

/// How many reads are carried out at a time.
const READERS: usize = 2;

/// Something to be written. One is at a time.
pub(super) struct Write {
    /// None: what was written before is to be made safe.
    pub(super) batch: Option<WriteBatch>,
    pub(super) sync: bool,
    /// What the batch deletes: all from each first key on and before the second.
    pub(super) gone: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Something to be read.
pub(super) struct Read {
    pub(super) topic: TopicId,
    pub(super) kept: Kept,
    pub(super) what: Wanted,
}

/// What is wanted.
pub(super) enum Wanted {
    /// Messages.
    Fetch {
        group: GroupId,
        from: FetchFrom,
        bytes: usize,
    },
    /// Where the topic is to begin, which has got so many bytes.
    Begin { bytes: u64, retention: Retention },
}

/// What was done.
pub(super) enum Done {
    Written {
        result: Result<(), Error>,
        took: Duration,
    },
    Fetched {
        topic: TopicId,
        group: GroupId,
        result: Result<Chunk, ReadError>,
    },
    /// Where the topic is to begin, and how many bytes it has had before; none: where it does.
    Begins {
        topic: TopicId,
        result: Result<Option<(u64, u64)>, ReadError>,
    },
}

/// The threads. They end when they have done what they were told.
pub(super) struct Jobs {
    writes: Sender<Write>,
    reads: Sender<Read>,
    threads: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts them.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        db: &Arc<DB>,
        done: impl Fn(Done) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (writes, to_write) = mpsc::channel();
        let (reads, to_read) = mpsc::channel();
        let to_read = Arc::new(Mutex::new(to_read));
        let mut threads = Vec::new();
        let writer = {
            let (db, done) = (Arc::clone(db), done.clone());
            move || write_all(&db, &to_write, &done)
        };
        threads.push(
            thread::Builder::new()
                .name("mq-rocks-write".into())
                .spawn(writer)?,
        );
        for number in 0..READERS {
            let (db, to_read, done) = (Arc::clone(db), Arc::clone(&to_read), done.clone());
            let reader = thread::Builder::new().name(format!("mq-rocks-read-{number}"));
            threads.push(reader.spawn(move || read_all(&db, &to_read, &done))?);
        }
        Ok(Self {
            writes,
            reads,
            threads,
        })
    }

    pub(super) fn write(&self, write: Write) {
        // The threads are there for as long as this is.
        let _ = self.writes.send(write);
    }

    /// The core bounds how many there are: one for a group.
    pub(super) fn read(&self, read: Read) {
        // The same.
        let _ = self.reads.send(read);
    }

    /// Waits until they have done what they were told.
    pub(super) fn end(self) {
        drop((self.writes, self.reads));
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn write_all(db: &DB, to_write: &Receiver<Write>, done: &impl Fn(Done)) {
    while let Ok(Write { batch, sync, gone }) = to_write.recv() {
        let started = moment();
        let result = match batch {
            Some(batch) => {
                let mut options = WriteOptions::default();
                options.set_sync(sync);
                db.write_opt(batch, &options)
            }
            None => db.flush_wal(true),
        };
        let is_written = result.is_ok();
        let took = elapsed(started);
        done(Done::Written { result, took });
        for (from, to) in gone.into_iter().filter(|_| is_written) {
            // Files with nothing else in them go at once, and not only when they are merged.
            if let Err(error) = db.delete_file_in_range(from, to) {
                warn!(%error, "files of deleted messages stay for a while");
            }
        }
    }
}

fn read_all(db: &DB, to_read: &Mutex<Receiver<Read>>, done: &impl Fn(Done)) {
    loop {
        let read = {
            let to_read = to_read.lock().unwrap_or_else(PoisonError::into_inner);
            to_read.recv()
        };
        let Ok(Read { topic, kept, what }) = read else {
            return;
        };
        done(match what {
            Wanted::Fetch { group, from, bytes } => Done::Fetched {
                topic,
                group,
                result: reading::read(db, kept, from, bytes),
            },
            Wanted::Begin { bytes, retention } => Done::Begins {
                topic,
                result: retention::begin(db, kept, bytes, &retention),
            },
        });
    }
}
