//! Counters. Plain numbers, kept by the core; the runtime makes metrics and logs of them.

use crate::error::{CloseReason, DropReason};
use alloc::vec::Vec;
use core::ops::{AddAssign, Deref, DerefMut, SubAssign};

/// A number of messages and the bytes of their frames, length prefixes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    /// Nothing.
    pub const ZERO: Self = Self {
        messages: 0,
        bytes: 0,
    };

    /// `messages` whose frames take `bytes`.
    pub const fn new(messages: usize, bytes: usize) -> Self {
        Self {
            messages: messages as u64,
            bytes: bytes as u64,
        }
    }

    /// Whether it counts no message.
    pub const fn is_zero(self) -> bool {
        self.messages == 0
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, rhs: Self) {
        self.messages += rhs.messages;
        self.bytes += rhs.bytes;
    }
}

impl SubAssign for Count {
    fn sub_assign(&mut self, rhs: Self) {
        self.messages -= rhs.messages;
        self.bytes -= rhs.bytes;
    }
}

/// How much groups of stored topics are behind: what is stored for them and is not in memory, so not offered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Behind {
    /// Groups that are behind, with members or without.
    pub groups: u64,
    /// What they are behind by: a message counts once for each of them.
    pub messages: u64,
}

impl Behind {
    /// Nobody is behind.
    pub(crate) const NOBODY: Self = Self {
        groups: 0,
        messages: 0,
    };

    /// A group that was behind by `before` messages is now by `after`.
    pub(crate) fn replace(&mut self, before: u64, after: u64) {
        self.groups = self.groups - u64::from(before > 0) + u64::from(after > 0);
        self.messages = self.messages - before + after;
    }
}

/// What became of the messages offered: `offered = delivered + waiting + dead + kept + dropped`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Flow {
    /// Offered: one for each message and each group there was; one where there was none.
    pub offered: Count,
    /// Handed to a consumer's socket, whole; where consumers settle, settled as done.
    pub delivered: Count,
    /// In a backlog, part of a write in flight, unsettled or delayed.
    pub waiting: Count,
    /// Given up, and moved to the dead-letter topic.
    pub dead: Count,
    /// Of a stored topic: left in the store when nobody was there to take them. They are offered again.
    pub kept: Count,
    /// Not delivered and never to be, by [`DropReason::index`].
    pub dropped: [Count; DropReason::COUNT],
}

impl Flow {
    /// All that was dropped, for whatever reason.
    pub fn dropped_in_all(&self) -> Count {
        let mut sum = Count::ZERO;
        for count in self.dropped {
            sum += count;
        }
        sum
    }

    /// Whether it adds up.
    pub fn adds_up(&self) -> bool {
        let mut sum = self.dropped_in_all();
        sum += self.delivered;
        sum += self.dead;
        sum += self.kept;
        sum += self.waiting;
        sum == self.offered
    }

    pub(crate) fn offer(&mut self, count: Count) {
        self.offered += count;
        self.waiting += count;
    }

    pub(crate) fn deliver(&mut self, count: Count) {
        self.waiting -= count;
        self.delivered += count;
    }

    pub(crate) fn bury(&mut self, count: Count) {
        self.waiting -= count;
        self.dead += count;
    }

    pub(crate) fn keep(&mut self, count: Count) {
        self.waiting -= count;
        self.kept += count;
    }

    pub(crate) fn lose(&mut self, count: Count, reason: DropReason) {
        self.waiting -= count;
        self.dropped[reason.index()] += count;
    }
}

/// A number for each [`CloseReason`], by its [`index`](CloseReason::index).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<u64>", into = "Vec<u64>"))]
pub struct ByReason([u64; CloseReason::COUNT]);

impl Default for ByReason {
    fn default() -> Self {
        Self([0; CloseReason::COUNT])
    }
}

impl Deref for ByReason {
    type Target = [u64; CloseReason::COUNT];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ByReason {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl From<ByReason> for Vec<u64> {
    fn from(numbers: ByReason) -> Self {
        numbers.0.into()
    }
}

impl TryFrom<Vec<u64>> for ByReason {
    type Error = &'static str;

    fn try_from(numbers: Vec<u64>) -> Result<Self, Self::Error> {
        let numbers = numbers.try_into();
        numbers
            .map(Self)
            .map_err(|_| "a number for each reason is needed")
    }
}

/// The counters of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Taken from producers. What a producer that waits for room has parked is not yet in it.
    pub received: Count,
    /// What became of it, over all groups.
    pub flow: Flow,
    /// Connections ever opened, those refused included.
    pub opened: u64,
    /// Connections ended, by [`CloseReason::index`].
    pub closed: ByReason,
    /// Connections now, in whatever role.
    pub connections: usize,
    /// Producers now.
    pub producers: usize,
    /// Consumers now.
    pub consumers: usize,
    /// Connections of version 2 now.
    pub version2: usize,
    /// Topics now, dead-letter topics included.
    pub topics: usize,
    /// Named groups now, over all topics.
    pub named_groups: usize,
    /// Places in groups that consumers have now: in each topic that it receives from, a consumer has one.
    pub memberships: usize,
    /// Names of producers that are known now, with a connection or without.
    pub producer_names: usize,
    /// What consumers hold now until they settle it. It waits, too.
    pub unsettled: Count,
    /// The messages of the writes that are now in flight to connections of version 2.
    pub writing: Count,
    /// About how many bytes connections of version 2 are now told, or are yet to be told, beside messages.
    pub saying: u64,
    /// Connections ever that spoke version 2.
    pub introduced: u64,
    /// Producers ever registered.
    pub producers_registered: u64,
    /// Consumers ever registered.
    pub consumers_registered: u64,
    /// Messages parked by producers that wait for room.
    pub parked: Count,
    /// Messages that stores were asked to append and have not. They have been received, and not offered yet.
    pub storing: Count,
    /// How much groups of stored topics are behind now.
    pub behind: Behind,
    /// Messages that producers were told are refused. They are in no other sum.
    pub refused: Count,
    /// Messages handed out again, after they had come back.
    pub redelivered: u64,
    /// Positions that were settled when they were not the consumer's any more.
    pub settled_late: u64,
}
