//! A group: hands each message to one of its members.

mod backlog;

pub(crate) use backlog::{Backlog, Sequences, Taken, Waiting};

use crate::config::Config;
use crate::error::DropReason;
use crate::id::{ConnId, GroupId};
use crate::ledger::{Entry, post};
use crate::session::Consumer;
use crate::shared::Shared;
use crate::stats::{Count, Flow};
use crate::wire::FrameBatch;
use alloc::collections::{BTreeMap, BTreeSet};

/// What waits is bulk if it takes at least this part of a write.
const BULK_RATIO: usize = 4;

/// So many members share bulk in any case, ...
const SHARERS: usize = 8;

/// ... and more only if each of them gets at least this part of a write.
const RUN_RATIO: usize = 8;

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Group {
    id: GroupId,
    backlog: Backlog,
    /// Its members, all of them.
    members: BTreeSet<ConnId>,
    /// Those with no write in flight, by their turns. While a message waits, there is none:
    /// nothing waits for want of looking.
    idle: BTreeMap<u64, ConnId>,
    /// The turn of the next member that becomes idle.
    next_turn: u64,
    /// What became of the messages offered to it.
    flow: Flow,
}

/// What one member is given.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) member: ConnId,
    pub(crate) taken: Taken,
}

impl Group {
    pub(crate) fn new(id: GroupId, config: &Config) -> Self {
        Self {
            id,
            backlog: Backlog::new(config.backlog_messages(), config.backlog_bytes),
            members: BTreeSet::new(),
            idle: BTreeMap::new(),
            next_turn: 0,
            flow: Flow::default(),
        }
    }

    pub(crate) const fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) const fn members(&self) -> &BTreeSet<ConnId> {
        &self.members
    }

    pub(crate) const fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(crate) const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Takes in a member. Returns its turn: it is idle.
    pub(crate) fn join(&mut self, member: ConnId) -> u64 {
        self.members.insert(member);
        self.wait_turn(member)
    }

    /// Hands nothing more to a member whose turn, if it is idle, is this.
    pub(crate) fn withdraw(&mut self, member: ConnId, turn: u64) {
        if self.idle.get(&turn) == Some(&member) {
            self.idle.remove(&turn);
        }
    }

    /// Lets a member go that is as `consumer` says. What it was not given whole goes back to where
    /// it was.
    pub(crate) fn leave(
        &mut self,
        member: ConnId,
        mut consumer: Consumer,
        topic: &mut Flow,
        shared: &mut Shared,
    ) {
        self.members.remove(&member);
        let Some(abandoned) = consumer.outbox.abandon() else {
            return;
        };
        self.count_delivered(abandoned.delivered, topic, shared);
        let before = self.backlog.bytes();
        self.backlog.requeue(abandoned.rest);
        shared.budget.requeue(self.backlog.bytes() - before);
    }

    /// A member becomes idle: the last to be served of those who are. Returns its turn.
    fn wait_turn(&mut self, member: ConnId) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.idle.insert(turn, member);
        turn
    }

    /// Takes in a batch. Idle members take their runs before room is looked at; what there is no
    /// room for then is lost, the newest first.
    pub(crate) fn offer(
        &mut self,
        batch: FrameBatch,
        sequence: u64,
        topic: &mut Flow,
        shared: &mut Shared,
    ) {
        let count = Count::of(&batch);
        self.backlog.push_back(batch, sequence, shared.now);
        shared.budget.take(count.bytes as usize);
        self.post(Entry::Offered(count), topic, shared);
        self.dispatch(shared);
        self.trim(topic, shared);
    }

    /// A member's socket has taken all of a write.
    pub(crate) fn delivered(
        &mut self,
        member: ConnId,
        count: Count,
        topic: &mut Flow,
        shared: &mut Shared,
    ) {
        self.count_delivered(count, topic, shared);
        if shared.session(member).is_closing() {
            return;
        }
        shared.consumer(member).turn = self.wait_turn(member);
        self.dispatch(shared);
    }

    /// Gives the idle members their share of what waits.
    pub(crate) fn dispatch(&mut self, shared: &mut Shared) {
        let write_bytes = shared.config.write_bytes;
        let mut sharers = self.sharers(write_bytes);
        while let Some(run) = self.next_run(&mut sharers, write_bytes) {
            shared.start_write(run);
        }
    }

    /// Drops what there is no room for.
    fn trim(&mut self, topic: &mut Flow, shared: &mut Shared) {
        let broker_room = shared.budget.room_without(self.backlog.newest_bytes());
        if let Some((count, reason)) = self.backlog.trim(broker_room) {
            shared.budget.give_back(count.bytes as usize);
            self.lose(count, reason, topic, shared);
        }
    }

    /// Drops everything that waits.
    pub(crate) fn discard(&mut self, reason: DropReason, topic: &mut Flow, shared: &mut Shared) {
        let count = self.backlog.clear();
        shared.budget.give_back(count.bytes as usize);
        self.lose(count, reason, topic, shared);
    }

    /// Whether nothing waits, in flight or not.
    pub(crate) const fn is_finished(&self) -> bool {
        self.flow.waiting.is_zero()
    }

    fn count_delivered(&mut self, count: Count, topic: &mut Flow, shared: &mut Shared) {
        shared.budget.end_write(count.bytes as usize);
        self.post(Entry::Delivered(count), topic, shared);
    }

    fn lose(&mut self, count: Count, reason: DropReason, topic: &mut Flow, shared: &mut Shared) {
        if count.is_zero() {
            return;
        }
        self.post(Entry::Lost(count, reason), topic, shared);
        shared.report_drop(Some(self.id), count, reason);
    }

    fn post(&mut self, entry: Entry, topic: &mut Flow, shared: &mut Shared) {
        post(entry, [&mut self.flow, topic, &mut shared.stats.flow]);
    }

    /// How many members are to share what waits: all that are idle. But bulk no more than can be
    /// given something worth a write, so that a message costs the same however many members there
    /// are; whoever has been idle for longest comes first, and the others are the next.
    fn sharers(&self, write_bytes: usize) -> usize {
        let bytes = self.backlog.bytes();
        if bytes < write_bytes / BULK_RATIO {
            return self.idle.len();
        }
        let runs = bytes / (write_bytes / RUN_RATIO).max(1);
        self.idle.len().min(runs.max(SHARERS))
    }

    /// Gives the next idle member its share of what waits: of m messages and k `sharers`, about
    /// m/k, in one run, but no more than `write_bytes` (or one message). To be called until there
    /// is none: then nothing waits, or nobody is idle.
    fn next_run(&mut self, sharers: &mut usize, write_bytes: usize) -> Option<Run> {
        if self.backlog.is_empty() {
            return None;
        }
        // Runs that were cut for their bytes may leave something when all have had their share.
        let share = self.backlog.messages().div_ceil((*sharers).max(1));
        *sharers = sharers.saturating_sub(1);
        let (_, member) = self.idle.pop_first()?;
        let taken = self.backlog.take(share, write_bytes)?;
        Some(Run { member, taken })
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        self.backlog.each_batch(visit);
    }

    /// Checks what always holds of the group alone, where `next` is the sequence of the topic's
    /// next message. Returns the bytes in its backlog, what was handed back not counted.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, next: u64, shared: &Shared) -> usize {
        let id = self.id;
        assert!(self.flow.adds_up(), "{id}: {:?}", self.flow);
        let mut waiting = self.backlog.count();
        let mut idle = 0;
        for member in &self.members {
            let consumer = shared.sessions[member].consumer.as_ref();
            let consumer = consumer.expect("a member is a consumer");
            assert_eq!(consumer.group, id, "{member} is a member of another group");
            let in_flight = consumer.outbox.in_flight();
            waiting += in_flight;
            if in_flight.is_zero() && !shared.sessions[member].is_closing() {
                assert_eq!(
                    self.idle.get(&consumer.turn),
                    Some(member),
                    "{member} is idle"
                );
                idle += 1;
            }
        }
        assert_eq!(
            self.idle.len(),
            idle,
            "{id}: who is not idle waits for its turn"
        );
        assert_eq!(self.flow.waiting, waiting, "{id}");
        match id {
            GroupId::Shared => {}
            GroupId::Own(conn) => assert!(self.members.iter().eq([&conn])),
        }
        let lost_wakeup = !self.backlog.is_empty() && !self.idle.is_empty();
        assert!(!lost_wakeup, "{id}: messages wait and a member is idle");
        self.backlog.check(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;
    use alloc::vec::Vec;

    fn runs(messages: usize, idle: u64, write_bytes: usize) -> Vec<u64> {
        let mut group = Group::new(GroupId::Shared, &Config::default());
        let batch = FrameBatch::encode((0..messages).map(|_| "x")).expect("small messages");
        group.backlog.push_back(batch, 0, Now::START);
        for member in 0..idle {
            group.join(ConnId(member));
        }
        let mut sharers = group.sharers(write_bytes);
        core::iter::from_fn(|| group.next_run(&mut sharers, write_bytes))
            .map(|run| run.taken.write.count().messages)
            .collect()
    }

    #[test]
    fn idle_members_share_evenly() {
        assert_eq!(runs(4, 4, 9999), [1, 1, 1, 1]);
        assert_eq!(runs(10, 4, 9999), [3, 3, 2, 2]);
        assert_eq!(runs(2, 4, 9999), [1, 1]);
        assert_eq!(runs(100, 1, 9999), [100]);
        assert_eq!(runs(100, 2, 50), [10, 10]);
        assert_eq!(runs(3, 0, 9999), []);
    }

    #[test]
    fn bulk_goes_in_runs_that_are_worth_a_write() {
        // Each message takes 5 bytes: below 250 they are no bulk; 125 are worth a write.
        assert_eq!(runs(49, 99, 1000), [1; 49]);
        assert_eq!(runs(56, 99, 1000), [7; 8]);
        assert_eq!(runs(56, 7, 1000), [8; 7]);
        assert_eq!(runs(250, 99, 1000), [25; 10]);
        assert_eq!(runs(700, 4, 1000), [175; 4]);
        // What is left by runs that were cut for their bytes goes to the others.
        assert_eq!(runs(1000, 4, 1000), [200; 4]);
        assert_eq!(runs(3, 9, 1), [1, 1, 1]);
    }
}
