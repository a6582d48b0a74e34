//! What is to be done to a damaged log, so that it can be opened.
//!
//! - Every record that is whole and of this log is kept. Gaps stand for sequences that are lost between them, so that no
//!   sequence is given to another message.
//! - A segment in which something is not right is written anew: a head, and what is kept, byte for byte. So is one that
//!   follows upon another than before.
//! - A journal in which something is not right is written anew, with what it still says of groups.
//! - No file is changed or deleted. Those that new ones stand for, and those that are not of this log, are moved aside.

use super::content::{self, FORMAT, Head};
use super::damage::Damage;
use super::disk::File;
use super::inspect::{Inspection, JournalState, Note, SegmentSeen};
use super::journal::Bounds;
use crate::wire::control::Range;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a repair would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files to be written, each whole.
    pub new: Vec<NewFile>,
    /// Files to be moved aside. New ones take the names of some.
    pub aside: Vec<File>,
    /// Sequences that are lost and were there, or may have been, in order.
    pub lost: Vec<Range>,
    /// From this sequence on the log is kept; none if that is as it was. Nothing says whether there was something before
    /// it that had not been deleted on purpose.
    pub begin: Option<u64>,
    /// Whether messages behind the last that is known of may be lost. How many cannot be known: their sequences will be
    /// given to others.
    pub is_end_unknown: bool,
    /// What becomes of groups.
    pub groups: Groups,
}

/// What a repair can say of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// All that was known of them is kept.
    #[default]
    Kept,
    /// Some may be missing, or have got farther than is known.
    Uncertain,
    /// Nothing is known of them.
    Lost,
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its name.
    pub file: File,
    /// What it holds, one behind the other.
    pub parts: Vec<Part>,
}

/// A part of a file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// Bytes of a file that is there.
    Copy {
        /// The file.
        file: File,
        /// Which bytes: from the first to before the last.
        bytes: core::ops::Range<u64>,
    },
}

impl Plan {
    /// Whether there is nothing to be done.
    pub const fn is_empty(&self) -> bool {
        self.new.is_empty() && self.aside.is_empty()
    }
}

/// A segment as it is to be.
struct Wanted<'a> {
    first: u64,
    /// What there is of it.
    seen: Option<&'a SegmentSeen>,
    /// Whether another is to follow. Opening the log cuts a torn end off the last segment alone.
    is_followed: bool,
}

impl Inspection {
    /// What is to be done so that the log can be opened: nothing if nothing is damaged. To be called when all has been
    /// looked at, from [`ReadFrom::First`](super::ReadFrom::First) on. If nothing says the epoch of the log any more, it
    /// becomes `epoch`.
    ///
    /// # Errors
    /// A file of a format that only a later version of this program knows.
    pub fn plan(&self, epoch: u64) -> Result<Plan, &Damage> {
        if let Some(damage) = self.newer_format() {
            return Err(damage);
        }
        if self.damage().is_empty() {
            return Ok(Plan::default());
        }
        let planner = Planner {
            inspection: self,
            epoch: self.epoch.unwrap_or(epoch),
            plan: Plan::default(),
        };
        Ok(planner.plan())
    }
}

struct Planner<'a> {
    inspection: &'a Inspection,
    epoch: u64,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn plan(mut self) -> Plan {
        for file in &self.inspection.foreign {
            self.move_aside(*file);
        }
        // They are known not to be needed by the segments behind them, of which some may go.
        for note in self.inspection.notes() {
            if let Note::Leftover(file) = note {
                self.move_aside(*file);
            }
        }
        let mut wanted = self.kept();
        let next = self.next(&mut wanted);
        let known = self.inspection.bounds();
        let first = wanted.first().map(|it| it.first);
        let begin = match (known, first) {
            (Some(bounds), Some(first)) => bounds.begin.max(first),
            (Some(bounds), None) => bounds.begin,
            (None, first) => first.unwrap_or(1),
        };
        if let Some(bounds) = known {
            let lost = Range::new(bounds.begin, begin.saturating_sub(1));
            self.plan.lost.extend(lost);
        }
        if known.is_none() && begin > 1 {
            self.plan.begin = Some(begin);
        }
        self.segments(&wanted, next);
        let is_whole = self.inspection.journal_state == JournalState::Whole;
        if !is_whole || known.is_some_and(|it| it.begin != begin) {
            let tail = wanted.last().map_or(0, |it| it.first);
            self.journal(Bounds { begin, tail });
        }
        self.plan.groups = match self.inspection.journal_state {
            JournalState::Whole => Groups::Kept,
            JournalState::Damaged => Groups::Uncertain,
            JournalState::Lost => Groups::Lost,
        };
        self.plan
    }

    /// The segments that there is something of.
    fn kept(&mut self) -> Vec<Wanted<'a>> {
        let inspection = self.inspection;
        let mut wanted = Vec::new();
        for (index, seen) in inspection.segments.iter().enumerate() {
            let is_last = index + 1 == inspection.segments.len();
            if is_last && !seen.has_messages() && seen.head.is_none() {
                self.move_aside(seen.file);
                continue;
            }
            wanted.push(Wanted {
                first: seen.first,
                seen: Some(seen),
                is_followed: !is_last,
            });
        }
        wanted
    }

    /// The sequence of the next message. Adds the last segment if nothing of it is there.
    fn next(&mut self, wanted: &mut Vec<Wanted<'a>>) -> u64 {
        let unknown = Bounds { begin: 1, tail: 0 };
        let Bounds { begin, tail } = self.inspection.bounds().unwrap_or(unknown);
        let last = wanted.last().map(|it| it.first);
        let next = wanted.last().and_then(|it| it.seen).map(|it| it.next);
        let known = self.inspection.known_by_groups(false).saturating_add(1);
        // It was not made before all before it was safe, though there is nothing of it.
        let made = self.inspection.segments.last().map_or(0, |it| it.first);
        let is_missing = match (last, next) {
            (Some(last), Some(next)) => last < tail && next <= tail,
            _ => tail > 0 || begin > 1 || known.max(made) > begin,
        };
        if is_missing {
            if let Some(last) = wanted.last_mut() {
                last.is_followed = true;
            }
            wanted.push(Wanted {
                first: tail.max(begin).max(made),
                seen: None,
                is_followed: false,
            });
        }
        let next = next.unwrap_or(begin);
        self.plan.is_end_unknown = is_missing || known > next;
        next.max(tail).max(known).max(made)
    }

    fn segments(&mut self, wanted: &[Wanted<'a>], next: u64) {
        let limits = wanted.iter().skip(1).map(|it| it.first).chain([next]);
        let mut before = None;
        let mut published = 0;
        for (segment, limit) in wanted.iter().zip(limits) {
            self.segment(segment, limit, before, published);
            published = segment.seen.map_or(published, |it| it.published);
            before = Some(segment.first);
        }
    }

    fn segment(&mut self, wanted: &Wanted<'_>, limit: u64, before: Option<u64>, published: u64) {
        let first = wanted.first;
        let file = File::Segment(first);
        let head = wanted.seen.and_then(|it| it.head);
        let regions = wanted.seen.map_or(&[][..], |it| &it.regions);
        let (mut parts, mut lost) = (Vec::new(), Vec::new());
        let mut next = first;
        let mut gap = |from: u64, to: u64, parts: &mut Vec<Part>| {
            if let Some(range) = Range::new(from, to - 1) {
                lost.push(range);
                parts.push(Part::Bytes(content::gap(range, from - 1)));
            }
        };
        for region in regions {
            gap(next, region.sequences.start, &mut parts);
            next = region.sequences.end;
            parts.push(Part::Copy {
                file: wanted.seen.map_or(file, |it| it.file),
                bytes: region.bytes.clone(),
            });
        }
        gap(next, limit, &mut parts);
        let is_torn = |it: &SegmentSeen| it.is_torn && wanted.is_followed;
        let is_kept = |it: &SegmentSeen| !it.is_damaged && !is_torn(it);
        let is_right = wanted.seen.is_some_and(|it| is_kept(it) && it.file == file)
            && head.is_some_and(|head| before.is_none_or(|it| it == head.previous))
            && lost.is_empty();
        if is_right {
            return;
        }
        let head = Head {
            format: FORMAT,
            epoch: self.epoch,
            first,
            previous: before.or(head.map(|it| it.previous)).unwrap_or(0),
            published: head.map_or(published, |it| it.published),
        };
        let all = &self.inspection.producers;
        let producers: Vec<_> = match wanted.seen {
            Some(seen) => seen.producers.clone(),
            None => all.oldest_first().cloned().collect(),
        };
        let head = content::head_of_segment(head, first - 1, producers.into_iter());
        parts.insert(0, Part::Bytes(head));
        self.plan.lost.extend(lost);
        if let Some(seen) = wanted.seen {
            self.move_aside(seen.file);
        }
        self.plan.new.push(NewFile { file, parts });
    }

    fn journal(&mut self, bounds: Bounds) {
        let mut number = 1;
        for file in self.inspection.files() {
            if let File::Journal(it) | File::NewJournal(it) = file {
                number = number.max(it + 1);
                self.plan.aside.push(file);
            }
        }
        let pieces = self
            .inspection
            .journal
            .made_anew(number, self.epoch, bounds);
        self.plan.new.push(NewFile {
            file: File::Journal(number),
            parts: pieces.into_iter().map(Part::Bytes).collect(),
        });
    }

    /// A segment is not needed any more as it is, and so its index.
    fn move_aside(&mut self, segment: File) {
        let File::Segment(first) = segment else {
            return;
        };
        let index = File::Index(first);
        let files = self.inspection.files();
        let files = files.filter(|it| *it == segment || *it == index);
        self.plan.aside.extend(files);
    }
}
