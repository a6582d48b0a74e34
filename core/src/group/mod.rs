//! A group: hands each message to one of its members.
//!
//! The rest of this directory: `waiting.rs` (what is known of a message), `backlog.rs` (those that wait for a
//! member), `ages.rs` (those that have waited for too long), `retry.rs` (those that wait for something else),
//! `failed.rs` (what brings them there), `members.rs` (who belongs to it, and whose turn it is), `sharing.rs` (who
//! gets what), `source/`, `ahead.rs`, `attempts.rs` and `settled.rs` (where its topic is stored: its window on
//! that, how much it reads at a time, what of it was handed out before, and how far it has got), `shared.rs` (where
//! other brokers store to the same topic), `check.rs` (what always holds).

mod ages;
mod ahead;
mod attempts;
mod backlog;
mod check;
mod failed;
mod members;
mod retry;
mod settled;
mod shared;
mod sharing;
mod source;
mod waiting;

pub(crate) use backlog::{Backlog, Limits, Room};
pub(crate) use members::Turn;
pub(crate) use retry::{Retry, backoff};
pub(crate) use settled::Settled;
pub(crate) use source::{Place, Source};
pub(crate) use waiting::{Mark, Waiting};

use crate::config::Overflow;
use crate::error::DropReason;
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::names::Name;
use crate::shared::Shared;
use crate::stats::{Count, Flow};
use crate::time::Now;
use crate::timers::Timeout;
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use crate::wire::handshake::Share;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Group {
    topic: TopicId,
    id: GroupId,
    /// Its name, if it has been given one.
    name: Option<Name>,
    backlog: Backlog,
    /// What waits for something else than a member.
    retry: Retry,
    /// What its members hold until they settle it.
    unsettled: Count,
    /// Its members, all of them.
    members: BTreeSet<ConnId>,
    /// Those of them that settle what they are handed.
    settling: BTreeSet<ConnId>,
    /// Those that wait for a message, by their turns. While one waits that they could be given, there is none:
    /// nothing waits for want of looking. Some may have something from another topic meanwhile.
    idle: BTreeMap<Turn, ConnId>,
    /// The turn of the next member that becomes idle.
    next_turn: u64,
    /// How its members share; as the first of them asked.
    share: Option<Share>,
    /// With `Share::One`: the member that gets everything.
    active: Option<ConnId>,
    /// The member that is handed nothing until it holds nothing, because a message is to be handed out alone.
    emptying: Option<ConnId>,
    /// Whether it was there from the start, and stays.
    is_declared: bool,
    /// Whether it ends as soon as it has no members.
    pub(crate) is_ending: bool,
    /// When it ends, if it has no members until then.
    pub(crate) idle_timer: Option<Now>,
    /// When it is to be looked for what is too old; at most one is set.
    pub(crate) age_timer: Option<Now>,
    /// What became of the messages offered to it.
    flow: Flow,
    /// Where its topic is stored: its place there.
    source: Option<Box<Source>>,
}

/// The sums that a message is counted in beside the group's own.
pub(crate) struct Books<'a> {
    /// Those of the topic.
    pub(crate) topic: &'a mut Flow,
    pub(crate) shared: &'a mut Shared,
}

impl Group {
    pub(crate) fn new(
        topic: TopicId,
        id: GroupId,
        name: Option<Name>,
        limits: Limits,
        source: Option<Source>,
    ) -> Self {
        Self {
            topic,
            id,
            name,
            backlog: Backlog::new(limits),
            retry: Retry::default(),
            unsettled: Count::ZERO,
            members: BTreeSet::new(),
            settling: BTreeSet::new(),
            idle: BTreeMap::new(),
            next_turn: 0,
            share: None,
            active: None,
            emptying: None,
            is_declared: false,
            is_ending: false,
            idle_timer: None,
            age_timer: None,
            flow: Flow::default(),
            source: source.map(Box::new),
        }
    }

    /// It is there from now on, and stays.
    pub(crate) fn declare(&mut self, shared: &mut Shared) {
        self.is_declared = true;
        if let Some(set) = self.idle_timer.take() {
            shared
                .timers
                .clear(set, Timeout::GroupIdle(self.topic, self.id));
        }
    }

    /// Has other bounds from now on. What it holds beyond them stays.
    pub(crate) fn set_limits(&mut self, limits: Limits, shared: &mut Shared) {
        self.backlog.set_limits(limits);
        if let Some(set) = self.age_timer.take() {
            shared.timers.clear(set, Timeout::Age(self.topic, self.id));
        }
        self.arm_age_timer(shared);
    }

    pub(crate) const fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) const fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Its name for people and for dead letters.
    pub(crate) fn label(&self) -> String {
        match (self.id, &self.name) {
            (_, Some(name)) => name.to_string(),
            (id, None) => id.to_string(),
        }
    }

    pub(crate) const fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(crate) const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub(crate) const fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(crate) const fn unsettled(&self) -> Count {
        self.unsettled
    }

    pub(crate) const fn share(&self) -> Option<Share> {
        self.share
    }

    /// Whether it goes when nobody has been a member for long enough.
    pub(crate) const fn may_end(&self) -> bool {
        matches!(self.id, GroupId::Named(_)) && !self.is_declared
    }

    /// What it holds that is not in its backlog, and counts within its bounds.
    fn held(&self) -> Count {
        let mut held = self.retry.count();
        held += self.unsettled;
        held
    }

    /// All the bytes that it holds within the budget.
    pub(crate) fn bytes(&self) -> usize {
        self.backlog.bytes() + self.held().bytes as usize
    }

    /// How much more fits.
    pub(crate) fn room(&self) -> Room {
        self.backlog.room(self.held())
    }

    /// Since when the oldest message that it holds, and no member, has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        let since = [self.backlog.waiting_since(), self.retry.waiting_since()];
        since.into_iter().flatten().min()
    }

    /// Whether nothing waits, in flight or not.
    pub(crate) const fn is_finished(&self) -> bool {
        self.flow.waiting.is_zero()
    }

    /// Whether there is nothing that could be handed out, now or after a delay.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.backlog.count().is_zero() && self.retry.delayed().is_zero()
    }

    /// Takes in a batch. What there is no room for beside `kept` is lost: the newest, unless a group of one's own is to
    /// lose the oldest. Returns how much. Idle members take their runs before room is looked at; but what is settled
    /// takes room as long as it is not.
    pub(crate) fn offer(
        &mut self,
        batch: FrameBatch,
        mark: Mark,
        overflow: Overflow,
        kept: Count,
        books: &mut Books<'_>,
    ) -> Count {
        let count = Count::of(&batch);
        self.backlog.push_back(batch, mark);
        books.shared.budget.take(count.bytes as usize);
        self.post(Entry::Offered(count), books);
        let lost = if self.settling.is_empty() {
            self.dispatch(books.shared);
            self.trim(overflow, kept, books)
        } else {
            let lost = self.trim(overflow, kept, books);
            self.dispatch(books.shared);
            lost
        };
        self.arm_age_timer(books.shared);
        lost
    }

    /// Loses what there is no room for.
    fn trim(&mut self, overflow: Overflow, kept: Count, books: &mut Books<'_>) -> Count {
        let (held, budget) = (self.held(), &books.shared.budget);
        let trimmed = if overflow == Overflow::DropOldest && !self.id.is_lasting() {
            self.backlog.trim_oldest(held, budget.over())
        } else {
            let room = budget.room_without(self.backlog.newest_bytes());
            let mut elsewhere = held;
            elsewhere += kept;
            self.backlog.trim(elsewhere, room)
        };
        let mut lost = Count::ZERO;
        if let Some((count, reason)) = trimmed {
            lost = count;
            self.drop_held(count, reason, books);
        }
        lost
    }

    /// A member's socket has taken these messages, which it does not settle: of a stored topic, these `ranges`.
    pub(crate) fn delivered(&mut self, count: Count, ranges: &[Range], books: &mut Books<'_>) {
        books.shared.budget.end_write(count.bytes as usize);
        self.post(Entry::Delivered(count), books);
        for range in ranges {
            self.note_settled(range.from, range.to - range.from + 1, books.shared);
        }
    }

    /// Messages that were handed to a member, which does not settle, were not taken by its socket.
    pub(crate) fn take_back(&mut self, waiting: Waiting, shared: &mut Shared) {
        shared.budget.requeue(waiting.batch.byte_len());
        self.backlog.put_back(waiting);
    }

    /// Members hold these until they settle them.
    pub(super) fn hold(&mut self, count: Count, shared: &mut Shared) {
        self.unsettled += count;
        shared.stats.unsettled += count;
    }

    /// Members do not hold these any more.
    fn release(&mut self, count: Count, shared: &mut Shared) {
        self.unsettled -= count;
        shared.stats.unsettled -= count;
    }

    /// A member has settled messages as done.
    pub(crate) fn settled(&mut self, count: Count, books: &mut Books<'_>) {
        self.release(count, books.shared);
        books.shared.budget.give_back(count.bytes as usize);
        self.post(Entry::Delivered(count), books);
    }

    /// Messages that a member held come back, as they are.
    pub(crate) fn put_back(&mut self, waiting: Waiting, shared: &mut Shared) {
        self.release(Count::of(&waiting.batch), shared);
        self.backlog.put_back(waiting);
    }

    /// Nothing is due here any more.
    pub(crate) fn clear_timers(&mut self, shared: &mut Shared) {
        if let Some(set) = self.retry.timer.take() {
            shared
                .timers
                .clear(set, Timeout::Retry(self.topic, self.id));
        }
        if let Some(set) = self.age_timer.take() {
            shared.timers.clear(set, Timeout::Age(self.topic, self.id));
        }
        if let Some(set) = self.idle_timer.take() {
            shared
                .timers
                .clear(set, Timeout::GroupIdle(self.topic, self.id));
        }
        if let Some(set) = self.fetch_timer() {
            shared
                .timers
                .clear(set, Timeout::Fetch(self.topic, self.id));
        }
    }

    /// Drops everything that waits and is with no member.
    pub(crate) fn discard(&mut self, reason: DropReason, books: &mut Books<'_>) {
        let mut ranges: Vec<Range> = Vec::new();
        if self.is_tracked() {
            let mut note = |waiting: &Waiting| ranges.extend(waiting.range());
            self.backlog.each(&mut note);
            self.retry.each(&mut note);
        }
        for range in ranges {
            self.note_settled(range.from, range.to - range.from + 1, books.shared);
        }
        let mut count = self.backlog.clear();
        count += self.retry.clear();
        self.drop_held(count, reason, books);
        self.lose_behind(reason, books);
    }

    /// Messages that this group held are lost.
    fn drop_held(&mut self, count: Count, reason: DropReason, books: &mut Books<'_>) {
        if count.is_zero() {
            return;
        }
        books.shared.budget.give_back(count.bytes as usize);
        self.post(Entry::Lost(count, reason), books);
        let group = (self.id, self.name.as_ref());
        let topic = Some(self.topic);
        books.shared.report_drop(topic, Some(group), count, reason);
    }

    fn post(&mut self, entry: Entry, books: &mut Books<'_>) {
        post(
            entry,
            [
                &mut self.flow,
                &mut *books.topic,
                &mut books.shared.stats.flow,
            ],
        );
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        self.backlog.each_batch(visit);
        self.retry.each_batch(visit);
    }
}
