//! Names of things, each a type of its own.

use core::fmt;

/// A connection. The runtime numbers connections as it accepts them and never reuses a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// A topic: an order of messages of its own, and the groups that each of them is offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicId(pub u32);

/// The topic of all connections: version 1 of the wire format cannot name another.
pub const DEFAULT_TOPIC: TopicId = TopicId(0);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DEFAULT_TOPIC => f.write_str("default"),
            Self(number) => write!(f, "t{number}"),
        }
    }
}

/// A group: the unit to which a topic fans out.
///
/// Ordered so that those that outlive their members come first, and a walk over the groups is the
/// same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GroupId {
    /// The group that all consumers join in `queue` mode. It outlives them.
    Shared,
    /// A group with a name, of version 2. Its number is its own among all groups. It outlives its members.
    Named(u32),
    /// The group of one consumer in `broadcast` mode. It is gone when that consumer leaves.
    Own(ConnId),
}

impl GroupId {
    /// Whether it outlives its members: a message that such a group has taken in is safe.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Shared | Self::Named(_) => true,
            Self::Own(_) => false,
        }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("queue"),
            Self::Named(number) => write!(f, "g{number}"),
            Self::Own(conn) => conn.fmt(f),
        }
    }
}
