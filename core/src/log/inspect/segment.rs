//! What is found in one segment.

use crate::log::content::{Content, Head};
use crate::log::disk::File;
use crate::log::index::{Entry, Index};
use crate::log::producers::Producers;
use crate::log::record::Record;
use crate::wire::control::Mark;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

/// Records one behind the other without a hole, and the sequences in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct Region {
    /// Bytes of the file.
    pub(in crate::log) bytes: Range<u64>,
    /// Sequences.
    pub(in crate::log) sequences: Range<u64>,
}

/// What has been found in a segment so far.
#[derive(Clone, Debug)]
pub(in crate::log) struct SegmentSeen {
    /// The file, whose name may be wrong.
    pub(in crate::log) file: File,
    /// The sequence that it begins at.
    pub(in crate::log) first: u64,
    /// Below this its sequences end.
    pub(super) limit: u64,
    pub(in crate::log) head: Option<Head>,
    /// How far producers had got before its first message.
    pub(in crate::log) producers: Vec<Mark>,
    /// Its messages and gaps. More than one region if something between them is not right.
    pub(in crate::log) regions: Vec<Region>,
    /// The sequence of the next message.
    pub(in crate::log) next: u64,
    /// When the last message was published.
    pub(in crate::log) published: u64,
    /// Whether something in it is not right.
    pub(in crate::log) is_damaged: bool,
    /// Whether it has a torn end.
    pub(in crate::log) is_torn: bool,
    /// Whether it has said of producers.
    has_producers: bool,
    /// Where what was damaged last ends, in bytes.
    damage_end: Option<u64>,
    /// What its index says of what is still to be read.
    index: VecDeque<Entry>,
    pub(super) is_index_wrong: bool,
}

/// What a record is to a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is where it belongs.
    Right(Content),
    /// It comes too late: something before it is missing, and no damage was seen there.
    BehindHole(Content),
    /// It does not belong there.
    Wrong,
}

impl SegmentSeen {
    pub(super) fn new(file: File, first: u64, limit: u64, head: Option<Head>) -> Self {
        Self {
            file,
            first,
            limit,
            head,
            producers: Vec::new(),
            regions: Vec::new(),
            next: first,
            published: head.map_or(0, |it| it.published),
            is_damaged: false,
            is_torn: false,
            has_producers: false,
            damage_end: None,
            index: VecDeque::new(),
            is_index_wrong: false,
        }
    }

    pub(in crate::log) const fn has_messages(&self) -> bool {
        !self.regions.is_empty()
    }

    /// This is what its index says; none if that cannot be read.
    pub(super) fn indexed(&mut self, index: Option<&Index>) {
        match index {
            Some(index) => self.index = index.entries().collect(),
            None => self.is_index_wrong = true,
        }
    }

    /// Whether a record that was found behind damage can be one of this segment, and is not the content of a message
    /// that looks like one.
    pub(super) fn fits(&self, record: &Record) -> bool {
        match Content::of(record) {
            Some(Content::Producers) => !self.has_messages(),
            Some(content) => content.range().is_some_and(|it| {
                it.from >= self.next && it.to < self.limit && record.safe < it.from
            }),
            None => false,
        }
    }

    /// What is between these bytes is no record.
    pub(super) fn damaged(&mut self, bytes: &Range<u64>) {
        self.is_damaged = true;
        self.damage_end = Some(bytes.end);
    }

    /// Whether something before this place, where its records end, was damaged up to there.
    pub(super) fn ends_damaged(&self, at: u64) -> bool {
        self.damage_end.is_some_and(|end| end >= at)
    }

    /// The next record was read.
    pub(super) fn take(
        &mut self,
        record: &Record,
        bytes: &Range<u64>,
        producers: &mut Producers,
    ) -> Place {
        let is_first = bytes.start == 0;
        let place = match Content::of(record) {
            // Whether it is the right one was looked at before.
            Some(content @ Content::Head(_)) if is_first => Place::Right(content),
            Some(content @ Content::Producers) if !is_first => Place::Right(content),
            Some(content) => match content.range() {
                Some(range) if range.from < self.next || range.to >= self.limit => Place::Wrong,
                Some(range) if range.from > self.next => {
                    if self.damage_end == Some(bytes.start) {
                        Place::Right(content)
                    } else {
                        Place::BehindHole(content)
                    }
                }
                Some(_) if !is_first => Place::Right(content),
                Some(_) | None => Place::Wrong,
            },
            None => Place::Wrong,
        };
        match &place {
            Place::Right(content) => self.keep(content, record, bytes, producers),
            Place::BehindHole(content) => {
                self.is_damaged = true;
                self.keep(content, record, bytes, producers);
            }
            Place::Wrong => self.damaged(bytes),
        }
        place
    }

    fn keep(
        &mut self,
        content: &Content,
        record: &Record,
        bytes: &Range<u64>,
        producers: &mut Producers,
    ) {
        let range = content.range();
        if range.is_some() && !self.has_messages() {
            self.producers = producers.oldest_first().cloned().collect();
        }
        if *content == Content::Producers && !self.has_producers && !self.is_damaged {
            // It says of all that are remembered.
            *producers = Producers::new(usize::MAX);
            self.has_producers = true;
        }
        for mark in &record.producers {
            producers.mark(mark);
        }
        let Some(range) = range else {
            return;
        };
        self.look_up(bytes.start, range.from);
        if let Content::Run { published, .. } = content {
            self.published = *published;
        }
        self.next = range.to + 1;
        match self.regions.last_mut() {
            Some(last) if last.bytes.end == bytes.start && last.sequences.end == range.from => {
                last.bytes.end = bytes.end;
                last.sequences.end = self.next;
            }
            _ => self.regions.push(Region {
                bytes: bytes.clone(),
                sequences: range.from..self.next,
            }),
        }
    }

    /// Whether the index is right about what begins here.
    fn look_up(&mut self, offset: u64, first: u64) {
        while let Some(entry) = self.index.front()
            && entry.offset <= offset
        {
            self.is_index_wrong |= (entry.offset, entry.first) != (offset, first);
            self.index.pop_front();
        }
    }

    /// All of it was read.
    pub(super) fn end(&mut self, producers: &Producers) {
        if !self.has_messages() {
            self.producers = producers.oldest_first().cloned().collect();
        }
        self.is_index_wrong |= !self.index.is_empty();
    }
}
