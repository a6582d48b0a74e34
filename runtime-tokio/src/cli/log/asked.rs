//! A topic in an engine that has no log: it is read and appended to by asking the engine, as the broker does.

use super::{LogError, repair};
use crate::cli::progress::{Progress, Totals};
use crate::cli::serve::since_1970;
use crate::store::{Store, StoreEvent, StoreEvents, StoreStatus, Taken};
use message_queue_core::log::{Progress as Settled, ReadFrom, Stored};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, Request, Run};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Origin, Range};
use message_queue_core::{Config, GroupId, Storage, StoredTopic, TopicId};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// The number of the topic.
const TOPIC: TopicId = TopicId(1);

/// How many bytes are asked for at a time.
const CHUNK: usize = 1 << 20;

/// How often it is looked whether the disk is full while the engine says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A folder whose engine has been started, and one topic in it.
pub(super) struct Asked {
    store: Store,
    events: StoreEvents,
    status: Arc<StoreStatus>,
    runtime: Runtime,
    name: TopicName,
    /// What was found of it; none: it is not there.
    found: Option<StoredTopic>,
    /// The sequence of the next message, and of the first that is not known to be safe.
    next: u64,
    safe: u64,
    /// How many changes of groups were asked for.
    changes: u64,
    /// What the engine has said.
    answers: VecDeque<Answer>,
}

impl Asked {
    /// Takes a folder, which is made if it is not there, and starts its engine. Nothing is deleted meanwhile.
    pub(super) fn open(folder: &Path, storage: Storage, name: TopicName) -> Result<Self, LogError> {
        let config = Config {
            storage,
            ..Config::default()
        };
        let now = since_1970();
        let opened = Taken::take(folder, 0, &config, now).and_then(Taken::open)?;
        let status = opened.status();
        let found = opened.found().into_iter().find(|it| it.name == name);
        let next = found.as_ref().map_or(1, |it| it.next);
        // The other topics are left alone.
        let (store, events) = opened.start(|it| (*it == name).then_some(TOPIC))?;
        Ok(Self {
            store,
            events,
            status,
            runtime: Builder::new_current_thread().enable_time().build()?,
            name,
            found,
            next,
            safe: next,
            changes: 0,
            answers: VecDeque::new(),
        })
    }

    /// Takes a folder that is there, with this topic in it.
    pub(super) fn open_topic(
        folder: &Path,
        storage: Storage,
        name: TopicName,
    ) -> Result<Self, LogError> {
        let asked = Self::open(folder, storage, name)?;
        if asked.found.is_none() {
            return Err(LogError::NotInDatabase {
                folder: folder.to_owned(),
                topic: asked.name,
            });
        }
        Ok(asked)
    }

    /// Makes it, if it is not there.
    pub(super) fn make(&mut self) {
        if self.found.is_none() {
            let (name, epoch) = (self.name.clone(), repair::epoch());
            self.store.ask(TOPIC, Request::Open { name, epoch });
        }
    }

    /// Makes a group, if it is not there, that begins at what is appended from now on.
    pub(super) fn make_group(&mut self, group: &Name) -> Result<(), LogError> {
        let mut found = self.found.iter().flat_map(|it| &it.groups);
        if found.any(|(name, _)| name == group) {
            return Ok(());
        }
        self.changes += 1;
        let save = Request::SaveGroup {
            change: self.changes,
            group: group.clone(),
            progress: beginning_at(self.next),
        };
        self.store.ask(TOPIC, save);
        while !matches!(self.answer()?, Answer::GroupSaved { up_to } if up_to == self.changes) {}
        Ok(())
    }

    /// How many messages it has, about.
    fn messages(&self) -> u64 {
        let found = self.found.as_ref();
        found.map_or(0, |it| it.next - it.first)
    }

    /// Reads it from some place on, and shows how far it is. `each` is told of everything, and may end it.
    pub(super) fn read(
        &mut self,
        from: ReadFrom,
        each: impl FnMut(Stored) -> Result<ControlFlow<()>, LogError>,
    ) -> Result<(), LogError> {
        let mut progress = Progress::start(Some(self.messages()));
        let outcome = self.read_all(from, &mut progress, each);
        progress.clear();
        outcome
    }

    fn read_all(
        &mut self,
        from: ReadFrom,
        progress: &mut Progress,
        mut each: impl FnMut(Stored) -> Result<ControlFlow<()>, LogError>,
    ) -> Result<(), LogError> {
        let mut from = match from {
            ReadFrom::First => FetchFrom::Sequence(1),
            ReadFrom::Sequence(sequence) => FetchFrom::Sequence(sequence),
            ReadFrom::Last => FetchFrom::Sequence(self.next - 1),
            ReadFrom::Time(time) => FetchFrom::Time(time),
            ReadFrom::At(_) => unreachable!("a place in a log"),
        };
        let mut last = None;
        let mut totals = Totals::default();
        loop {
            progress.update(totals.messages, totals);
            let (runs, next) = self.fetch(from)?;
            if runs.is_empty() {
                return Ok(());
            }
            for run in runs {
                // Between two of them nothing is kept.
                if let Some(gap) = last.and_then(|last| Range::new(last + 1, run.first - 1))
                    && each(Stored::Gap(gap))?.is_break()
                {
                    return Ok(());
                }
                let Run {
                    first,
                    published,
                    batch,
                    origin,
                    ..
                } = run;
                last = Some(first + batch.messages() as u64 - 1);
                totals.add(&batch);
                let run = Stored::Run {
                    first,
                    published,
                    batch,
                    producers: Vec::new(),
                    origin,
                };
                if each(run)?.is_break() {
                    return Ok(());
                }
            }
            from = FetchFrom::Sequence(next);
        }
    }

    fn fetch(&mut self, from: FetchFrom) -> Result<(Vec<Run>, u64), LogError> {
        let (group, bytes) = (GroupId::Shared, CHUNK);
        self.store.ask(TOPIC, Request::Fetch { group, from, bytes });
        loop {
            match self.answer()? {
                Answer::Fetched { runs, next, .. } => return Ok((runs, next)),
                Answer::NotFetched { .. } => {
                    return Err(LogError::Unreadable {
                        topic: self.name.to_string(),
                        from,
                    });
                }
                Answer::Appended { .. }
                | Answer::GroupSaved { .. }
                | Answer::Trimmed { .. }
                | Answer::GroupOpened { .. }
                | Answer::Arrived { .. }
                | Answer::GroupLost { .. } => {}
            }
        }
    }

    /// Appends what was stored elsewhere. It is safe after [`make_safe`](Self::make_safe).
    pub(super) fn append(
        &mut self,
        published: u64,
        batch: FrameBatch,
        origin: Option<Box<Origin>>,
    ) {
        let first = self.next;
        self.next += batch.messages() as u64;
        let append = Request::Append {
            first,
            published,
            batch,
            producers: Vec::new(),
            origin,
        };
        self.store.ask(TOPIC, append);
    }

    /// Waits until all is safe that was appended.
    pub(super) fn make_safe(&mut self) -> Result<(), LogError> {
        while self.safe < self.next {
            if let Answer::Appended { up_to, .. } = self.answer()? {
                self.safe = up_to + 1;
            }
        }
        Ok(())
    }

    /// What the engine says next of this topic.
    fn answer(&mut self) -> Result<Answer, LogError> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Ok(answer);
            }
            let events = &mut self.events;
            let told = async { timeout(LOOK_EVERY, events.recv()).await };
            match self.runtime.block_on(told) {
                Ok(Some(StoreEvent::Answers(answers))) => {
                    let of_this = answers.into_iter().filter(|(id, _)| *id == TOPIC);
                    self.answers.extend(of_this.map(|(_, answer)| answer));
                }
                Ok(Some(StoreEvent::Failed) | None) => {
                    return Err(LogError::EngineFailed {
                        topic: self.name.to_string(),
                    });
                }
                Err(_) if self.status.is_full() => return Err(LogError::Full),
                Err(_) => {}
            }
        }
    }
}

/// The progress of a group that begins at this sequence.
pub(super) fn beginning_at(next: u64) -> Settled {
    Settled {
        settled_up_to: next - 1,
        ..Settled::default()
    }
}
