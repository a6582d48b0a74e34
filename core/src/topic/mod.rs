//! A topic: gives each message its sequence and offers it to every group.
//!
//! The rest of this directory: `admit.rs` (what is parked because there is no room), `membership.rs` (groups come
//! and go), `producers.rs` (who sends under a name), `refusals.rs` (what was refused of them),
//! `turns.rs` (whose turn it is where room is short), `stored/` (what is stored), `shared.rs` (what brokers share).

mod admit;
mod membership;
mod producers;
mod refusals;
mod shared;
mod stored;
mod turns;

pub(crate) use admit::{Blocker, Parked};
pub(crate) use membership::SHARED_NAME;
pub(crate) use producers::{Life, Producers};
pub(crate) use refusals::Refusals;
pub(crate) use stored::Stored;
pub(crate) use stored::appending::{Buried, Consequence, Reached};
use turns::Turns;

use crate::budget::Backlogs;
use crate::config::{DeliveryMode, Overflow};
use crate::error::DropReason;
use crate::group::{Books, Group, Limits, Mark, Source, Turn, Waiting};
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::names::{Name, TopicName};
use crate::shared::Shared;
use crate::stats::{Count, Flow};
use crate::store::{Request, Storage, StoredTopic};
use crate::time::Now;
use crate::topic_settings::TopicSettings;
use crate::wire::FrameBatch;
use crate::wire::handshake::Start;
use alloc::boxed::Box;
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
    /// The sequence of the first message of this life of the broker.
    before: u64,
    /// What it knows of its store, if it is stored.
    stored: Option<Box<Stored>>,
    /// What became of its messages, over all groups, those included that are gone.
    flow: Flow,
    /// What waits to be offered.
    parked: Parked,
    /// Whether that has its turn, or what comes of producers that do not wait.
    pub(crate) turns: Turns,
    /// What its groups hold: its part of the budget.
    backlogs: Backlogs,
    /// Who sends to it under a name.
    pub(crate) producers: Producers,
    /// How many connections use it: producers that send to it, and consumers.
    pub(crate) users: usize,
    /// How many of its consumers get messages with their sums.
    pub(crate) checking: usize,
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
        found: Option<StoredTopic>,
        shared: &mut Shared,
    ) -> Self {
        let is_stored = settings.storage != Storage::Memory;
        let mut topic = Self {
            id,
            name,
            epoch,
            groups: BTreeMap::new(),
            named: BTreeMap::new(),
            next_sequence: 1,
            before: 1,
            stored: (is_stored && found.is_none()).then(|| Box::new(Stored::new())),
            flow: Flow::default(),
            parked: Parked::default(),
            turns: Turns::default(),
            backlogs: Backlogs::default(),
            producers: Producers::default(),
            users: 0,
            checking: 0,
            idle_timer: None,
            waiting_groups: BTreeSet::new(),
            settings,
        };
        match found {
            Some(found) => topic.take_over(found, shared),
            None if is_stored => topic.open_store(shared),
            None => {}
        }
        topic.declare_queue(shared);
        topic.declare_groups(shared);
        topic
    }

    /// Works by other settings from now on; its mode is the same, and so is where it is kept.
    pub(crate) fn change(&mut self, settings: TopicSettings, shared: &mut Shared) {
        if self.stored.is_some() && settings.store != self.settings.store {
            shared.ask(self.id, Request::Change(settings.store));
        }
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

    /// Sees to it that the group is there that the consumers of a queue join.
    fn declare_queue(&mut self, shared: &mut Shared) {
        match self.settings.mode {
            DeliveryMode::Broadcast => {}
            DeliveryMode::Queue => {
                if !self.groups.contains_key(&GroupId::Shared) {
                    // Dead letters that were found without it were imported: nobody has seen them here.
                    let from = if self.name.is_dead_letter() {
                        Start::First
                    } else {
                        Start::New
                    };
                    self.new_group(GroupId::Shared, None, from, shared);
                    self.make_safe(GroupId::Shared, shared);
                }
                let queue = self.groups.get_mut(&GroupId::Shared);
                queue.expect("it was found or made").declare(shared);
            }
        }
    }

    /// Sees to it that the groups are there that its settings declare.
    fn declare_groups(&mut self, shared: &mut Shared) {
        for name in self.settings.groups.clone() {
            let id = match self.group_named(&name) {
                Some(id) => id,
                None => {
                    let id = self.new_named(name, Start::New, shared);
                    self.make_safe(id, shared);
                    id
                }
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

    /// What its groups hold.
    pub(crate) const fn backlogs(&self) -> Backlogs {
        self.backlogs
    }

    /// Takes note of what this topic has changed: the groups of all topics together held so much `before` and
    /// `after`.
    pub(crate) const fn note_backlogs(&mut self, before: Backlogs, after: Backlogs) {
        self.backlogs = Backlogs {
            bytes: self.backlogs.bytes + after.bytes - before.bytes,
            unsettled: self.backlogs.unsettled + after.unsettled - before.unsettled,
        };
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Messages come in that are as they should be: a socket or a store has just brought them. Where a consumer gets
    /// messages with their sums, these are made now.
    fn sum_up(&self, batch: &mut FrameBatch) {
        if self.checking > 0 {
            batch.keep_sums();
        }
    }

    /// Publishes what a producer sent.
    pub(crate) fn publish(
        &mut self,
        conn: ConnId,
        mut batch: FrameBatch,
        confirms: bool,
        shared: &mut Shared,
    ) -> Published {
        if batch.is_empty() {
            return Published::Offered;
        }
        self.sum_up(&mut batch);
        if self.stored.is_some() {
            return self.publish_stored(conn, batch, confirms, shared);
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
        if self.stored.is_some() {
            self.append(conn, batch, shared);
            return Count::ZERO;
        }
        let count = Count::of(&batch);
        let sequence = self.receive(count, shared);
        let has_group = !self.groups.is_empty();
        let unrouted = if has_group { 0 } else { count.messages };
        shared.note_safe(conn, count.messages, unrouted);
        let mut lost = Count::ZERO;
        if !has_group {
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
        if self.stored.is_some() {
            return self.room_in_store(shared.budget.room()) >= bytes;
        }
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

    /// Takes in a dead letter, which it has room for. Returns whether it is safe here: where this topic is stored, its
    /// group has no business with it any more when it was appended.
    pub(crate) fn take_in(&mut self, dead: Waiting, buried: Buried, shared: &mut Shared) -> bool {
        if self.stored.is_some() {
            self.append_dead(dead, buried, shared);
            return false;
        }
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
        true
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
        if let Some(stored) = &mut self.stored {
            stored.count_behind(group, shared);
        }
        if group.is_exhausted() {
            shared.note_finished(self.id, id);
        }
        if group.begins_to_want(shared.config.write_bytes, shared.now) {
            shared.to_fetch.push_back((self.id, id));
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

    /// Drops what waits in every group; where the topic is stored, it is left to the next life of the broker.
    pub(crate) fn discard_backlogs(&mut self, shared: &mut Shared) {
        if self.stored.is_some() {
            return self.close_windows(shared);
        }
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
        purged.messages += group.source().map_or(0, Source::behind);
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
        if let Some(stored) = &mut self.stored {
            stored.each_batch(visit);
        }
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
        let held = self.groups.values().map(Group::bytes).sum::<usize>();
        let unsettled = self.groups.values().map(Group::unsettled);
        assert_eq!(
            self.backlogs,
            Backlogs {
                bytes: held + self.appending_bytes(),
                unsettled: unsettled.map(|it| it.bytes as usize).sum(),
            },
            "{}",
            self.id
        );
        assert!(self.flow.adds_up(), "{}: {:?}", self.id, self.flow);
        for (name, id) in &self.named {
            assert_eq!(self.groups[id].name(), Some(name), "{}", self.id);
        }
        self.check_parked(shared);
        self.check_stored(shared);
        self.producers.check();
        (waiting, let_in)
    }

    /// The bytes that its store was asked to append and has not.
    pub(crate) fn appending_bytes(&self) -> usize {
        let stored = self.stored.as_ref();
        stored.map_or(0, |it| it.appending().bytes as usize)
    }

    /// How many messages it was given in this life of the broker.
    pub(crate) const fn received(&self) -> u64 {
        self.next_sequence - self.before
    }
}
