//! What can go wrong, split by whose fault it is.
//!
//! What a peer does wrong is data: a [`ProtocolError`], a [`CloseReason`], a [`DropReason`], and a
//! counter for each. It is never an `Err` out of the [`Broker`](crate::Broker) and never a panic.
//! What the caller does wrong (time that runs backwards, a connection opened twice) is an assertion.

use crate::wire::FirstBytes;
use crate::wire::control::{BadFrame, Reason};
use crate::wire::handshake::BadOptionKind;
use alloc::string::{String, ToString};
use core::fmt;

/// What a peer sent that the wire format does not allow. Final: a [`Decoder`](crate::wire::Decoder)
/// that has reported one reports it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ProtocolError {
    /// The role line is neither `PRODUCER` nor `CONSUMER`, or cannot become either (PROTOCOL.md,
    /// section 2). Carries what had come; how much that is depends on how the bytes arrived.
    UnknownRole(FirstBytes),
    /// No line feed within the allowed length of the role line (PROTOCOL.md, section 2).
    RoleLineTooLong {
        /// The longest role line allowed, in bytes, its line feed not counted.
        limit: usize,
    },
    /// The stream ended inside the role line (PROTOCOL.md, section 2).
    TruncatedRoleLine,
    /// A length prefix above the largest frame (PROTOCOL.md, section 3).
    FrameTooLarge {
        /// The length that the peer announced, in bytes.
        length: u32,
    },
    /// The stream ended inside a frame (PROTOCOL.md, section 5).
    TruncatedFrame,
    /// A consumer sent something after its role line (PROTOCOL.md, section 4); in version 2, a message.
    UnexpectedData,
    /// The options of a role line of version 2 are not allowed.
    BadOption(BadOptionKind),
    /// A control frame is none, or one that may not come here.
    BadFrame(BadFrame),
    /// A consumer settled a position that it was never sent.
    BadPosition {
        /// The position.
        position: u64,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRole(first) => {
                write!(f, "the role line is neither PRODUCER nor CONSUMER: {first}")
            }
            Self::RoleLineTooLong { limit } => {
                write!(
                    f,
                    "no line feed in the first {limit} bytes of the role line"
                )
            }
            Self::TruncatedRoleLine => f.write_str("the stream ended inside the role line"),
            Self::FrameTooLarge { length } => write!(
                f,
                "a frame of {length} bytes was announced; the largest allowed is {}",
                crate::wire::MAX_FRAME_BODY
            ),
            Self::TruncatedFrame => f.write_str("the stream ended inside a frame"),
            Self::UnexpectedData => f.write_str("a consumer sent data after its role line"),
            Self::BadOption(kind) => write!(f, "the options of the role line: {}", kind.as_str()),
            Self::BadFrame(error) => error.fmt(f),
            Self::BadPosition { position } => {
                write!(
                    f,
                    "the position {position} was never sent on this connection"
                )
            }
        }
    }
}

impl core::error::Error for ProtocolError {}

/// Why a connection ended. Every connection ends with exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CloseReason {
    /// The peer closed its side of the stream between frames, the orderly end, or before it had
    /// sent anything.
    PeerClosed,
    /// The connection was reset or failed.
    PeerReset,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// No whole role line within the time allowed.
    RoleTimeout,
    /// No byte of a frame that had begun came within the time allowed.
    FrameTimeout,
    /// The peer took nothing of a write for too long, or was slower than the least rate allows.
    WriteTimeout,
    /// It held the largest partial frame when the broker held as many bytes as it may.
    BrokerBytes,
    /// Refused: the broker holds as many connections as it may.
    TooManyConnections,
    /// Refused: the broker holds as many consumers as it may.
    TooManyConsumers,
    /// Refused: the broker is shutting down.
    Draining,
    /// The broker is shutting down and has nothing more for this peer.
    Drained,
    /// The broker is shutting down and the time for an orderly end ran out.
    DrainTimeout,
    /// An operator ended it.
    EndedByOperator,
    /// Refused: there is no such topic, and none is made for who asks for it.
    UnknownTopic,
    /// Refused: there are as many topics as there may be.
    TooManyTopics,
    /// Refused: there are as many named groups as there may be.
    TooManyGroups,
    /// Refused: the group shares its messages in another way.
    GroupMismatch,
    /// Refused: the topic does not keep what a new group was to begin with.
    NoHistory,
    /// A producer of the same name has come.
    TakenOver,
    /// Nothing was heard of the peer for twice its heartbeat.
    HeartbeatTimeout,
    /// It could not show who it is, or can no more.
    Unauthorized,
    /// It has no right to do what it asked for, or no more.
    Forbidden,
    /// A topic's store has failed, and the broker ends.
    StoreFailed,
}

impl CloseReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: [Self; 33] = [
        Self::PeerClosed,
        Self::PeerReset,
        Self::Protocol(ProtocolError::UnknownRole(FirstBytes::NONE)),
        Self::Protocol(ProtocolError::RoleLineTooLong { limit: 0 }),
        Self::Protocol(ProtocolError::TruncatedRoleLine),
        Self::Protocol(ProtocolError::FrameTooLarge { length: 0 }),
        Self::Protocol(ProtocolError::TruncatedFrame),
        Self::Protocol(ProtocolError::UnexpectedData),
        Self::RoleTimeout,
        Self::FrameTimeout,
        Self::WriteTimeout,
        Self::BrokerBytes,
        Self::TooManyConnections,
        Self::TooManyConsumers,
        Self::Draining,
        Self::Drained,
        Self::DrainTimeout,
        Self::EndedByOperator,
        Self::Protocol(ProtocolError::BadOption(BadOptionKind::Version)),
        Self::Protocol(ProtocolError::BadOption(BadOptionKind::Unknown)),
        Self::Protocol(ProtocolError::BadOption(BadOptionKind::Bad)),
        Self::Protocol(ProtocolError::BadFrame(BadFrame::Length(0))),
        Self::Protocol(ProtocolError::BadPosition { position: 0 }),
        Self::UnknownTopic,
        Self::TooManyTopics,
        Self::TooManyGroups,
        Self::GroupMismatch,
        Self::NoHistory,
        Self::TakenOver,
        Self::HeartbeatTimeout,
        Self::Unauthorized,
        Self::Forbidden,
        Self::StoreFailed,
    ];

    /// A small number for this reason, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        match self {
            Self::PeerClosed => 0,
            Self::PeerReset => 1,
            Self::Protocol(ProtocolError::UnknownRole(_)) => 2,
            Self::Protocol(ProtocolError::RoleLineTooLong { .. }) => 3,
            Self::Protocol(ProtocolError::TruncatedRoleLine) => 4,
            Self::Protocol(ProtocolError::FrameTooLarge { .. }) => 5,
            Self::Protocol(ProtocolError::TruncatedFrame) => 6,
            Self::Protocol(ProtocolError::UnexpectedData) => 7,
            Self::RoleTimeout => 8,
            Self::FrameTimeout => 9,
            Self::WriteTimeout => 10,
            Self::BrokerBytes => 11,
            Self::TooManyConnections => 12,
            Self::TooManyConsumers => 13,
            Self::Draining => 14,
            Self::Drained => 15,
            Self::DrainTimeout => 16,
            Self::EndedByOperator => 17,
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Version)) => 18,
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Unknown)) => 19,
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Bad)) => 20,
            Self::Protocol(ProtocolError::BadFrame(_)) => 21,
            Self::Protocol(ProtocolError::BadPosition { .. }) => 22,
            Self::UnknownTopic => 23,
            Self::TooManyTopics => 24,
            Self::TooManyGroups => 25,
            Self::GroupMismatch => 26,
            Self::NoHistory => 27,
            Self::TakenOver => 28,
            Self::HeartbeatTimeout => 29,
            Self::Unauthorized => 30,
            Self::Forbidden => 31,
            Self::StoreFailed => 32,
        }
    }

    /// The name of this reason in logs, metrics and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::PeerReset => "peer_reset",
            Self::Protocol(ProtocolError::UnknownRole(_)) => "unknown_role",
            Self::Protocol(ProtocolError::RoleLineTooLong { .. }) => "role_line_too_long",
            Self::Protocol(ProtocolError::TruncatedRoleLine) => "truncated_role_line",
            Self::Protocol(ProtocolError::FrameTooLarge { .. }) => "frame_too_large",
            Self::Protocol(ProtocolError::TruncatedFrame) => "truncated_frame",
            Self::Protocol(ProtocolError::UnexpectedData) => "unexpected_data",
            Self::RoleTimeout => "role_timeout",
            Self::FrameTimeout => "frame_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::BrokerBytes => "broker_bytes",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyConsumers => "too_many_consumers",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::DrainTimeout => "drain_timeout",
            Self::EndedByOperator => "ended_by_operator",
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Version)) => {
                "unsupported_version"
            }
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Unknown)) => "unknown_option",
            Self::Protocol(ProtocolError::BadOption(BadOptionKind::Bad)) => "bad_option",
            Self::Protocol(ProtocolError::BadFrame(_)) => "bad_frame",
            Self::Protocol(ProtocolError::BadPosition { .. }) => "bad_position",
            Self::UnknownTopic => "unknown_topic",
            Self::TooManyTopics => "too_many_topics",
            Self::TooManyGroups => "too_many_groups",
            Self::GroupMismatch => "group_mismatch",
            Self::NoHistory => "no_history",
            Self::TakenOver => "taken_over",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::StoreFailed => "store_failed",
        }
    }

    /// Whether the peer sees the end of the stream, and may take it for success. Every other end is
    /// a reset (PROTOCOL.md, section 5).
    pub const fn is_orderly(self) -> bool {
        matches!(self, Self::PeerClosed | Self::Drained)
    }

    /// What a peer of version 2 is told beside the code.
    pub fn explanation(self) -> String {
        let text = match self {
            Self::Protocol(error) => return error.to_string(),
            Self::RoleTimeout => "no role line came in time",
            Self::FrameTimeout => "a frame had begun, and no byte more of it came in time",
            Self::BrokerBytes => {
                "you held most of a frame, and the broker had no bytes for it (BROKER_BYTES)"
            }
            Self::WriteTimeout => "what was written to you was not read in time",
            Self::TooManyConnections => {
                "the broker holds as many connections as it may (MAX_CONNECTIONS)"
            }
            Self::TooManyConsumers => {
                "the broker holds as many consumers as it may (MAX_CONSUMERS)"
            }
            Self::TooManyTopics => "there are as many topics as there may be (MAX_TOPICS)",
            Self::TooManyGroups => "there are as many named groups as there may be (MAX_GROUPS)",
            Self::Draining | Self::Drained => "the broker is shutting down",
            Self::DrainTimeout => "the broker is shutting down, and its time is over",
            Self::EndedByOperator => "an operator ended the connection",
            Self::UnknownTopic => "there is no such topic, and none is made (TOPIC_CREATION=off)",
            Self::GroupMismatch => {
                "share: the group's members share in another way; its first member decided"
            }
            Self::NoHistory => "from: the topic does not keep that",
            Self::TakenOver => "a producer of the same name has come",
            Self::HeartbeatTimeout => "nothing came from you for twice the heartbeat",
            Self::Unauthorized => "the broker does not know who you are, or not any more",
            Self::Forbidden => "you have no right to that",
            Self::StoreFailed => "the broker cannot store messages any more, and ends",
            Self::PeerClosed | Self::PeerReset => "you ended the connection",
        };
        text.into()
    }

    /// Whether it speaks against what a consumer was working on: it did not leave in an orderly way, and it was
    /// not the broker's doing.
    pub(crate) const fn is_a_failure(self) -> bool {
        matches!(
            self,
            Self::PeerClosed
                | Self::PeerReset
                | Self::Protocol(_)
                | Self::WriteTimeout
                | Self::HeartbeatTimeout
        )
    }

    /// Whether the connection was refused: turned away for want of a place, not for what it did.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::TooManyConnections
                | Self::TooManyConsumers
                | Self::TooManyTopics
                | Self::TooManyGroups
                | Self::Draining
        )
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why messages of a producer were not taken in, as REFUSED tells it (PROTOCOL.md, section "Confirms").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum NotTaken {
    /// A group has no room for them, and the topic's overflow is `reject`.
    Full,
    /// There is no such topic, and none is made.
    UnknownTopic,
    /// There are as many topics as there may be.
    TooManyTopics,
    /// The producer has no right to send there.
    Forbidden,
}

impl NotTaken {
    /// The code on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::UnknownTopic => "unknown_topic",
            Self::TooManyTopics => "too_many_topics",
            Self::Forbidden => "forbidden",
        }
    }

    /// What a producer is told beside the code.
    pub(crate) fn explanation(self) -> String {
        match self {
            Self::Full => "a group of the topic has no room".into(),
            Self::UnknownTopic | Self::TooManyTopics | Self::Forbidden => {
                CloseReason::from(self).explanation()
            }
        }
    }
}

impl From<NotTaken> for Reason {
    fn from(not_taken: NotTaken) -> Self {
        Self {
            code: not_taken.as_str().into(),
            text: not_taken.explanation(),
        }
    }
}

impl From<NotTaken> for CloseReason {
    /// Why a connection is refused that asks for such a topic.
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Full | NotTaken::TooManyTopics => Self::TooManyTopics,
            NotTaken::UnknownTopic => Self::UnknownTopic,
            NotTaken::Forbidden => Self::Forbidden,
        }
    }
}

/// Why a message was not delivered. Every message that is not, is counted under exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DropReason {
    /// The group's backlog holds as many messages as it may; the newest was dropped.
    BacklogMessages,
    /// The group's backlog holds as many bytes as it may; the newest was dropped.
    BacklogBytes,
    /// All backlogs together hold as many bytes as they may; the newest was dropped.
    BrokerBytes,
    /// Nobody was there to receive it (`broadcast` without a consumer).
    NoConsumer,
    /// Its consumer left before it was delivered (`broadcast`; in `queue` mode it is kept).
    ConsumerLeft,
    /// The broker shut down before it was delivered.
    Shutdown,
    /// An operator emptied the queue.
    Purged,
    /// It failed too often or was rejected, and there is no dead-letter topic for it.
    GivenUp,
    /// Its named group ended: nobody had been a member for too long, or an operator ended it.
    GroupEnded,
    /// Its producer may not send to the topic that it named, and has not asked for confirms, so that it cannot be
    /// told.
    Refused,
    /// It had waited in its group's backlog for as long as its topic allows (`max_age_ms`).
    Expired,
    /// Its topic is stored and does not keep it any more (`retention_ms`, `retention_bytes`), or has lost it.
    NotKept,
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: [Self; 12] = [
        Self::BacklogMessages,
        Self::BacklogBytes,
        Self::BrokerBytes,
        Self::NoConsumer,
        Self::ConsumerLeft,
        Self::Shutdown,
        Self::Purged,
        Self::GivenUp,
        Self::GroupEnded,
        Self::Refused,
        Self::Expired,
        Self::NotKept,
    ];

    /// A small number for this reason, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of this reason in logs, metrics and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BacklogMessages => "backlog_messages",
            Self::BacklogBytes => "backlog_bytes",
            Self::BrokerBytes => "broker_bytes",
            Self::NoConsumer => "no_consumer",
            Self::ConsumerLeft => "consumer_left",
            Self::Shutdown => "shutdown",
            Self::Purged => "purged",
            Self::GivenUp => "given_up",
            Self::GroupEnded => "group_ended",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::NotKept => "not_kept",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_reason_has_its_own_place_and_name() {
        for (place, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{reason}");
            assert_eq!(
                CloseReason::ALL
                    .iter()
                    .filter(|other| other.as_str() == reason.as_str())
                    .count(),
                1
            );
        }
    }

    #[test]
    fn every_drop_reason_has_its_own_place() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{reason}");
        }
    }
}
