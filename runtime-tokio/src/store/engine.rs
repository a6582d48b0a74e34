//! What all engines have in common: what one is told, what it says, and how it is opened and started. A data folder is
//! of one engine.

use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Request};
use message_queue_core::{Config, StoreSettings, StoredTopic, TopicId};
use std::io;
use std::thread::JoinHandle;

/// An engine that has opened all topics of its folder.
pub(super) trait Engine: Send {
    /// What it has found.
    fn found(&self) -> Vec<StoredTopic>;

    /// Starts it, where topics have the numbers that `number` says.
    ///
    /// # Errors
    /// If the system gives no thread.
    fn start(
        self: Box<Self>,
        number: &dyn Fn(&TopicName) -> Option<TopicId>,
        settings: SettingsOf,
        listener: Box<dyn Listener>,
    ) -> io::Result<Store>;
}

/// How a topic of this name is kept.
pub(crate) type SettingsOf = Box<dyn Fn(&TopicName) -> StoreSettings + Send>;

/// As this configuration says.
pub(super) fn settings_of(config: Config) -> SettingsOf {
    Box::new(move |name: &TopicName| config.topic(name).store)
}

/// What an engine is told.
pub(super) enum Order {
    Request(TopicId, Request),
    /// Topics that are made from now on are kept like this.
    Settings(SettingsOf),
    /// Nothing more is asked for.
    End,
}

/// What an engine has to say.
pub(crate) trait Listener: Send {
    /// It answers the core.
    fn answered(&mut self, answers: Vec<(TopicId, Answer)>);
    /// It has failed: nothing is answered any more, and the broker has to end.
    fn failed(&mut self);
}

/// An engine that has been started, to be asked for things.
pub(crate) struct Store {
    /// One that has failed has said so: what it is told then is lost.
    tell: Box<dyn Fn(Order) + Send>,
    /// None: a task does the work, in a simulation.
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// One whose work this thread does, which is told this way. None: a task does it.
    pub(super) fn new(
        tell: impl Fn(Order) + Send + 'static,
        thread: impl Into<Option<JoinHandle<()>>>,
    ) -> Self {
        Self {
            tell: Box::new(tell),
            thread: thread.into(),
        }
    }

    /// Asks for something, in the order in which the core does. Never waits: the core bounds what is asked for.
    pub(crate) fn ask(&self, topic: TopicId, request: Request) {
        (self.tell)(Order::Request(topic, request));
    }

    /// Topics that are made from now on are kept by these settings.
    pub(crate) fn follow(&self, config: Config) {
        (self.tell)(Order::Settings(settings_of(config)));
    }
}

impl Drop for Store {
    /// Waits until all is done that was asked for, for 5 s at most. A task does it later.
    fn drop(&mut self) {
        (self.tell)(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
