//! What waits for the members of one group, in order.

use super::waiting::{Mark, Waiting};
use crate::error::DropReason;
use crate::stats::Count;
use crate::time::Now;
use crate::wire::{FrameBatch, MAX_BATCHES};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

/// From so many failures on a message is handed out alone (PROTOCOL.md, section "Settling").
const ALONE_FROM: u32 = 3;

/// Messages that wait, first in first out: a bounded window on the topic.
///
/// Each message has its topic's sequence. It is what brings messages that were taken and came back
/// to where they were. Where one is missing, it is in flight, unsettled, delayed, gone or dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backlog {
    /// Those never handed out, in the order of their sequences. No batch is empty. All but the first are
    /// compact: they keep no more memory alive than twice what their frames take.
    fresh: VecDeque<Waiting>,
    /// Those that came back, by their sequences, and compact but for the first. They were let in once
    /// and are kept even where newer ones have taken their room.
    returned: BTreeMap<u64, Waiting>,
    /// Those that came back and are handed out alone, by their sequences.
    alone: BTreeMap<u64, Waiting>,
    /// The most that it and whatever else the group holds may be.
    limits: Limits,
    /// What was never handed out when the bounds were last set: as much may be there beyond them.
    before: Count,
    /// All of it.
    count: Count,
    /// What of it has come back.
    came_back: Count,
}

/// The bounds of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// How long a message may wait after it was published.
    pub(crate) max_age: Option<Duration>,
}

/// How much more fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Backlog {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Has other bounds from now on. What it holds beyond them stays.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.before = self.count;
        self.before -= self.came_back;
        self.limits = limits;
    }

    pub(crate) const fn count(&self) -> Count {
        self.count
    }

    pub(crate) const fn messages(&self) -> usize {
        self.count.messages as usize
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.count.bytes as usize
    }

    /// Whether there is nothing that a member could be given beside others.
    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }

    /// Whether a message waits that is handed out alone, and is the first of all.
    pub(crate) fn has_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// Since when the oldest message has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        let fresh = self.fresh.front();
        let returned = self.returned.values().next();
        let alone = self.alone.values().next();
        let fronts = [fresh, returned, alone].into_iter().flatten();
        fronts.map(|front| front.mark.published).min()
    }

    /// When the oldest message has waited for as long as it may.
    pub(crate) fn expires(&self) -> Option<Now> {
        let max_age = self.limits.max_age?;
        Some(self.waiting_since()? + max_age)
    }

    /// Removes what has waited for as long as it may, and shows it to `each`. Returns how much, and the sequence after the last of it; none
    /// if there is nothing. What came later was published later, so this looks at no message that stays but the next.
    pub(crate) fn take_expired(
        &mut self,
        now: Now,
        each: &mut dyn FnMut(&Waiting),
    ) -> Option<(Count, u64)> {
        let max_age = self.limits.max_age?;
        let is_old = |it: &Waiting| it.mark.published + max_age <= now;
        let (mut fresh, mut came_back, mut end) = (Count::ZERO, Count::ZERO, 0);
        while let Some(old) = self.fresh.pop_front_if(|it| is_old(it)) {
            each(&old);
            fresh += Count::of(&old.batch);
            end = old.end();
        }
        for back in [&mut self.returned, &mut self.alone] {
            while let Some(first) = back.first_entry()
                && is_old(first.get())
            {
                let old = first.remove();
                each(&old);
                came_back += Count::of(&old.batch);
                end = end.max(old.end());
            }
        }
        self.came_back -= came_back;
        let mut expired = fresh;
        expired += came_back;
        self.count -= expired;
        (!expired.is_zero()).then_some((expired, end))
    }

    /// How much more fits, where the group holds `held` elsewhere.
    pub(crate) const fn room(&self, held: Count) -> Room {
        Room {
            messages: self
                .limits
                .messages
                .saturating_sub(self.messages() + held.messages as usize),
            bytes: self
                .limits
                .bytes
                .saturating_sub(self.bytes() + held.bytes as usize),
        }
    }

    /// Adds a batch behind all others, whether there is room for it or not: see
    /// [`trim`](Self::trim).
    pub(crate) fn push_back(&mut self, batch: FrameBatch, mark: Mark) {
        self.count += Count::of(&batch);
        self.fresh.push_back(Waiting { batch, mark });
    }

    /// Puts back messages that were taken, to where they were.
    pub(crate) fn put_back(&mut self, mut waiting: Waiting) {
        waiting.batch = waiting.batch.compact();
        let count = Count::of(&waiting.batch);
        self.count += count;
        self.came_back += count;
        if waiting.mark.failures < ALONE_FROM {
            // Only the first may keep more memory alive, and this may not be the first any more.
            if let Some(mut first) = self.returned.first_entry() {
                let first = first.get_mut();
                first.batch = first.batch.clone().compact();
            }
            self.returned.insert(waiting.mark.sequence, waiting);
            return;
        }
        while !waiting.batch.is_empty() {
            let part = waiting.batch.prefix(1, usize::MAX);
            let mut one = waiting.split_at(part);
            one.batch = one.batch.compact();
            self.alone.insert(one.mark.sequence, one);
        }
    }

    /// Takes the first messages that may go together: at most `messages` and `bytes`, but one at least.
    /// None if there is none.
    pub(crate) fn take(&mut self, messages: usize, bytes: usize) -> Vec<Waiting> {
        let (mut messages_left, mut bytes_left) = (messages.max(1), bytes);
        let mut taken = Vec::new();
        while taken.len() < MAX_BATCHES
            && let Some(front) = self.front()
        {
            // What does not fit whole is the next write's: cutting it to size would make two small
            // writes of one, and walk its frames.
            if !taken.is_empty() && front.batch.byte_len() > bytes_left {
                break;
            }
            let mut part = front.batch.prefix(messages_left, bytes_left);
            if part.0 == 0 && taken.is_empty() {
                part = front.batch.prefix(1, usize::MAX);
            }
            if part.0 == 0 {
                break;
            }
            messages_left = messages_left.saturating_sub(part.0);
            bytes_left = bytes_left.saturating_sub(part.1);
            let is_whole = part.0 == front.batch.messages();
            taken.push(self.take_front(part));
            if !is_whole {
                break;
            }
        }
        taken
    }

    /// Takes the first message that is handed out alone.
    pub(crate) fn take_alone(&mut self) -> Option<Waiting> {
        let (_, alone) = self.alone.pop_first()?;
        let count = Count::of(&alone.batch);
        self.count -= count;
        self.came_back -= count;
        Some(alone)
    }

    /// The bytes of the first message that may go with others.
    pub(crate) fn next_bytes(&self) -> usize {
        self.front()
            .map_or(0, |front| front.batch.prefix(1, usize::MAX).1)
    }

    fn front(&self) -> Option<&Waiting> {
        let (fresh, returned) = (self.fresh.front(), self.returned.values().next());
        match (fresh, returned) {
            (Some(fresh), Some(returned)) if fresh.mark.sequence < returned.mark.sequence => {
                Some(fresh)
            }
            (fresh, returned) => returned.or(fresh),
        }
    }

    /// Takes a part of the front.
    fn take_front(&mut self, part: (usize, usize)) -> Waiting {
        let count = Count::new(part.0, part.1);
        self.count -= count;
        let returned = self.returned.values().next();
        let is_fresh = match (self.fresh.front(), returned) {
            (Some(fresh), Some(returned)) => fresh.mark.sequence < returned.mark.sequence,
            (fresh, _) => fresh.is_some(),
        };
        if is_fresh {
            let front = self.fresh.front_mut().expect("it was looked at");
            let taken = front.split_at(part);
            if front.batch.is_empty() {
                self.fresh.pop_front();
            }
            return taken;
        }
        self.came_back -= count;
        let (_, mut front) = self.returned.pop_first().expect("it was looked at");
        let taken = front.split_at(part);
        if !front.batch.is_empty() {
            self.returned.insert(front.mark.sequence, front);
        }
        taken
    }

    /// Removes as many of the newest messages as there is no room for, from the last batch alone:
    /// there was room for what came before it. The group holds `held` elsewhere; `broker_room` is the
    /// room that all groups together would have without this one's last batch.
    pub(crate) fn trim(&mut self, held: Count, broker_room: usize) -> Option<(Count, DropReason)> {
        let newest = self.fresh.back_mut()?;
        let older = Self {
            count: Count {
                messages: self.count.messages - newest.batch.messages() as u64,
                bytes: self.count.bytes - newest.batch.byte_len() as u64,
            },
            limits: self.limits,
            ..Self::default()
        };
        let room = older.room(held);
        let kept = newest
            .batch
            .prefix(room.messages, room.bytes.min(broker_room));
        if kept.0 == newest.batch.messages() {
            return None;
        }
        let kept_batch = newest.batch.split_at(kept);
        let dropped = Count::of(&newest.batch);
        let reason = if kept.0 == room.messages {
            DropReason::BacklogMessages
        } else if kept.1 + newest.batch.prefix(1, usize::MAX).1 > room.bytes {
            DropReason::BacklogBytes
        } else {
            DropReason::BrokerBytes
        };
        if kept_batch.is_empty() {
            self.fresh.pop_back();
        } else {
            newest.batch = kept_batch.compact();
        }
        self.count -= dropped;
        Some((dropped, reason))
    }

    /// Removes as many of the oldest messages as the last batch has no room for.
    pub(crate) fn trim_oldest(
        &mut self,
        held: Count,
        broker_over: usize,
    ) -> Option<(Count, DropReason)> {
        let before = self.count;
        let reason = if self.messages() + held.messages as usize > self.limits.messages {
            DropReason::BacklogMessages
        } else if self.bytes() + held.bytes as usize > self.limits.bytes {
            DropReason::BacklogBytes
        } else {
            DropReason::BrokerBytes
        };
        loop {
            let dropped = (before.bytes - self.count.bytes) as usize;
            let messages =
                (self.messages() + held.messages as usize).saturating_sub(self.limits.messages);
            let bytes = (self.bytes() + held.bytes as usize)
                .saturating_sub(self.limits.bytes)
                .max(broker_over.saturating_sub(dropped));
            let Some(front) = self.front().filter(|_| messages > 0 || bytes > 0) else {
                break;
            };
            let by_bytes = front.batch.prefix(usize::MAX, bytes);
            let over = if by_bytes.1 < bytes {
                by_bytes.0 + 1
            } else {
                by_bytes.0
            };
            let part = front.batch.prefix(over.max(messages), usize::MAX);
            self.take_front(part);
        }
        let dropped = Count {
            messages: before.messages - self.count.messages,
            bytes: before.bytes - self.count.bytes,
        };
        (!dropped.is_zero()).then_some((dropped, reason))
    }

    /// The bytes of the last batch that was never handed out.
    pub(crate) fn newest_bytes(&self) -> usize {
        self.fresh.back().map_or(0, |it| it.batch.byte_len())
    }

    /// Shows `each` all of it.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Waiting)) {
        let came_back = self.returned.values().chain(self.alone.values());
        self.fresh.iter().chain(came_back).for_each(each);
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        let came_back = self.returned.values_mut().chain(self.alone.values_mut());
        for waiting in self.fresh.iter_mut().chain(came_back) {
            visit(&mut waiting.batch);
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) -> Count {
        let emptied = Self::new(self.limits);
        mem::replace(self, emptied).count
    }

    /// Checks what always holds, where `next` is the sequence of the topic's next message. Returns the
    /// bytes held, what came back not counted.
    pub(crate) fn check(&self, next: u64) -> usize {
        let sum = |all: &mut dyn Iterator<Item = &Waiting>| {
            let mut sum = Count::ZERO;
            let mut end = 0;
            for waiting in all {
                assert!(!waiting.batch.is_empty());
                assert!(waiting.mark.sequence >= end, "out of order");
                end = waiting.end();
                sum += Count::of(&waiting.batch);
            }
            assert!(end <= next, "a message has a sequence that is yet to come");
            sum
        };
        let mut came_back = sum(&mut self.returned.values());
        came_back += sum(&mut self.alone.values());
        assert_eq!(came_back, self.came_back);
        let mut count = sum(&mut self.fresh.iter());
        let fresh = count;
        count += came_back;
        assert_eq!(count, self.count);
        let behind = self.fresh.iter().skip(1);
        let mut behind = behind.chain(self.returned.values().skip(1));
        assert!(
            behind.all(|it| it.batch.is_compact()),
            "a sliver keeps a buffer alive"
        );
        for (sequence, alone) in &self.alone {
            assert_eq!(
                (*sequence, 1),
                (alone.mark.sequence, alone.batch.messages())
            );
        }
        let Limits {
            messages, bytes, ..
        } = self.limits;
        assert!(
            fresh.messages <= self.before.messages.max(messages as u64),
            "more messages than allowed"
        );
        let most = self.before.bytes.max(bytes as u64);
        assert!(fresh.bytes <= most, "more bytes than allowed");
        fresh.bytes as usize
    }
}

#[cfg(test)]
mod tests;
