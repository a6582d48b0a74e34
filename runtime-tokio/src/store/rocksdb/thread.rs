//! The thread of the engine: it makes batches of what the core asks for, has them written, and answers.

use super::jobs::{Done, Jobs, Read, Wanted, Write};
use super::keys::TopicEntry;
use super::topic::{Put, Topic};
use crate::store::clock::{elapsed, moment, wall_clock};
use crate::store::disk::Reserve;
use crate::store::engine::{Listener, Order, SettingsOf, Store};
use crate::store::files::StdFiles;
use crate::store::folder::DataDir;
use crate::store::status::StoreStatus;
use ::rocksdb::{DB, Error, WriteBatch};
use message_queue_core::TopicId;
use message_queue_core::store::{Answer, Request};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How often it is looked what does not have to be kept any more.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether there is room on a disk that was full.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long it is waited at the end for what was asked for. What is not written by then was not confirmed.
const REST: Duration = Duration::from_secs(5);

/// How often it is said that reads fail, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A batch takes nothing more when it has so many bytes.
const MOST_BYTES: usize = 8 << 20;

/// What the thread is told.
enum Message {
    Order(Order),
    Done(Done),
}

/// What the thread begins with.
pub(super) struct Beginning {
    pub(super) topics: BTreeMap<TopicId, Topic>,
    /// The number of the next topic that is made: above all that are there, asked for or not.
    pub(super) next_number: u32,
    pub(super) folder: DataDir,
    pub(super) db: Arc<DB>,
    pub(super) reserve: Reserve,
    pub(super) settings: SettingsOf,
    pub(super) max_producers: usize,
    pub(super) status: Arc<StoreStatus>,
}

/// Starts the thread.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn start(beginning: Beginning, listener: Box<dyn Listener>) -> io::Result<Store> {
    let (messages, told) = mpsc::channel();
    let done = messages.clone();
    let jobs = Jobs::start(&beginning.db, move |it| {
        // When the thread is gone nobody wants to know.
        let _ = done.send(Message::Done(it));
    })?;
    let worker = Worker::new(beginning, jobs, listener);
    let thread = thread::Builder::new()
        .name("mq-store".into())
        .spawn(move || worker.run(&told))?;
    let tell = move |order| {
        // The same.
        let _ = messages.send(Message::Order(order));
    };
    Ok(Store::new(tell, thread))
}

struct Worker {
    topics: BTreeMap<TopicId, Topic>,
    /// The number of the next topic that is made.
    next_number: u32,
    folder: DataDir,
    db: Arc<DB>,
    reserve: Reserve,
    settings: SettingsOf,
    max_producers: usize,
    status: Arc<StoreStatus>,
    jobs: Jobs,
    listener: Box<dyn Listener>,
    /// What is to be written, and since when.
    waiting: VecDeque<(TopicId, Request, Instant)>,
    /// Where topics are to begin, and how many bytes they have had before.
    begins: BTreeMap<TopicId, (u64, u64)>,
    writing: Option<Writing>,
    /// What the core is told next.
    answers: Vec<(TopicId, Answer)>,
    /// What is written and not safe is to be by then.
    unsynced: Option<Instant>,
    /// There is no room on the disk. It is looked again then.
    full: Option<Instant>,
    trims: Instant,
    told_of_reads: Option<Instant>,
    /// Once nothing more is asked for: until when it is waited for the rest.
    ends: Option<Instant>,
}

/// What is being written.
struct Writing {
    puts: Vec<(TopicId, Put)>,
    begins: Vec<(TopicId, u64)>,
    /// Whether all that was written is safe when it is done.
    sync: bool,
    /// Otherwise: how soon it is to be.
    within: Option<Duration>,
}

impl Worker {
    fn new(beginning: Beginning, jobs: Jobs, listener: Box<dyn Listener>) -> Self {
        Self {
            topics: beginning.topics,
            next_number: beginning.next_number,
            folder: beginning.folder,
            db: beginning.db,
            reserve: beginning.reserve,
            settings: beginning.settings,
            max_producers: beginning.max_producers,
            status: beginning.status,
            jobs,
            listener,
            waiting: VecDeque::new(),
            begins: BTreeMap::new(),
            writing: None,
            answers: Vec::new(),
            unsynced: None,
            full: None,
            trims: moment() + TRIM_EVERY,
            told_of_reads: None,
            ends: None,
        }
    }

    /// Until nothing more is asked for, and all is done; or until it fails. The folder is given back then, unless
    /// something is still being written: then it is with the end of the process.
    fn run(mut self, told: &Receiver<Message>) {
        if let Err(error) = self.work(told) {
            error!(
                folder = %self.folder.path().display(),
                %error,
                "RocksDB has failed; nothing more is confirmed, and the broker ends; what the disk has is found when it \
                 is started again"
            );
            self.listener.failed();
        }
        if self.writing.is_some() {
            mem::forget(self.folder);
            return;
        }
        self.jobs.end();
        // The database is closed before others may have the folder.
        drop(self.db);
        drop(self.folder);
    }

    fn work(&mut self, told: &Receiver<Message>) -> Result<(), Error> {
        loop {
            self.write();
            // Only now, so that the disk has something to do while the core and its sockets have.
            self.answer();
            let now = moment();
            if let Some(ends) = self.ends
                && (ends <= now || self.is_at_rest())
            {
                return Ok(());
            }
            let dues = [self.full, self.ends, self.unsynced_due()];
            let due = dues.into_iter().flatten().fold(self.trims, Instant::min);
            match told.recv_timeout(due.saturating_duration_since(now)) {
                Ok(message) => {
                    self.take(message)?;
                    // What has come meanwhile rides on the same batch.
                    for message in told.try_iter() {
                        self.take(message)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.trims <= moment() {
                self.trims = moment() + TRIM_EVERY;
                self.measure();
                self.look_for_trims();
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_none() && self.unsynced.is_none()
    }

    /// While something is written a sync waits for it.
    fn unsynced_due(&self) -> Option<Instant> {
        self.unsynced.filter(|_| self.writing.is_none())
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Order(Order::Request(id, request)) => self.ask(id, request),
            Message::Order(Order::Settings(settings)) => self.settings = settings,
            Message::Order(Order::End) => {
                self.ends = Some(moment() + REST);
                self.unsynced = self.unsynced.map(|_| moment());
            }
            Message::Done(Done::Written { result, took }) => {
                let writing = self.writing.take();
                result?;
                if let Some(writing) = writing {
                    self.written(writing, took);
                }
            }
            Message::Done(Done::Fetched {
                topic,
                group,
                result,
            }) => {
                let answer = match result {
                    Ok(chunk) => Answer::Fetched {
                        group,
                        runs: chunk.runs,
                        next: chunk.next,
                    },
                    Err(error) => {
                        self.read_failed(topic, &error);
                        Answer::NotFetched { group }
                    }
                };
                self.answers.push((topic, answer));
            }
            Message::Done(Done::Begins { topic: id, result }) => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.is_trimming = false;
                }
                match result {
                    Ok(Some(begin)) => {
                        self.begins.insert(id, begin);
                    }
                    Ok(None) => {}
                    Err(error) => self.read_failed(id, &error),
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, id: TopicId, request: Request) {
        if let Request::Open { name, epoch } = &request {
            let entry = TopicEntry {
                number: self.next_number,
                epoch: *epoch,
                first: 1,
            };
            self.next_number += 1;
            let settings = (self.settings)(name);
            let topic = Topic::new(name.clone(), entry, settings, self.max_producers);
            self.topics.insert(id, topic);
        }
        let Some(topic) = self.topics.get(&id) else {
            return;
        };
        if let Request::Fetch { group, from, bytes } = request {
            let kept = topic.kept();
            let what = Wanted::Fetch { group, from, bytes };
            self.jobs.read(Read {
                topic: id,
                kept,
                what,
            });
        } else {
            self.waiting.push_back((id, request, moment()));
        }
    }

    /// Has what waits written, if nothing is being written.
    fn write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let mut batch = WriteBatch::default();
        let mut writing = Writing {
            puts: Vec::new(),
            begins: Vec::new(),
            sync: false,
            within: None,
        };
        // It makes room, so it waits for none.
        let gone = self.put_begins(&mut batch, &mut writing);
        if self.has_room() {
            self.put_waiting(&mut batch, &mut writing);
        }
        let is_due = self.unsynced.is_some_and(|due| due <= moment());
        let sync = writing.sync || is_due;
        writing.sync = sync;
        let batch = Some(batch).filter(|it| !it.is_empty());
        if batch.is_none() && !is_due {
            return;
        }
        self.writing = Some(writing);
        self.jobs.write(Write { batch, sync, gone });
    }

    fn put_begins(
        &mut self,
        batch: &mut WriteBatch,
        writing: &mut Writing,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut gone = Vec::new();
        for (id, (first, before)) in mem::take(&mut self.begins) {
            if let Some(topic) = self.topics.get_mut(&id) {
                gone.push(topic.put_begin(first, before, batch));
                writing.begins.push((id, first));
                // Files go at once, so nobody may look for what was in them.
                writing.sync = true;
            }
        }
        gone
    }

    fn put_waiting(&mut self, batch: &mut WriteBatch, writing: &mut Writing) {
        while batch.size_in_bytes() < MOST_BYTES
            && let Some((id, request, since)) = self.waiting.pop_front()
        {
            let Some(topic) = self.topics.get_mut(&id) else {
                continue;
            };
            if let Request::Append { batch, .. } = &request {
                self.status.note_appending(batch.byte_len());
            }
            let is_change = matches!(request, Request::Change(_));
            let put = topic.put(request, since, batch);
            match topic.within() {
                // What was written before is to be as safe as this says.
                Some(within) if is_change => {
                    let due = moment() + within;
                    self.unsynced = Some(self.unsynced.map_or(due, |it| it.min(due)));
                }
                Some(Duration::ZERO) => writing.sync = true,
                Some(within) => {
                    let least = writing.within.map_or(within, |it| it.min(within));
                    writing.within = Some(least);
                }
                None => {}
            }
            writing.puts.extend(put.map(|put| (id, put)));
        }
    }

    /// Whether there is room on the disk for what waits.
    fn has_room(&mut self) -> bool {
        if self.waiting.is_empty() || self.full.is_some_and(|again| again > moment()) {
            return false;
        }
        let sizes = self.waiting.iter().map(|(_, request, _)| size(request));
        let bytes = sizes.fold(0, u64::saturating_add).min(MOST_BYTES as u64);
        let taken = self.reserve.take(&StdFiles, self.folder.path(), bytes);
        let was_full = self.full.is_some();
        match taken {
            Ok(()) => {
                self.full = None;
                if was_full {
                    self.status.full.store(0, Ordering::Relaxed);
                    info!("there is room on the disk again");
                }
                true
            }
            Err(error) => {
                self.full = Some(moment() + RETRY_EVERY);
                if !was_full {
                    self.status.full.store(1, Ordering::Relaxed);
                    warn!(
                        %error,
                        "the disk is full; producers of stored topics wait or are refused until there is room, and \
                         consumers go on"
                    );
                }
                false
            }
        }
    }

    /// What was being written is.
    fn written(&mut self, writing: Writing, took: Duration) {
        if writing.sync {
            self.status.sync_latency.note(took);
            self.unsynced = None;
        } else if let Some(within) = writing.within {
            let due = moment() + within;
            self.unsynced = Some(self.unsynced.map_or(due, |it| it.min(due)));
        }
        // Both are cumulative, so the last says all.
        let (mut appended, mut saved) = (BTreeMap::new(), BTreeMap::new());
        for (id, put) in writing.puts {
            match put {
                Put::Appended { up_to, since } => {
                    self.status.append_latency.note(elapsed(since));
                    appended.insert(id, up_to);
                }
                Put::Saved { change } => {
                    saved.insert(id, change);
                }
            }
        }
        for (id, up_to) in &appended {
            if let Some(topic) = self.topics.get_mut(id) {
                topic.reported = *up_to;
            }
        }
        let appended = appended.into_iter();
        let appended = appended.map(|(id, up_to)| (id, Answer::appended(up_to)));
        let saved = saved.into_iter();
        let saved = saved.map(|(id, up_to)| (id, Answer::GroupSaved { up_to }));
        let begins = writing.begins.into_iter();
        let begins = begins.map(|(id, first)| (id, Answer::Trimmed { first }));
        let answers: Vec<_> = appended.chain(saved).chain(begins).collect();
        for (id, answer) in &answers {
            if let (Answer::Trimmed { first }, Some(topic)) = (answer, self.topics.get(id)) {
                info!(topic = %topic.name, first, "old messages are deleted");
            }
        }
        self.answers.extend(answers);
    }

    fn answer(&mut self) {
        if !self.answers.is_empty() {
            self.listener.answered(mem::take(&mut self.answers));
        }
    }

    fn read_failed(&mut self, id: TopicId, error: &dyn std::error::Error) {
        self.status.read_errors.fetch_add(1, Ordering::Relaxed);
        let now = moment();
        if self.told_of_reads.is_none_or(|at| at + TELL_EVERY <= now) {
            self.told_of_reads = Some(now);
            let name = self.topics.get(&id).map(|it| it.name.as_str());
            error!(topic = name, %error, "a topic cannot be read; it is tried again each second");
        }
    }

    fn look_for_trims(&mut self) {
        let now = wall_clock();
        for (id, topic) in &mut self.topics {
            if topic.is_trimming || self.begins.contains_key(id) {
                continue;
            }
            let Some(retention) = topic.retention(now) else {
                continue;
            };
            topic.is_trimming = true;
            self.jobs.read(Read {
                topic: *id,
                kept: topic.kept(),
                what: Wanted::Begin {
                    bytes: topic.bytes,
                    retention,
                },
            });
        }
    }

    /// Takes note of how much is stored.
    fn measure(&self) {
        let sizes = self.topics.values();
        let sizes = sizes.map(|topic| (topic.name.clone(), topic.size()));
        self.status.set_sizes(sizes.collect());
    }
}

/// How many bytes a request brings, about.
fn size(request: &Request) -> u64 {
    const OVERHEAD: u64 = 256;
    let bytes = match request {
        Request::Append { batch, .. } => batch.byte_len(),
        Request::SaveGroup { progress, .. } => {
            16 * progress.settled.len() + 20 * progress.failed.len()
        }
        Request::Open { .. }
        | Request::Fetch { .. }
        | Request::RemoveGroup { .. }
        | Request::Change(_)
        | Request::OpenGroup { .. }
        | Request::CloseGroup { .. } => 0,
    };
    OVERHEAD + bytes as u64
}
