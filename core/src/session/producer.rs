//! What only a producer has.

use super::Line;
use crate::error::{CloseReason, NotTaken};
use crate::id::TopicId;
use crate::names::Name;
use alloc::collections::VecDeque;
use alloc::string::String;

/// A producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Producer {
    /// The topic of its role line, where its name is known.
    pub(crate) home: TopicId,
    /// Where its messages go now, or why they go nowhere.
    pub(crate) topic: Result<TopicId, NotTaken>,
    /// Whether it is not read from: what it sent last is parked until there is room.
    pub(crate) is_parked: bool,
    /// Whether it is not read from: it is yet to be told of many messages that they were refused.
    pub(crate) has_much_to_hear: bool,
    /// What it is told of its messages, if it has asked for that.
    pub(crate) confirms: Option<Confirms>,
    /// The name that its positions are remembered under.
    pub(crate) name: Option<Name>,
    /// What it calls this life of it.
    pub(crate) session: String,
    /// What it sent and is not safe yet.
    pub(crate) line: Line,
    /// Whether it is not read from: it sends to another topic, and what it sent before is to be safe first, because
    /// it has a name.
    pub(crate) awaits_store: bool,
    /// Why it is let go as soon as all that it sent is stored.
    pub(crate) ends: Option<CloseReason>,
    /// What it is to be told when so much of the line is safe: how much, and the number of its FLUSH.
    pub(crate) flushes: VecDeque<(u64, u64)>,
}

/// So many FLUSH wait for an answer; a later one takes the place of the last.
const MAX_FLUSHES: usize = 64;

/// How far a producer's messages have got. All positions are those of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Confirms {
    /// The last message that it sent.
    pub(crate) received: u64,
    /// The last up to which all are safe or refused.
    pub(crate) safe: u64,
    /// How many on this connection found no group to go to.
    pub(crate) unrouted: u64,
}

impl Producer {
    pub(crate) fn new(topic: TopicId) -> Self {
        Self {
            home: topic,
            topic: Ok(topic),
            is_parked: false,
            has_much_to_hear: false,
            confirms: None,
            name: None,
            session: String::new(),
            line: Line::default(),
            awaits_store: false,
            ends: None,
            flushes: VecDeque::new(),
        }
    }

    /// It has asked to be told when all is safe that it has sent. Returns whether it already is.
    pub(crate) fn flush(&mut self, number: u64) -> bool {
        if self.line.is_empty() {
            return true;
        }
        if self.flushes.len() == MAX_FLUSHES {
            self.flushes.pop_back();
        }
        self.flushes.push_back((self.line.joined(), number));
        false
    }

    /// The number of the last FLUSH that is to be answered now.
    pub(crate) fn flushed(&mut self) -> Option<u64> {
        let left = self.line.left();
        let mut flushed = None;
        while let Some((_, number)) = self.flushes.pop_front_if(|(joined, _)| *joined <= left) {
            flushed = Some(number);
        }
        flushed
    }

    /// Whether it is read from.
    pub(crate) const fn is_read(&self) -> bool {
        !self.is_parked && !self.has_much_to_hear && !self.awaits_store
    }
}

impl Confirms {
    /// Of a producer whose next message has the position after `accepted`.
    pub(crate) const fn new(accepted: u64) -> Self {
        Self {
            received: accepted,
            safe: accepted,
            unrouted: 0,
        }
    }

    /// So many more are safe or refused, and so many found no group. Returns what there is to tell of both, if the first
    /// is news.
    pub(crate) fn pass(&mut self, messages: u64, unrouted: u64) -> Option<(u64, u64)> {
        self.safe += messages;
        self.unrouted += unrouted;
        (messages > 0).then_some((self.safe, self.unrouted))
    }
}
