//! What waits for the members of one group, in order.

use crate::error::DropReason;
use crate::stats::Count;
use crate::time::Now;
use crate::wire::{FrameBatch, MAX_BATCHES, Write};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Messages that wait, first in first out: a bounded window on the topic.
///
/// Each message has its topic's sequence. It is what brings messages that were taken and handed
/// back to where they were. Where one is missing, it is in flight, delivered or dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backlog {
    /// In the order of their sequences. No batch is empty. All but the first are compact: they keep
    /// no more memory alive than twice what their frames take.
    entries: VecDeque<Waiting>,
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

/// A batch that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Waiting {
    /// The messages; at least one.
    pub(crate) batch: FrameBatch,
    /// The sequence of the first of them; the others follow without a gap.
    pub(crate) sequence: u64,
    /// Since when it has been waiting.
    pub(crate) since: Now,
}

impl Waiting {
    /// The sequence after its last message.
    const fn end(&self) -> u64 {
        self.sequence + self.batch.messages() as u64
    }
}

/// What was taken for one write.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) write: Write,
    pub(crate) sequences: Sequences,
    /// Since when its oldest message has been waiting.
    pub(crate) since: Now,
}

/// The sequences of the batches of a write, ascending. It takes memory only for gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sequences {
    /// The sequence of the first message.
    pub(crate) first: u64,
    /// The batches before which there is a gap, by their place in the write, and the sequence of
    /// each one's first message. All others begin where the batch before them ends.
    pub(crate) gaps: Vec<(usize, u64)>,
}

impl Sequences {
    /// Each batch with the sequence of its first message.
    pub(crate) fn of<'a>(
        &self,
        batches: &'a [FrameBatch],
    ) -> impl Iterator<Item = (u64, &'a FrameBatch)> {
        let (mut next, mut gaps) = (self.first, self.gaps.iter());
        let mut gap = gaps.next();
        batches.iter().enumerate().map(move |(place, batch)| {
            if let Some((_, sequence)) = gap.filter(|(before, _)| *before == place) {
                next = *sequence;
                gap = gaps.next();
            }
            let sequence = next;
            next += batch.messages() as u64;
            (sequence, batch)
        })
    }
}

/// How much more fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Backlog {
    pub(crate) fn new(capacity: usize, capacity_bytes: usize) -> Self {
        Self {
            capacity,
            capacity_bytes,
            ..Self::default()
        }
    }

    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn count(&self) -> Count {
        Count::new(self.messages, self.bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Since when the oldest message has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        self.entries.front().map(|entry| entry.since)
    }

    /// How much more fits.
    pub(crate) const fn room(&self) -> Room {
        Room {
            messages: self.capacity.saturating_sub(self.messages),
            bytes: self.capacity_bytes.saturating_sub(self.bytes),
        }
    }

    /// Adds a batch behind all others, whether there is room for it or not: see
    /// [`trim`](Self::trim).
    pub(crate) fn push_back(&mut self, batch: FrameBatch, sequence: u64, since: Now) {
        self.messages += batch.messages();
        self.bytes += batch.byte_len();
        self.entries.push_back(Waiting {
            batch,
            sequence,
            since,
        });
    }

    /// Puts back batches that were taken, each to where it was.
    pub(crate) fn requeue(&mut self, batches: Vec<Waiting>) {
        if let Some(front) = self.entries.front_mut() {
            front.batch = front.batch.clone().compact();
        }
        for mut back in batches {
            back.batch = back.batch.compact();
            self.messages += back.batch.messages();
            self.bytes += back.batch.byte_len();
            self.handed_back += back.batch.messages();
            let place = self
                .entries
                .partition_point(|entry| entry.sequence < back.sequence);
            self.entries.insert(place, back);
        }
    }

    /// Takes the first messages: at most `messages` and `bytes`, but one at least. None if it is
    /// empty.
    pub(crate) fn take(&mut self, messages: usize, bytes: usize) -> Option<Taken> {
        let front = self.entries.front()?;
        let since = front.since;
        let mut sequences = Sequences {
            first: front.sequence,
            gaps: Vec::new(),
        };
        let (mut messages_left, mut bytes_left) = (messages, bytes);
        let mut batches = Vec::new();
        let mut end = front.sequence;
        while batches.len() < MAX_BATCHES
            && let Some(front) = self.entries.front_mut()
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
            if front.sequence != end {
                sequences.gaps.push((batches.len(), front.sequence));
            }
            messages_left = messages_left.saturating_sub(part.0);
            bytes_left = bytes_left.saturating_sub(part.1);
            end = front.sequence + part.0 as u64;
            batches.push(front.batch.split_at(part));
            if !front.batch.is_empty() {
                front.sequence = end;
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
            sequences,
            since,
        })
    }

    /// Removes as many of the newest messages as there is no room for, from the last batch alone:
    /// there was room for what came before it. `broker_room` is the room that all backlogs
    /// together would have without this one's last batch.
    pub(crate) fn trim(&mut self, broker_room: usize) -> Option<(Count, DropReason)> {
        let newest = self.entries.back_mut()?;
        let older_messages = self.messages - newest.batch.messages();
        let older_bytes = self.bytes - newest.batch.byte_len();
        let room_messages = self.capacity.saturating_sub(older_messages);
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
        self.messages = older_messages + kept.0;
        self.bytes = older_bytes + kept.1;
        Some((dropped, reason))
    }

    /// The bytes of the last batch.
    pub(crate) fn newest_bytes(&self) -> usize {
        self.entries
            .back()
            .map_or(0, |entry| entry.batch.byte_len())
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        for entry in &mut self.entries {
            visit(&mut entry.batch);
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) -> Count {
        let removed = self.count();
        self.entries.clear();
        (self.messages, self.bytes, self.handed_back) = (0, 0, 0);
        removed
    }

    /// Checks what always holds, where `next` is the sequence of the topic's next message. Returns
    /// the bytes held, what was handed back not counted.
    pub(crate) fn check(&self, next: u64) -> usize {
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
            assert!(entry.sequence >= end, "out of order");
            end = entry.end();
        }
        assert!(end <= next, "a message has a sequence that is yet to come");
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

    /// Beyond all sequences here.
    const END: u64 = 99;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn backlog(capacity: usize, batches: &[&[&str]]) -> Backlog {
        let mut backlog = Backlog::new(capacity, 1000);
        let mut next = 0;
        for messages in batches {
            backlog.push_back(batch(messages), next, Now::START);
            next += messages.len() as u64;
        }
        backlog
    }

    /// What was taken, as it is handed back whole.
    fn handed_back(taken: &Taken) -> Vec<Waiting> {
        let batches = taken.sequences.of(taken.write.batches());
        batches
            .map(|(sequence, batch)| Waiting {
                batch: batch.clone(),
                sequence,
                since: taken.since,
            })
            .collect()
    }

    fn take(backlog: &mut Backlog, messages: usize, bytes: usize) -> Vec<FrameBatch> {
        let taken = backlog
            .take(messages, bytes)
            .map(|taken| taken.write.batches().to_vec());
        backlog.check(END);
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
        full.check(END);
    }

    #[test]
    fn what_is_handed_back_goes_first_and_is_kept_beyond_the_bound() {
        let mut full = backlog(2, &[&["a"], &["b"]]);
        let taken = full.take(2, 999).expect("two wait");
        full.push_back(batch(&["c", "d"]), 2, Now::START);
        full.requeue(handed_back(&taken));
        full.check(END);
        assert_eq!(full.room().messages, 0);
        full.push_back(batch(&["e"]), 4, Now::START);
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
            backlog.requeue(handed_back(&taken));
            backlog.check(END);
        }
        assert_eq!(
            take(&mut backlog, 9, 999),
            [batch(&["a", "b"]), batch(&["c", "d"]), batch(&["e"])]
        );
    }

    #[test]
    fn a_write_reaches_over_gaps_and_comes_back_to_where_it_was() {
        let mut backlog = backlog(9, &[&["a", "b"]]);
        let mut of_one = || backlog.take(1, 999).expect("some wait");
        let (first, second) = (of_one(), of_one());
        // Nobody had room for the messages 2 to 4.
        backlog.push_back(batch(&["f", "g"]), 5, Now::START);
        backlog.requeue(handed_back(&first));
        let third = backlog.take(2, 999).expect("two wait");
        assert_eq!(third.write.batches(), [batch(&["a"]), batch(&["f"])]);
        assert_eq!(third.sequences.first, 0);
        assert_eq!(third.sequences.gaps, [(1, 5)]);
        backlog.requeue(handed_back(&second));
        backlog.requeue(handed_back(&third));
        assert_eq!(
            take(&mut backlog, 9, 999),
            [batch(&["a"]), batch(&["b"]), batch(&["f"]), batch(&["g"])]
        );
    }

    #[test]
    fn the_sequence_of_a_dropped_message_is_not_used_again() {
        let mut full = backlog(1, &[&["a", "b"]]);
        assert!(full.trim(1000).is_some());
        let taken = full.take(9, 999).expect("one waits");
        full.push_back(batch(&["c"]), 2, Now::START);
        full.requeue(handed_back(&taken));
        let sequences: Vec<u64> = full.entries.iter().map(|it| it.sequence).collect();
        assert_eq!(sequences, [0, 2]);
    }
}
