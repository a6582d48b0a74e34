//! What has come for a group: in runs, until the core has them; and which offsets its sequences stand for, until they are
//! settled.
//!
//! ```text
//! record ─▶ take.rs: a sequence ─▶ fetch.rs: the core has it ─▶ settle.rs: it is settled ─▶ an offset to commit
//! ```

mod fetch;
mod settle;
mod take;

use super::offsets::Offsets;
use message_queue_core::store::Run;
use message_queue_core::wire::Encoder;
use std::collections::{BTreeMap, VecDeque};

/// The most bytes that wait for the core; a record more in any case.
const MOST_BYTES: usize = 4 << 20;

/// What a group has from Kafka.
pub(super) struct Window {
    /// The sequence of the next message that comes.
    pub(super) next: u64,
    /// The most messages that wait for the core, a record more in any case.
    most: usize,
    /// What has come and is not known to be in the core's window, in order and without holes from `first` on.
    waiting: VecDeque<Run>,
    first: u64,
    waiting_bytes: usize,
    /// What the core was sent last is kept until it asks for what is behind it: it may have taken a part of it. Where that ends,
    /// and its bytes.
    sent: u64,
    sent_bytes: usize,
    /// Messages that make one run, and are not in `waiting` yet.
    alike: Option<Alike>,
    /// What is not settled, in order of its sequences.
    held: VecDeque<Held>,
    /// The partitions that it has.
    offsets: BTreeMap<i32, Offsets>,
    /// Whether settling is remembered: a group of one's own settles nothing.
    is_tracked: bool,
    /// Up to where the core was told.
    told: u64,
}

/// Messages that were published in the same millisecond.
struct Alike {
    first: u64,
    published: u64,
    attempts: u32,
    encoder: Encoder,
}

/// The sequences of some messages that have come one after the other, and their offsets.
struct Held {
    first: u64,
    messages: u64,
    partition: i32,
    /// Of the first.
    offset: i64,
    /// Whether all are in one record.
    is_one: bool,
}

impl Window {
    /// One that is empty, of which sequences begin at `next`.
    pub(super) fn new(next: u64, most: usize, is_tracked: bool) -> Self {
        Self {
            next,
            most: most.max(1),
            waiting: VecDeque::new(),
            first: next,
            waiting_bytes: 0,
            sent: next,
            sent_bytes: 0,
            alike: None,
            held: VecDeque::new(),
            offsets: BTreeMap::new(),
            is_tracked,
            told: next - 1,
        }
    }

    /// It has these partitions now, and nothing of them.
    pub(super) fn assign(&mut self, offsets: BTreeMap<i32, Offsets>) {
        self.clear();
        self.offsets = offsets;
    }

    /// It has nothing.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.sent = self.next;
        self.sent_bytes = 0;
        self.alike = None;
        self.held.clear();
        self.offsets.clear();
        self.first = self.next;
        self.told = self.next - 1;
    }

    /// Whether nothing more is to come before the core has taken some.
    pub(super) fn is_full(&self) -> bool {
        let messages = usize::try_from(self.next - self.sent).unwrap_or(usize::MAX);
        messages >= self.most || self.waiting_bytes - self.sent_bytes >= MOST_BYTES
    }

    /// The partitions that it has.
    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.offsets.keys().copied()
    }
}

#[cfg(test)]
mod tests;
