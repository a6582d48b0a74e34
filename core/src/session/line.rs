//! The messages of a producer that are not safe yet, in the order in which it sent them.

use crate::id::TopicId;
use alloc::collections::VecDeque;

/// What a producer sent from the first message on that a store has not appended yet. Empty where no topic is stored.
///
/// Topics are stored independently, so what came later may be safe sooner. It counts when all before it is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Line {
    segments: VecDeque<Segment>,
    /// How many messages are in the segments and not safe.
    storing: u64,
    /// How many messages have ever been in the line, and have left it.
    joined: u64,
    left: u64,
}

/// Consecutive messages of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Segment {
    /// The topic that is to store them; none if they are safe, or were refused.
    topic: Option<TopicId>,
    messages: u64,
    /// How many of them are safe.
    safe: u64,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many messages are yet to be stored.
    pub(crate) const fn storing(&self) -> u64 {
        self.storing
    }

    /// How many have ever been in the line: what is to be asked of [`left`](Self::left).
    pub(crate) const fn joined(&self) -> u64 {
        self.joined
    }

    /// How many have left it, in order.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// A topic is to store the producer's next messages.
    pub(crate) fn store(&mut self, topic: TopicId, messages: u64) {
        self.storing += messages;
        self.push(Some(topic), messages);
    }

    /// The producer's next messages are safe, or refused. Returns how many count now.
    pub(crate) fn pass(&mut self, messages: u64) -> u64 {
        if self.segments.is_empty() {
            return messages;
        }
        self.push(None, messages);
        0
    }

    /// A topic has stored the first messages that it was to store. Returns how many count now.
    pub(crate) fn stored(&mut self, topic: TopicId, messages: u64) -> u64 {
        self.storing -= messages;
        let mut rest = messages;
        for segment in &mut self.segments {
            if rest == 0 {
                break;
            }
            if segment.topic == Some(topic) {
                let part = rest.min(segment.messages - segment.safe);
                segment.safe += part;
                rest -= part;
            }
        }
        debug_assert_eq!(rest, 0, "more was stored than was to be");
        let mut counts = 0;
        while let Some(segment) = self.segments.front_mut() {
            counts += segment.safe;
            segment.messages -= segment.safe;
            segment.safe = 0;
            if segment.messages > 0 {
                break;
            }
            self.segments.pop_front();
        }
        self.left += counts;
        counts
    }

    fn push(&mut self, topic: Option<TopicId>, messages: u64) {
        self.joined += messages;
        let safe = if topic.is_none() { messages } else { 0 };
        if let Some(last) = self.segments.back_mut()
            && last.topic == topic
        {
            last.messages += messages;
            last.safe += safe;
            return;
        }
        self.segments.push_back(Segment {
            topic,
            messages,
            safe,
        });
    }

    /// Checks what always holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) {
        let rest = self.segments.iter().map(|it| it.messages - it.safe);
        assert_eq!(self.storing, rest.sum::<u64>());
        let all: u64 = self.segments.iter().map(|it| it.messages).sum();
        assert_eq!(self.joined - self.left, all);
        if let Some(first) = self.segments.front() {
            assert!(first.safe < first.messages, "what is safe waits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_safe_counts_when_all_before_it_is() {
        let (one, two) = (TopicId(1), TopicId(2));
        let mut line = Line::default();
        assert_eq!(line.pass(3), 3, "nothing is before it");
        line.store(one, 2);
        line.store(two, 3);
        assert_eq!(line.pass(4), 0, "refused, behind what is not safe");
        line.store(one, 1);
        line.check();
        assert_eq!(line.stored(two, 3), 0);
        assert_eq!(line.stored(one, 1), 1);
        assert_eq!(line.storing(), 2);
        line.check();
        assert_eq!(line.stored(one, 1), 8);
        assert_eq!((line.joined() - line.left(), line.storing()), (1, 1));
        assert_eq!(line.stored(one, 1), 1);
        assert!(line.is_empty());
        line.check();
    }
}
