//! A look at a whole log that changes nothing.
//!
//! The journal is read, then the head of each segment, then the segments: all of them, or those from some place on. What
//! is damaged is noted down, and it goes on behind it. [`Inspection::plan`] says what a repair would do.
//!
//! | file | holds |
//! |---|---|
//! | `walk.rs` | the records of one file, those behind damage included |
//! | `journal.rs` | what the journal says |
//! | `heads.rs` | which file is which segment |
//! | `segments.rs`, `segment.rs` | one segment after the other, and what is found in it |
//! | `found.rs` | what is told |

mod found;
mod heads;
mod journal;
mod segment;
mod segments;
mod walk;

pub use found::{Note, Seen, SeenContent, SegmentSummary, Step, Summary};
pub(super) use segment::SegmentSeen;

use super::content::{Content, Head};
use super::damage::{Damage, DamageKind};
use super::disk::{File, Operation};
use super::journal::{Bounds, Journal};
use super::producers::Producers;
use super::reading::ReadFrom;
use super::record::{self, Next};
use super::scan::Scan;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use walk::Walk;

/// What is read of a segment to know its head, in bytes.
const HEAD: usize = 256;

/// A look at the log of one topic, from the list of its files to what is wrong with it.
///
/// Use: call [`next`](Self::next) until it is [`Step::Done`], and [`read`](Self::read) where it says so.
///
/// # Memory
/// A chunk of 256 KiB, or one record if that is larger; the journal's groups; the producers, once more for each segment
/// that would be written anew; about 200 bytes for each segment, and for each damage.
#[derive(Debug)]
pub struct Inspection {
    from: ReadFrom,
    sizes: BTreeMap<File, u64>,
    pub(super) journal: Journal,
    pub(super) journal_state: JournalState,
    /// The segments by their files: in order of their names while heads are read.
    heads: Vec<(File, Option<Head>)>,
    /// In order of their sequences.
    pub(super) segments: Vec<SegmentSeen>,
    /// Segments that are not of this log, or that another file stands for.
    pub(super) foreign: Vec<File>,
    pub(super) epoch: Option<u64>,
    pub(super) producers: Producers,
    /// When the first message kept was published.
    first_published: Option<u64>,
    damage: Vec<Damage>,
    notes: Vec<Note>,
    way: Way,
    /// How many bytes the files have that it has done with.
    passed: u64,
}

/// What is known of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalState {
    Whole,
    /// Something in it is missing.
    Damaged,
    /// There is none, or none of this topic.
    Lost,
}

#[derive(Debug)]
enum Way {
    Journal(Walk),
    /// The head of this file is read.
    Heads(usize),
    /// The index of this segment is read.
    Index(usize, Scan),
    Segment(usize, Walk),
    Done,
}

impl Inspection {
    /// A look at the log of this topic, in a folder with these files of these sizes in bytes. Segments that lie before
    /// `from` as a whole are passed over: of those only the heads are read.
    pub fn new(topic: &str, files: &[(File, u64)], from: ReadFrom) -> Self {
        let sizes: BTreeMap<_, _> = files.iter().copied().collect();
        let mut inspection = Self {
            from,
            journal: Journal::new(topic, 0),
            journal_state: JournalState::Whole,
            heads: Vec::new(),
            segments: Vec::new(),
            foreign: Vec::new(),
            epoch: None,
            producers: Producers::new(usize::MAX),
            first_published: None,
            damage: Vec::new(),
            notes: Vec::new(),
            way: Way::Done,
            passed: 0,
            sizes,
        };
        inspection.begin();
        inspection
    }

    fn begin(&mut self) {
        let (mut journals, mut deleted) = (Vec::new(), None);
        for file in self.sizes.keys() {
            match *file {
                File::Journal(number) => journals.push(number),
                File::Segment(_) => self.heads.push((*file, None)),
                File::NewJournal(_) => self.notes.push(Note::Unfinished(*file)),
                File::Index(first) if self.sizes.contains_key(&File::Segment(first)) => {}
                File::Index(_) => self.notes.push(Note::Leftover(*file)),
                // Nothing is in it, and a log that was closed may well have one.
                File::Spare(_) => {}
                File::Deleted(_) => deleted = Some(*file),
            }
        }
        if let Some(file) = deleted {
            self.notes = [Note::Deleted(file)].into();
            return;
        }
        let Some(number) = journals.pop() else {
            if let Some((file, _)) = self.heads.first() {
                let file = *file;
                self.report(file, 0, DamageKind::NoJournal);
                self.journal_state = JournalState::Lost;
                self.way = Way::Heads(0);
            }
            return;
        };
        let old = journals.into_iter().map(File::Journal);
        self.notes.extend(old.map(Note::Leftover));
        self.way = Way::Journal(Walk::new(File::Journal(number), Some(0)));
    }

    /// What comes next.
    #[expect(
        clippy::should_implement_trait,
        reason = "it goes on only when it has been given what it asked for"
    )]
    pub fn next(&mut self) -> Step {
        loop {
            let step = match core::mem::replace(&mut self.way, Way::Done) {
                Way::Journal(walk) => self.journal(walk),
                Way::Heads(index) => self.head(index),
                Way::Index(index, scan) => self.index(index, scan),
                Way::Segment(index, walk) => self.segment(index, walk),
                Way::Done => Some(Step::Done),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// What was to be read.
    pub fn read(&mut self, bytes: Bytes) {
        match &mut self.way {
            Way::Journal(walk) | Way::Segment(_, walk) => walk.read(bytes),
            Way::Heads(index) => {
                let index = *index;
                self.heads[index].1 = head_of(&bytes);
                self.way = Way::Heads(index + 1);
            }
            Way::Index(_, scan) => scan.read(bytes),
            Way::Done => {}
        }
    }

    /// What has been found to be damaged so far, in the order of the log.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What else has been found so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// How many bytes of files it has got behind it, and how many there are. Both are about right.
    pub fn position(&self) -> (u64, u64) {
        let walked = match &self.way {
            Way::Journal(walk) | Way::Segment(_, walk) => walk.walked(),
            Way::Heads(_) | Way::Index(..) | Way::Done => 0,
        };
        (self.passed + walked, self.sizes.values().sum())
    }

    /// What is known of the log.
    pub fn summary(&self) -> Summary {
        let next = self.next_sequence();
        let published = self.segments.iter().map(|it| it.published).max();
        let published = published.unwrap_or(0);
        let segments = self.segments.iter().map(|it| SegmentSummary {
            file: it.file,
            first: it.first,
            next: it.next,
            bytes: self.size(it.file),
            published: it.published,
        });
        let groups = self.journal.groups();
        Summary {
            epoch: self.epoch,
            first: self.segments.first().map_or(next, |it| it.first),
            next,
            published: self.first_published.map(|first| (first, published)),
            segments: segments.collect(),
            groups: groups
                .map(|(name, _, progress)| (name.clone(), progress))
                .collect(),
            producers: self.producers.by_name().cloned().collect(),
        }
    }

    /// The sequence of the next message, as far as segments tell.
    pub(super) fn next_sequence(&self) -> u64 {
        self.segments
            .last()
            .map_or(self.journal.bounds.begin, |it| it.next)
    }

    /// Whether it is to be read, of a later version, and nothing can be said of it.
    pub(super) fn newer_format(&self) -> Option<&Damage> {
        let is_newer = |it: &&Damage| matches!(it.kind, DamageKind::NewerFormat(_));
        self.damage.iter().find(is_newer)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = File> {
        self.sizes.keys().copied()
    }

    fn size(&self, file: File) -> u64 {
        self.sizes.get(&file).copied().unwrap_or_default()
    }

    fn report(&mut self, file: File, offset: u64, kind: DamageKind) {
        self.damage.push(Damage { file, offset, kind });
    }

    fn torn(&mut self, file: File, torn: &Range<u64>) {
        self.notes.push(Note::Torn {
            file,
            offset: torn.start,
            bytes: torn.end - torn.start,
        });
    }

    fn head(&mut self, index: usize) -> Option<Step> {
        if let Some((file, _)) = self.heads.get(index) {
            let operation = Operation::Read {
                file: *file,
                offset: 0,
                length: HEAD,
            };
            self.way = Way::Heads(index);
            return Some(Step::Read(operation));
        }
        self.order_segments();
        if self.newer_format().is_none() {
            self.check_bounds();
            self.begin_segment(0);
        }
        None
    }

    /// Whether the segments reach as far as the journal says.
    fn check_bounds(&mut self) {
        let Some(bounds) = self.bounds() else {
            return;
        };
        let first = self.segments.first().map(|it| it.first);
        let last = self.segments.last().map(|it| it.first);
        if first.is_some_and(|it| it > bounds.begin) {
            self.report(File::Segment(bounds.begin), 0, DamageKind::Missing);
        }
        if last.map_or(bounds.tail > 0, |it| it < bounds.tail) {
            self.report(File::Segment(bounds.tail), 0, DamageKind::Missing);
        }
    }

    /// Where the log begins and ends, if the journal says it.
    pub(super) fn bounds(&self) -> Option<Bounds> {
        let is_whole = self.journal_state == JournalState::Whole;
        let is_known = is_whole || self.journal.has_bounds();
        is_known.then_some(self.journal.bounds)
    }

    /// The highest sequence that groups have settled, or that has failed; if `safe`, of those that were safe then.
    pub(super) fn known_by_groups(&self, safe: bool) -> u64 {
        let groups = self.journal.groups();
        let known = groups.filter(|(_, was_safe, _)| *was_safe || !safe);
        known.map(|(_, _, it)| it.highest()).max().unwrap_or(0)
    }

    fn check_groups(&mut self) {
        let known = self.known_by_groups(true);
        if known >= self.next_sequence() {
            let last = self.segments.last();
            let (file, regions) = last.map_or((self.journal.file(), &[][..]), |it| {
                (it.file, &it.regions[..])
            });
            let end = regions.last().map_or(0, |it| it.bytes.end);
            if !last.is_some_and(|it| it.ends_damaged(end)) {
                self.report(file, end, DamageKind::EndsBefore(known));
            }
        }
    }
}

/// The head of a segment that begins with these bytes, if it is whole.
fn head_of(bytes: &Bytes) -> Option<Head> {
    let Next::Record(record, _) = record::next(bytes) else {
        return None;
    };
    match Content::of(&record)? {
        Content::Head(head) => Some(head),
        Content::Producers | Content::Run { .. } | Content::Gap(_) => None,
    }
}
