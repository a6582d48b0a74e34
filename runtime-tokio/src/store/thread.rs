//! The thread of the engine `disk`: it has the logs of all stored topics, and does for the core what that asks for.

use super::clock::{elapsed, moment, wall_clock};
use super::engine::{Listener, Order, SettingsOf, Store};
use super::opening::OpenLog;
use super::pool::{Completion, Job, Pool};
use super::status::StoreStatus;
use super::topic::Topic;
use super::volume::Volume;
use message_queue_core::log::Operation;
use message_queue_core::names::TopicName;
use message_queue_core::store::Request;
use message_queue_core::{Now, StoredTopic, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::error;

/// How often it is looked what does not have to be kept any more.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// How long it is waited at the end for what was asked for. What a disk has not done by then was not confirmed.
const REST: Duration = Duration::from_secs(5);

/// The most that the thread is told before it asks disks for something and answers.
const MOST_AT_ONCE: usize = 256;

/// What the thread is told.
pub(super) enum Message {
    Order(Order),
    Completion(Completion),
}

/// Has an operation carried out. What became of it is to be told as a message.
pub(super) type CarryOut = Box<dyn FnMut(Job) + Send>;

/// What the thread begins with.
pub(crate) struct Beginning {
    pub(crate) volume: Box<dyn Volume>,
    pub(crate) logs: Vec<(TopicId, OpenLog, StoredTopic)>,
    pub(crate) settings: SettingsOf,
    pub(crate) max_producers: usize,
    pub(crate) status: Arc<StoreStatus>,
}

/// Starts the thread.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start(beginning: Beginning, listener: Box<dyn Listener>) -> io::Result<Store> {
    let (messages, told) = mpsc::channel();
    let completions = messages.clone();
    let pool = Pool::start(move |completion| {
        // When the thread is gone nobody wants to know.
        let _ = completions.send(Message::Completion(completion));
    })?;
    let carry_out = Box::new(move |job| pool.carry_out(job));
    let worker = Worker::new(beginning, carry_out, listener);
    let thread = thread::Builder::new()
        .name("mq-store".into())
        .spawn(move || work(worker, &told))?;
    let tell = move |order| {
        // The same.
        let _ = messages.send(Message::Order(order));
    };
    Ok(Store::new(tell, thread))
}

/// The thread's loop: until nothing more is asked for, and all is done; or until it fails.
fn work(mut worker: Worker, told: &Receiver<Message>) {
    while let Some(due) = worker.turn() {
        let first = match told.recv_timeout(due.saturating_duration_since(moment())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        worker.take_in(first, told.try_iter());
    }
    worker.end();
}

/// What the thread does, but for waiting.
pub(super) struct Worker {
    volume: Box<dyn Volume>,
    topics: BTreeMap<TopicId, Topic>,
    settings: SettingsOf,
    max_producers: usize,
    status: Arc<StoreStatus>,
    carry_out: CarryOut,
    listener: Box<dyn Listener>,
    started: Instant,
    /// How many operations disks carry out.
    in_flight: usize,
    /// Topics of which something may have come.
    touched: BTreeSet<TopicId>,
    /// What the system said when an operation failed last.
    detail: String,
    trims: Instant,
    /// Once nothing more is asked for: until when it is waited for the rest.
    ends: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        beginning: Beginning,
        carry_out: CarryOut,
        listener: Box<dyn Listener>,
    ) -> Self {
        let Beginning {
            volume,
            logs,
            settings,
            max_producers,
            status,
        } = beginning;
        let mut topics = BTreeMap::new();
        for (id, log, found) in logs {
            let OpenLog { name, log, disk } = log;
            let kept = settings(&name);
            let topic = Topic::open(name, log, disk, &found.groups, kept, Arc::clone(&status));
            topics.insert(id, topic);
        }
        let touched = topics.keys().copied().collect();
        Self {
            volume,
            topics,
            settings,
            max_producers,
            status,
            carry_out,
            listener,
            started: moment(),
            in_flight: 0,
            touched,
            detail: String::new(),
            trims: moment() + TRIM_EVERY,
            ends: None,
        }
    }

    fn now(&self) -> Now {
        Now::at(elapsed(self.started))
    }

    /// Does what there is to do. Returns when something is due; none when it is over.
    pub(super) fn turn(&mut self) -> Option<Instant> {
        if self.follow_up().is_err() {
            self.listener.failed();
            return None;
        }
        if let Some(ends) = self.ends
            && (ends <= moment() || self.is_at_rest())
        {
            return None;
        }
        let due = self.topics.values().filter_map(|it| it.due(self.started));
        let due = due.chain(self.ends).min();
        Some(due.map_or(self.trims, |due| due.min(self.trims)))
    }

    /// What it was told, and the time.
    pub(super) fn take_in(&mut self, first: Option<Message>, rest: impl Iterator<Item = Message>) {
        if let Some(first) = first {
            self.take(first);
            rest.take(MOST_AT_ONCE).for_each(|it| self.take(it));
        }
        self.handle_timeouts();
    }

    /// Gives the volume back, unless some disk is still at work in it: then it is with the end of the process.
    pub(super) fn end(self) {
        if self.in_flight > 0 {
            mem::forget(self.volume);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.in_flight == 0 && self.topics.values().all(Topic::is_at_rest)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Order(Order::Request(id, Request::Open { name, epoch })) => {
                self.make(id, name, epoch);
            }
            Message::Order(Order::Request(id, request)) => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.ask(request);
                    self.touched.insert(id);
                }
            }
            Message::Order(Order::Settings(settings)) => self.settings = settings,
            Message::Completion(completion) => self.completed(completion),
            Message::Order(Order::End) => self.ends = Some(moment() + REST),
        }
    }

    fn make(&mut self, id: TopicId, name: TopicName, epoch: u64) {
        let settings = (self.settings)(&name);
        let disk = self.volume.disk(&name);
        let (most, status, now) = (self.max_producers, Arc::clone(&self.status), self.now());
        let topic = Topic::make(name, epoch, disk, settings, most, status, now);
        self.topics.insert(id, topic);
        self.touched.insert(id);
    }

    fn completed(&mut self, completion: Completion) {
        let Completion {
            topic: id,
            id: operation_id,
            operation,
            result,
            took,
        } = completion;
        self.in_flight -= 1;
        if let Operation::Sync { .. } = operation {
            self.status.sync_latency.note(took);
        }
        let result = result.map_err(|failure| {
            self.detail = failure.to_string();
            failure.kind
        });
        let now = self.now();
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.completed(operation_id, result, now);
            self.touched.insert(id);
        }
    }

    fn handle_timeouts(&mut self) {
        let (now, moment) = (self.now(), moment());
        let trims = moment >= self.trims;
        if trims {
            self.trims = moment + TRIM_EVERY;
            self.measure();
        }
        for (id, topic) in &mut self.topics {
            if topic.due(self.started).is_some_and(|due| due <= moment) {
                topic.handle_timeout(now);
                self.touched.insert(*id);
            }
            if trims {
                topic.trim(wall_clock());
                self.touched.insert(*id);
            }
        }
    }

    /// Takes note of how much is stored.
    fn measure(&self) {
        let sizes = self.topics.values();
        let sizes = sizes.map(|topic| (topic.name.clone(), topic.size()));
        self.status.set_sizes(sizes.collect());
    }

    /// Has disks do what logs ask for, and answers the core.
    fn follow_up(&mut self) -> Result<(), ()> {
        let mut answers = Vec::new();
        while let Some(id) = self.touched.pop_first() {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            let outcome = topic.poll();
            for (operation_id, operation) in outcome.operations {
                self.in_flight += 1;
                (self.carry_out)(Job {
                    topic: id,
                    id: operation_id,
                    operation,
                    disk: Arc::clone(&topic.disk),
                });
            }
            answers.extend(outcome.answers.into_iter().map(|answer| (id, answer)));
            if let Some(stop) = outcome.stopped {
                error!(
                    topic = %topic.name,
                    folder = %self.volume.folder(&topic.name).display(),
                    detail = %self.detail,
                    "the log of a topic has stopped: {stop}; nothing more is confirmed, and the broker ends; what the \
                     disk has is found when it is started again"
                );
                return Err(());
            }
        }
        if !answers.is_empty() {
            self.listener.answered(answers);
        }
        Ok(())
    }
}
