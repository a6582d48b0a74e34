//! The seam between the broker and whatever keeps its stored topics.
//!
//! The broker decides, a store obeys. For a stored topic the broker asks for [`Request`]s, each an
//! [`Output::Store`](crate::Output::Store), and is told [`Answer`]s by
//! [`Broker::handle_answer`](crate::Broker::handle_answer). The requests of one topic are in order; answers may come
//! late, and in any order where nothing else is said. A topic that is kept in memory asks for nothing.
//!
//! - What is appended is confirmed, and offered to groups, only when it was [`Answer::Appended`].
//! - A group reads from a window on the topic. While it is up to date the window is fed by what was just appended;
//!   otherwise by [`Request::Fetch`], one at a time for a group.
//! - How far a lasting group has got is saved by [`Request::SaveGroup`]. FLUSHED waits for [`Answer::GroupSaved`].
//!
//! A store that has failed answers nothing more, and whoever runs the broker ends it.
//!
//! A **shared** store ([`Storage::is_shared`]) is one that other brokers use too. It numbers the messages of each group by
//! itself, and says how far those reach that the broker may have: see docs/ENGINES.md.
//!
//! - What it has appended is confirmed, and offered to nobody: it may come back by another group's way, or to another
//!   broker.
//! - While a group has members it is open: [`Request::OpenGroup`], answered by [`Answer::GroupOpened`]. What the store
//!   has for it is told by [`Answer::Arrived`], and read by [`Request::Fetch`].
//! - [`Answer::GroupLost`] takes back all that the group holds. The store opens it again by itself.

mod engine;
mod model;

pub use engine::{Engine, News, Profile};
pub use model::Model;

use crate::id::GroupId;
use crate::log::{Fsync, Progress};
use crate::names::{Name, TopicName};
use crate::stats::Count;
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// Where a topic's messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Storage {
    /// In memory: they are gone when the broker ends.
    #[default]
    Memory,
    /// In the broker's own log, on a disk.
    Disk,
    /// In a RocksDB database, on a disk.
    RocksDb,
    /// In RabbitMQ, which other brokers may share.
    RabbitMq,
    /// In Kafka, which other brokers may share.
    Kafka,
}

impl Storage {
    const ALL: [Self; 5] = [
        Self::Memory,
        Self::Disk,
        Self::RocksDb,
        Self::RabbitMq,
        Self::Kafka,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Whether other brokers may have the same topics there, so that messages are numbered for each group by the store.
    pub const fn is_shared(self) -> bool {
        match self {
            Self::Memory | Self::Disk | Self::RocksDb => false,
            Self::RabbitMq | Self::Kafka => true,
        }
    }

    /// Whether it keeps what was before a group, so that a group that is new may begin there.
    pub const fn has_history(self) -> bool {
        match self {
            Self::Memory | Self::RabbitMq => false,
            Self::Disk | Self::RocksDb | Self::Kafka => true,
        }
    }

    /// The word for it, in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::RocksDb => "rocksdb",
            Self::RabbitMq => "rabbitmq",
            Self::Kafka => "kafka",
        }
    }
}

/// How a stored topic is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StoreSettings {
    /// When what was appended is safe. Default: always, before it is confirmed.
    pub fsync: Fsync,
    /// The size of a segment, in bytes: see [`log::Settings::segment_bytes`](crate::log::Settings::segment_bytes).
    /// Default: 64 MiB.
    pub segment_bytes: u64,
    /// Segments all of which was published longer ago than this are deleted; none: never. Default: none.
    pub retention: Option<Duration>,
    /// The oldest segments are deleted while all together have more than so many bytes; none: never. Default: none.
    pub retention_bytes: Option<u64>,
    /// Whether segments are deleted that every lasting group has settled whole, where there is one. Default: no.
    pub retention_settled: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            fsync: Fsync::Always,
            segment_bytes: 64 << 20,
            retention: None,
            retention_bytes: None,
            retention_settled: false,
        }
    }
}

/// The epochs of the topics that a broker makes are above this one, where it begins at so many milliseconds since 1970;
/// those of its earlier lives are below. It is for what a store makes by itself before.
pub const fn first_epoch(since_1970: u64) -> u64 {
    since_1970 << 20
}

/// What the broker asks a store to do for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Request {
    /// Make a store for a topic that has none. The first request of a topic that was not there when the broker
    /// started. The other requests may follow at once, and wait.
    Open {
        /// Its name.
        name: TopicName,
        /// The life of its sequences.
        epoch: u64,
    },
    /// Append these messages, in one piece. [`Answer::Appended`] follows.
    Append {
        /// The sequence of the first. There is no hole between one request and the next.
        first: u64,
        /// When they were published, in milliseconds since 1970.
        published: u64,
        /// The messages.
        batch: FrameBatch,
        /// Who published them, if that has a name, and the position of the last.
        producers: Vec<Mark>,
        /// For a dead letter, which is alone: where it came from.
        origin: Option<Box<Origin>>,
    },
    /// Read for a group. [`Answer::Fetched`] follows. There is one at a time for a group.
    Fetch {
        /// The group.
        group: GroupId,
        /// Where to begin.
        from: FetchFrom,
        /// About how many bytes of messages to read; one piece as it was appended at least.
        bytes: usize,
    },
    /// Save how far a group has got; it is made if there is none, at what is new. [`Answer::GroupSaved`] follows.
    SaveGroup {
        /// The number of this change: they rise by one, those of [`Request::RemoveGroup`] included.
        change: u64,
        /// The group's name.
        group: Name,
        /// How far it has got. It is safe to save only the last of several.
        progress: Progress,
    },
    /// Forget a group. [`Answer::GroupSaved`] follows.
    RemoveGroup {
        /// The number of this change.
        change: u64,
        /// The group's name.
        group: Name,
    },
    /// The settings of the topic have changed to these.
    Change(StoreSettings),
    /// Of a shared store: a group has members now. [`Answer::GroupOpened`] follows. What is appended by a later request
    /// comes to the group.
    OpenGroup {
        /// The group.
        group: GroupId,
        /// Its name; none for a group of one's own, which begins now and ends when it is closed.
        name: Option<Name>,
        /// The most messages that it can hold: more need not come before some are settled.
        most: usize,
        /// Where it begins if the store does not know it; one that the store knows goes on where it is. Of a group with
        /// a name [`Request::SaveGroup`] follows. Only a store with a history ([`Storage::has_history`]) is asked for
        /// anything but what is new.
        from: OpenFrom,
    },
    /// Of a shared store: a group has no members any more. What it has not settled is for others.
    CloseGroup {
        /// The group.
        group: GroupId,
    },
}

/// Where a fetch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FetchFrom {
    /// At this sequence, or at the first kept if that is behind it.
    Sequence(u64),
    /// At the first message that was published then or later, in milliseconds since 1970.
    Time(u64),
}

/// Where a group begins that a shared store does not know. It may be near: a store of which the messages are in several
/// partitions begins so in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OpenFrom {
    /// At the next message.
    #[default]
    New,
    /// At the first message that is kept.
    First,
    /// At the last message that is kept.
    Last,
    /// At the first message that was published then or later, in milliseconds since 1970; at the next if there is none.
    Time(u64),
}

/// What a store has done for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Answer {
    /// All messages up to this sequence are as safe as the topic's settings say. Cumulative.
    Appended {
        /// The sequence.
        up_to: u64,
        /// What the store has given to nobody, of the messages of the last [`Request::Append`] that this answers: there was
        /// no group, and it has not kept them. Only a shared store knows.
        unrouted: Count,
    },
    /// What was read for a group.
    Fetched {
        /// The group.
        group: GroupId,
        /// What is kept, in order. Sequences between two of them, and before the first, are not kept.
        runs: Vec<Run>,
        /// The sequence after all that was looked at: where the next fetch is to begin. Not above what was
        /// [`Answer::Appended`] before.
        next: u64,
    },
    /// What a group asked for could not be read. It asks again after a second.
    NotFetched {
        /// The group.
        group: GroupId,
    },
    /// All changes of groups up to this one are safe. Cumulative.
    GroupSaved {
        /// The number of the change.
        up_to: u64,
    },
    /// The messages before this sequence are not kept any more.
    Trimmed {
        /// The sequence of the first message kept.
        first: u64,
    },
    /// Of a shared store: a group is open, and its messages begin here.
    GroupOpened {
        /// The group.
        group: GroupId,
        /// The sequence of the first that will come; above all that came before.
        next: u64,
    },
    /// Of a shared store: messages up to this sequence can be fetched for a group that is open.
    Arrived {
        /// The group.
        group: GroupId,
        /// The sequence of the last. Cumulative.
        up_to: u64,
    },
    /// Of a shared store: all that a group has not settled is taken back, and comes again, here or elsewhere.
    /// [`Answer::GroupOpened`] follows when the store can be reached.
    GroupLost {
        /// The group.
        group: GroupId,
    },
}

impl Answer {
    /// All messages up to this sequence are safe, and the store has them.
    pub const fn appended(up_to: u64) -> Self {
        Self::Appended {
            up_to,
            unrouted: Count::ZERO,
        }
    }
}

/// Messages as they were appended, or a part of that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Run {
    /// The sequence of the first.
    pub first: u64,
    /// When they were published, in milliseconds since 1970.
    pub published: u64,
    /// The messages.
    pub batch: FrameBatch,
    /// For a dead letter, which is alone: where it came from.
    pub origin: Option<Box<Origin>>,
    /// How often they were handed out before, as far as the store knows; only a shared one does.
    pub attempts: u32,
}

/// A topic that was found in a store when the broker started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StoredTopic {
    /// Its name.
    pub name: TopicName,
    /// The life of its sequences.
    pub epoch: u64,
    /// The sequence of the first message kept; `next` if there is none.
    pub first: u64,
    /// The sequence of the next message.
    pub next: u64,
    /// When the last message was published, in milliseconds since 1970; 0 if nobody knows.
    pub published: u64,
    /// Every group and how far it has got, by name.
    pub groups: Vec<(Name, Progress)>,
    /// Every producer that is remembered and how far it has got.
    pub producers: Vec<Mark>,
}
