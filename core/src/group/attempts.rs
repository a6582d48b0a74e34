//! How often a group has handed out what is not in its window any more, and comes into it again.

use crate::wire::control::Range;
use alloc::collections::BTreeMap;

/// By ranges, so that a message costs nothing. It knows of messages that were in the window when this was put away, and
/// of no more than fits into one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Attempts(BTreeMap<u64, Alike>);

/// Messages that were handed out equally often, which is once at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Alike {
    /// The last of them.
    to: u64,
    attempts: u32,
}

impl Attempts {
    /// These were handed out so often. Nothing was known of them.
    pub(super) fn note(&mut self, range: Range, attempts: u32) {
        if attempts == 0 {
            return;
        }
        let Range { mut from, mut to } = range;
        if let Some((&before, alike)) = self.0.range(..from).next_back()
            && (alike.to + 1, alike.attempts) == (from, attempts)
        {
            from = before;
        }
        if let Some(behind) = self.0.get(&(to + 1)).copied()
            && behind.attempts == attempts
        {
            self.0.remove(&(to + 1));
            to = behind.to;
        }
        self.0.insert(from, Alike { to, attempts });
    }

    /// How often the message with this sequence was handed out, and the sequence after the last of those behind it that
    /// were so as often.
    pub(super) fn of(&self, sequence: u64) -> (u32, u64) {
        if let Some((_, alike)) = self.0.range(..=sequence).next_back()
            && alike.to >= sequence
        {
            return (alike.attempts, alike.to + 1);
        }
        let next = self.0.range(sequence..).next().map(|(from, _)| *from);
        (0, next.unwrap_or(u64::MAX))
    }

    /// What is before this sequence is in the window, or will not come into it any more.
    pub(super) fn forget_before(&mut self, sequence: u64) {
        while let Some(first) = self.0.first_entry()
            && *first.key() < sequence
        {
            let alike = first.remove();
            if alike.to >= sequence {
                self.0.insert(sequence, alike);
            }
        }
    }

    /// Checks what always holds, where the window ends before `place`.
    ///
    /// # Panics
    /// If something does not hold.
    pub(super) fn check(&self, place: u64) {
        let (mut end, mut before) = (place, 0);
        for (&from, alike) in &self.0 {
            assert!(from >= end && alike.to >= from, "ranges overlap");
            assert!(alike.attempts > 0, "it was handed out");
            assert!(from > end || alike.attempts != before, "ranges are one");
            (end, before) = (alike.to + 1, alike.attempts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(noted: &[(u64, u64, u32)]) -> Attempts {
        let mut attempts = Attempts::default();
        for &(from, to, times) in noted {
            attempts.note(Range { from, to }, times);
            attempts.check(1);
        }
        attempts
    }

    #[test]
    fn it_is_known_how_often_each_was_handed_out() {
        let attempts = attempts(&[(5, 6, 1), (9, 9, 2), (2, 3, 1), (20, 29, 0), (7, 8, 1)]);
        let known = [1, 2, 3, 4, 5, 8, 9, 10].map(|it| attempts.of(it));
        let never = u64::MAX;
        assert_eq!(
            known,
            [
                (0, 2),
                (1, 4),
                (1, 4),
                (0, 5),
                (1, 9),
                (1, 9),
                (2, 10),
                (0, never)
            ]
        );
    }

    #[test]
    fn what_is_alike_and_meets_is_one_range() {
        let parts = attempts(&[(1, 2, 3), (5, 6, 3), (3, 4, 3), (7, 7, 1)]);
        assert_eq!(parts, attempts(&[(1, 6, 3), (7, 7, 1)]));
    }

    #[test]
    fn what_has_come_into_the_window_is_forgotten() {
        let mut some = attempts(&[(1, 3, 1), (5, 9, 2), (12, 12, 1)]);
        some.forget_before(7);
        assert_eq!(some, attempts(&[(7, 9, 2), (12, 12, 1)]));
        some.forget_before(13);
        assert_eq!(some, Attempts::default());
    }
}
