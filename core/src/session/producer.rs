//! What only a producer has.

use crate::error::NotTaken;
use crate::id::TopicId;
use crate::names::Name;

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
}

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
    pub(crate) const fn new(topic: TopicId) -> Self {
        Self {
            home: topic,
            topic: Ok(topic),
            is_parked: false,
            has_much_to_hear: false,
            confirms: None,
            name: None,
        }
    }
}

impl Producer {
    /// Whether it is read from.
    pub(crate) const fn is_read(&self) -> bool {
        !self.is_parked && !self.has_much_to_hear
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
}
