//! The threads of the store: they have the logs of all stored topics, and do for the core what that asks for.
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

use super::clock::{elapsed, moment, wall_clock};
use super::opening::OpenLog;
use super::pool::{Completion, Job, Pool, Queue};
use super::status::StoreStatus;
use super::topic::Topic;
use super::volume::Volume;
use message_queue_core::log::Operation;
use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Request};
use message_queue_core::{Config, Now, StoreSettings, StoredTopic, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::error;

/// How often it is looked what does not have to be kept any more.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// How long it is waited at the end for what was asked for. What a disk has not done by then was not confirmed.
const REST: Duration = Duration::from_secs(5);

/// The most that the thread is told before it asks disks for something and answers.
const MOST_AT_ONCE: usize = 256;

/// How a topic of this name is kept.
pub(crate) type SettingsOf = Box<dyn Fn(&TopicName) -> StoreSettings + Send>;

/// What the thread is told.
pub(super) enum Message {
    Request(TopicId, Request),
    /// Topics that are made from now on are kept like this.
    Settings(SettingsOf),
    /// From whoever has no threads.
    Completion(Completion),
    /// Something is due earlier than was said.
    Due,
    /// Nothing more is asked for.
    End,
}

/// What the thread has to say.
pub(crate) trait Listener: Send {
    /// It answers the core.
    fn answered(&mut self, answers: Vec<(TopicId, Answer)>);
    /// It has failed: nothing is answered any more, and the broker has to end.
    fn failed(&mut self);
}

/// The thread, to be asked for things; in a simulation, the task that does what it does.
pub(crate) struct Store {
    /// One that has failed has said so: what it is told then is lost.
    tell: Box<dyn Fn(Message) + Send>,
    /// None: it is a task.
    thread: Option<JoinHandle<()>>,
}

/// What the thread begins with.
pub(crate) struct Beginning {
    pub(crate) volume: Box<dyn Volume>,
    pub(crate) logs: Vec<(TopicId, OpenLog, StoredTopic)>,
    pub(crate) settings: SettingsOf,
    pub(crate) max_producers: usize,
    pub(crate) status: Arc<StoreStatus>,
}

impl Store {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        beginning: Beginning,
        listener: impl Listener + 'static,
    ) -> io::Result<Self> {
        let (messages, told) = mpsc::channel();
        let jobs = Arc::<Queue>::default();
        let logs = Arc::new(Logs {
            worker: Mutex::new(Some(Worker::new(beginning))),
            listener: Mutex::new(Box::new(listener)),
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
        let tell = move |message| {
            // When the thread is gone nobody wants to know.
            let _ = messages.send(message);
        };
        Ok(Self {
            tell: Box::new(tell),
            thread: Some(thread),
        })
    }

    /// One whose work a task does, which is told this way.
    pub(super) fn of_task(tell: impl Fn(Message) + Send + 'static) -> Self {
        Self {
            tell: Box::new(tell),
            thread: None,
        }
    }

    /// Asks for something, in the order in which the core does. Never waits: the core bounds what is asked for.
    pub(crate) fn ask(&self, topic: TopicId, request: Request) {
        (self.tell)(Message::Request(topic, request));
    }

    /// Topics that are made from now on are kept by these settings.
    pub(crate) fn follow(&self, config: Config) {
        let settings = Box::new(move |name: &TopicName| config.topic(name).store);
        (self.tell)(Message::Settings(settings));
    }
}

impl Drop for Store {
    /// Waits until all is done that was asked for, for 5 s at most. A task does it later.
    fn drop(&mut self) {
        (self.tell)(Message::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
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
    if let Some(worker) = logs.worker().take() {
        worker.end();
    }
}

/// What the threads share.
struct Logs {
    /// None: it is over.
    worker: Mutex<Option<Worker>>,
    /// Taken before the worker is let go, so that what logs say is told in the order in which they say it.
    listener: Mutex<Box<dyn Listener>>,
    jobs: Arc<Queue>,
    /// Tells the store's own thread.
    messages: Sender<Message>,
}

impl Logs {
    fn worker(&self) -> MutexGuard<'_, Option<Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's own thread tells the worker something. Returns when something is due; none when it is over.
    fn step(&self, act: impl FnOnce(&mut Worker)) -> Option<Instant> {
        let mut guard = self.worker();
        let worker = guard.as_mut()?;
        act(worker);
        let turn = worker.turn();
        let due = turn.due;
        worker.looks_at = due;
        self.follow(guard, turn);
        due
    }

    /// A job was carried out. Returns one that the same thread is to carry out next.
    fn completed(&self, completion: Completion) -> Option<Job> {
        let mut guard = self.worker();
        let worker = guard.as_mut()?;
        worker.completed(completion);
        let mut turn = worker.turn();
        if turn.due < worker.looks_at {
            worker.looks_at = turn.due;
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
    fn follow(&self, worker: MutexGuard<'_, Option<Worker>>, turn: Turn) {
        let listener = (!turn.is_silent())
            .then(|| self.listener.lock().unwrap_or_else(PoisonError::into_inner));
        drop(worker);
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

/// What the threads do, but for waiting and for what disks do.
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
    /// What the system said when an operation failed last.
    detail: String,
    trims: Instant,
    /// Once nothing more is asked for: until when it is waited for the rest.
    ends: Option<Instant>,
    /// Whether a log has stopped.
    has_failed: bool,
    /// When the store's own thread looks at the time next; none: not any more.
    looks_at: Option<Instant>,
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
            detail: String::new(),
            trims: moment() + TRIM_EVERY,
            ends: None,
            has_failed: false,
            looks_at: None,
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
            let due = self.topics.values().filter_map(|it| it.due(self.started));
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

    fn take(&mut self, message: Message) {
        match message {
            Message::Request(id, Request::Open { name, epoch }) => self.make(id, name, epoch),
            Message::Request(id, request) => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.ask(request);
                    self.touched.insert(id);
                }
            }
            Message::Settings(settings) => self.settings = settings,
            Message::Completion(completion) => self.completed(completion),
            Message::Due => {}
            Message::End => self.ends = Some(moment() + REST),
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

    /// Gathers what logs ask disks for, and what the core is answered.
    fn follow_up(&mut self, turn: &mut Turn) -> Result<(), ()> {
        while let Some(id) = self.touched.pop_first() {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            let outcome = topic.poll();
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
