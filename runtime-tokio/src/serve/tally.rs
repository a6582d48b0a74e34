//! What a connection has moved so far, for the line that tells its end.

use message_queue_core::Count;
use message_queue_core::wire::Piece;
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

/// The messages of `pieces` that are whole where the socket has taken all before the one at `piece`,
/// and `offset` bytes of that.
pub(crate) fn whole(pieces: &[Piece], piece: usize, offset: usize) -> Count {
    let mut count = Count::ZERO;
    for taken in pieces[..piece].iter().filter_map(Piece::batch) {
        count += Count::of(taken);
    }
    if let Some(cut) = pieces.get(piece).and_then(Piece::batch) {
        let (messages, bytes) = cut.prefix(usize::MAX, offset);
        count += Count::new(messages, bytes);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use message_queue_core::wire::FrameBatch;

    #[test]
    fn a_message_that_was_cut_does_not_count() {
        let messages = |it: &[&str]| Piece::Messages(FrameBatch::encode(it).unwrap());
        let said = Piece::Control(Bytes::from_static(b"said"));
        let pieces = [messages(&["a", "b"]), said, messages(&["c", "d"])];
        for (piece, offset, messages) in [
            (0, 0, 0),
            (0, 4, 0),
            (0, 5, 1),
            (1, 3, 2),
            (2, 9, 3),
            (3, 0, 4),
        ] {
            let counted = whole(&pieces, piece, offset);
            assert_eq!(counted, Count::new(messages, 5 * messages));
        }
    }
}
