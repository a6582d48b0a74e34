//! What waits for the members of one group, in order.

use super::checkpoint::Waiting;
use super::write::{MAX_BATCHES, Write};
use crate::error::DropReason;
use crate::planted::{self, Bug};
use crate::stats::Count;
use crate::time::Now;
use crate::wire::FrameBatch;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Messages that wait, first in first out.
///
/// Each message has a position: how many were let in before it. It is what brings messages that
/// were taken and handed back to where they were.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// In the order of their positions. No batch is empty. All but the first are compact: they keep
    /// no more memory alive than twice what their frames take.
    entries: VecDeque<Entry>,
    /// The position of the next message.
    next_position: u64,
    /// The most messages it takes in.
    capacity: usize,
    /// The most bytes it takes in.
    capacity_bytes: usize,
    /// Messages in all entries.
    messages: usize,
    /// Bytes in all entries.
    bytes: usize,
    /// How many of the first messages were handed back by a member that left. They were let in
    /// once and are kept even where newer ones have taken their room.
    handed_back: usize,
}

#[derive(Debug)]
struct Entry {
    batch: FrameBatch,
    /// The position of its first message.
    position: u64,
    /// Since when it has been waiting.
    since: Now,
}

impl Entry {
    /// The position after its last message.
    fn end(&self) -> u64 {
        self.position + self.batch.messages() as u64
    }
}

/// What was taken for one write: a run of messages without a gap.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) write: Write,
    /// The position of its first message.
    pub(super) position: u64,
    /// Since when its oldest message has been waiting.
    pub(super) since: Now,
}

/// How much more fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Backlog {
    pub(super) fn new(capacity: usize, capacity_bytes: usize) -> Self {
        Self {
            capacity,
            capacity_bytes,
            ..Self::default()
        }
    }

    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn count(&self) -> Count {
        Count::new(self.messages, self.bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Since when the oldest message has been waiting.
    pub(super) fn waiting_since(&self) -> Option<Now> {
        self.entries.front().map(|entry| entry.since)
    }

    /// How much more fits.
    pub(super) const fn room(&self) -> Room {
        Room {
            messages: self.capacity.saturating_sub(self.messages),
            bytes: self.capacity_bytes.saturating_sub(self.bytes),
        }
    }

    /// Adds a batch behind all others, whether there is room for it or not: see
    /// [`trim`](Self::trim).
    pub(super) fn push_back(&mut self, batch: FrameBatch, since: Now) {
        self.messages += batch.messages();
        self.bytes += batch.byte_len();
        let position = self.next_position;
        self.next_position += batch.messages() as u64;
        self.entries.push_back(Entry {
            batch,
            position,
            since,
        });
    }

    /// Puts back batches that were taken, the first of them at `position`: before all that were
    /// never taken, and in order with those that others have handed back.
    pub(super) fn put_back(&mut self, batches: Vec<FrameBatch>, position: u64, since: Now) {
        if let Some(front) = self.entries.front_mut() {
            front.batch = front.batch.clone().compact();
        }
        if planted::is(Bug::RequeueAtTheBack) {
            for batch in batches {
                self.push_back(batch.compact(), since);
            }
            return;
        }
        let first = if planted::is(Bug::RequeueAtTheFront) {
            0
        } else {
            self.entries
                .partition_point(|entry| entry.position < position)
        };
        let mut position = position;
        for (at, batch) in (first..).zip(batches) {
            self.messages += batch.messages();
            self.bytes += batch.byte_len();
            self.handed_back += batch.messages();
            let entry = Entry {
                batch: batch.compact(),
                position,
                since,
            };
            position = entry.end();
            self.entries.insert(at, entry);
        }
    }

    /// Takes the first messages: at most `messages` and `bytes`, but one at least, and none that
    /// comes after a gap. None if it is empty.
    pub(super) fn take(&mut self, messages: usize, bytes: usize) -> Option<Taken> {
        let front = self.entries.front()?;
        let (position, since) = (front.position, front.since);
        let (mut messages_left, mut bytes_left) = (messages, bytes);
        let mut batches = Vec::new();
        let mut end = position;
        while batches.len() < MAX_BATCHES
            && let Some(front) = self.entries.front_mut()
            && front.position == end
        {
            // What does not fit whole is the next write's: cutting it to size would make two small
            // writes of one, and walk its frames.
            if !batches.is_empty() && front.batch.byte_len() > bytes_left {
                break;
            }
            let mut part = front.batch.prefix(messages_left, bytes_left);
            if part.0 == 0 && batches.is_empty() {
                part = front.batch.prefix(1, usize::MAX);
            }
            if part.0 == 0 {
                break;
            }
            messages_left = messages_left.saturating_sub(part.0);
            bytes_left = bytes_left.saturating_sub(part.1);
            end += part.0 as u64;
            batches.push(front.batch.split_at(part));
            if planted::is(Bug::SplitOffByOne) && front.batch.messages() == 1 {
                self.messages -= 1;
                self.bytes -= front.batch.byte_len();
                self.entries.pop_front();
                break;
            }
            if !front.batch.is_empty() {
                front.position = end;
                break;
            }
            self.entries.pop_front();
        }
        let write = Write::new(batches);
        let Count { messages, bytes } = write.count();
        self.messages -= messages as usize;
        self.bytes -= bytes as usize;
        self.handed_back = self.handed_back.saturating_sub(messages as usize);
        Some(Taken {
            write,
            position,
            since,
        })
    }

    /// Removes as many of the newest messages as there is no room for, from the last batch alone:
    /// there was room for what came before it. `broker_room` is the room that all backlogs
    /// together would have without this one's last batch.
    pub(super) fn trim(&mut self, broker_room: usize) -> Option<(Count, DropReason)> {
        let newest = self.entries.back_mut()?;
        let older_messages = self.messages - newest.batch.messages();
        let older_bytes = self.bytes - newest.batch.byte_len();
        let capacity = self.capacity + usize::from(planted::is(Bug::CapacityOffByOne));
        let room_messages = capacity.saturating_sub(older_messages);
        let room_bytes = self.capacity_bytes.saturating_sub(older_bytes);
        let kept = newest
            .batch
            .prefix(room_messages, room_bytes.min(broker_room));
        if kept.0 == newest.batch.messages() {
            return None;
        }
        let kept_batch = newest.batch.split_at(kept);
        let dropped = Count::of(&newest.batch);
        let reason = if kept.0 == room_messages {
            DropReason::BacklogMessages
        } else if kept.1 + newest.batch.prefix(1, usize::MAX).1 > room_bytes {
            DropReason::BacklogBytes
        } else {
            DropReason::BrokerBytes
        };
        if kept_batch.is_empty() {
            self.entries.pop_back();
        } else {
            newest.batch = kept_batch.compact();
        }
        self.next_position -= dropped.messages;
        self.messages = older_messages + kept.0;
        self.bytes = older_bytes + kept.1;
        Some((dropped, reason))
    }

    /// The bytes of the last batch.
    pub(super) fn newest_bytes(&self) -> usize {
        self.entries
            .back()
            .map_or(0, |entry| entry.batch.byte_len())
    }

    /// What waits, the position of the next message, and how many messages were handed back.
    pub(super) fn state(&self) -> (Vec<Waiting>, u64, usize) {
        let waiting = self.entries.iter().map(|entry| Waiting {
            batch: entry.batch.clone(),
            position: entry.position,
            since: entry.since,
        });
        (waiting.collect(), self.next_position, self.handed_back)
    }

    /// This one, empty as it is, with what [`state`](Self::state) has told of another.
    pub(super) fn restored(
        mut self,
        waiting: Vec<Waiting>,
        next_position: u64,
        handed_back: usize,
    ) -> Self {
        for Waiting {
            batch,
            position,
            since,
        } in waiting
        {
            self.messages += batch.messages();
            self.bytes += batch.byte_len();
            self.entries.push_back(Entry {
                batch,
                position,
                since,
            });
        }
        (self.next_position, self.handed_back) = (next_position, handed_back);
        self
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) -> Count {
        let removed = self.count();
        self.entries.clear();
        (self.messages, self.bytes, self.handed_back) = (0, 0, 0);
        removed
    }

    /// Checks what always holds. Returns the bytes held, what was handed back not counted.
    pub(super) fn check(&self) -> usize {
        let batches = || self.entries.iter().map(|entry| &entry.batch);
        assert_eq!(
            self.messages,
            batches().map(FrameBatch::messages).sum::<usize>()
        );
        assert_eq!(
            self.bytes,
            batches().map(FrameBatch::byte_len).sum::<usize>()
        );
        assert!(batches().all(|batch| !batch.is_empty()));
        let mut end = 0;
        for entry in &self.entries {
            assert!(entry.position >= end, "out of order");
            end = entry.end();
        }
        assert!(end <= self.next_position);
        assert!(
            batches().skip(1).all(FrameBatch::is_compact),
            "a sliver keeps a buffer alive"
        );
        assert!(self.handed_back <= self.messages);
        assert!(
            self.messages - self.handed_back <= self.capacity,
            "more messages than allowed"
        );
        let mut let_in = self.bytes;
        let mut handed_back = self.handed_back;
        for batch in batches() {
            let (messages, bytes) = batch.prefix(handed_back, usize::MAX);
            handed_back -= messages;
            let_in -= bytes;
        }
        assert!(let_in <= self.capacity_bytes, "more bytes than allowed");
        let_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn backlog(capacity: usize, batches: &[&[&str]]) -> Backlog {
        let mut backlog = Backlog::new(capacity, 1000);
        for messages in batches {
            backlog.push_back(batch(messages), Now::START);
        }
        backlog
    }

    fn take(backlog: &mut Backlog, messages: usize, bytes: usize) -> Vec<FrameBatch> {
        let taken = backlog
            .take(messages, bytes)
            .map(|taken| taken.write.batches().to_vec());
        backlog.check();
        taken.unwrap_or_default()
    }

    #[test]
    fn what_is_taken_is_gathered_and_cut_between_messages() {
        let mut backlog = backlog(10, &[&["a", "b"], &["c"], &["d", "e"]]);
        assert_eq!(
            take(&mut backlog, 4, 1000),
            [batch(&["a", "b"]), batch(&["c"]), batch(&["d"])]
        );
        assert_eq!(take(&mut backlog, 4, 1000), [batch(&["e"])]);
        assert_eq!(take(&mut backlog, 4, 1000), []);
    }

    #[test]
    fn the_byte_bound_cuts_too_and_one_message_always_goes() {
        let mut backlog = backlog(10, &[&["aaaa", "b"], &["c"]]);
        assert_eq!(take(&mut backlog, 9, 3), [batch(&["aaaa"])]);
        assert_eq!(take(&mut backlog, 9, 10), [batch(&["b"]), batch(&["c"])]);
    }

    #[test]
    fn only_the_newest_are_trimmed_and_the_bound_that_did_it_is_named() {
        let dropped = |messages, bytes, reason| Some((Count::new(messages, bytes), reason));

        let mut full = backlog(3, &[&["a", "b"], &["c", "d", "e"]]);
        assert_eq!(full.trim(1000), dropped(2, 10, DropReason::BacklogMessages));
        assert_eq!(take(&mut full, 9, 999), [batch(&["a", "b"]), batch(&["c"])]);

        let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
        full.capacity_bytes = 21;
        assert_eq!(full.trim(1000), dropped(1, 5, DropReason::BacklogBytes));

        let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
        assert_eq!(full.trim(4), dropped(3, 15, DropReason::BrokerBytes));
        assert_eq!(full.trim(1000), None);
        full.check();
    }

    #[test]
    fn what_is_handed_back_goes_first_and_is_kept_beyond_the_bound() {
        let mut full = backlog(2, &[&["a"], &["b"]]);
        let taken = full.take(2, 999).expect("two wait");
        full.push_back(batch(&["c", "d"]), Now::START);
        full.put_back(taken.write.batches().to_vec(), taken.position, Now::START);
        full.check();
        assert_eq!(full.room().messages, 0);
        full.push_back(batch(&["e"]), Now::START);
        assert!(full.trim(1000).is_some());
        assert_eq!(
            take(&mut full, 3, 999),
            [batch(&["a"]), batch(&["b"]), batch(&["c"])]
        );
    }

    #[test]
    fn what_several_hand_back_comes_back_in_the_order_it_had() {
        let mut backlog = backlog(9, &[&["a", "b", "c", "d", "e"]]);
        let mut of_two = || backlog.take(2, 999).expect("some wait");
        let (first, second) = (of_two(), of_two());
        for taken in [first, second] {
            let batches = taken.write.batches().to_vec();
            backlog.put_back(batches, taken.position, Now::START);
            backlog.check();
        }
        assert_eq!(
            take(&mut backlog, 9, 999),
            [batch(&["a", "b"]), batch(&["c", "d"]), batch(&["e"])]
        );
    }

    #[test]
    fn one_write_does_not_reach_over_a_gap() {
        let mut backlog = backlog(9, &[&["a", "b", "c"]]);
        let first = backlog.take(1, 999).expect("some wait");
        let second = backlog.take(1, 999).expect("some wait");
        let batches = first.write.batches().to_vec();
        backlog.put_back(batches, first.position, Now::START);
        assert_eq!(take(&mut backlog, 9, 999), [batch(&["a"])]);
        let batches = second.write.batches().to_vec();
        backlog.put_back(batches, second.position, Now::START);
        assert_eq!(take(&mut backlog, 9, 999), [batch(&["b"]), batch(&["c"])]);
    }
}
