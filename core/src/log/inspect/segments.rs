//! Segments are read, one after the other.

use super::found::{Note, Seen, SeenContent, Step};
use super::segment::{Place, SegmentSeen};
use super::walk::{Walk, Walked};
use super::{Inspection, Way};
use crate::log::content::{Content, Head};
use crate::log::damage::DamageKind;
use crate::log::disk::File;
use crate::log::index::Index;
use crate::log::reading::{ReadFrom, Stored};
use crate::log::record::Record;
use crate::log::scan::{Found, Scan};
use alloc::vec::Vec;
use core::ops::Range;

impl Inspection {
    pub(super) fn begin_segment(&mut self, index: usize) {
        let Some(segment) = self.segments.get(index) else {
            self.check_groups();
            return;
        };
        if index > 0 && self.is_passed(index) {
            self.pass(index);
            return;
        }
        let File::Segment(number) = segment.file else {
            return;
        };
        let file = File::Index(number);
        if self.sizes.contains_key(&file) && !self.is_passed(index) {
            self.way = Way::Index(index, Scan::new(file, 0));
        } else {
            self.begin_walk(index);
        }
    }

    fn begin_walk(&mut self, index: usize) {
        self.check_previous(index);
        let segment = &self.segments[index];
        // All others were cut to their sizes and made safe.
        let is_last = index + 1 == self.segments.len();
        let torn_above = is_last.then(|| self.known_by_groups(true));
        self.way = Way::Segment(index, Walk::new(segment.file, torn_above));
    }

    /// Whether a segment follows upon the one before it.
    fn check_previous(&mut self, index: usize) {
        let Some(before) = index.checked_sub(1).map(|it| self.segments[it].first) else {
            return;
        };
        let SegmentSeen { file, head, .. } = self.segments[index];
        match head {
            Some(head) if head.previous > before => {
                self.report(File::Segment(head.previous), 0, DamageKind::Missing);
            }
            Some(head) if head.previous < before => {
                self.report(file, 0, DamageKind::Misplaced);
            }
            Some(_) | None => {}
        }
    }

    /// Whether all of a segment lies before what is asked for.
    fn is_passed(&self, index: usize) -> bool {
        let Some(next) = self.segments.get(index + 1) else {
            return false;
        };
        match self.from {
            ReadFrom::First => false,
            ReadFrom::Last => true,
            ReadFrom::Sequence(sequence) => next.first <= sequence,
            ReadFrom::At(cursor) => next.first <= cursor.sequence(),
            ReadFrom::Time(time) => next.head.is_some_and(|it| it.published < time),
        }
    }

    /// Nothing more is to be read of a segment.
    fn pass(&mut self, index: usize) {
        let next = self.segments.get(index + 1).map(|it| (it.first, it.head));
        let segment = &mut self.segments[index];
        if let Some((first, head)) = next {
            segment.next = first;
            segment.published = head.map_or(segment.published, |it| it.published);
        }
        let file = segment.file;
        self.passed += self.size(file);
        self.begin_segment(index + 1);
    }

    pub(super) fn index(&mut self, index: usize, mut scan: Scan) -> Option<Step> {
        let segment = &mut self.segments[index];
        match (scan.next(), segment.file) {
            (Found::Read(operation), _) => {
                self.way = Way::Index(index, scan);
                return Some(Step::Read(operation));
            }
            (Found::Record(record, _), File::Segment(number)) => {
                let epoch = self.epoch.unwrap_or_default();
                let says = Index::decode(&record, epoch, number);
                segment.indexed(says.as_ref());
            }
            (Found::Record(..) | Found::End | Found::Damaged, _) => segment.indexed(None),
        }
        self.passed += self.size(scan.file());
        self.begin_walk(index);
        None
    }

    pub(super) fn segment(&mut self, index: usize, mut walk: Walk) -> Option<Step> {
        let file = walk.file();
        loop {
            let segment = &mut self.segments[index];
            match walk.next(segment.next, |record| segment.fits(record)) {
                Walked::Read(operation) => {
                    self.way = Way::Segment(index, walk);
                    return Some(Step::Read(operation));
                }
                Walked::Record(record, bytes) => {
                    let offset = bytes.start;
                    let content = match segment.take(&record, &bytes, &mut self.producers) {
                        Place::Right(content) => content,
                        Place::BehindHole(content) => {
                            self.report(file, offset, DamageKind::Misplaced);
                            content
                        }
                        Place::Wrong => {
                            self.report(file, offset, DamageKind::Misplaced);
                            continue;
                        }
                    };
                    if let Content::Run { published, .. } = content
                        && index == 0
                    {
                        self.first_published.get_or_insert(published);
                        if self.is_passed(index) {
                            self.pass(index);
                            return None;
                        }
                    }
                    self.way = Way::Segment(index, walk);
                    return Some(Step::Record(Seen {
                        file,
                        offset,
                        bytes: bytes.end - bytes.start,
                        content: seen(content, record),
                    }));
                }
                Walked::Damaged(bytes) => {
                    segment.damaged(&bytes);
                    self.report(file, bytes.start, DamageKind::NotARecord);
                }
                Walked::End(torn) => {
                    self.segment_ends(index, &torn);
                    self.forget_producers(index);
                    self.passed += self.size(file);
                    self.begin_segment(index + 1);
                    return None;
                }
            }
        }
    }

    fn segment_ends(&mut self, index: usize, torn: &Range<u64>) {
        let follows = self.segments.get(index + 1).map(|it| (it.first, it.head));
        let is_noted = self.is_noted(index);
        let segment = &mut self.segments[index];
        segment.end(&self.producers);
        let SegmentSeen {
            file, first, next, ..
        } = *segment;
        let is_unfinished = !is_noted && !segment.has_messages() && !segment.is_damaged;
        if segment.head.is_none() && !segment.is_damaged {
            if is_unfinished {
                self.notes.push(Note::Unfinished(file));
                return;
            }
            segment.is_damaged = true;
            self.report(file, 0, DamageKind::NotARecord);
            return;
        }
        segment.is_torn = !torn.is_empty();
        if let File::Segment(number) = file
            && segment.is_index_wrong
        {
            self.notes.push(Note::BadIndex(File::Index(number)));
        }
        if !torn.is_empty() {
            self.torn(file, torn);
        }
        if let Some((limit, head)) = follows
            && next < limit
            && head.is_none_or(|it| it.previous == first)
        {
            let segment = &mut self.segments[index];
            let is_known = segment.ends_damaged(torn.start);
            segment.is_damaged = true;
            if !is_known {
                self.report(file, torn.start, DamageKind::EndsBefore(next));
            }
        }
    }

    /// Only a segment that is written anew has to know how far producers had got.
    fn forget_producers(&mut self, index: usize) {
        let before = index.checked_sub(1).map(|it| self.segments[it].first);
        let segment = &mut self.segments[index];
        let follows = |head: Head| before.is_none_or(|it| it == head.previous);
        let is_right = segment.file == File::Segment(segment.first)
            && segment.head.is_some_and(follows)
            && segment.next == segment.limit
            && !segment.is_damaged;
        if is_right {
            segment.producers = Vec::new();
        }
    }

    /// Whether the journal knows of a segment, as far as it says.
    fn is_noted(&self, index: usize) -> bool {
        let tail = self.bounds().map_or(u64::MAX, |it| it.tail);
        index + 1 < self.segments.len() || self.segments[index].first <= tail
    }
}

fn seen(content: Content, record: Record) -> SeenContent {
    match content {
        Content::Head(_) => SeenContent::Head,
        Content::Producers => SeenContent::Producers(record.producers),
        Content::Run {
            first,
            published,
            batch,
            origin,
        } => SeenContent::Stored(Stored::Run {
            first,
            published,
            batch,
            producers: record.producers,
            origin,
        }),
        Content::Gap(range) => SeenContent::Stored(Stored::Gap(range)),
    }
}
