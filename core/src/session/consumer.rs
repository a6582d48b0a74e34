//! What only a consumer has.

use super::Speech;
use crate::budget::Budget;
use crate::group::{Mark, Turn};
use crate::id::{GroupId, TopicId};
use crate::names::{Name, Pattern};
use crate::time::Now;
use crate::unsettled::Unsettled;
use crate::wire::handshake::Share;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// A consumer. It is a member of one group; or, if it has asked for a pattern of topics, of one in each topic
/// that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Consumer {
    /// Its groups, in the order of their topics.
    pub(crate) memberships: Vec<Membership>,
    /// The groups that are to have a turn with it when it can be handed something: all in which it is not waiting
    /// for its turn. First come first served, so that no topic starves another.
    pub(crate) ready: VecDeque<(TopicId, GroupId)>,
    /// What it has asked for, if that is more than one topic.
    pub(crate) pattern: Option<Wanted>,
    /// What it holds unsettled, if it settles.
    pub(crate) acks: Option<Box<Acks>>,
    /// Whether it has asked for nothing for now.
    pub(crate) is_paused: bool,
    /// What it is to be told when all is saved that it has settled: the FLUSH that it sent, and how many topics have
    /// yet to save something.
    pub(crate) flushes: VecDeque<(u64, usize)>,
    /// What is said between its messages, in version 2.
    pub(crate) speech: Option<Box<Speech>>,
}

/// What the consumer of a pattern is in each of its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Wanted {
    pub(crate) pattern: Pattern,
    pub(crate) group: Option<Name>,
    pub(crate) share: Share,
}

/// A place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Membership {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    /// Its turn among the members that wait for a message, if it waits for one there.
    pub(crate) turn: Option<Turn>,
    /// The sequence after the last that it was handed there; at first, that of the topic's next message.
    pub(crate) next: u64,
    /// In a group of its own: the sequence after the last that was too old to be handed out.
    pub(crate) expired: u64,
}

/// What a consumer that settles holds, and how much that may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Acks {
    pub(crate) unsettled: Unsettled<Held>,
    /// What the budget knows of the memory that they keep alive beyond what counts, in bytes.
    pub(crate) pinned: usize,
    /// The most messages that may be unsettled; 0 for none for now.
    pub(crate) prefetch: u32,
    /// The most bytes; one message is always allowed.
    pub(crate) prefetch_bytes: u32,
    /// How many messages it works on at once: the suspects if it dies.
    pub(crate) workers: u32,
    /// Whether it holds a message that is handed out alone.
    pub(crate) is_alone: bool,
    /// Whether it has said since how much it may hold: that may be less than it held.
    pub(crate) credit_was_set: bool,
    /// Whether it leaves in an orderly way: nothing of what it holds has failed.
    pub(crate) said_bye: bool,
    /// When it last settled something.
    pub(crate) settled: Now,
    /// When it is to be looked whether it still settles; at most one is set.
    pub(crate) timer: Option<Now>,
}

impl Acks {
    /// Tells the budget what its messages keep alive beyond what counts.
    pub(crate) const fn note_pinned(&mut self, budget: &mut Budget) {
        let after = self.unsettled.pinned();
        budget.set_pinned(self.pinned, after);
        self.pinned = after;
    }
}

/// What is known of messages that a consumer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Held {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    pub(crate) mark: Mark,
    /// Whether somebody is to know which of them are settled.
    pub(crate) is_tracked: bool,
    /// When they were handed out.
    pub(crate) since: Now,
}

/// How much a consumer may be handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Whether it holds nothing: then it may be handed one message however large, and one that is handed out
    /// alone.
    pub(crate) holds_nothing: bool,
}

impl Acks {
    /// By when something is to be settled, if that has a limit: the later of when the oldest message was handed
    /// out and the last time that something was settled, and so long after it.
    pub(crate) fn due(&self, timeout: impl Fn(TopicId) -> Option<Duration>) -> Option<Now> {
        let oldest = self.unsettled.first()?;
        Some(oldest.since.max(self.settled) + timeout(oldest.topic)?)
    }
}

impl Consumer {
    /// One that is a member of nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            memberships: Vec::new(),
            ready: VecDeque::new(),
            pattern: None,
            acks: None,
            is_paused: false,
            flushes: VecDeque::new(),
            speech: None,
        }
    }

    /// Whether its messages come with their sums.
    pub(crate) fn checks(&self) -> bool {
        self.speech.as_ref().is_some_and(|it| it.checks())
    }

    /// Whether it holds messages that it has not settled.
    pub(crate) fn holds_anything(&self) -> bool {
        let acks = self.acks.as_ref();
        acks.is_some_and(|it| !it.unsettled.is_empty())
    }

    /// It has become a member of a group, which is to have a turn with it. `next` is the sequence of the topic's
    /// next message.
    pub(crate) fn join(&mut self, topic: TopicId, group: GroupId, next: u64) {
        let place = self.memberships.partition_point(|it| it.topic < topic);
        let membership = Membership {
            topic,
            group,
            turn: None,
            next,
            expired: 0,
        };
        self.memberships.insert(place, membership);
        self.ready.push_back((topic, group));
    }

    pub(crate) fn membership(&mut self, topic: TopicId) -> &mut Membership {
        let place = self.memberships.binary_search_by_key(&topic, |it| it.topic);
        &mut self.memberships[place.expect("it is a member there")]
    }

    /// It no longer waits for its turn in a group, which is to have one when it can be handed something.
    pub(crate) fn take_turn(&mut self, topic: TopicId, group: GroupId) {
        self.membership(topic).turn = None;
        self.ready.push_back((topic, group));
    }

    /// A group in which it stood by makes it the member that gets everything.
    pub(crate) fn succeed(&mut self, topic: TopicId, group: GroupId) {
        let is_waiting = self.membership(topic).turn.is_some();
        if !is_waiting && !self.ready.contains(&(topic, group)) {
            self.ready.push_back((topic, group));
        }
    }

    pub(super) fn credit(&self) -> Option<Credit> {
        let Some(acks) = &self.acks else {
            return (!self.is_paused).then_some(Credit {
                messages: usize::MAX,
                bytes: usize::MAX,
                holds_nothing: true,
            });
        };
        let held = acks.unsettled.count();
        let messages = (acks.prefetch as usize).saturating_sub(held.messages as usize);
        let bytes = (acks.prefetch_bytes as usize).saturating_sub(held.bytes as usize);
        let full = messages == 0 || acks.is_alone || (bytes == 0 && !held.is_zero());
        (!full).then_some(Credit {
            messages,
            bytes,
            holds_nothing: held.is_zero(),
        })
    }

    /// How much of what it may hold it holds: 0 for nothing, and otherwise the sixteenths that it has begun. Who holds least
    /// is served first.
    pub(crate) fn load(&self) -> u8 {
        let Some(acks) = &self.acks else { return 0 };
        let held = acks.unsettled.count().messages;
        let sixteenths = (held * 16).div_ceil(u64::from(acks.prefetch.max(1)));
        sixteenths.min(16) as u8
    }
}
