//! The log of one stored topic, as a state machine without I/O.
//!
//! What it promises (docs/STORAGE.md has the formats, the order of operations and the arguments):
//!
//! - What was reported as appended with [`Fsync::Always`] is there after any crash, once and in order.
//! - Nothing is ever read that was not appended. What was torn is dropped; what is damaged stops the log with file and
//!   offset, and is never taken for torn.
//! - Sequences have no hole; where a power cut has taken some with another [`Fsync`], a gap stands for them.
//! - A sync that has failed is not tried again: the log stops and says so.
//! - Where groups and producers have got to is stored with the same care. A lost journal is never taken for an empty
//!   one.
//!
//! ```text
//! append ─▶ Writer ─▶ 00000000000000000001.log, …        CHECK RUN messages CHECK RUN messages …
//! save   ─▶ Journal ─▶ 00000000000000000001.journal      CHECK head CHECK bounds CHECK group …
//! read   ─▶ Reading ─▶ Chunk
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `record.rs`, `content.rs` | the bytes: a CHECK frame and what it covers |
//! | `scan.rs` | records one after the other, and what a torn tail is told from damage by |
//! | `disk.rs`, `lane.rs`, `ops.rs`, `completed.rs` | operations, rows of them in order, and what comes of them |
//! | `writer.rs`, `spare.rs`, `segment.rs`, `producers.rs` | appending: group commit, and one segment after the other |
//! | `journal.rs`, `progress.rs` | groups, and where the log begins and ends |
//! | `recovery/`, `retention.rs` | opening, and deleting what is not needed any more |
//! | `reading.rs`, `index.rs`, `indexer.rs` | reading, and finding where to begin |
//! | `inspect/`, `repair.rs` | what is right and wrong with a log that nobody has open, and what to do about it |
//! | `transfer.rs` | what is stored as a stream, out of one log and into another |
//!
//! # Use
//! [`Log::open`], then whatever comes; after each call, [`Log::poll_output`] until it has nothing. Operations are
//! carried out and reported to [`Log::completed`], in any order. [`Log::handle_timeout`] is called at
//! [`Log::poll_timeout`].
//!
//! # Memory
//! The batches that were appended and are not written yet (whoever appends bounds them); one write in flight; 24 bytes a
//! segment, and as much for each 64 KiB of the last; a record for each group and twice the name of each producer; for
//! each read, one chunk of 256 KiB, or one record if that is larger, and what it gathers. While it is opened: the
//! journal's groups and three chunks.

mod completed;
mod content;
mod damage;
mod disk;
mod event;
mod index;
mod indexer;
mod inspect;
mod journal;
mod lane;
mod ops;
mod producers;
mod progress;
mod reading;
mod record;
mod recovery;
mod repair;
mod retention;
mod scan;
mod segment;
mod settings;
mod spare;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

pub use damage::{Damage, DamageKind, Stop};
pub use disk::{DiskError, Done, File, OpId, Operation};
pub use event::{Event, Output, ReadId, Recovered, SaveId};
pub use inspect::{
    Inspection, Note, Seen, SeenContent, SegmentSummary, Step as InspectionStep, Summary,
};
pub use producers::Producers;
pub use progress::{Failed, Progress};
pub use reading::{Chunk, Cursor, ReadError, ReadFrom, Stored};
pub use record::MAX_CONTENT;
pub use repair::{Groups, NewFile, Part, Plan};
pub use retention::Retention;
pub use settings::{Fsync, Settings};
pub use transfer::{BadImport, BadImportKind, Import, Imported};

use crate::time::Now;
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use indexer::Indexer;
use journal::Journal;
use lane::Lane;
use ops::{Ops, Owner};
use reading::{Reading, Step, View};
use recovery::{Recovery, files_of};
use segment::Segments;
use spare::Spare;
use writer::Writer;

/// The log of one topic, in a folder of its own.
#[derive(Debug)]
pub struct Log {
    settings: Settings,
    now: Now,
    state: State,
    ops: Ops,
    journal: Journal,
    writer: Writer,
    spare: Spare,
    segments: Segments,
    readings: BTreeMap<ReadId, Reading>,
    last_read: u64,
    indexer: Indexer,
    cleaner: Lane,
    /// What the cleaner is to delete next.
    litter: Vec<File>,
    /// Whether [`Event::Full`] was told.
    is_full: bool,
}

#[derive(Debug)]
enum State {
    Recovering(Box<Recovery>),
    Open,
    /// It is to be deleted once nothing is in the middle of anything.
    Leaving,
    /// Its files are being deleted.
    Deleting,
    Closed,
}

/// Why a request was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The log is not open yet, is being deleted, or has stopped.
    NotOpen,
    /// There is no message in the batch.
    Empty,
    /// A record would be longer than [`MAX_CONTENT`], or what is said of producers longer than a frame, or a name longer
    /// than 255 bytes.
    TooLarge,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the log is not open",
            Self::Empty => "there is no message to be stored",
            Self::TooLarge => "it is too long for a record",
        })
    }
}

impl core::error::Error for Refused {}

/// What a batch was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appending {
    /// The sequence of its first message.
    pub first: u64,
    /// When it counts as published: no earlier than what stands before it, even if the clock was set back.
    pub published: u64,
}

impl Log {
    /// Opens the log of this topic, or makes one, of this epoch. [`Event::Recovered`] or [`Event::Stopped`] follows.
    ///
    /// The name is at most 255 bytes long.
    pub fn open(topic: &str, epoch: u64, settings: Settings, now: Now) -> Self {
        debug_assert!(topic.len() <= 255);
        let mut ops = Ops::default();
        Self {
            settings,
            now,
            state: State::Recovering(Recovery::begin(&mut ops).into()),
            ops,
            journal: Journal::new(topic, epoch),
            writer: Writer::new(settings.max_producers),
            spare: Spare::new(),
            segments: Segments::default(),
            readings: BTreeMap::new(),
            last_read: 0,
            indexer: Indexer::default(),
            cleaner: Lane::new(Owner::Cleaner),
            litter: Vec::new(),
            is_full: false,
        }
    }

    /// Appends a batch, in one piece. `published` is in milliseconds since 1970; `producers` says who published it and
    /// the position of the last message of each. [`Event::Appended`] follows once it is stored.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn append(
        &mut self,
        batch: &FrameBatch,
        published: u64,
        producers: Vec<Mark>,
    ) -> Result<Appending, Refused> {
        self.append_run(batch, published, producers, None)
    }

    /// The same for a dead letter, which is one message, and where it came from.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn append_dead_letter(
        &mut self,
        letter: &FrameBatch,
        published: u64,
        origin: &Origin,
    ) -> Result<Appending, Refused> {
        debug_assert_eq!(letter.messages(), 1);
        self.append_run(letter, published, Vec::new(), Some(origin))
    }

    fn append_run(
        &mut self,
        batch: &FrameBatch,
        published: u64,
        producers: Vec<Mark>,
        origin: Option<&Origin>,
    ) -> Result<Appending, Refused> {
        if !matches!(self.state, State::Open) {
            return Err(Refused::NotOpen);
        }
        if batch.is_empty() {
            return Err(Refused::Empty);
        }
        /// The size of a RUN frame.
        const RUN: usize = 25;
        if batch.byte_len() + RUN > MAX_CONTENT || !record::fits(&producers) {
            return Err(Refused::TooLarge);
        }
        let (first, published) = self.writer.append(batch, published, producers, origin);
        self.drive();
        Ok(Appending { first, published })
    }

    /// Saves how far a group has got; it is made if there is none. [`Event::Saved`] follows once it is stored. Whoever
    /// saves a group again before that has only the later stored.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn save_group(&mut self, group: &str, progress: &Progress) -> Result<SaveId, Refused> {
        if !matches!(self.state, State::Open) {
            return Err(Refused::NotOpen);
        }
        let saved = self.journal.save(group, progress, self.writer.safe());
        self.drive();
        saved.ok_or(Refused::TooLarge)
    }

    /// Forgets a group. [`Event::Saved`] follows as for [`save_group`](Self::save_group).
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn remove_group(&mut self, group: &str) -> Result<SaveId, Refused> {
        if !matches!(self.state, State::Open) {
            return Err(Refused::NotOpen);
        }
        let removed = self.journal.remove(group);
        self.drive();
        removed.ok_or(Refused::TooLarge)
    }

    /// Reads what was reported as appended. [`Event::Read`] follows, with about `bytes` of messages: with one record
    /// more at most, and with fewer where less was read in one go. Any number of reads may be under way.
    pub fn read(&mut self, from: ReadFrom, bytes: usize) -> ReadId {
        self.last_read += 1;
        let id = ReadId(self.last_read);
        if !matches!(self.state, State::Open) {
            self.answer(id, Err(ReadError::Closed));
            return id;
        }
        let view = view(&self.journal, &self.segments, &self.writer);
        let mut reading = Reading::new(from, bytes, view);
        let step = reading.advance(view);
        self.go_on(id, reading, step);
        id
    }

    /// Deletes the segments that are not needed any more. If there are any, [`Event::Trimmed`] follows.
    ///
    /// # Errors
    /// [`Refused::NotOpen`].
    pub fn trim(&mut self, retention: &Retention) -> Result<(), Refused> {
        if !matches!(self.state, State::Open) {
            return Err(Refused::NotOpen);
        }
        if let Some(begin) = retention.begin(&self.segments, self.writer.offset()) {
            let before = self.journal.bounds.begin;
            self.journal.bounds.begin = before.max(begin);
        }
        self.drive();
        Ok(())
    }

    /// Has what is stored from now on synced like this, and what was written before as soon as this says. What is being
    /// written at the moment is reported as before.
    pub fn set_fsync(&mut self, fsync: Fsync) {
        self.settings.fsync = fsync;
        if let Some(after) = fsync.within() {
            self.writer.sync_within(after, self.now);
            self.journal.sync_within(after, self.now);
        }
        if matches!(self.state, State::Open) {
            self.drive();
        }
    }

    /// How many segments there are, and how many bytes of records in all of them.
    pub fn size(&self) -> (usize, u64) {
        let sealed = self.segments.iter().map(|it| it.bytes).sum::<u64>();
        let last = self.segments.last().map_or(0, |it| it.bytes);
        let written = self.segments.last().map_or(0, |_| self.writer.offset());
        (self.segments.iter().count(), sealed - last + written)
    }

    /// Deletes the log with all its files. What waits to be written is dropped. [`Event::Deleted`] follows.
    ///
    /// # Errors
    /// [`Refused::NotOpen`].
    pub fn delete(&mut self) -> Result<(), Refused> {
        if !matches!(self.state, State::Open) {
            return Err(Refused::NotOpen);
        }
        self.state = State::Leaving;
        self.drive();
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; none if there is no need.
    pub fn poll_timeout(&self) -> Option<Now> {
        let recovery = match &self.state {
            State::Recovering(recovery) => recovery.lane().wakes(),
            State::Open | State::Leaving => None,
            State::Deleting | State::Closed => return None,
        };
        let lanes = [
            recovery,
            self.writer.wakes(),
            self.spare.lane().wakes(),
            self.journal.wakes(),
        ];
        lanes.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = self.now.max(now);
        match &mut self.state {
            State::Recovering(recovery) => recovery.lane_mut().wake(&mut self.ops, now),
            State::Open | State::Leaving => {}
            // A create or a write that had found no room is not wanted any more.
            State::Deleting | State::Closed => return,
        }
        self.writer.lane_mut().wake(&mut self.ops, now);
        self.spare.lane_mut().wake(&mut self.ops, now);
        self.journal.lane_mut().wake(&mut self.ops, now);
        self.drive();
    }

    /// What is to be done, and what has happened, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.ops.poll()
    }

    fn go_on(&mut self, id: ReadId, reading: Reading, step: Step) {
        match step {
            Step::Ask(operation) => {
                self.ops.ask(Owner::Reader(id), operation);
                self.readings.insert(id, reading);
            }
            Step::Answer(result) => self.answer(id, result),
        }
    }

    fn answer(&mut self, id: ReadId, result: Result<Chunk, ReadError>) {
        self.ops.tell(Event::Read { id, result });
    }

    /// Begins whatever can be begun.
    fn drive(&mut self) {
        match self.state {
            State::Open => {
                let epoch = self.journal.epoch();
                self.writer.drive(
                    &mut self.ops,
                    &self.segments,
                    &mut self.spare,
                    &self.settings,
                    epoch,
                    self.now,
                );
                if self.writer.rolling().is_none() {
                    let so_far = (self.writer.synced_times(), self.writer.offset());
                    self.spare
                        .drive(&mut self.ops, self.segments.last(), so_far, &self.settings);
                }
                self.journal
                    .drive(&mut self.ops, self.settings.fsync, self.now);
                self.indexer.drive(&mut self.ops);
                if self.cleaner.is_idle() && !self.litter.is_empty() {
                    let files = core::mem::take(&mut self.litter);
                    let row = files.into_iter().map(|file| Operation::Delete { file });
                    self.cleaner.begin(&mut self.ops, row);
                }
            }
            State::Leaving => self.leave(),
            State::Recovering(_) | State::Deleting | State::Closed => {}
        }
        self.tell_room();
    }

    fn tell_room(&mut self) {
        let recovery = match &self.state {
            State::Recovering(recovery) => recovery.lane().is_full(),
            State::Open => false,
            State::Leaving | State::Deleting | State::Closed => return,
        };
        let lanes = [self.writer.lane(), self.journal.lane()];
        let is_full = recovery || self.spare.holds_up() || lanes.into_iter().any(Lane::is_full);
        if is_full != self.is_full {
            self.is_full = is_full;
            let event = if is_full { Event::Full } else { Event::HasRoom };
            self.ops.tell(event);
        }
    }

    /// Deletes everything once nothing is in flight. First the journal gets a name that says so: from then on the
    /// log is gone, and the rest is done again if need be.
    fn leave(&mut self) {
        let is_free = |lane: &Lane| lane.is_idle() || lane.wakes().is_some();
        if !is_free(self.writer.lane())
            || !self.writer.syncs().is_idle()
            || !is_free(self.spare.lane())
            || !is_free(self.journal.lane())
            || !self.cleaner.is_idle()
            || !self.indexer.is_idle()
        {
            return;
        }
        self.state = State::Deleting;
        let number = self.journal.on_disk();
        let (from, to) = (File::Journal(number), File::Deleted(number));
        let mut files = core::mem::take(&mut self.litter);
        files.extend(self.segments.iter().flat_map(|it| files_of(it.first)));
        files.extend(self.writer.rolling().map(|it| File::Segment(it.first)));
        files.push(spare::beside(self.segments.last()));
        files.push(File::NewJournal(number + 1));
        let row = [Operation::Rename { from, to }, Operation::SyncDir];
        let row = row.into_iter().chain(recovery::deletion(files));
        let row = row.chain(recovery::deletion([to].into()));
        self.cleaner.begin(&mut self.ops, row);
    }

    fn stop(&mut self, stop: Stop) {
        self.close();
        self.ops.tell(Event::Stopped(stop));
    }

    /// Nothing is done any more, and whoever reads is told so.
    fn close(&mut self) {
        self.state = State::Closed;
        self.ops.abandon();
        for id in core::mem::take(&mut self.readings).into_keys() {
            self.answer(id, Err(ReadError::Closed));
        }
    }
}

/// What a read has to know of the log.
const fn view<'a>(journal: &Journal, segments: &'a Segments, writer: &'a Writer) -> View<'a> {
    View {
        epoch: journal.epoch(),
        segments,
        reported: writer.reported(),
        index: writer.index(),
        end: writer.offset(),
    }
}
