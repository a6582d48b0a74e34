//! One stored topic: what the core asks for, as what its log does; and what the log says, as answers.

use super::clock::{elapsed, moment};
use super::disk::Disk;
use super::kept;
use super::opening::log_settings;
use super::status::{Size, StoreStatus};
use message_queue_core::log::{
    Chunk, Cursor, DiskError, Done, Event, Log, OpId, Operation, Output, Progress, ReadError,
    ReadFrom, ReadId, Recovered, Refused, SaveId, Stop, Stored,
};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, Request, Run};
use message_queue_core::{GroupId, Now, StoreSettings};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How often it is said that reads of a topic fail, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Of so many groups it is remembered where they have stopped reading. Others are looked up in the index.
const MOST_CURSORS: usize = 1_000;

/// A topic.
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) disk: Arc<dyn Disk>,
    log: Log,
    settings: StoreSettings,
    status: Arc<StoreStatus>,
    /// What was asked for before the log was open; the core bounds it. None: it is open.
    early: Option<VecDeque<Request>>,
    /// The last sequence of each piece that is being appended, and since when.
    appending: VecDeque<(u64, Instant)>,
    /// The changes that are being saved, by their numbers in the log and the core's.
    saving: VecDeque<(SaveId, u64)>,
    reading: BTreeMap<ReadId, Fetch>,
    /// When it was said last that a read has failed.
    told_of_reads: Option<Instant>,
    /// Where groups have stopped reading, those that did last: a group that is gone says nothing.
    cursors: VecDeque<(GroupId, Cursor)>,
    /// Up to where each group has settled everything.
    settled: BTreeMap<Name, u64>,
    is_full: bool,
}

/// What a group asked for.
#[derive(Clone, Copy)]
struct Fetch {
    group: GroupId,
    from: FetchFrom,
    bytes: usize,
}

/// What comes out of a topic.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) operations: Vec<(OpId, Operation)>,
    pub(super) answers: Vec<Answer>,
    /// Why its log has stopped, if it has.
    pub(super) stopped: Option<Stop>,
}

impl Topic {
    /// A topic whose log is open.
    pub(super) fn open(
        name: TopicName,
        log: Log,
        disk: Arc<dyn Disk>,
        groups: &[(Name, Progress)],
        settings: StoreSettings,
        status: Arc<StoreStatus>,
    ) -> Self {
        let settled = groups.iter();
        let settled = settled.map(|(name, progress)| (name.clone(), progress.settled_up_to));
        Self {
            name,
            disk,
            log,
            settings,
            status,
            early: None,
            appending: VecDeque::new(),
            saving: VecDeque::new(),
            reading: BTreeMap::new(),
            told_of_reads: None,
            cursors: VecDeque::new(),
            settled: settled.collect(),
            is_full: false,
        }
    }

    /// A topic that is new.
    pub(super) fn make(
        name: TopicName,
        epoch: u64,
        disk: Arc<dyn Disk>,
        settings: StoreSettings,
        max_producers: usize,
        status: Arc<StoreStatus>,
        now: Now,
    ) -> Self {
        let log_settings = log_settings(&settings, max_producers);
        let log = Log::open(name.as_str(), epoch, log_settings, now);
        Self {
            early: Some(VecDeque::new()),
            ..Self::open(name, log, disk, &[], settings, status)
        }
    }

    /// The core asks for something.
    pub(super) fn ask(&mut self, request: Request) {
        match &mut self.early {
            Some(early) => early.push_back(request),
            None => self.do_now(request),
        }
    }

    fn do_now(&mut self, request: Request) {
        match request {
            Request::Append {
                first,
                published,
                batch,
                producers,
                origin,
            } => {
                let last = first + batch.messages() as u64 - 1;
                let appending = match origin {
                    None => self.log.append(&batch, published, producers),
                    Some(origin) => self.log.append_dead_letter(&batch, published, &origin),
                };
                match appending {
                    Ok(appending) => assert_eq!(appending.first, first, "{}", self.name),
                    // It has stopped, which is told elsewhere.
                    Err(Refused::NotOpen) => return,
                    Err(refused) => panic!("topic {}: {refused}", self.name),
                }
                self.appending.push_back((last, moment()));
                self.status.note_appending(batch.byte_len());
            }
            Request::Fetch { group, from, bytes } => self.fetch(Fetch { group, from, bytes }),
            Request::SaveGroup {
                change,
                group,
                progress,
            } => {
                let progress = kept::bounded(progress);
                self.settled.insert(group.clone(), progress.settled_up_to);
                let saved = self.log.save_group(group.as_str(), &progress);
                self.note_saving(saved, change);
            }
            Request::RemoveGroup { change, group } => {
                self.settled.remove(&group);
                let saved = self.log.remove_group(group.as_str());
                self.note_saving(saved, change);
            }
            Request::Change(settings) => {
                // Segments have the size that they had at the start.
                self.log.set_fsync(settings.fsync);
                self.settings = settings;
            }
            // The others are of stores that brokers share.
            Request::Open { .. } | Request::OpenGroup { .. } | Request::CloseGroup { .. } => {}
        }
    }

    fn note_saving(&mut self, saved: Result<SaveId, Refused>, change: u64) {
        match saved {
            Ok(id) => self.saving.push_back((id, change)),
            Err(Refused::NotOpen) => {}
            Err(refused) => panic!("topic {}: {refused}", self.name),
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        let from = match fetch.from {
            FetchFrom::Time(time) => ReadFrom::Time(time),
            FetchFrom::Sequence(sequence) => match self.take_cursor(fetch.group) {
                Some(cursor) if cursor.sequence() == sequence => ReadFrom::At(cursor),
                Some(_) | None => ReadFrom::Sequence(sequence),
            },
        };
        let id = self.log.read(from, fetch.bytes);
        self.reading.insert(id, fetch);
    }

    fn take_cursor(&mut self, group: GroupId) -> Option<Cursor> {
        let at = self.cursors.iter().rposition(|(of, _)| *of == group)?;
        self.cursors.remove(at).map(|(_, cursor)| cursor)
    }

    fn keep_cursor(&mut self, group: GroupId, cursor: Cursor) {
        self.take_cursor(group);
        if self.cursors.len() >= MOST_CURSORS {
            self.cursors.pop_front();
        }
        self.cursors.push_back((group, cursor));
    }

    fn read_failed(&mut self, group: GroupId, error: &ReadError) -> Answer {
        self.status.read_errors.fetch_add(1, Ordering::Relaxed);
        let now = moment();
        if self.told_of_reads.is_none_or(|at| at + TELL_EVERY <= now) {
            self.told_of_reads = Some(now);
            error!(
                topic = %self.name,
                %group,
                %error,
                "a group cannot read on; it tries again each second, and `message-queue log verify` looks at the log"
            );
        }
        Answer::NotFetched { group }
    }

    /// When something is due.
    pub(super) fn due(&self, started: Instant) -> Option<Instant> {
        let due = self.log.poll_timeout()?;
        Some(started + due.since_start())
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.log.poll_timeout().is_some_and(|due| due <= now) {
            self.log.handle_timeout(now);
        }
    }

    /// Deletes what does not have to be kept. `wall_clock`: milliseconds since 1970.
    pub(super) fn trim(&mut self, wall_clock: u64) {
        if self.early.is_some() {
            return;
        }
        if let Some(retention) = kept::retention(&self.settings, &self.settled, wall_clock) {
            // One that has stopped needs none.
            let _ = self.log.trim(&retention);
        }
    }

    /// What its log has on the disk.
    pub(super) fn size(&self) -> Size {
        let (segments, bytes) = self.log.size();
        Size {
            segments: segments as u64,
            bytes,
        }
    }

    /// An operation was carried out, or was not.
    pub(super) fn completed(&mut self, id: OpId, result: Result<Done, DiskError>, now: Now) {
        self.log.completed(id, result, now);
    }

    /// What has come of all that.
    pub(super) fn poll(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(output) = self.log.poll_output() {
            match output {
                Output::Disk(id, operation) => outcome.operations.push((id, operation)),
                Output::Event(event) => self.happened(event, &mut outcome),
            }
        }
        outcome
    }

    fn happened(&mut self, event: Event, outcome: &mut Outcome) {
        match event {
            Event::Recovered(Recovered { .. }) => {
                for request in mem::take(&mut self.early).into_iter().flatten() {
                    self.do_now(request);
                }
            }
            Event::Appended { up_to } => {
                while let Some((_, since)) = self.appending.pop_front_if(|(last, _)| *last <= up_to)
                {
                    self.status.append_latency.note(elapsed(since));
                }
                outcome.answers.push(Answer::appended(up_to));
            }
            Event::Saved { up_to } => {
                let mut saved = None;
                while let Some((_, change)) = self.saving.pop_front_if(|(id, _)| *id <= up_to) {
                    saved = Some(change);
                }
                outcome
                    .answers
                    .extend(saved.map(|up_to| Answer::GroupSaved { up_to }));
            }
            Event::Read { id, result } => {
                let Some(fetch) = self.reading.remove(&id) else {
                    return;
                };
                match result {
                    Ok(chunk) => {
                        let group = fetch.group;
                        self.keep_cursor(group, chunk.next);
                        outcome.answers.push(fetched(group, chunk));
                    }
                    Err(ReadError::Closed) => {}
                    Err(error) => {
                        let answer = self.read_failed(fetch.group, &error);
                        outcome.answers.push(answer);
                    }
                }
            }
            Event::Trimmed { first } => {
                info!(topic = %self.name, first, "old segments are deleted");
                outcome.answers.push(Answer::Trimmed { first });
            }
            Event::Full => self.set_full(true),
            Event::HasRoom => self.set_full(false),
            Event::Stopped(stop) => outcome.stopped = Some(stop),
            Event::Deleted => {}
        }
    }

    fn set_full(&mut self, is_full: bool) {
        if self.is_full == is_full {
            return;
        }
        self.is_full = is_full;
        if is_full {
            self.status.full.fetch_add(1, Ordering::Relaxed);
            warn!(
                topic = %self.name,
                "the disk is full; producers of the topic wait or are refused until there is room, and consumers go on"
            );
        } else {
            self.status.full.fetch_sub(1, Ordering::Relaxed);
            info!(topic = %self.name, "there is room on the disk again");
        }
    }

    /// Whether nothing is to be written any more.
    pub(super) fn is_at_rest(&self) -> bool {
        self.early.is_none() && self.appending.is_empty() && self.saving.is_empty()
    }
}

fn fetched(group: GroupId, chunk: Chunk) -> Answer {
    let runs = chunk.stored.into_iter().filter_map(|it| match it {
        Stored::Run {
            first,
            published,
            batch,
            origin,
            ..
        } => Some(Run {
            first,
            published,
            batch,
            origin,
            attempts: 0,
        }),
        // What is between two runs is not kept.
        Stored::Gap(_) => None,
    });
    Answer::Fetched {
        group,
        runs: runs.collect(),
        next: chunk.next.sequence(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{Reserve, StdDisk};
    use message_queue_core::ConnId;
    use message_queue_core::wire::FrameBatch;

    /// Carries out all that the topic asks for.
    fn answers(topic: &mut Topic) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let outcome = topic.poll();
            answers.extend(outcome.answers);
            if outcome.operations.is_empty() {
                return answers;
            }
            for (id, operation) in outcome.operations {
                let done = topic.disk.carry_out(&operation).expect("it works");
                topic.completed(id, Ok(done), Now::START);
            }
        }
    }

    /// Consumers that are groups of their own come and go, and nobody says so.
    #[test]
    fn of_some_groups_it_is_remembered_where_they_have_stopped_reading() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = StdDisk::new(folder.path().into(), Arc::new(Reserve::new(0)));
        let name = TopicName::new("jobs").expect("a name");
        let settings = StoreSettings::default();
        let status = Arc::default();
        let mut topic = Topic::make(name, 1, Arc::new(disk), settings, 1, status, Now::START);
        topic.ask(Request::Append {
            first: 1,
            published: 1,
            batch: FrameBatch::encode(["a"]).expect("a message"),
            producers: Vec::new(),
            origin: None,
        });
        assert_eq!(answers(&mut topic), [Answer::appended(1)]);
        for conn in 0..2 * MOST_CURSORS as u64 {
            topic.ask(Request::Fetch {
                group: GroupId::Own(ConnId(conn)),
                from: FetchFrom::Sequence(1),
                bytes: 1,
            });
            assert_eq!(answers(&mut topic).len(), 1);
        }
        assert_eq!(topic.cursors.len(), MOST_CURSORS);
    }
}
