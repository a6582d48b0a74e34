//! What of a partition a group has settled: all below an offset, and ranges above it. The offset is what is committed, and
//! the ranges stand beside it as the commit's metadata, so that whoever has the partition next does not hand them out again.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What the metadata of a commit begins with that this engine has written.
const VERSION: &str = "mq1";

/// Kafka takes 4,096 bytes of metadata, unless it is told otherwise (`offset.metadata.max.bytes`). Ranges that have no room
/// are handed out again.
const MOST_METADATA: usize = 3_500;

/// The offsets of a partition, as a group has settled them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    /// All below is settled.
    low: i64,
    /// Ranges that are settled above, in order and apart: where each begins, and the offset after it.
    above: BTreeMap<i64, i64>,
    /// The offset after the last that has come.
    next: i64,
    /// All below this were in the window of a broker: they may have been handed out.
    seen: i64,
    /// Whether it is to be committed.
    is_changed: bool,
}

impl Offsets {
    /// Where a commit at this offset, with this metadata, says that the group has got.
    pub(super) fn committed(low: i64, metadata: &str) -> Self {
        let mut offsets = Self {
            low,
            next: low,
            ..Self::default()
        };
        let mut words = metadata.split(' ');
        if words.next() != Some(VERSION) {
            return offsets;
        }
        offsets.seen = words.next().and_then(|it| it.parse().ok()).unwrap_or(0);
        for range in words {
            let parsed = range.split_once('-');
            let parsed = parsed.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            // One that makes no sense is one that is not settled.
            if let Some((from, to)) = parsed
                && low <= from
                && from < to
            {
                offsets.settle(from, to);
            }
        }
        offsets.is_changed = false;
        offsets
    }

    /// The offset to commit, and its metadata.
    pub(super) fn commit(&self) -> (i64, String) {
        let mut metadata = format!("{VERSION} {}", self.seen);
        for (from, to) in &self.above {
            let length = metadata.len();
            // A string takes what is written to it.
            let _ = write!(metadata, " {from}-{to}");
            if metadata.len() > MOST_METADATA {
                metadata.truncate(length);
                break;
            }
        }
        (self.low, metadata)
    }

    /// Whether there is something to commit, which is being committed from now on.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// What was being committed was not.
    pub(super) const fn not_committed(&mut self) {
        self.is_changed = true;
    }

    /// One has come. Returns whether it is to be handed out, and whether it may have been before. Offsets that never come
    /// were compacted away, or are Kafka's own.
    pub(super) fn take(&mut self, offset: i64) -> Option<bool> {
        if offset > self.next {
            self.settle(self.next, offset);
        }
        self.next = self.next.max(offset + 1);
        let range = self.above.range(..=offset).next_back();
        let is_settled = offset < self.low || range.is_some_and(|(_, to)| offset < *to);
        (!is_settled).then_some(offset < self.seen)
    }

    /// All below this offset is in the window of the broker. The next commit says so. Returns whether that is new.
    pub(super) fn see(&mut self, below: i64) -> bool {
        let is_new = below > self.seen;
        self.seen = self.seen.max(below);
        is_new
    }

    /// These are settled: from one, and below another.
    pub(super) fn settle(&mut self, from: i64, to: i64) {
        let (mut from, mut to) = (from.max(self.low), to);
        if from >= to {
            return;
        }
        if let Some((&begin, &end)) = self.above.range(..=from).next_back()
            && end >= from
        {
            if end >= to {
                return;
            }
            from = begin;
        }
        while let Some((&begin, &end)) = self.above.range(from..=to).next() {
            to = to.max(end);
            self.above.remove(&begin);
        }
        self.is_changed = true;
        if from <= self.low {
            self.low = to;
            self.next = self.next.max(to);
        } else {
            self.above.insert(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a broker has that is given the partition after a commit.
    fn after(offsets: &Offsets) -> Offsets {
        let (low, metadata) = offsets.commit();
        Offsets::committed(low, &metadata)
    }

    #[test]
    fn the_lowest_that_is_not_settled_is_committed_and_the_rest_stands_beside_it() {
        let mut offsets = Offsets::committed(10, "");
        assert!(!offsets.take_changed());
        for offset in 10..20 {
            assert_eq!(offsets.take(offset), Some(false));
        }
        offsets.settle(12, 14);
        offsets.settle(16, 17);
        assert_eq!(offsets.commit(), (10, "mq1 0 12-14 16-17".to_owned()));
        offsets.settle(10, 12);
        assert!(offsets.take_changed());
        assert_eq!(offsets.commit(), (14, "mq1 0 16-17".to_owned()));
        let mut next = after(&offsets);
        let out: Vec<_> = (14..20).filter(|it| next.take(*it).is_some()).collect();
        assert_eq!(out, [14, 15, 17, 18, 19]);
        offsets.settle(14, 20);
        assert_eq!(offsets.commit(), (20, "mq1 0".to_owned()));
    }

    #[test]
    fn ranges_that_touch_become_one_in_any_order() {
        for order in [
            [1, 2, 3],
            [1, 3, 2],
            [2, 1, 3],
            [2, 3, 1],
            [3, 1, 2],
            [3, 2, 1],
        ] {
            let mut offsets = Offsets::committed(0, "");
            for offset in order {
                offsets.settle(offset, offset + 1);
            }
            offsets.settle(2, 3);
            assert_eq!(offsets.commit(), (0, "mq1 0 1-4".to_owned()));
        }
    }

    #[test]
    fn offsets_that_never_come_hold_up_nothing() {
        let mut offsets = Offsets::committed(3, "");
        assert_eq!(offsets.take(5), Some(false));
        assert_eq!(offsets.commit().0, 5);
        offsets.settle(5, 6);
        assert_eq!(offsets.take(9), Some(false));
        assert_eq!(offsets.commit().0, 9);
    }

    #[test]
    fn what_was_in_a_window_may_have_been_handed_out() {
        let mut offsets = Offsets::committed(0, "");
        assert_eq!(offsets.take(0), Some(false));
        assert!(offsets.see(1) && !offsets.see(1));
        let mut next = after(&offsets);
        assert_eq!(next.take(0), Some(true));
        assert_eq!(next.take(1), Some(false));
    }

    #[test]
    fn metadata_of_somebody_else_means_nothing() {
        for metadata in [
            "",
            "x",
            "mq2 7 3-4",
            "mq1",
            "mq1 x 9-3 -5- 1-2 18446744073709551616-3",
        ] {
            let offsets = Offsets::committed(3, metadata);
            assert_eq!(offsets.commit(), (3, "mq1 0".to_owned()), "{metadata}");
        }
    }

    #[test]
    fn ranges_without_room_are_handed_out_again() {
        let mut offsets = Offsets::committed(0, "");
        for offset in (1_000_001..1_002_001).step_by(2) {
            offsets.settle(offset, offset + 1);
        }
        let (low, metadata) = offsets.commit();
        assert!(low == 0 && metadata.len() <= MOST_METADATA);
        assert!(metadata.ends_with(|it: char| it.is_ascii_digit()));
        let mut next = after(&offsets);
        assert_eq!(next.take(1_000_001), None);
        assert_eq!(next.take(1_001_999), Some(false));
    }
}
