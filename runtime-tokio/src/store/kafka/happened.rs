//! What the engine's thread is told by librdkafka, and by what it has asked others to wait for.

use super::consumer::{Consumer, Position};
use message_queue_core::names::Name;
use message_queue_core::{GroupId, TopicId};
use rdkafka::error::KafkaError;
use tokio::sync::mpsc::UnboundedSender;

/// An open group: its number is another one when it is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) topic: TopicId,
    pub(super) group: GroupId,
    pub(super) number: u64,
}

pub(super) enum Happened {
    /// A client of librdkafka says something: whether no broker of Kafka can be reached, whether Kafka refuses it, and what.
    Said {
        is_away: bool,
        is_refused: bool,
        what: String,
    },
    /// It was looked whether Kafka is there.
    Probed(Result<(), String>),
    /// A topic is there, or was not made.
    Made(TopicId, Result<(), String>),
    /// It is committed where a lasting group begins.
    Declared(TopicId, Name, Result<(), String>),
    /// All records of a piece are there, or one is not.
    Confirmed {
        topic: TopicId,
        last: u64,
        producer: u64,
        refused: Option<KafkaError>,
    },
    /// There is something to read for a group.
    Readable(Opening),
    /// A group of one's own has partitions to read.
    Found(Opening, Result<(Consumer, Vec<Position>), String>),
    /// A group has got these partitions.
    Assigned(Opening, Vec<i32>),
    /// Where the group had got in them.
    Positions(Opening, u64, Result<Vec<Position>, String>),
    /// It has none any more.
    Revoked(Opening),
    /// A commit of these partitions, and up to which change of the group.
    Committed(Opening, u64, Vec<i32>, Result<(), String>),
}

/// Where all that is told.
#[derive(Clone)]
pub(super) struct Tell(pub(super) UnboundedSender<Happened>);

impl Tell {
    pub(super) fn send(&self, happened: Happened) {
        // When the engine has ended nobody wants to know.
        let _ = self.0.send(happened);
    }
}
