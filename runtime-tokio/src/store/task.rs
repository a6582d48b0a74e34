//! The store without threads, for simulations: its work is a task, and so is each operation of a disk, on the clock of the
//! runtime that they are in. What is done is what the threads do (`worker.rs`).

use super::clock::{elapsed, moment};
use super::disk::{Disk, Failure};
use super::engine::{Listener, Store};
use super::opening::Pace;
use super::pool::{Completion, Job};
use super::worker::{Beginning, Message, Worker};
use message_queue_core::log::{Done, Operation};
use std::iter;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout_at};

/// How long each operation takes.
pub(super) type Latency = Box<dyn FnMut(&Operation) -> Duration + Send>;

/// Starts the task.
pub(super) fn start(
    beginning: Beginning,
    mut latency: Latency,
    listener: Box<dyn Listener>,
) -> Store {
    let (messages, told) = unbounded_channel();
    let completions = messages.clone();
    let carry_out = move |job: Job| {
        let takes = latency(&job.operation);
        let completions = completions.clone();
        tokio::spawn(async move {
            let completion = carry_out(job, takes).await;
            // When the store is gone nobody wants to know.
            let _ = completions.send(Message::Completion(completion));
        });
    };
    tokio::spawn(work(Worker::new(beginning), told, carry_out, listener));
    let tell = move |order| {
        // The same.
        let _ = messages.send(Message::Order(order));
    };
    Store::new(tell, None)
}

async fn work(
    mut worker: Worker,
    mut told: UnboundedReceiver<Message>,
    mut carry_out: impl FnMut(Job),
    mut listener: Box<dyn Listener>,
) {
    loop {
        let turn = worker.turn();
        turn.jobs.into_iter().for_each(&mut carry_out);
        if turn.has_failed {
            listener.failed();
        } else if !turn.answers.is_empty() {
            listener.answered(turn.answers);
        }
        let Some(due) = turn.due else {
            break;
        };
        let first = match timeout_at(due.into(), told.recv()).await {
            Ok(Some(message)) => Some(message),
            Ok(None) => break,
            Err(_) => None,
        };
        worker.take_in(first, iter::from_fn(|| told.try_recv().ok()));
    }
    worker.end();
}

/// An operation has an effect when its time is over: one that is cut off has none.
async fn carry_out(job: Job, takes: Duration) -> Completion {
    let started = moment();
    sleep(takes).await;
    let result = job.disk.carry_out(&job.operation);
    Completion {
        topic: job.topic,
        id: job.id,
        operation: job.operation,
        result,
        took: elapsed(started),
    }
}

/// Opening on the runtime's clock.
pub(super) struct Simulated<'a>(pub(super) &'a mut Latency);

impl Pace for Simulated<'_> {
    async fn carry_out(&mut self, disk: &dyn Disk, operation: &Operation) -> Result<Done, Failure> {
        sleep((self.0)(operation)).await;
        disk.carry_out(operation)
    }

    async fn wait(&mut self, time: Duration) {
        sleep(time).await;
    }
}
