//! A topic: gives each message its sequence and offers it to every group.

mod admit;

pub(crate) use admit::Parked;

use crate::config::{Config, DeliveryMode, Overflow};
use crate::error::{CloseReason, DropReason};
use crate::group::Group;
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::session::Consumer;
use crate::shared::Shared;
use crate::stats::{Count, Flow};
use crate::wire::FrameBatch;
use alloc::collections::BTreeMap;
use core::ops::Bound;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Topic {
    id: TopicId,
    /// The groups that each message is offered to.
    groups: BTreeMap<GroupId, Group>,
    /// The sequence of the next message: how many there were before it. None is used twice.
    next_sequence: u64,
    /// What became of its messages, over all groups, those included that are gone.
    flow: Flow,
    /// What waits to be offered.
    parked: Parked,
    /// The bytes in the backlogs of its groups: its part of the budget.
    backlog_bytes: usize,
}

impl Topic {
    /// A topic without messages, with the groups that are there without a member.
    pub(crate) fn new(id: TopicId, config: &Config) -> Self {
        let mut topic = Self {
            id,
            groups: BTreeMap::new(),
            next_sequence: 0,
            flow: Flow::default(),
            parked: Parked::default(),
            backlog_bytes: 0,
        };
        match config.delivery {
            DeliveryMode::Broadcast => {}
            DeliveryMode::Queue => {
                topic
                    .groups
                    .insert(GroupId::Shared, Group::new(GroupId::Shared, config));
            }
        }
        topic
    }

    pub(crate) const fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups
    }

    pub(crate) const fn parked(&self) -> &Parked {
        &self.parked
    }

    /// The bytes in the backlogs of its groups.
    pub(crate) const fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// Takes note of what this topic has changed: all backlogs together held so much `before` and
    /// `after`.
    pub(crate) const fn note_backlogs(&mut self, before: usize, after: usize) {
        self.backlog_bytes = self.backlog_bytes + after - before;
    }

    /// Publishes what a producer sent.
    pub(crate) fn publish(&mut self, conn: ConnId, batch: FrameBatch, shared: &mut Shared) {
        if batch.is_empty() {
            return;
        }
        match shared.config.overflow {
            Overflow::Drop => self.offer(batch, shared),
            Overflow::Block => self.admit_or_park(conn, batch, shared),
        }
    }

    /// Offers a batch to every group. Each takes what it has room for and loses the newest of the
    /// rest, alone.
    fn offer(&mut self, batch: FrameBatch, shared: &mut Shared) {
        let sequence = self.receive(Count::of(&batch), shared);
        if self.groups.is_empty() {
            return self.lose(Count::of(&batch), DropReason::NoConsumer, shared);
        }
        // Once, whatever the number of groups.
        let batch = batch.compact();
        for group in self.groups.values_mut() {
            group.offer(batch.clone(), sequence, &mut self.flow, shared);
        }
    }

    /// Gives messages their sequences. Returns the first.
    fn receive(&mut self, count: Count, shared: &mut Shared) -> u64 {
        shared.stats.received += count;
        let sequence = self.next_sequence;
        self.next_sequence += count.messages;
        sequence
    }

    /// Counts messages that are lost and were never offered to a group.
    fn lose(&mut self, count: Count, reason: DropReason, shared: &mut Shared) {
        for entry in [Entry::Offered(count), Entry::Lost(count, reason)] {
            post(entry, [&mut self.flow, &mut shared.stats.flow]);
        }
        shared.report_drop(None, count, reason);
    }

    /// Takes in a consumer. Returns its group, and its turn there.
    pub(crate) fn join(&mut self, conn: ConnId, shared: &Shared) -> (GroupId, u64) {
        let id = match shared.config.delivery {
            DeliveryMode::Broadcast => GroupId::Own(conn),
            DeliveryMode::Queue => GroupId::Shared,
        };
        let group = self.groups.entry(id);
        let group = group.or_insert_with(|| Group::new(id, &shared.config));
        (id, group.join(conn))
    }

    /// Gives the idle members of a group what waits for it.
    pub(crate) fn dispatch(&mut self, id: GroupId, shared: &mut Shared) {
        self.group(id).dispatch(shared);
    }

    /// A consumer's socket has taken all of a write.
    pub(crate) fn delivered(
        &mut self,
        conn: ConnId,
        id: GroupId,
        count: Count,
        shared: &mut Shared,
    ) {
        let group = self.groups.get_mut(&id).expect("the group is there");
        group.delivered(conn, count, &mut self.flow, shared);
        if group.is_finished() {
            shared.note_finished(self.id, id);
        }
    }

    /// Hands a consumer nothing more: it is closing.
    pub(crate) fn withdraw(&mut self, conn: ConnId, consumer: &Consumer) {
        self.group(consumer.group).withdraw(conn, consumer.turn);
    }

    /// Lets a consumer go.
    pub(crate) fn leave(
        &mut self,
        conn: ConnId,
        consumer: Consumer,
        reason: CloseReason,
        shared: &mut Shared,
    ) {
        let id = consumer.group;
        let group = self.groups.get_mut(&id).expect("the group is there");
        group.leave(conn, consumer, &mut self.flow, shared);
        match id {
            GroupId::Shared => {
                if shared.drain_has_ended() {
                    group.discard(DropReason::Shutdown, &mut self.flow, shared);
                }
                group.dispatch(shared);
                if group.is_finished() {
                    shared.note_finished(self.id, id);
                }
                self.group_lost_room(id, shared);
            }
            GroupId::Own(_) => {
                let lost_by = if reason == CloseReason::DrainTimeout {
                    DropReason::Shutdown
                } else {
                    DropReason::ConsumerLeft
                };
                group.discard(lost_by, &mut self.flow, shared);
                self.groups.remove(&id);
                self.group_left(shared);
            }
        }
    }

    /// Drops what waits in every group.
    pub(crate) fn discard_backlogs(&mut self, shared: &mut Shared) {
        for group in self.groups.values_mut() {
            group.discard(DropReason::Shutdown, &mut self.flow, shared);
        }
    }

    /// Drops what waits in the queue, if there is one, and not what is in flight. Returns how much.
    pub(crate) fn purge(&mut self, shared: &mut Shared) -> Option<Count> {
        let group = self.groups.get_mut(&GroupId::Shared)?;
        let purged = group.backlog().count();
        group.discard(DropReason::Purged, &mut self.flow, shared);
        if group.is_finished() {
            shared.note_finished(self.id, GroupId::Shared);
        }
        Some(purged)
    }

    /// The groups for which nothing waits.
    pub(crate) fn finished_groups(&self) -> impl Iterator<Item = (TopicId, GroupId)> {
        let finished = self.groups.values().filter(|group| group.is_finished());
        finished.map(|group| (self.id, group.id()))
    }

    fn group(&mut self, id: GroupId) -> &mut Group {
        self.groups.get_mut(&id).expect("the group is there")
    }

    /// The groups from `from` on.
    fn groups_from(&self, from: GroupId) -> impl Iterator<Item = &Group> {
        let range = (Bound::Included(from), Bound::Unbounded);
        self.groups.range(range).map(|(_, group)| group)
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        for group in self.groups.values_mut() {
            group.each_batch(visit);
        }
        self.parked.each_batch(visit);
    }

    /// Checks what always holds. Returns what waits, and the bytes in all backlogs, what was handed
    /// back not counted.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, shared: &Shared) -> (Count, usize) {
        let (mut waiting, mut let_in) = (Count::ZERO, 0);
        for group in self.groups.values() {
            let_in += group.check(self.next_sequence, shared);
            waiting += group.flow().waiting;
        }
        assert_eq!(self.flow.waiting, waiting, "{}", self.id);
        let backlogs = self.groups.values().map(|it| it.backlog().bytes());
        assert_eq!(self.backlog_bytes, backlogs.sum::<usize>(), "{}", self.id);
        assert!(self.flow.adds_up(), "{}: {:?}", self.id, self.flow);
        self.check_parked(shared);
        (waiting, let_in)
    }

    /// How many messages it was given.
    pub(crate) const fn received(&self) -> u64 {
        self.next_sequence
    }
}
