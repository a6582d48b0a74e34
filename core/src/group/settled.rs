//! How far a lasting group has got with the messages of a stored topic.

use crate::log::{Failed, Progress};
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Which messages a group has no business with any more, and which have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Settled {
    /// All up to this sequence are settled, and the next is not.
    up_to: u64,
    /// Those above: by the first sequence of each range, the last. Ranges do not touch.
    above: BTreeMap<u64, u64>,
    /// What has failed and is not settled.
    failed: BTreeMap<u64, Failure>,
}

/// The end of time.
const NEVER: u64 = u64::MAX;

/// How a message has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Failure {
    /// How often.
    pub(crate) count: u32,
    /// Before this it is not to be handed out, in milliseconds since 1970; [`NEVER`] if it is given up, and waits for its
    /// dead-letter topic.
    pub(crate) not_before_ms: u64,
}

impl Failure {
    /// Of a message that is given up, and has failed so often.
    pub(crate) const fn given_up(count: u32) -> Self {
        Self {
            count,
            not_before_ms: NEVER,
        }
    }

    pub(crate) const fn is_given_up(self) -> bool {
        self.not_before_ms == NEVER
    }
}

/// What is known of a message that a group has not had in this life of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is settled.
    Settled,
    /// It has failed.
    Failed(Failure),
    /// Nothing.
    Nothing,
}

impl Settled {
    /// Of a group that begins behind this sequence.
    pub(crate) const fn up_to(sequence: u64) -> Self {
        Self {
            up_to: sequence,
            above: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Of a group that has got so far in another life of the broker.
    pub(crate) fn of(progress: &Progress) -> Self {
        let mut settled = Self::up_to(progress.settled_up_to);
        for range in &progress.settled {
            settled.add(*range);
        }
        for failed in &progress.failed {
            let failure = Failure {
                count: failed.failures,
                not_before_ms: failed.not_before_ms,
            };
            settled.fail(failed.sequence, failure);
        }
        settled
    }

    /// The sequence of the first message that is not settled.
    pub(crate) const fn next(&self) -> u64 {
        self.up_to + 1
    }

    /// The sequence after the last message of which something is known.
    pub(crate) fn end(&self) -> u64 {
        let settled = self.above.values().next_back();
        let failed = self.failed.keys().next_back();
        let last = settled.into_iter().chain(failed).max();
        last.map_or(self.up_to, |it| *it) + 1
    }

    /// Settles a range.
    pub(crate) fn add(&mut self, range: Range) {
        let (mut from, mut to) = (range.from.max(self.up_to + 1), range.to);
        if from > to {
            return;
        }
        while let Some((&failed, _)) = self.failed.range(from..=to).next() {
            self.failed.remove(&failed);
        }
        // Takes in the ranges that it meets.
        if let Some((&before, &end)) = self.above.range(..from).next_back()
            && end + 1 >= from
        {
            from = before;
            to = to.max(end);
        }
        while let Some((&next, &end)) = self.above.range(from..=to.saturating_add(1)).next() {
            self.above.remove(&next);
            to = to.max(end);
        }
        if from == self.up_to + 1 {
            self.up_to = to;
        } else {
            self.above.insert(from, to);
        }
    }

    /// A message has failed.
    pub(crate) fn fail(&mut self, sequence: u64, failure: Failure) {
        if self.known(sequence).0 != Known::Settled {
            self.failed.insert(sequence, failure);
        }
    }

    /// What is known of the message with this sequence, and the sequence after the last of which the same is known;
    /// what has failed stands alone.
    pub(crate) fn known(&self, sequence: u64) -> (Known, u64) {
        if sequence <= self.up_to {
            return (Known::Settled, self.up_to + 1);
        }
        if let Some((_, &end)) = self.above.range(..=sequence).next_back()
            && end >= sequence
        {
            return (Known::Settled, end + 1);
        }
        if let Some(failure) = self.failed.get(&sequence) {
            return (Known::Failed(*failure), sequence + 1);
        }
        let settled = self.above.range(sequence..).next().map(|(from, _)| *from);
        let failed = self.failed.range(sequence..).next().map(|(it, _)| *it);
        let next = [settled, failed].into_iter().flatten().min();
        (Known::Nothing, next.unwrap_or(u64::MAX))
    }

    /// How many messages from `from` on and before `end` are not settled.
    pub(crate) fn unsettled_between(&self, from: u64, end: u64) -> u64 {
        let (mut at, mut unsettled) = (from, 0);
        while at < end {
            let (known, next) = self.known(at);
            let next = next.min(end);
            if known != Known::Settled {
                unsettled += next - at;
            }
            at = next;
        }
        unsettled
    }

    /// As it is saved.
    pub(crate) fn progress(&self) -> Progress {
        let settled = self.above.iter().map(|(&from, &to)| Range { from, to });
        let failed = self.failed.iter().map(|(&sequence, failure)| Failed {
            sequence,
            failures: failure.count,
            not_before_ms: failure.not_before_ms,
        });
        Progress {
            settled_up_to: self.up_to,
            settled: settled.collect::<Vec<_>>(),
            failed: failed.collect(),
        }
    }

    /// Checks what always holds, where `next` is the sequence of the topic's next message.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, next: u64) {
        let mut end = self.up_to + 1;
        for (&from, &to) in &self.above {
            assert!(from > end && to >= from, "ranges touch");
            end = to + 1;
        }
        assert!(end <= next, "a message is settled that is yet to come");
        for &sequence in self.failed.keys() {
            assert_ne!(self.known(sequence).0, Known::Settled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn range(from: u64, to: u64) -> Range {
        Range { from, to }
    }

    #[test]
    fn ranges_are_merged_and_the_lowest_raises_what_all_are_settled_up_to() {
        let mut settled = Settled::up_to(10);
        for (from, to) in [(13, 14), (20, 22), (16, 18), (5, 9), (15, 15)] {
            settled.add(range(from, to));
            settled.check(100);
        }
        assert_eq!(settled.progress().settled, [range(13, 18), range(20, 22)]);
        assert_eq!(settled.next(), 11);
        settled.add(range(8, 12));
        assert_eq!(settled.next(), 19);
        settled.add(range(19, 30));
        assert_eq!((settled.next(), settled.progress().settled), (31, vec![]));
    }

    #[test]
    fn what_has_failed_is_known_until_it_is_settled() {
        let mut settled = Settled::up_to(0);
        let failure = Failure {
            count: 2,
            not_before_ms: 7,
        };
        settled.add(range(4, 5));
        settled.fail(2, failure);
        settled.fail(4, failure);
        assert_eq!(settled.known(1), (Known::Nothing, 2));
        assert_eq!(settled.known(2), (Known::Failed(failure), 3));
        assert_eq!(settled.known(3), (Known::Nothing, 4));
        assert_eq!(settled.known(4), (Known::Settled, 6));
        assert_eq!(settled.known(6), (Known::Nothing, u64::MAX));
        assert_eq!(Settled::of(&settled.progress()), settled);
        settled.add(range(1, 3));
        assert_eq!(settled.progress(), Settled::up_to(5).progress());
    }
}
