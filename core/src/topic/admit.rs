//! What is parked until there is room for it, and who has none.
//!
//! With `Overflow::Block` a message is offered when every group has room for it. A message of a producer that has
//! asked for confirms is offered when every group that outlives its members has. A producer whose
//! batch has to wait is *blocked*: nothing more is read from it. Its batch is *parked*, behind
//! those that were parked before it. What is first in the line has exactly one blocker, and is
//! looked at again only when that has gained room. As long as it waits nothing is offered where all producers wait, so
//! that the room of every other group can only grow: however many groups there are, each is looked at
//! once for a message that waits for all of them. Where some do not wait, they take turns with it (`turns.rs`).

use super::{Published, Topic};
use crate::config::Overflow;
use crate::error::DropReason;
use crate::group::{Group, Room};
use crate::id::{ConnId, GroupId, TopicId};
use crate::shared::Shared;
use crate::stats::Count;
use crate::wire::FrameBatch;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What is parked in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Parked {
    /// First parked first. A producer that has left may still have something here.
    line: VecDeque<(ConnId, FrameBatch)>,
    /// What keeps the first of them from being offered; none if there is none.
    blocker: Option<Blocker>,
}

/// What has no room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Blocker {
    /// A group. Those before it have room.
    Group(GroupId),
    /// The topic's store: it was asked to append as much as may wait for it.
    Store,
    /// The budget, which the topic waits for in its line.
    Budget {
        /// How many bytes it must have.
        bytes: usize,
    },
}

impl Parked {
    /// What is parked, first parked first.
    pub(crate) fn line(&self) -> impl ExactSizeIterator<Item = &(ConnId, FrameBatch)> {
        self.line.iter()
    }

    /// What keeps the first of them from being offered.
    pub(crate) const fn blocker(&self) -> Option<Blocker> {
        self.blocker
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        for (_, batch) in &mut self.line {
            visit(batch);
        }
    }
}

impl Topic {
    /// Offers as much of a batch as there is room for, and parks the rest.
    pub(super) fn admit_or_park(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        shared: &mut Shared,
    ) -> Published {
        // Whoever parked first is admitted first.
        let rest = if self.parked.is_empty() {
            self.admit(conn, batch, shared)
        } else {
            Some(batch)
        };
        let Some(rest) = rest else {
            return Published::Offered;
        };
        shared.note_parked(Count::of(&rest));
        self.parked.line.push_back((conn, rest.compact()));
        Published::Parked
    }

    /// Offers as much of a batch as there is room for, and refuses the rest.
    pub(super) fn admit_or_refuse(
        &mut self,
        conn: ConnId,
        mut batch: FrameBatch,
        shared: &mut Shared,
    ) -> Published {
        while !batch.is_empty() {
            let Ok(room) = self.room(&batch, shared.budget.room()) else {
                return Published::Refused(Count::of(&batch));
            };
            let fits = batch.prefix(room.messages, room.bytes);
            self.offer(conn, batch.split_at(fits), Count::ZERO, shared);
        }
        Published::Offered
    }

    /// Offers as much of a batch as there is room for. Returns the rest, if any, and then has noted
    /// who blocks it.
    fn admit(
        &mut self,
        conn: ConnId,
        mut batch: FrameBatch,
        shared: &mut Shared,
    ) -> Option<FrameBatch> {
        self.turns.look_who_asks(shared.now);
        while !batch.is_empty() {
            match self.room(&batch, shared.budget.room()) {
                Ok(room) => {
                    let room = self.turns.share(room, shared.now);
                    let fits = match batch.prefix(room.messages, room.bytes) {
                        (0, _) => batch.prefix(1, usize::MAX),
                        fits => fits,
                    };
                    let part = batch.split_at(fits);
                    let (count, most) = (Count::of(&part), self.most_owed());
                    self.offer(conn, part, Count::ZERO, shared);
                    self.turns.note_let_in(count, most, shared.now);
                }
                Err(blocker) => {
                    self.block(&batch, blocker, shared);
                    return Some(batch);
                }
            }
        }
        None
    }

    /// The groups that must have room for what is admitted, in order.
    fn bounding_groups(&self) -> impl Iterator<Item = &Group> {
        let all = self.settings.overflow == Overflow::Block;
        let groups = self.groups.values();
        groups.filter(move |group| all || group.id().is_lasting())
    }

    fn block(&mut self, batch: &FrameBatch, blocker: Blocker, shared: &mut Shared) {
        if let Blocker::Budget { bytes } = blocker {
            shared.budget.queue(self.id, bytes, batch.byte_len());
        }
        self.parked.blocker = Some(blocker);
        self.arm_turn_timer(shared);
    }

    /// The room that every bounding group has, and the budget, which has `budget_room`, for all of them; enough
    /// for the first message of `batch`. If there is less, what blocks it.
    fn room(&self, batch: &FrameBatch, budget_room: usize) -> Result<Room, Blocker> {
        let (_, first) = batch.prefix(1, usize::MAX);
        if self.stored.is_some() {
            let bytes = self.room_in_store(budget_room);
            let messages = usize::MAX;
            return match bytes {
                _ if bytes >= first => Ok(Room { messages, bytes }),
                _ if self.store_is_full(first) => Err(Blocker::Store),
                _ => Err(Blocker::Budget { bytes: first }),
            };
        }
        let (mut messages, mut bytes, mut groups) = (usize::MAX, usize::MAX, 0);
        for group in self.bounding_groups() {
            let room = self.turns.room_in_line(group.room());
            if !fits(room, first) {
                return Err(Blocker::Group(group.id()));
            }
            messages = messages.min(room.messages);
            bytes = bytes.min(room.bytes);
            groups += 1;
        }
        if let Some(budget) = budget_room.checked_div(groups) {
            if budget < first {
                let bytes = first * groups;
                return Err(Blocker::Budget { bytes });
            }
            bytes = bytes.min(budget);
        }
        Ok(Room { messages, bytes })
    }

    /// The first bounding group, from `from` on, without room for a message of `bytes`.
    fn full_group(&self, bytes: usize, from: GroupId) -> Option<Blocker> {
        // Where not all wait in line, those before it may have lost room meanwhile.
        let all = self.settings.overflow == Overflow::Block;
        let from = if all { from } else { GroupId::Shared };
        let mut groups = self.groups.range(from..).map(|(_, group)| group);
        let full = groups.find(|it| (all || it.id().is_lasting()) && !self.has_room_in(it, bytes));
        full.map(|group| Blocker::Group(group.id()))
    }

    /// Looks at what is parked again, after a group has gained room or has gone. Does next to
    /// nothing unless it is the one that blocked. A topic that the budget blocks is told by
    /// [`retry_with_budget`](Self::retry_with_budget) when its turn has come.
    pub(crate) fn retry(&mut self, shared: &mut Shared) {
        let group = match self.parked.blocker {
            Some(Blocker::Group(group)) => group,
            Some(Blocker::Store) => {
                if self.first_bytes().is_some_and(|it| !self.store_is_full(it)) {
                    self.admit_parked(shared);
                }
                return;
            }
            Some(Blocker::Budget { .. }) | None => return,
        };
        if self
            .groups
            .get(&group)
            .is_some_and(|it| !self.has_room_for_first(it))
        {
            return;
        }
        match self
            .first_bytes()
            .and_then(|bytes| self.full_group(bytes, group))
        {
            Some(next) => {
                self.parked.blocker = Some(next);
                self.arm_turn_timer(shared);
            }
            None => self.admit_parked(shared),
        }
    }

    /// Looks at what is parked again: the budget has gained room, and this topic has left its line;
    /// or there are fewer groups to have room for.
    pub(crate) fn retry_with_budget(&mut self, shared: &mut Shared) {
        self.admit_parked(shared);
    }

    /// What is parked may have room now, or wait for something else.
    pub(super) fn look_at_all_that_is_parked(&mut self, shared: &mut Shared) {
        if let Some(Blocker::Budget { .. }) = self.parked.blocker {
            shared.budget.unqueue(self.id);
        }
        self.admit_parked(shared);
    }

    /// After a group has gone: a message needs less room.
    pub(super) fn group_left(&mut self, shared: &mut Shared) {
        if let Some(Blocker::Budget { .. }) = self.parked.blocker {
            shared.budget.unqueue(self.id);
            self.admit_parked(shared);
        }
    }

    /// After a group was handed something back: it may be what blocks now, and not the budget.
    pub(super) fn group_lost_room(&mut self, id: GroupId, shared: &mut Shared) {
        let has_room = self
            .groups
            .get(&id)
            .is_some_and(|it| self.has_room_for_first(it));
        if let Some(Blocker::Budget { .. }) = self.parked.blocker
            && !has_room
        {
            shared.budget.unqueue(self.id);
            self.parked.blocker = Some(Blocker::Group(id));
            self.arm_turn_timer(shared);
        }
    }

    /// Offers what is parked, as far as there is now room.
    fn admit_parked(&mut self, shared: &mut Shared) {
        self.parked.blocker = None;
        while let Some((conn, batch)) = self.parked.line.pop_front() {
            shared.note_unparked(Count::of(&batch));
            if let Some(rest) = self.admit(conn, batch, shared) {
                shared.note_parked(Count::of(&rest));
                self.parked.line.push_front((conn, rest));
                return;
            }
            shared.admitted(conn);
        }
    }

    /// Takes what a producer has parked out of the line: it is not taken in, and will be sent again.
    pub(crate) fn unpark(&mut self, conn: ConnId, shared: &mut Shared) {
        let Some(place) = self.parked.line.iter().position(|(it, _)| *it == conn) else {
            return;
        };
        if let Some((_, batch)) = self.parked.line.remove(place) {
            shared.note_unparked(Count::of(&batch));
        }
        if place == 0 {
            if let Some(Blocker::Budget { .. }) = self.parked.blocker {
                shared.budget.unqueue(self.id);
            }
            self.admit_parked(shared);
        }
    }

    /// Drops what is parked. It was received, if never offered. Its producers are not told: they are
    /// about to be let go.
    pub(crate) fn discard_parked(&mut self, shared: &mut Shared) {
        shared.budget.unqueue(self.id);
        self.parked.blocker = None;
        while let Some((conn, batch)) = self.parked.line.pop_front() {
            let count = Count::of(&batch);
            shared.note_unparked(count);
            if self.stored.is_none() {
                self.receive(count, shared);
            } else {
                // It gets no sequence: the next life of the broker has the next.
                shared.stats.received += count;
                shared.forgotten += count.messages;
            }
            self.lose(count, DropReason::Shutdown, shared);
            shared.unparked(conn);
        }
    }

    /// The bytes of the first message that is parked.
    pub(super) fn first_bytes(&self) -> Option<usize> {
        let (_, batch) = self.parked.line.front()?;
        Some(batch.prefix(1, usize::MAX).1)
    }

    fn has_room_for_first(&self, group: &Group) -> bool {
        self.first_bytes()
            .is_some_and(|bytes| self.has_room_in(group, bytes))
    }

    /// Whether a group has room for a message of those that wait.
    fn has_room_in(&self, group: &Group, bytes: usize) -> bool {
        fits(self.turns.room_in_line(group.room()), bytes)
    }

    /// Checks that what is parked has a reason to be.
    pub(super) fn check_parked(&self, shared: &Shared) {
        let Self { id, parked, .. } = self;
        let Some((conn, batch)) = parked.line.front() else {
            return assert_eq!(parked.blocker, None, "{id}: nothing is parked");
        };
        let queued: Vec<TopicId> = shared.budget.line().filter(|it| it == id).collect();
        let waits_for_bytes = matches!(parked.blocker, Some(Blocker::Budget { .. }));
        assert_eq!(queued.len(), usize::from(waits_for_bytes), "{id}");
        let room = shared.budget.room_for_parked(batch.byte_len());
        assert!(
            self.room(batch, room).is_err(),
            "{conn} waits and there is room"
        );
        if let Some(Blocker::Group(group)) = parked.blocker {
            let has_room = self
                .groups
                .get(&group)
                .is_none_or(|it| self.has_room_for_first(it));
            assert!(!has_room, "{conn} waits for {group}, which has room");
            let group = self.groups.get(&group);
            let is_owed = group.is_some_and(|it| fits(it.room(), batch.prefix(1, usize::MAX).1));
            let is_watched = self.turns.timer().is_some();
            assert!(!is_owed || is_watched, "{conn} waits for its turn for ever");
        }
        assert!(parked.blocker.is_some(), "nothing blocks {conn}");
    }
}

const fn fits(room: Room, bytes: usize) -> bool {
    room.messages > 0 && room.bytes >= bytes
}
