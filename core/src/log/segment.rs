//! The segments that a log has.

use alloc::collections::VecDeque;

/// What is known of a segment without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The sequence that it begins at.
    pub(super) first: u64,
    /// When the last message before it was published; 0 if there was none.
    pub(super) published: u64,
    /// Its size when it was sealed, or as the disk says; 0 for the last, which grows.
    pub(super) bytes: u64,
}

/// The segments of a log, in order. The last is the one that is written to.
#[derive(Debug, Default)]
pub(super) struct Segments(VecDeque<Segment>);

impl Segments {
    pub(super) fn push(&mut self, segment: Segment) {
        debug_assert!(self.last().is_none_or(|last| last.first < segment.first));
        self.0.push_back(segment);
    }

    pub(super) fn pop(&mut self) {
        self.0.pop_back();
    }

    /// The last has been sealed with this size.
    pub(super) fn seal(&mut self, bytes: u64) {
        if let Some(last) = self.0.back_mut() {
            last.bytes = bytes;
        }
    }

    pub(super) fn first(&self) -> Option<Segment> {
        self.0.front().copied()
    }

    pub(super) fn last(&self) -> Option<Segment> {
        self.0.back().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Segment> {
        self.0.iter().copied()
    }

    /// The segment that a sequence stands in; the first for one that is below all.
    pub(super) fn holding(&self, sequence: u64) -> Option<Segment> {
        let behind = self.0.partition_point(|it| it.first <= sequence);
        self.0.get(behind.saturating_sub(1)).copied()
    }

    /// The segment behind this one.
    pub(super) fn after(&self, first: u64) -> Option<Segment> {
        let behind = self.0.partition_point(|it| it.first <= first);
        self.0.get(behind).copied()
    }

    /// The first segment that may hold a message published at `time` or later; the last if none does.
    pub(super) fn at(&self, time: u64) -> Option<Segment> {
        let next = self.0.iter().skip(1);
        let before = next.take_while(|it| it.published < time).count();
        self.0.get(before).copied()
    }

    /// Takes away those that lie below `sequence` as a whole.
    pub(super) fn remove_below(&mut self, sequence: u64) -> impl Iterator<Item = Segment> {
        let whole = self.0.iter().skip(1);
        let below = whole.take_while(|it| it.first <= sequence).count();
        self.0.drain(..below)
    }
}
