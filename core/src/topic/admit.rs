//! What is parked until there is room for it, and who has none.
//!
//! With `Overflow::Block` a message is offered when every group has room for it. A producer whose
//! batch has to wait is *blocked*: nothing more is read from it. Its batch is *parked*, behind
//! those that were parked before it. What is first in the line has exactly one blocker, and is
//! looked at again only when that has gained room. As long as it waits nothing is offered, so that
//! the room of every other group can only grow: however many groups there are, each is looked at
//! once for a message that waits for all of them.

use super::Topic;
use crate::broker::Output;
use crate::error::DropReason;
use crate::group::Group;
use crate::id::{ConnId, GroupId, TopicId};
use crate::session::Event;
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
    /// The budget, which the topic waits for in its line.
    Budget {
        /// How many bytes it must have.
        bytes: usize,
    },
}

impl Parked {
    /// What is parked, first parked first.
    pub(crate) fn line(&self) -> impl Iterator<Item = &(ConnId, FrameBatch)> {
        self.line.iter()
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
    pub(super) fn admit_or_park(&mut self, conn: ConnId, batch: FrameBatch, shared: &mut Shared) {
        // Whoever parked first is admitted first.
        let rest = if self.parked.is_empty() {
            self.admit(batch, shared)
        } else {
            Some(batch)
        };
        let Some(rest) = rest else { return };
        shared.session(conn).advance(Event::Parked);
        shared.park(Count::of(&rest));
        self.parked.line.push_back((conn, rest.compact()));
        shared.outputs.push_back(Output::Pause { conn });
    }

    /// Offers as much of a batch as there is room for. Returns the rest, if any, and then has noted
    /// who blocks it.
    fn admit(&mut self, mut batch: FrameBatch, shared: &mut Shared) -> Option<FrameBatch> {
        while !batch.is_empty() {
            match self.room(&batch, shared.budget.room()) {
                Ok(fits) => self.offer(batch.split_at(fits), shared),
                Err(blocker) => {
                    self.block(&batch, blocker, shared);
                    return Some(batch);
                }
            }
        }
        None
    }

    fn block(&mut self, batch: &FrameBatch, blocker: Blocker, shared: &mut Shared) {
        if let Blocker::Budget { bytes } = blocker {
            shared.budget.queue(self.id, bytes, batch.byte_len());
        }
        self.parked.blocker = Some(blocker);
    }

    /// How much of the front of `batch` every group has room for, and the budget, which has
    /// `budget_room`, for all of them; one message at least. If none, what blocks it.
    fn room(&self, batch: &FrameBatch, budget_room: usize) -> Result<(usize, usize), Blocker> {
        let Some(first_group) = self.groups.keys().next() else {
            return Ok((batch.messages(), batch.byte_len()));
        };
        let (_, first) = batch.prefix(1, usize::MAX);
        if let Some(blocker) = self.full_group(first, *first_group) {
            return Err(blocker);
        }
        let budget = budget_room / self.groups.len();
        if budget < first {
            let bytes = first * self.groups.len();
            return Err(Blocker::Budget { bytes });
        }
        let (mut messages, mut bytes) = (usize::MAX, budget);
        for group in self.groups.values() {
            let room = group.backlog().room();
            messages = messages.min(room.messages);
            bytes = bytes.min(room.bytes);
        }
        Ok(batch.prefix(messages, bytes))
    }

    /// The first group, from `from` on, without room for a message of `bytes`.
    fn full_group(&self, bytes: usize, from: GroupId) -> Option<Blocker> {
        let mut full = self.groups_from(from).filter(|it| !has_room(it, bytes));
        full.next().map(|group| Blocker::Group(group.id()))
    }

    /// Looks at what is parked again, after a group has gained room or has gone. Does next to
    /// nothing unless it is the one that blocked. A topic that the budget blocks is told by
    /// [`retry_with_budget`](Self::retry_with_budget) when its turn has come.
    pub(crate) fn retry(&mut self, shared: &mut Shared) {
        let Some(Blocker::Group(group)) = self.parked.blocker else {
            return;
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
            Some(next) => self.parked.blocker = Some(next),
            None => self.admit_parked(shared),
        }
    }

    /// Looks at what is parked again: the budget has gained room, and this topic has left its line;
    /// or there are fewer groups to have room for.
    pub(crate) fn retry_with_budget(&mut self, shared: &mut Shared) {
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
        }
    }

    /// Offers what is parked, as far as there is now room.
    fn admit_parked(&mut self, shared: &mut Shared) {
        self.parked.blocker = None;
        while let Some((conn, batch)) = self.parked.line.pop_front() {
            shared.unpark(Count::of(&batch));
            if let Some(rest) = self.admit(batch, shared) {
                shared.park(Count::of(&rest));
                self.parked.line.push_front((conn, rest));
                return;
            }
            match shared.sessions.get_mut(&conn) {
                Some(session) => {
                    session.advance(Event::Admitted);
                    if !session.is_closing() {
                        shared.outputs.push_back(Output::Resume { conn });
                    }
                }
                None => shared.departed -= 1,
            }
        }
    }

    /// Drops what is parked. It was received, if never offered. Its producers are not told: they are
    /// about to be let go.
    pub(crate) fn discard_parked(&mut self, shared: &mut Shared) {
        shared.budget.unqueue(self.id);
        self.parked.blocker = None;
        while let Some((conn, batch)) = self.parked.line.pop_front() {
            let count = Count::of(&batch);
            shared.unpark(count);
            self.receive(count, shared);
            self.lose(count, DropReason::Shutdown, shared);
            match shared.sessions.get_mut(&conn) {
                Some(session) => session.advance(Event::Admitted),
                None => shared.departed -= 1,
            }
        }
    }

    /// The bytes of the first message that is parked.
    fn first_bytes(&self) -> Option<usize> {
        let (_, batch) = self.parked.line.front()?;
        Some(batch.prefix(1, usize::MAX).1)
    }

    fn has_room_for_first(&self, group: &Group) -> bool {
        self.first_bytes()
            .is_some_and(|bytes| has_room(group, bytes))
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
        }
        assert!(parked.blocker.is_some(), "nothing blocks {conn}");
    }
}

fn has_room(group: &Group, bytes: usize) -> bool {
    let room = group.backlog().room();
    room.messages > 0 && room.bytes >= bytes
}
