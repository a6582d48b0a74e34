//! A few threads that carry out the operations of all logs.

use super::clock::{elapsed, moment};
use super::disk::{Disk, Failure};
use message_queue_core::TopicId;
use message_queue_core::log::{Done, OpId, Operation};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    queue: Arc<Queue>,
}

/// What is to be done. One thread is woken for each job, and no other: where syncs are fast, or there are none, most of the
/// time goes into waking threads.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    has_ended: bool,
}

impl Pool {
    /// Starts the threads, which report to `done` and go on with what that returns.
    pub(super) fn start(
        queue: Arc<Queue>,
        done: impl Fn(Completion) -> Option<Job> + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let pool = Self { queue };
        for number in 0..THREADS {
            let (queue, done) = (Arc::clone(&pool.queue), done.clone());
            thread::Builder::new()
                .name(format!("mq-disk-{number}"))
                .spawn(move || work(&queue, &done))?;
        }
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.waiting().has_ended = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    /// Has operations carried out. The logs bound how many there are: a few for each.
    pub(super) fn add(&self, jobs: Vec<Job>) {
        for job in jobs {
            self.waiting().jobs.push_back(job);
            self.changed.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, when there is one; none at the end, when all is done that was asked for.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.has_ended {
                return None;
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(queue: &Queue, done: &impl Fn(Completion) -> Option<Job>) {
    while let Some(first) = queue.next() {
        let mut next = Some(first);
        while let Some(job) = next {
            next = done(carry_out(job));
        }
    }
}

fn carry_out(job: Job) -> Completion {
    let Job {
        topic,
        id,
        operation,
        disk,
    } = job;
    let started = moment();
    let result = disk.carry_out(&operation);
    Completion {
        topic,
        id,
        operation,
        result,
        took: elapsed(started),
    }
}
