//! The threads of the engine `disk`: they have the logs of all stored topics, and do for the core what that asks for.
//!
//! ```text
//! the core ─▶ Message ─▶ its own thread ─▶ Worker ─▶ Turn ─▶ jobs ─▶ a thread for the disk ─┐
//!                                             ▲       └───▶ answers ─▶ the core             │
//!                                             └───────────────── Completion ◀───────────────┘
//! ```
//!
//! A thread that has carried out a job tells the logs itself, and goes on with what they ask for next: waking another
//! for it takes longer than many a sync. The store's own thread is told what is asked for, and what time it is, and never
//! waits for a disk.

use super::clock::moment;
use super::engine::{Listener, Store};
use super::pool::{Completion, Job, Pool, Queue};
use super::worker::{Beginning, Message, Turn, Worker};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Starts the threads.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start(beginning: Beginning, listener: Box<dyn Listener>) -> io::Result<Store> {
    let (messages, told) = mpsc::channel();
    let jobs = Arc::<Queue>::default();
    let logs = Arc::new(Logs {
        running: Mutex::new(Some(Running {
            worker: Worker::new(beginning),
            looks_at: None,
        })),
        listener: Mutex::new(listener),
        jobs: Arc::clone(&jobs),
        messages: messages.clone(),
    });
    let at_disks = Arc::clone(&logs);
    let pool = Pool::start(jobs, move |completion| at_disks.completed(completion))?;
    let thread = thread::Builder::new()
        .name("mq-store".into())
        .spawn(move || {
            work(&logs, &told);
            drop(pool);
        })?;
    let tell = move |order| {
        // When the thread is gone nobody wants to know.
        let _ = messages.send(Message::Order(order));
    };
    Ok(Store::new(tell, thread))
}

/// The thread's loop: until nothing more is asked for, and all is done; or until it fails.
fn work(logs: &Logs, told: &Receiver<Message>) {
    let mut due = logs.step(|_| {});
    while let Some(at) = due {
        let first = match told.recv_timeout(at.saturating_duration_since(moment())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        due = logs.step(|worker| worker.take_in(first, told.try_iter()));
    }
    if let Some(running) = logs.running().take() {
        running.worker.end();
    }
}

/// What the threads share.
struct Logs {
    /// None: it is over.
    running: Mutex<Option<Running>>,
    /// Taken before the worker is let go, so that what logs say is told in the order in which they say it.
    listener: Mutex<Box<dyn Listener>>,
    jobs: Arc<Queue>,
    /// Tells the store's own thread.
    messages: Sender<Message>,
}

struct Running {
    worker: Worker,
    /// When the store's own thread looks at the time next; none: not any more.
    looks_at: Option<Instant>,
}

impl Logs {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's own thread tells the worker something. Returns when something is due; none when it is over.
    fn step(&self, act: impl FnOnce(&mut Worker)) -> Option<Instant> {
        let mut guard = self.running();
        let Running { worker, looks_at } = guard.as_mut()?;
        act(worker);
        let turn = worker.turn();
        let due = turn.due;
        *looks_at = due;
        self.follow(guard, turn);
        due
    }

    /// A job was carried out. Returns one that the same thread is to carry out next.
    fn completed(&self, completion: Completion) -> Option<Job> {
        let mut guard = self.running();
        let Running { worker, looks_at } = guard.as_mut()?;
        worker.completed(completion);
        let mut turn = worker.turn();
        if turn.due < *looks_at {
            *looks_at = turn.due;
            // When the thread is gone nobody wants to know.
            let _ = self.messages.send(Message::Due);
        }
        // Who has something to tell leaves what is to be done next to another: it is done beside that.
        let next = if turn.is_silent() {
            turn.jobs.pop()
        } else {
            None
        };
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
