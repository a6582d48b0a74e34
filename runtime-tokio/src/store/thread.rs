//! The threads of the engine `disk`: they have the logs of all stored topics, and do for the core what that asks for.
//!
//! ```text
//! the core ─▶ Order ─▶ a thread for the disk ─▶ Worker ─▶ Turn ─▶ jobs ─▶ a thread for the disk ─┐
//!                                                  ▲       └───▶ answers ─▶ the core             │
//!                                                  └───────────────── Completion ◀───────────────┘
//! ```
//!
//! A thread that has told the logs something goes on with what they ask for next: waking another for it takes longer than
//! many a sync. So what the core asks for wakes one thread, which writes, syncs and answers. The store's own thread only
//! looks at the time.

use super::clock::moment;
use super::engine::{Listener, Order, Store};
use super::pool::{Completion, Job, Pool, Queue};
use super::worker::{Beginning, Message, Turn, Worker};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Starts the threads.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start(beginning: Beginning, listener: Box<dyn Listener>) -> io::Result<Store> {
    let jobs = Arc::<Queue>::default();
    let logs = Arc::new(Logs {
        running: Mutex::new(Some(Running {
            worker: Worker::new(beginning),
            due: None,
        })),
        is_earlier: Condvar::new(),
        listener: Mutex::new(listener),
        jobs: Arc::clone(&jobs),
    });
    let at_disks = Arc::clone(&logs);
    let pool = Pool::start(jobs, move |completion| at_disks.tell(completion))?;
    let clock = Arc::clone(&logs);
    let thread = thread::Builder::new()
        .name("mq-store".into())
        .spawn(move || {
            clock.look_at_the_time();
            drop(pool);
        })?;
    Ok(Store::new(move |order| logs.order(order), thread))
}

/// What the threads share.
struct Logs {
    /// None: it is over.
    running: Mutex<Option<Running>>,
    /// That something is due earlier than it was.
    is_earlier: Condvar,
    /// Taken before the worker is let go, so that what logs say is told in the order in which they say it.
    listener: Mutex<Box<dyn Listener>>,
    jobs: Arc<Queue>,
}

struct Running {
    worker: Worker,
    /// When it is told the time next; none: not any more.
    due: Option<Instant>,
}

impl Logs {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core asks for something.
    fn order(&self, order: Order) {
        let is_end = matches!(order, Order::End);
        self.jobs.order(order);
        if is_end {
            // All threads may be waiting for disks that do not answer.
            let next = self.tell(None);
            self.jobs.add(next.into_iter().collect());
        }
    }

    /// The store's own thread: until nothing more is asked for, and all is done; or until it fails.
    fn look_at_the_time(&self) {
        let mut guard = self.running();
        loop {
            let Some(Running { worker, due }) = guard.as_mut() else {
                return;
            };
            worker.handle_timeouts();
            let turn = worker.turn();
            *due = turn.due;
            self.follow(guard, turn);
            guard = self.running();
            while let Some(Running { due: Some(due), .. }) = guard.as_ref() {
                let left = due.saturating_duration_since(moment());
                if left.is_zero() {
                    break;
                }
                let woken = self.is_earlier.wait_timeout(guard, left);
                (guard, _) = woken.unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(Running { due: None, .. }) = guard.as_ref() {
                break;
            }
        }
        if let Some(running) = guard.take() {
            running.worker.end();
        }
    }

    /// A job was carried out; or without one, there are orders. Returns a job that the same thread is to carry out next.
    fn tell(&self, completion: Option<Completion>) -> Option<Job> {
        let mut guard = self.running();
        let Running { worker, due } = guard.as_mut()?;
        match completion {
            Some(completion) => worker.completed(completion),
            None => {
                let orders = self.jobs.orders().into_iter();
                orders.for_each(|order| worker.take(Message::Order(order)));
            }
        }
        let mut turn = worker.turn();
        if turn.due < *due {
            self.is_earlier.notify_one();
        }
        *due = turn.due;
        // Who has something to tell leaves what is to be done next to another: it is done beside that.
        let next = (turn.is_silent() && !turn.jobs.is_empty()).then(|| turn.jobs.remove(0));
        self.follow(guard, turn);
        next
    }

    /// Has everything done that came of what the worker was told.
    fn follow(&self, running: MutexGuard<'_, Option<Running>>, turn: Turn) {
        let listener = (!turn.is_silent())
            .then(|| self.listener.lock().unwrap_or_else(PoisonError::into_inner));
        drop(running);
        self.jobs.add(turn.jobs);
        let Some(mut listener) = listener else {
            return;
        };
        if turn.has_failed {
            listener.failed();
        } else {
            listener.answered(turn.answers);
        }
    }
}
