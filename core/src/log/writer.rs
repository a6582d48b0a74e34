//! What is appended, on its way into the last segment.
//!
//! Records wait until the lane is free. Then all that wait are written at once. Where the setting says so, one sync makes
//! safe all that was written before it began. What is appended meanwhile is written while the sync is in flight, and goes
//! with the next. A segment that has no room is cut to its size and made safe, and the next one, which is made of the
//! spare, is complete and safe, and the journal knows of it, before a message is written to it.

use super::content::{self, FORMAT, Head};
use super::disk::{File, Operation};
use super::index::{Entry, Index};
use super::lane::Lane;
use super::ops::{Ops, Owner};
use super::producers::Producers;
use super::segment::{Segment, Segments};
use super::settings::{Fsync, Settings};
use super::spare::Spare;
use crate::time::Now;
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin, Range};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

/// The most records in one write: each has two pieces.
const WRITE_RECORDS: usize = 512;

/// A write takes no record more when it has this many bytes: 8 MiB.
const WRITE_BYTES: u64 = 8 << 20;

/// A record that is not written yet.
#[derive(Debug)]
struct Waiting {
    first: u64,
    last: u64,
    published: u64,
    pieces: [Bytes; 2],
    producers: Vec<Mark>,
}

impl Waiting {
    fn bytes(&self) -> u64 {
        (self.pieces[0].len() + self.pieces[1].len()) as u64
    }
}

/// Where the log ends, and what is about to be appended.
#[derive(Debug)]
pub(super) struct Writer {
    /// The sequence of the next message.
    next: u64,
    /// When the last message was published.
    published: u64,
    waiting: VecDeque<Waiting>,
    /// What was published last of what is in the segment.
    written_published: u64,
    /// The last sequence that is in the segment, that is safe, and that was reported.
    written: u64,
    safe: u64,
    reported: u64,
    /// The last sequence that is reported only once it is safe.
    held: u64,
    /// The last sequence that the sync in flight makes safe; none: there is no sync in flight.
    syncing: Option<u64>,
    /// Where the next record goes in the last segment.
    offset: u64,
    /// The size of the head of the last segment; 0 if there is none.
    head: u64,
    activity: Activity,
    /// How many syncs of records were begun.
    synced_times: u64,
    /// Writes, and what makes a new segment.
    lane: Lane,
    /// Syncs of what was written.
    syncs: Lane,
    sync_due: Option<Now>,
    /// Of the last segment.
    index: Index,
    /// Memory for the heads of records.
    heads: BytesMut,
    pub(super) producers: Producers,
}

/// What the lane is at.
#[derive(Debug)]
enum Activity {
    Idle,
    /// These records; they are reported once they are safe, or as soon as they are written.
    Writing {
        records: Vec<Waiting>,
        bytes: u64,
        syncs: bool,
    },
    /// A new segment with a head of this size.
    Rolling(Segment, u64),
    /// The same, while the journal takes note of it.
    Noting(Segment, u64),
}

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    /// The last sequence, and when it was published.
    pub(super) last: u64,
    pub(super) published: u64,
    /// The size of the last segment, and of what stands before its messages.
    pub(super) offset: u64,
    pub(super) head: u64,
    pub(super) index: Index,
}

/// What a lane that has finished means for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing beyond the writer.
    Nothing,
    /// All up to here can be reported.
    Reported(u64),
    /// The journal is to take note of the new segment; then [`Writer::noted`] is called.
    Note(Segment),
}

impl Writer {
    pub(super) fn new(max_producers: usize) -> Self {
        Self {
            next: 1,
            published: 0,
            waiting: VecDeque::new(),
            written_published: 0,
            written: 0,
            safe: 0,
            reported: 0,
            held: 0,
            syncing: None,
            offset: 0,
            head: 0,
            activity: Activity::Idle,
            synced_times: 0,
            lane: Lane::new(Owner::Writer),
            syncs: Lane::new(Owner::Syncer),
            sync_due: None,
            index: Index::default(),
            heads: BytesMut::new(),
            producers: Producers::new(max_producers),
        }
    }

    /// The log was found to end here, all of it safe.
    pub(super) fn resume(&mut self, end: End) {
        let last = end.last;
        self.next = last + 1;
        (self.written, self.safe, self.reported) = (last, last, last);
        (self.published, self.written_published) = (end.published, end.published);
        (self.offset, self.head) = (end.offset, end.head);
        self.index = end.index;
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// When the last message was published.
    pub(super) const fn published(&self) -> u64 {
        self.published
    }

    /// The size of the last segment.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many syncs of records were begun.
    pub(super) const fn synced_times(&self) -> u64 {
        self.synced_times
    }

    pub(super) const fn reported(&self) -> u64 {
        self.reported
    }

    /// The index of the last segment.
    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    pub(super) const fn safe(&self) -> u64 {
        self.safe
    }

    pub(super) const fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }

    pub(super) const fn syncs(&self) -> &Lane {
        &self.syncs
    }

    pub(super) fn syncs_mut(&mut self) -> &mut Lane {
        &mut self.syncs
    }

    /// Takes in a batch; returns the sequence of its first message and when it counts as published.
    pub(super) fn append(
        &mut self,
        batch: &FrameBatch,
        published: u64,
        producers: Vec<Mark>,
        origin: Option<&Origin>,
    ) -> (u64, u64) {
        let first = self.next;
        self.published = self.published.max(published);
        self.next += batch.messages() as u64;
        let run = (first, self.published);
        let marks = producers.clone();
        let head = content::head_of_run(&mut self.heads, run, batch, self.safe, marks, origin);
        self.waiting.push_back(Waiting {
            first,
            last: self.next - 1,
            published: self.published,
            pieces: [head, batch.as_bytes().clone()],
            producers,
        });
        run
    }

    /// Takes in that nothing is stored of what was numbered up to `last`.
    pub(super) fn append_gap(&mut self, last: u64) -> Range {
        let range = Range {
            from: self.next,
            to: last,
        };
        self.next = last + 1;
        self.waiting.push_back(Waiting {
            first: range.from,
            last,
            published: self.published,
            pieces: [content::gap(range, self.safe), Bytes::new()],
            producers: Vec::new(),
        });
        range
    }

    /// Begins what can be begun: a sync, a write beside it, a new segment.
    pub(super) fn drive(
        &mut self,
        ops: &mut Ops,
        segments: &Segments,
        spare: &mut Spare,
        settings: &Settings,
        epoch: u64,
        now: Now,
    ) {
        let last = segments.last();
        self.sync(ops, last, now);
        let Some(record) = self.waiting.front() else {
            return;
        };
        if !matches!(self.activity, Activity::Idle) {
            return;
        }
        let size = self.offset + record.bytes();
        match last {
            Some(segment) if size <= settings.segment_bytes || self.offset == self.head => {
                self.write(ops, segment, settings);
            }
            // What is in the full segment is reported before, without waiting for the next one.
            last if !self.is_syncing() => {
                if let Some(file) = spare.take() {
                    self.roll(ops, last, file, epoch);
                }
            }
            _ => {}
        }
    }

    /// Makes safe what was written, if it is time and no sync is in flight.
    fn sync(&mut self, ops: &mut Ops, last: Option<Segment>, now: Now) {
        let is_due = self.held > self.safe || self.sync_due.is_some_and(|at| at <= now);
        if let Some(segment) = last
            && is_due
            && !self.is_syncing()
            && self.rolling().is_none()
        {
            self.syncing = Some(self.written);
            self.synced_times += 1;
            self.sync_due = None;
            let file = File::Segment(segment.first);
            self.syncs.begin(ops, [Operation::Sync { file }]);
        }
    }

    const fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    fn write(&mut self, ops: &mut Ops, segment: Segment, settings: &Settings) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut pieces = Vec::new();
        while let Some(record) = self.waiting.front()
            && (records.is_empty()
                || (records.len() < WRITE_RECORDS
                    && bytes < WRITE_BYTES
                    && self.offset + bytes + record.bytes() <= settings.segment_bytes))
            && let Some(record) = self.waiting.pop_front()
        {
            bytes += record.bytes();
            let all = record.pieces.iter().filter(|piece| !piece.is_empty());
            pieces.extend(all.cloned());
            records.push(record);
        }
        let file = File::Segment(segment.first);
        let syncs = settings.fsync == Fsync::Always;
        self.activity = Activity::Writing {
            records,
            bytes,
            syncs,
        };
        let write = Operation::Write {
            file,
            offset: self.offset,
            pieces,
        };
        self.lane.begin(ops, [write]);
    }

    fn roll(&mut self, ops: &mut Ops, last: Option<Segment>, spare: File, epoch: u64) {
        let first = self.written + 1;
        let head = Head {
            format: FORMAT,
            epoch,
            first,
            previous: last.map_or(0, |it| it.first),
            published: self.written_published,
        };
        let producers = self.producers.oldest_first().cloned();
        let head = content::head_of_segment(head, self.safe, producers);
        let segment = Segment {
            first,
            published: self.written_published,
            bytes: 0,
        };
        self.activity = Activity::Rolling(segment, head.len() as u64);
        let seal = last.map(|last| {
            let file = File::Segment(last.first);
            let size = self.offset;
            [Operation::Truncate { file, size }, Operation::Sync { file }]
        });
        let begin = [
            Operation::Write {
                file: spare,
                offset: 0,
                pieces: [head].into(),
            },
            Operation::Sync { file: spare },
            Operation::Rename {
                from: spare,
                to: File::Segment(first),
            },
            Operation::SyncDir,
        ];
        let row = seal.into_iter().flatten().chain(begin);
        self.lane.begin(ops, row);
    }

    /// The lane has finished what it was at.
    pub(super) fn finished(&mut self, fsync: Fsync, now: Now) -> Outcome {
        match core::mem::replace(&mut self.activity, Activity::Idle) {
            Activity::Idle | Activity::Noting(..) => Outcome::Nothing,
            Activity::Writing {
                records,
                bytes,
                syncs,
            } => {
                let mut offset = self.offset;
                self.offset += bytes;
                for record in records {
                    debug_assert_eq!(record.first, self.written + 1);
                    self.index.note(Entry {
                        first: record.first,
                        published: record.published,
                        offset,
                    });
                    offset += record.bytes();
                    self.written = record.last;
                    self.written_published = record.published;
                    for mark in &record.producers {
                        self.producers.mark(mark);
                    }
                }
                if syncs {
                    self.held = self.written;
                } else if let Some(after) = fsync.within()
                    && self.sync_due.is_none()
                {
                    self.sync_due = Some(now + after);
                }
                self.report()
            }
            Activity::Rolling(segment, head) => {
                self.safe = self.written;
                self.sync_due = None;
                self.activity = Activity::Noting(segment, head);
                Outcome::Note(segment)
            }
        }
    }

    /// The sync in flight has made safe what was written before it began.
    pub(super) fn synced(&mut self) -> Outcome {
        self.safe = self.syncing.take().unwrap_or(self.safe);
        self.report()
    }

    /// Reports what can be, if that is more than before.
    fn report(&mut self) -> Outcome {
        let up_to = if self.held > self.safe {
            self.safe
        } else {
            self.written
        };
        if up_to <= self.reported {
            return Outcome::Nothing;
        }
        self.reported = up_to;
        Outcome::Reported(up_to)
    }

    /// What was written is to be safe so soon from now on.
    pub(super) fn sync_within(&mut self, after: Duration, now: Now) {
        if self.syncing.unwrap_or(self.safe) < self.written {
            let due = now + after;
            self.sync_due = Some(self.sync_due.map_or(due, |it| it.min(due)));
        }
    }

    /// The journal has taken note of the new segment. Returns it if there is one, and the size and the index of the
    /// one before.
    pub(super) fn noted(&mut self, tail: u64) -> Option<(Segment, u64, Index)> {
        let Activity::Noting(segment, head) = self.activity else {
            return None;
        };
        if segment.first != tail {
            return None;
        }
        self.activity = Activity::Idle;
        let sealed = self.offset;
        (self.offset, self.head) = (head, head);
        Some((segment, sealed, core::mem::take(&mut self.index)))
    }

    /// The segment that is being made, if one is.
    pub(super) const fn rolling(&self) -> Option<Segment> {
        match self.activity {
            Activity::Rolling(segment, _) | Activity::Noting(segment, _) => Some(segment),
            Activity::Idle | Activity::Writing { .. } => None,
        }
    }

    /// When it is to be woken.
    pub(super) fn wakes(&self) -> Option<Now> {
        let can_sync = !self.is_syncing() && self.rolling().is_none();
        let due = self.sync_due.filter(|_| can_sync);
        [due, self.lane.wakes()].into_iter().flatten().min()
    }
}
