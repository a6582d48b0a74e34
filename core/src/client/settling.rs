//! What became of messages, gathered until it is written: many settled one by one make few ranges.

use crate::wire::control::{Control, Outcome, Range};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::BytesMut;

/// The most ranges in one frame: what its longest body holds.
const MAX_RANGES: usize = 4_000;

/// Outcomes that were not written yet.
#[derive(Debug)]
pub(super) struct Settling {
    /// Runs of positions with the same outcome, in the order in which the first of each was settled.
    runs: Vec<(Outcome, u32, Ranges)>,
}

/// Ranges that neither touch nor overlap: the first position of each, and its last.
type Ranges = BTreeMap<u64, u64>;

impl Settling {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// Notes the outcome of a range.
    pub(super) fn settle(&mut self, outcome: Outcome, delay_ms: u32, range: Range) {
        // An outcome only joins the last kind: what is said first of a position is what counts.
        match self.runs.last_mut() {
            Some((last, delay, ranges)) if (*last, *delay) == (outcome, delay_ms) => {
                add(ranges, range);
            }
            Some(_) | None => {
                let mut ranges = Ranges::new();
                add(&mut ranges, range);
                self.runs.push((outcome, delay_ms, ranges));
            }
        }
    }

    /// Appends the frames that say all of it, and forgets it.
    pub(super) fn encode(&mut self, out: &mut BytesMut) {
        for (outcome, delay_ms, ranges) in core::mem::take(&mut self.runs) {
            let ranges: Vec<Range> = ranges
                .into_iter()
                .map(|(from, to)| Range { from, to })
                .collect();
            for ranges in ranges.chunks(MAX_RANGES) {
                let settle = Control::Settle {
                    outcome,
                    delay_ms,
                    ranges: ranges.to_vec(),
                };
                settle.encode(out);
            }
        }
    }
}

/// Adds a range, and makes one of all that it touches.
fn add(ranges: &mut Ranges, Range { mut from, mut to }: Range) {
    let before = ranges.range(..=from).next_back();
    if let Some((&first, &last)) = before
        && last.saturating_add(1) >= from
    {
        from = first;
        to = to.max(last);
    }
    while let Some((&first, &last)) = ranges.range(from..=to.saturating_add(1)).next() {
        ranges.remove(&first);
        to = to.max(last);
    }
    ranges.insert(from, to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(all: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut ranges = Ranges::new();
        for (from, to) in all {
            add(
                &mut ranges,
                Range {
                    from: *from,
                    to: *to,
                },
            );
        }
        ranges.into_iter().collect()
    }

    #[test]
    fn what_touches_becomes_one() {
        assert_eq!(ranges(&[(1, 1), (2, 2), (3, 3)]), [(1, 3)]);
        assert_eq!(ranges(&[(3, 3), (1, 1), (2, 2)]), [(1, 3)]);
        assert_eq!(ranges(&[(1, 1), (5, 9), (3, 3), (2, 7)]), [(1, 9)]);
        assert_eq!(ranges(&[(1, 1), (3, 3)]), [(1, 1), (3, 3)]);
    }

    #[test]
    fn another_outcome_is_another_frame_in_the_order_it_was_said() {
        let mut settling = Settling::new();
        let at = |from| Range { from, to: from };
        settling.settle(Outcome::Done, 0, at(1));
        settling.settle(Outcome::Failed, 9, at(2));
        settling.settle(Outcome::Done, 0, at(2));
        settling.settle(Outcome::Done, 0, at(3));
        let mut out = BytesMut::new();
        settling.encode(&mut out);
        assert!(settling.runs.is_empty());
        let outcomes: Vec<u8> = out.chunks(26).map(|frame| frame[5]).collect();
        assert_eq!(outcomes, [1, 3, 1]);
    }

    proptest! {
        #[test]
        fn it_says_just_what_was_settled(all in proptest::collection::vec((1_u64..60, 0_u64..8), 1..40)) {
            let all: Vec<_> = all.into_iter().map(|(from, more)| (from, from + more)).collect();
            let merged = ranges(&all);
            prop_assert!(merged.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for position in 0..80 {
                let within = |ranges: &[(u64, u64)]| ranges.iter().any(|(from, to)| (*from..=*to).contains(&position));
                prop_assert_eq!(within(&all), within(&merged));
            }
        }
    }
}
