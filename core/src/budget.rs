//! The bytes that all topics have in common.

use crate::id::TopicId;
use alloc::collections::VecDeque;

/// The bytes of all backlogs, within one bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Budget {
    /// The most; what was handed back by members that left may exceed it.
    limit: usize,
    used: usize,
    /// The topics that wait for bytes, first come first, and how many each waits for.
    line: VecDeque<(TopicId, usize)>,
}

impl Budget {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            line: VecDeque::new(),
        }
    }

    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.used += bytes;
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.used -= bytes;
    }

    /// How much more may be taken.
    pub(crate) const fn room(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// How much more is taken than may be.
    pub(crate) const fn over(&self) -> usize {
        self.used.saturating_sub(self.limit)
    }

    /// The room that there would be if `bytes` had not been taken.
    pub(crate) const fn room_without(&self, bytes: usize) -> usize {
        self.limit.saturating_sub(self.used - bytes)
    }

    /// Puts a topic in the line: it can go on when there is room for `bytes`.
    pub(crate) fn queue(&mut self, topic: TopicId, bytes: usize) {
        self.line.push_back((topic, bytes));
    }

    /// The topic that was first in the line, now that there is room for what it waits for; it has
    /// left the line.
    pub(crate) fn next_with_room(&mut self) -> Option<TopicId> {
        let (_, bytes) = self.line.front()?;
        if *bytes > self.room() {
            return None;
        }
        self.line.pop_front().map(|(topic, _)| topic)
    }

    /// Takes a topic out of the line: what it waits for may be another.
    pub(crate) fn unqueue(&mut self, topic: TopicId) {
        self.line.retain(|(waits, _)| *waits != topic);
    }

    /// The topics that wait, first come first.
    pub(crate) fn line(&self) -> impl Iterator<Item = TopicId> {
        self.line.iter().map(|(topic, _)| *topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_goes_first_even_if_less_would_do_for_another() {
        let mut budget = Budget::new(10);
        budget.take(8);
        budget.queue(TopicId(1), 5);
        budget.queue(TopicId(2), 1);
        assert_eq!(budget.next_with_room(), None);
        budget.give_back(3);
        assert_eq!(budget.next_with_room(), Some(TopicId(1)));
        assert_eq!(budget.next_with_room(), Some(TopicId(2)));
        assert_eq!(budget.next_with_room(), None);
    }
}
