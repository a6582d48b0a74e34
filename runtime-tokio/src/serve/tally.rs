//! What a connection has moved so far, for the line that tells its end.

use message_queue_core::Count;
use message_queue_core::wire::FrameBatch;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Counted by whoever reads from the connection and whoever writes to it.
#[derive(Debug)]
pub(crate) struct Tally {
    opened: Instant,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// So much more came, or was taken by the socket.
    pub(crate) fn add(&self, count: Count) {
        self.messages.fetch_add(count.messages, Ordering::Relaxed);
        self.bytes.fetch_add(count.bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> Count {
        Count {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// For how long the connection has been there.
    pub(crate) fn lived(&self) -> Duration {
        self.opened.elapsed()
    }
}

/// The messages of `batches` that are whole where the socket has taken all before the one at `batch`,
/// and `offset` bytes of that.
pub(crate) fn whole(batches: &[FrameBatch], batch: usize, offset: usize) -> Count {
    let mut count = Count::ZERO;
    for taken in &batches[..batch] {
        count += Count::of(taken);
    }
    if let Some(cut) = batches.get(batch) {
        let (messages, bytes) = cut.prefix(usize::MAX, offset);
        count += Count::new(messages, bytes);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_cut_does_not_count() {
        let batches =
            [&["a", "b"][..], &["c", "d"]].map(|batch| FrameBatch::encode(batch).unwrap());
        for (batch, offset, messages) in [(0, 0, 0), (0, 4, 0), (0, 5, 1), (1, 9, 3), (2, 0, 4)] {
            let counted = whole(&batches, batch, offset);
            assert_eq!(counted, Count::new(messages, 5 * messages));
        }
    }
}
