//! What the engine `disk` does, but for waiting and for what disks do: it is told what is asked for and what was carried
//! out, and says what is to be carried out, what is answered, and when something is due.

use super::clock::{elapsed, moment, wall_clock};
use super::engine::{Order, SettingsOf};
use super::opening::OpenLog;
use super::pool::{Completion, Job};
use super::status::StoreStatus;
use super::topic::Topic;
use super::volume::Volume;
use message_queue_core::log::Operation;
use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Request};
use message_queue_core::{Now, StoredTopic, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::error;

/// How often it is looked what does not have to be kept any more.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// How long it is waited at the end for what was asked for. What a disk has not done by then was not confirmed.
const REST: Duration = Duration::from_secs(5);

/// The most that it is told before it asks disks for something and answers.
const MOST_AT_ONCE: usize = 256;

/// What it is told.
pub(super) enum Message {
    Order(Order),
    /// From whoever has no threads.
    Completion(Completion),
}

/// What it begins with.
pub(crate) struct Beginning {
    pub(crate) volume: Box<dyn Volume>,
    pub(crate) logs: Vec<(TopicId, OpenLog, StoredTopic)>,
    pub(crate) settings: SettingsOf,
    pub(crate) max_producers: usize,
    pub(crate) status: Arc<StoreStatus>,
}

/// What comes of what the worker was told.
pub(super) struct Turn {
    /// For disks.
    pub(super) jobs: Vec<Job>,
    /// For the core.
    pub(super) answers: Vec<(TopicId, Answer)>,
    /// Whether a log has stopped: nothing more is answered.
    pub(super) has_failed: bool,
    /// When something is due; none when it is over.
    pub(super) due: Option<Instant>,
}

impl Turn {
    /// Whether the core is told nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.answers.is_empty() && !self.has_failed
    }
}

/// When topics are due.
#[derive(Default)]
struct Dues {
    of: BTreeMap<TopicId, Instant>,
    in_order: BTreeSet<(Instant, TopicId)>,
}

impl Dues {
    fn set(&mut self, topic: TopicId, due: Option<Instant>) {
        let before = self.of.get(&topic).copied();
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.of.remove(&topic);
            self.in_order.remove(&(before, topic));
        }
        if let Some(due) = due {
            self.of.insert(topic, due);
            self.in_order.insert((due, topic));
        }
    }

    fn first(&self) -> Option<Instant> {
        self.in_order.first().map(|(due, _)| *due)
    }

    /// One that is due, which it is not any more.
    fn pop(&mut self, moment: Instant) -> Option<TopicId> {
        let (_, topic) = *self.in_order.first().filter(|(due, _)| *due <= moment)?;
        self.set(topic, None);
        Some(topic)
    }
}

/// The logs of all stored topics.
pub(super) struct Worker {
    volume: Box<dyn Volume>,
    topics: BTreeMap<TopicId, Topic>,
    settings: SettingsOf,
    max_producers: usize,
    status: Arc<StoreStatus>,
    started: Instant,
    /// How many operations disks carry out.
    in_flight: usize,
    /// Topics of which something may have come.
    touched: BTreeSet<TopicId>,
    dues: Dues,
    /// What the system said when an operation failed last.
    detail: String,
    trims: Instant,
    /// Once nothing more is asked for: until when it is waited for the rest.
    ends: Option<Instant>,
    /// Whether a log has stopped.
    has_failed: bool,
}

impl Worker {
    pub(super) fn new(beginning: Beginning) -> Self {
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
            started: moment(),
            in_flight: 0,
            touched,
            dues: Dues::default(),
            detail: String::new(),
            trims: moment() + TRIM_EVERY,
            ends: None,
            has_failed: false,
        }
    }

    fn now(&self) -> Now {
        Now::at(elapsed(self.started))
    }

    /// What has come of all that it was told.
    pub(super) fn turn(&mut self) -> Turn {
        let mut turn = Turn {
            jobs: Vec::new(),
            answers: Vec::new(),
            has_failed: false,
            due: None,
        };
        if self.has_failed {
            return turn;
        }
        if self.follow_up(&mut turn).is_err() {
            self.has_failed = true;
            turn.answers.clear();
            turn.has_failed = true;
            return turn;
        }
        let is_over = self
            .ends
            .is_some_and(|ends| ends <= moment() || self.is_at_rest());
        if !is_over {
            let due = self.dues.first().into_iter();
            turn.due = due.chain(self.ends).chain([self.trims]).min();
        }
        turn
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

    pub(super) fn take(&mut self, message: Message) {
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

    pub(super) fn completed(&mut self, completion: Completion) {
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

    /// Does what is due.
    pub(super) fn handle_timeouts(&mut self) {
        let (now, moment) = (self.now(), moment());
        while let Some(id) = self.dues.pop(moment) {
            if let Some(topic) = self.topics.get_mut(&id) {
                topic.handle_timeout(now);
                self.touched.insert(id);
            }
        }
        if moment >= self.trims {
            self.trims = moment + TRIM_EVERY;
            self.measure();
            for (id, topic) in &mut self.topics {
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

    /// Gathers what logs ask disks for, and what the core is answered.
    fn follow_up(&mut self, turn: &mut Turn) -> Result<(), ()> {
        while let Some(id) = self.touched.pop_first() {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            let outcome = topic.poll();
            self.dues.set(id, topic.due(self.started));
            for (operation_id, operation) in outcome.operations {
                self.in_flight += 1;
                turn.jobs.push(Job {
                    topic: id,
                    id: operation_id,
                    operation,
                    disk: Arc::clone(&topic.disk),
                });
            }
            let answers = outcome.answers.into_iter();
            turn.answers.extend(answers.map(|answer| (id, answer)));
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
        Ok(())
    }
}
