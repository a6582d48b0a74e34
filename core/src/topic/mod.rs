//! A topic: gives each message its sequence and offers it to every group.
//!
//! The rest of this directory: `admit.rs` (what is parked because there is no room), `membership.rs` (groups come
//! and go), `producers.rs` (who sends under a name), `refusals.rs` (what was refused of them),
//! `turns.rs` (whose turn it is where room is short).

mod admit;
mod membership;
mod producers;
mod refusals;
mod turns;

pub(crate) use admit::{Blocker, Parked};
pub(crate) use membership::SHARED_NAME;
pub(crate) use producers::{Life, Producers};
pub(crate) use refusals::Refusals;
use turns::Turns;

use crate::config::{DeliveryMode, Overflow};
use crate::error::DropReason;
use crate::group::{Books, Group, Limits, Mark, Turn, Waiting};
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::names::{Name, TopicName};
use crate::shared::Shared;
use crate::stats::{Count, Flow};
use crate::time::Now;
use crate::topic_settings::TopicSettings;
use crate::wire::FrameBatch;
use alloc::collections::{BTreeMap, BTreeSet};

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Topic {
    id: TopicId,
    name: TopicName,
    /// The life of its sequences: no other topic of this name has the same.
    epoch: u64,
    pub(crate) settings: TopicSettings,
    /// The groups that each message is offered to.
    groups: BTreeMap<GroupId, Group>,
    /// Those that have a name.
    named: BTreeMap<Name, GroupId>,
    /// The sequence of the next message: one more than there were before it. None is used twice.
    next_sequence: u64,
    /// What became of its messages, over all groups, those included that are gone.
    flow: Flow,
    /// What waits to be offered.
    parked: Parked,
    /// Whether that has its turn, or what comes of producers that do not wait.
    pub(crate) turns: Turns,
    /// The bytes that its groups hold: its part of the budget.
    backlog_bytes: usize,
    /// Who sends to it under a name.
    pub(crate) producers: Producers,
    /// How many connections use it: producers that send to it, and consumers.
    pub(crate) users: usize,
    /// When it is forgotten, if nobody uses it until then.
    pub(crate) idle_timer: Option<Now>,
    /// For a dead-letter topic: the groups that wait for room in it.
    pub(crate) waiting_groups: BTreeSet<(TopicId, GroupId)>,
}

/// What became of messages that a producer sent.
pub(crate) enum Published {
    /// All of them were offered to the topic's groups.
    Offered,
    /// Some wait for room, and nothing more is to be read from the producer.
    Parked,
    /// So many of the last were refused.
    Refused(Count),
}

impl Topic {
    /// A topic without messages, with the groups that are there without a member.
    pub(crate) fn new(
        id: TopicId,
        name: TopicName,
        epoch: u64,
        settings: TopicSettings,
        shared: &mut Shared,
    ) -> Self {
        let mut topic = Self {
            id,
            name,
            epoch,
            groups: BTreeMap::new(),
            named: BTreeMap::new(),
            next_sequence: 1,
            flow: Flow::default(),
            parked: Parked::default(),
            turns: Turns::default(),
            backlog_bytes: 0,
            producers: Producers::default(),
            users: 0,
            idle_timer: None,
            waiting_groups: BTreeSet::new(),
            settings,
        };
        match topic.settings.mode {
            DeliveryMode::Broadcast => {}
            DeliveryMode::Queue => {
                let mut queue = Group::new(id, GroupId::Shared, None, topic.limits());
                queue.declare(shared);
                topic.groups.insert(GroupId::Shared, queue);
            }
        }
        topic.declare_groups(shared);
        topic
    }

    /// Works by other settings from now on; its mode is the same.
    pub(crate) fn change(&mut self, settings: TopicSettings, shared: &mut Shared) {
        self.settings = settings;
        self.turns.reset();
        let (own, others) = (self.own_limits(), self.limits());
        for group in self.groups.values_mut() {
            let limits = if group.id().is_lasting() { others } else { own };
            group.set_limits(limits, shared);
        }
        self.declare_groups(shared);
        self.look_at_all_that_is_parked(shared);
    }

    /// Sees to it that the groups are there that its settings declare.
    fn declare_groups(&mut self, shared: &mut Shared) {
        for name in self.settings.groups.clone() {
            let id = match self.group_named(&name) {
                Some(id) => id,
                None => self.new_named(name, shared),
            };
            if let Some(group) = self.groups.get_mut(&id) {
                group.declare(shared);
            }
        }
    }

    const fn own_limits(&self) -> Limits {
        Limits {
            messages: self.settings.own_capacity,
            bytes: self.settings.bytes,
            max_age: self.settings.max_age,
        }
    }

    const fn limits(&self) -> Limits {
        Limits {
            messages: self.settings.capacity,
            bytes: self.settings.bytes,
            max_age: self.settings.max_age,
        }
    }

    pub(crate) const fn name(&self) -> &TopicName {
        &self.name
    }

    pub(crate) const fn id(&self) -> TopicId {
        self.id
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) const fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups
    }

    pub(crate) const fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(crate) const fn parked(&self) -> &Parked {
        &self.parked
    }

    /// The bytes that its groups hold.
    pub(crate) const fn backlog_bytes(&self) -> usize {
        self.backlog_bytes
    }

    /// Takes note of what this topic has changed: all groups together held so much `before` and
    /// `after`.
    pub(crate) const fn note_backlogs(&mut self, before: usize, after: usize) {
        self.backlog_bytes = self.backlog_bytes + after - before;
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Publishes what a producer sent.
    pub(crate) fn publish(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        confirms: bool,
        shared: &mut Shared,
    ) -> Published {
        if batch.is_empty() {
            return Published::Offered;
        }
        match (self.settings.overflow, confirms) {
            (Overflow::Block, _) | (Overflow::Drop | Overflow::DropOldest, true) => {
                self.admit_or_park(conn, batch, shared)
            }
            (Overflow::Reject, true) => self.admit_or_refuse(conn, batch, shared),
            (Overflow::Drop | Overflow::DropOldest | Overflow::Reject, false) => {
                self.offer_in_turn(conn, batch, shared);
                Published::Offered
            }
        }
    }

    /// Offers a batch to every group. Each takes what it has room for and loses the newest of the
    /// rest, alone. Those that outlive their members keep room for `kept` beside it. Who sent it may be gone.
    /// Returns the most that one of those has lost.
    fn offer(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        kept: Count,
        shared: &mut Shared,
    ) -> Count {
        let count = Count::of(&batch);
        let sequence = self.receive(count, shared);
        let unrouted = self.groups.is_empty();
        shared.note_safe(conn, count.messages, unrouted);
        let mut lost = Count::ZERO;
        if unrouted {
            self.lose(count, DropReason::NoConsumer, shared);
            return lost;
        }
        // Once, whatever the number of groups.
        let batch = batch.compact();
        let mark = Mark::new(sequence, shared.now);
        let (overflow, topic) = (self.settings.overflow, &mut self.flow);
        for group in self.groups.values_mut() {
            let mut books = Books { topic, shared };
            let is_lasting = group.id().is_lasting();
            let kept = if is_lasting { kept } else { Count::ZERO };
            let here = group.offer(batch.clone(), mark.clone(), overflow, kept, &mut books);
            if is_lasting && here.messages > lost.messages {
                lost = here;
            }
        }
        lost
    }

    /// Whether the groups that outlive their members have room for a message of so many bytes.
    pub(crate) fn has_room(&self, bytes: usize, shared: &Shared) -> bool {
        let lasting = self.groups.values().filter(|it| it.id().is_lasting());
        let mut needed = 0;
        for group in lasting {
            let room = group.room();
            if room.messages == 0 || room.bytes < bytes {
                return false;
            }
            needed += bytes;
        }
        needed <= shared.budget.room()
    }

    /// Takes in a dead letter, which it has room for.
    pub(crate) fn take_in(&mut self, dead: Waiting, shared: &mut Shared) {
        let count = Count::of(&dead.batch);
        let sequence = self.receive(count, shared);
        let mark = Mark {
            origin: dead.mark.origin,
            ..Mark::new(sequence, shared.now)
        };
        let topic = &mut self.flow;
        for group in self.groups.values_mut() {
            let mut books = Books { topic, shared };
            group.offer(
                dead.batch.clone(),
                mark.clone(),
                Overflow::Block,
                Count::ZERO,
                &mut books,
            );
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
        shared.report_drop(Some(self.id), None, count, reason);
    }

    /// Does something with a group, which is there, and the sums that a message is counted in. Then notes whether
    /// nothing waits for it any more.
    pub(crate) fn with_group<T>(
        &mut self,
        id: GroupId,
        shared: &mut Shared,
        act: impl FnOnce(&mut Group, &mut Books<'_>) -> T,
    ) -> T {
        let group = self.groups.get_mut(&id).expect("the group is there");
        let mut books = Books {
            topic: &mut self.flow,
            shared,
        };
        let result = act(group, &mut books);
        group.arm_age_timer(shared);
        if group.is_exhausted() {
            shared.note_finished(self.id, id);
        }
        result
    }

    /// A member of a group is closing: it waits for its turn no more.
    pub(crate) fn withdraw(&mut self, id: GroupId, member: ConnId, turn: Option<Turn>) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.withdraw(member, turn);
        }
    }

    /// Whether it has groups that somebody may come back to, or with members.
    pub(crate) fn has_groups_to_keep(&self) -> bool {
        let mut groups = self.groups.values();
        groups.any(|group| group.may_end() || !group.members().is_empty())
    }

    /// Drops what waits in every group.
    pub(crate) fn discard_backlogs(&mut self, shared: &mut Shared) {
        let topic = &mut self.flow;
        for group in self.groups.values_mut() {
            group.discard(DropReason::Shutdown, &mut Books { topic, shared });
        }
    }

    /// Drops what waits in a lasting group, and not what its members have. Returns how much.
    pub(crate) fn purge(&mut self, id: GroupId, shared: &mut Shared) -> Option<Count> {
        let group = self.groups.get(&id)?;
        let mut purged = group.backlog().count();
        purged += group.retry().count();
        self.with_group(id, shared, |group, books| {
            group.discard(DropReason::Purged, books);
        });
        Some(purged)
    }

    /// The groups that have nothing more to hand out.
    pub(crate) fn finished_groups(&self) -> impl Iterator<Item = (TopicId, GroupId)> {
        let finished = self.groups.values().filter(|group| group.is_exhausted());
        finished.map(|group| (self.id, group.id()))
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
        let held = self.groups.values().map(Group::bytes);
        assert_eq!(self.backlog_bytes, held.sum::<usize>(), "{}", self.id);
        assert!(self.flow.adds_up(), "{}: {:?}", self.id, self.flow);
        for (name, id) in &self.named {
            assert_eq!(self.groups[id].name(), Some(name), "{}", self.id);
        }
        self.check_parked(shared);
        self.producers.check();
        (waiting, let_in)
    }

    /// How many messages it was given.
    pub(crate) const fn received(&self) -> u64 {
        self.next_sequence - 1
    }
}
