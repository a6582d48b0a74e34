//! A few threads that carry out the operations of all logs.

use super::clock::{elapsed, moment};
use super::disk::{Disk, Failure};
use message_queue_core::TopicId;
use message_queue_core::log::{Done, OpId, Operation};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How many operations are carried out at a time.
const THREADS: usize = 4;

/// An operation of a topic's log.
pub(super) struct Job {
    pub(super) topic: TopicId,
    pub(super) id: OpId,
    pub(super) operation: Operation,
    pub(super) disk: Arc<dyn Disk>,
}

/// What became of it.
pub(super) struct Completion {
    pub(super) topic: TopicId,
    pub(super) id: OpId,
    pub(super) operation: Operation,
    pub(super) result: Result<Done, Failure>,
    /// How long it took.
    pub(super) took: Duration,
}

/// The threads. They end when this is dropped, and what they are doing is done.
pub(super) struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// Starts the threads, which report to `done`.
    pub(super) fn start(
        done: impl Fn(Completion) + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..THREADS {
            let (waiting, done) = (Arc::clone(&waiting), done.clone());
            thread::Builder::new()
                .name(format!("mq-disk-{number}"))
                .spawn(move || work(&waiting, &done))?;
        }
        Ok(Self { jobs })
    }

    /// Has an operation carried out. The logs bound how many there are: a few for each.
    pub(super) fn carry_out(&self, job: Job) {
        // Nobody else holds the other end, and it is there for as long as this is.
        let _ = self.jobs.send(job);
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, done: &impl Fn(Completion)) {
    loop {
        let job = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv()
        };
        let Ok(Job {
            topic,
            id,
            operation,
            disk,
        }) = job
        else {
            return;
        };
        let started = moment();
        let result = disk.carry_out(&operation);
        done(Completion {
            topic,
            id,
            operation,
            result,
            took: elapsed(started),
        });
    }
}
