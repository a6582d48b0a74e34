//! What a topic has its store append, and what comes of it: producers are told, and groups have it.

use super::Stored;
use crate::config::Overflow;
use crate::error::DropReason;
use crate::group::{Books, Mark, Waiting};
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::Name;
use crate::shared::Shared;
use crate::stats::Count;
use crate::store::Request;
use crate::time::Now;
use crate::topic::{Published, Topic};
use crate::wire::control::{self, Origin};
use crate::wire::{FrameBatch, MAX_FRAME};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The most bytes that a store is asked to append in one piece.
const MAX_PIECE: usize = 4 << 20;

/// The most pieces that a store is asked to append and has not.
const MAX_APPENDING: usize = 4_096;

/// Messages that a store was asked to append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Appending {
    pub(super) batch: FrameBatch,
    pub(super) first: u64,
    published: Now,
    pub(super) source: From,
}

/// Where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum From {
    /// A producer; with a name, how far it gets with them.
    Producer(ConnId, Option<Box<Reached>>),
    /// A group that has given them up.
    Group(Box<Buried>, Box<Origin>),
}

/// How far a producer with a name gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reached {
    /// The topic where its name is known.
    pub(crate) home: TopicId,
    pub(crate) name: Name,
    pub(crate) session: String,
    pub(crate) position: u64,
}

/// A message that a group has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Buried {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    pub(crate) sequence: u64,
}

/// What has to be done elsewhere, now that something was appended.
pub(crate) enum Consequence {
    /// A producer that is gone has got so far.
    Reached(Box<Reached>),
    /// A dead letter is safe, so its group has no business with it any more.
    Buried(Buried),
}

impl Stored {
    /// What the store was asked to append and has not.
    pub(crate) const fn appending(&self) -> Count {
        self.count
    }

    /// How many bytes more may wait to be appended.
    fn room(&self, bytes: usize) -> usize {
        if self.appending.len() >= MAX_APPENDING || !self.groups_are_safe() {
            return 0;
        }
        bytes.saturating_sub(self.count.bytes as usize)
    }
}

impl Topic {
    /// How many bytes of messages the store may be asked to append now.
    pub(in crate::topic) fn room_in_store(&self, budget_room: usize) -> usize {
        let stored = self.stored.as_ref().expect("the topic is stored");
        stored
            .room(self.settings.bytes.max(MAX_FRAME))
            .min(budget_room)
            .min(MAX_PIECE)
    }

    /// Whether it is the store that has no room for so many bytes, and not the budget.
    pub(in crate::topic) fn store_is_full(&self, bytes: usize) -> bool {
        self.room_in_store(usize::MAX) < bytes
    }

    /// Publishes what a producer sent: it waits for room, unless it is to be told that there is none.
    pub(in crate::topic) fn publish_stored(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        confirms: bool,
        shared: &mut Shared,
    ) -> Published {
        // Of who has a name it is remembered how far it has got, and not what of that was refused.
        let is_refused = confirms
            && self.stored().is_some_and(Stored::groups_are_safe)
            && self.settings.overflow == Overflow::Reject
            && !shared.has_producer_name(conn);
        if is_refused {
            self.admit_or_refuse(conn, batch, shared)
        } else {
            self.admit_or_park(conn, batch, shared)
        }
    }

    /// Asks the store to append what a producer sent; there is room for it.
    pub(in crate::topic) fn append(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        shared: &mut Shared,
    ) {
        let messages = batch.messages() as u64;
        let reached = shared.note_storing(conn, self.id, messages);
        let source = From::Producer(conn, reached.map(Box::new));
        self.ask_to_append(batch, source, shared);
    }

    /// Takes in a dead letter, which it has room for.
    pub(in crate::topic) fn append_dead(
        &mut self,
        dead: Waiting,
        buried: Buried,
        shared: &mut Shared,
    ) {
        let origin = dead.mark.origin.expect("a dead letter has an origin");
        let source = From::Group(Box::new(buried), origin);
        self.ask_to_append(dead.batch, source, shared);
    }

    fn ask_to_append(&mut self, batch: FrameBatch, source: From, shared: &mut Shared) {
        let count = Count::of(&batch);
        let first = self.receive(count, shared);
        let batch = batch.compact();
        shared.budget.take(count.bytes as usize);
        shared.stats.storing += count;
        let (producers, origin) = match &source {
            From::Producer(_, reached) => {
                let mark = reached.as_ref().map(|it| self.mark_of(it, shared));
                (mark.into_iter().collect(), None)
            }
            From::Group(_, origin) => (Vec::new(), Some(origin.clone())),
        };
        let published = shared.now;
        shared.ask(
            self.id,
            Request::Append {
                first,
                published: shared.wall_clock(published),
                batch: batch.clone(),
                producers,
                origin,
            },
        );
        let stored = self.stored.as_mut().expect("the topic is stored");
        stored.count += count;
        stored.appending.push_back(Appending {
            batch,
            first,
            published,
            source,
        });
    }

    /// What is stored of how far a producer gets. One whose name is known in another topic is told from its
    /// namesakes here by that topic's name.
    fn mark_of(&self, reached: &Reached, shared: &Shared) -> control::Mark {
        let name = if reached.home == self.id {
            reached.name.to_string()
        } else {
            format!("{}@{}", reached.name, shared.facts[&reached.home].name)
        };
        control::Mark {
            name,
            session: reached.session.clone(),
            position: reached.position,
        }
    }

    /// The store has appended all up to this sequence: its producers are told, and it is offered. So much of the last that
    /// it was asked for it has given to nobody.
    ///
    /// # Panics
    /// If it was not asked to.
    pub(crate) fn appended(
        &mut self,
        up_to: u64,
        unrouted: Count,
        shared: &mut Shared,
    ) -> Vec<Consequence> {
        let is_shared = self.settings.storage.is_shared();
        assert!(
            up_to < self.next_sequence,
            "more was appended than was to be"
        );
        let mut consequences = Vec::new();
        loop {
            let stored = self.stored.as_mut().expect("the topic is stored");
            let is_there = |it: &mut Appending| it.first + it.batch.messages() as u64 - 1 <= up_to;
            let Some(appended) = stored.appending.pop_front_if(is_there) else {
                return consequences;
            };
            let Appending {
                batch,
                first,
                published,
                source,
            } = appended;
            let count = Count::of(&batch);
            stored.count -= count;
            stored.appended = first + count.messages - 1;
            let unrouted = match is_shared {
                // Its groups may be with other brokers: the store knows.
                true if stored.appended == up_to => unrouted,
                false if self.groups.is_empty() => count,
                true | false => Count::ZERO,
            };
            shared.stats.storing -= count;
            shared.budget.give_back(count.bytes as usize);
            let mut mark = Mark::new(first, published);
            match source {
                From::Producer(conn, reached) => {
                    let knows =
                        shared.note_stored(conn, self.id, count.messages, unrouted.messages);
                    let reached = reached.filter(|_| !knows);
                    consequences.extend(reached.map(Consequence::Reached));
                }
                From::Group(buried, origin) => {
                    mark.origin = Some(origin);
                    consequences.push(Consequence::Buried(*buried));
                }
            }
            if is_shared {
                // It comes to the groups by the store, and what comes to none is nowhere.
                if !unrouted.is_zero() {
                    self.lose(unrouted, DropReason::NoConsumer, shared);
                }
                continue;
            }
            let topic = &mut self.flow;
            for group in self.groups.values_mut() {
                group.take_appended(&batch, &mark, &mut Books { topic, shared });
                stored.count_behind(group, shared);
            }
        }
    }
}
