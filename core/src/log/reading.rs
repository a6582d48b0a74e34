//! Reading what is stored.

use super::content::Content;
use super::damage::{Damage, DamageKind};
use super::disk::{DiskError, Done, File, Operation};
use super::index::{Entry, Index};
use super::scan::{CHUNK, Found, Scan};
use super::segment::Segments;
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin, Range};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the first message kept.
    First,
    /// At the last message that was reported.
    Last,
    /// At this sequence; at the first kept if that is behind it, and at what was not reported yet if it is behind that.
    Sequence(u64),
    /// At the first message that was published then or later, in milliseconds since 1970.
    Time(u64),
    /// Where another read has stopped.
    At(Cursor),
}

/// Where a read has stopped. Of use to the log that it comes from, until that is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    sequence: u64,
    segment: u64,
    offset: u64,
    /// How many bytes to read there, as far as is known.
    upcoming: usize,
}

/// The least and the most that is read at once where another read has stopped, in bytes, unless one record is longer: 32
/// KiB and 1 MiB.
const AT_ONCE: core::ops::RangeInclusive<usize> = 32 << 10..=1 << 20;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What is stored, in order and without a hole. What was asked for and lies before the first of it is not kept.
    pub stored: Vec<Stored>,
    /// Where it goes on.
    pub next: Cursor,
    /// Whether nothing follows that was reported by now.
    pub is_end: bool,
}

/// What is stored in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Messages.
    Run {
        /// The sequence of the first.
        first: u64,
        /// When they were published, in milliseconds since 1970.
        published: u64,
        /// The messages. They share memory with all that was read with them.
        batch: FrameBatch,
        /// Who published them, and how far each had got with the last of them.
        producers: Vec<Mark>,
        /// For a dead letter, which is alone: where it came from.
        origin: Option<Box<Origin>>,
    },
    /// Sequences that nothing is stored of: a power cut has taken them.
    Gap(Range),
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// What stands there is not what was written. All else can be read.
    Damaged(Damage),
    /// The disk has not read it.
    Disk(DiskError),
    /// The log has stopped, is not open yet, or is being deleted.
    Closed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(damage) => damage.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Closed => f.write_str("the log is not open"),
        }
    }
}

impl core::error::Error for ReadError {}

impl Cursor {
    /// The sequence of the next message.
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Reading {
    /// What is below is passed over.
    sequence: u64,
    /// What was published before is passed over.
    time: u64,
    /// No more is gathered from so many bytes on.
    limit: usize,
    /// The sequence of the next record.
    next: u64,
    segment: u64,
    /// How much is read at once.
    at_once: usize,
    scan: Scan,
    way: Way,
    stored: Vec<Stored>,
    bytes: usize,
    /// A segment that has no index, or a wrong one.
    unindexed: Option<u64>,
}

/// How a read gets to where it begins in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It reads the index.
    Index,
    /// It has jumped where the index says, and has read nothing there yet.
    Jumped,
    /// It walks.
    Walking,
}

/// What is known of a log that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) epoch: u64,
    pub(super) segments: &'a Segments,
    /// The last sequence that was reported.
    pub(super) reported: u64,
    /// The index of the last segment.
    pub(super) index: &'a Index,
    /// Where the last segment ends.
    pub(super) end: u64,
}

impl View<'_> {
    /// Behind which nothing is written in a segment, as far as is known.
    fn end_of(self, segment: u64) -> u64 {
        let is_last = self.segments.last().map(|it| it.first) == Some(segment);
        if is_last { self.end } else { u64::MAX }
    }
}

/// What comes next of a read.
#[derive(Debug)]
pub(super) enum Step {
    Ask(Operation),
    Answer(Result<Chunk, ReadError>),
}

impl Reading {
    pub(super) fn new(from: ReadFrom, limit: usize, view: View<'_>) -> Self {
        let View {
            segments, reported, ..
        } = view;
        let first = segments.first().map_or(reported + 1, |it| it.first);
        let (sequence, time) = match from {
            ReadFrom::First => (first, 0),
            ReadFrom::Last => (reported, 0),
            ReadFrom::Sequence(sequence) => (sequence, 0),
            ReadFrom::Time(time) => (first, time),
            ReadFrom::At(cursor) => (cursor.sequence, 0),
        };
        let sequence = sequence.clamp(first, reported + 1);
        let segment = if time > 0 {
            segments.at(time)
        } else {
            segments.holding(sequence)
        };
        let segment = segment.map_or(first, |it| it.first);
        let mut reading = Self {
            sequence,
            time,
            limit,
            next: segment,
            segment,
            at_once: CHUNK,
            scan: Scan::new(File::Segment(segment), 0),
            way: Way::Walking,
            stored: Vec::new(),
            bytes: 0,
            unindexed: None,
        };
        if let ReadFrom::At(cursor) = from
            && cursor.segment >= first
            && segments.iter().any(|it| it.first == cursor.segment)
        {
            reading.next = cursor.sequence;
            reading.segment = cursor.segment;
            reading.at_once = limit.clamp(*AT_ONCE.start(), *AT_ONCE.end());
            let file = File::Segment(cursor.segment);
            reading.scan = Scan::by(reading.at_once, cursor.upcoming, file, cursor.offset);
        } else if segments.last().map(|it| it.first) == Some(segment) {
            reading.jump(view.index);
        } else if sequence > segment || time > 0 {
            reading.way = Way::Index;
            reading.scan = Scan::new(File::Index(segment), 0);
        }
        reading
    }

    /// Goes where the index says.
    fn jump(&mut self, index: &Index) {
        let entry = if self.time > 0 {
            index.before_time(self.time)
        } else {
            index.at_sequence(self.sequence)
        };
        match entry {
            Some(Entry { first, offset, .. }) => {
                self.way = Way::Jumped;
                self.next = first;
                self.scan = Scan::by(self.at_once, 0, File::Segment(self.segment), offset);
            }
            None => self.walk(),
        }
    }

    /// Begins at the beginning of the segment.
    fn walk(&mut self) {
        self.way = Way::Walking;
        self.next = self.segment;
        self.scan = Scan::by(self.at_once, 0, File::Segment(self.segment), 0);
    }

    /// The index is missing, or it is wrong.
    fn walk_without_index(&mut self) {
        self.unindexed = Some(self.segment);
        self.walk();
    }

    /// A segment for which an index is to be made.
    pub(super) const fn unindexed(&mut self) -> Option<u64> {
        self.unindexed.take()
    }

    /// What was asked for is there, or is not.
    pub(super) fn completed(&mut self, result: Result<Done, DiskError>, view: View<'_>) -> Step {
        match result {
            Ok(Done::Read(bytes)) => self.scan.read(bytes),
            Ok(_) => return Step::Answer(Err(ReadError::Disk(DiskError::Failed))),
            Err(_) if view.segments.iter().all(|it| it.first != self.segment) => {
                // It was deleted meanwhile.
                let from = ReadFrom::Sequence(self.sequence.max(self.next));
                let time = self.time;
                *self = Self::new(from, self.limit, view);
                self.time = time;
            }
            Err(_) if self.way == Way::Index => self.walk_without_index(),
            Err(error) => return Step::Answer(Err(ReadError::Disk(error))),
        }
        self.advance(view)
    }

    pub(super) fn advance(&mut self, view: View<'_>) -> Step {
        loop {
            if self.way != Way::Index && self.next > view.reported {
                return self.answer(true);
            }
            if self.bytes >= self.limit && !self.stored.is_empty() {
                return self.answer(false);
            }
            if self.way != Way::Index {
                self.scan.ends_at(view.end_of(self.segment));
            }
            let found = match self.scan.next() {
                Found::Read(operation) if self.stored.is_empty() => return Step::Ask(operation),
                Found::Read(_) => return self.answer(false),
                found @ (Found::Record(..) | Found::End | Found::Damaged) => found,
            };
            if self.way == Way::Index {
                self.look_up(found, view.epoch);
            } else if let Err(damage) = self.walk_on(found, view.segments) {
                if self.way == Way::Jumped {
                    self.walk_without_index();
                } else if self.stored.is_empty() {
                    return Step::Answer(Err(ReadError::Damaged(damage)));
                } else {
                    // What was gathered comes first.
                    return self.answer(false);
                }
            }
        }
    }

    /// The index was read.
    fn look_up(&mut self, found: Found, epoch: u64) {
        let index = match found {
            Found::Record(record, _) => Index::decode(&record, epoch, self.segment),
            Found::Read(_) | Found::End | Found::Damaged => None,
        };
        match index {
            Some(index) => self.jump(&index),
            None => self.walk_without_index(),
        }
    }

    /// This is what comes next in the segment.
    fn walk_on(&mut self, found: Found, segments: &Segments) -> Result<(), Damage> {
        let damage = |offset, kind| {
            let file = File::Segment(self.segment);
            Err(Damage { file, offset, kind })
        };
        match found {
            Found::Record(record, offset) => {
                let content = Content::of(&record);
                let Some(content) = content.filter(|it| self.belongs(it)) else {
                    return damage(offset, DamageKind::Misplaced);
                };
                self.way = Way::Walking;
                self.take(content, record.producers);
            }
            Found::End => match segments.after(self.segment) {
                Some(segment) if segment.first == self.next => {
                    self.segment = segment.first;
                    self.walk();
                }
                _ => return damage(self.scan.offset(), DamageKind::EndsBefore(self.next)),
            },
            Found::Read(_) | Found::Damaged => {
                return damage(self.scan.offset(), DamageKind::NotARecord);
            }
        }
        Ok(())
    }

    /// Whether it is what has to come next.
    fn belongs(&self, content: &Content) -> bool {
        match content {
            Content::Head(head) => head.first == self.segment,
            Content::Producers => true,
            Content::Run { first, .. } => *first == self.next,
            Content::Gap(range) => range.from == self.next,
        }
    }

    fn take(&mut self, content: Content, producers: Vec<Mark>) {
        let Some(range) = content.range() else {
            return;
        };
        self.next = range.to + 1;
        if range.to < self.sequence {
            return;
        }
        match content {
            Content::Head(_) | Content::Producers => {}
            Content::Run {
                published,
                mut batch,
                first,
                origin,
            } => {
                if published < self.time {
                    return;
                }
                let passed = self.sequence.saturating_sub(first);
                #[expect(clippy::cast_possible_truncation, reason = "fewer than it has")]
                drop(batch.split_to(passed as usize));
                self.bytes += batch.byte_len();
                self.stored.push(Stored::Run {
                    first: first + passed,
                    published,
                    batch: batch.pinning(self.scan.pinned()),
                    producers,
                    origin,
                });
            }
            // It has the time of what stands before it.
            Content::Gap(_) if self.time > 0 && self.stored.is_empty() => {}
            Content::Gap(range) => self.stored.push(Stored::Gap(Range {
                from: range.from.max(self.sequence),
                ..range
            })),
        }
    }

    fn answer(&mut self, is_end: bool) -> Step {
        Step::Answer(Ok(Chunk {
            stored: core::mem::take(&mut self.stored),
            next: Cursor {
                sequence: self.next,
                segment: self.segment,
                offset: self.scan.offset(),
                upcoming: self.scan.upcoming(),
            },
            is_end,
        }))
    }
}
