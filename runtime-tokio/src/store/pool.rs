//! A few threads that tell the logs what is asked for, and carry out their operations.

use super::clock::{elapsed, moment};
use super::disk::{Disk, Failure};
use super::engine::Order;
use message_queue_core::TopicId;
use message_queue_core::log::{Done, OpId, Operation};
use std::collections::VecDeque;
use std::mem;
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

/// What is to be done: operations, and orders that the logs are to be told. One thread is woken for each job, and one for
/// orders, and no other: where syncs are fast, or there are none, most of the time goes into waking threads.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    orders: Vec<Order>,
    /// Whether a thread has yet to come for the orders.
    calls: bool,
    has_ended: bool,
}

/// What a thread is to do next.
enum Next {
    TellOrders,
    CarryOut(Job),
}

impl Pool {
    /// Starts the threads. Each tells the logs what it has carried out, or without that, that there are orders; and goes on
    /// with what that returns.
    pub(super) fn start(
        queue: Arc<Queue>,
        tell: impl Fn(Option<Completion>) -> Option<Job> + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let pool = Self { queue };
        for number in 0..THREADS {
            let (queue, tell) = (Arc::clone(&pool.queue), tell.clone());
            thread::Builder::new()
                .name(format!("mq-disk-{number}"))
                .spawn(move || work(&queue, &tell))?;
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

    /// Has the logs told. The core bounds how much it asks for.
    pub(super) fn order(&self, order: Order) {
        let mut waiting = self.waiting();
        // Who comes for the first takes all.
        let is_first = waiting.orders.is_empty();
        waiting.orders.push(order);
        if is_first {
            waiting.calls = true;
            drop(waiting);
            self.changed.notify_one();
        }
    }

    /// All orders so far, for who has the logs: so nobody tells them later ones before.
    pub(super) fn orders(&self) -> Vec<Order> {
        mem::take(&mut self.waiting().orders)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done next, when there is something; none at the end, when all jobs are done.
    fn next(&self) -> Option<Next> {
        let mut waiting = self.waiting();
        loop {
            if mem::take(&mut waiting.calls) {
                return Some(Next::TellOrders);
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(Next::CarryOut(job));
            }
            if waiting.has_ended {
                return None;
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(queue: &Queue, tell: &impl Fn(Option<Completion>) -> Option<Job>) {
    while let Some(next) = queue.next() {
        let mut next = match next {
            Next::TellOrders => tell(None),
            Next::CarryOut(job) => Some(job),
        };
        while let Some(job) = next {
            next = tell(Some(carry_out(job)));
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
