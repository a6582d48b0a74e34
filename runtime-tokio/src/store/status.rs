//! What operators see of the store.

use message_queue_core::Storage;
use message_queue_core::names::TopicName;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of the buckets of latencies, in microseconds.
pub(crate) const BOUNDS: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000,
];

/// The figures of the store. Written by its thread, read by whoever wants to.
#[derive(Debug, Default)]
pub(crate) struct StoreStatus {
    /// Pieces, and bytes of messages, that were appended.
    pub(crate) appended: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    /// From the broker's request to the answer.
    pub(crate) append_latency: Latency,
    /// How long it took the disk to make files safe.
    pub(crate) sync_latency: Latency,
    /// Reads that have failed.
    pub(crate) read_errors: AtomicU64,
    /// How many logs wait for room on the disk.
    pub(crate) full: AtomicUsize,
    /// The engine that keeps topics, if brokers share it.
    pub(crate) engine: Option<Storage>,
    /// Whether that cannot be reached.
    pub(crate) out_of_reach: AtomicBool,
    /// How often an engine has taken back what a group had, to give it to other brokers, too.
    #[cfg(feature = "cli")]
    pub(crate) rebalances: AtomicU64,
    /// What an engine had that no consumer can be sent, and that was passed over.
    #[cfg(feature = "cli")]
    pub(crate) unreadable: AtomicU64,
    /// What each topic has on the disk, in the order in which they were made. Looked at once a second.
    sizes: Mutex<Vec<(TopicName, Size)>>,
    /// How long opening all logs took.
    pub(crate) opening: AtomicU64,
}

/// What a log has on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) segments: u64,
    /// In its segments; room that is set aside is not counted.
    pub(crate) bytes: u64,
}

impl Size {
    #[cfg(feature = "cli")]
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            segments: self.segments + other.segments,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// A histogram of times.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// Those within each bound and above the one before; the last has no bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Latency {
    pub(super) fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many there were in each bucket, and the sum of all, in seconds.
    #[cfg(feature = "cli")]
    pub(crate) fn read(&self) -> ([u64; BOUNDS.len() + 1], f64) {
        let counts = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        let micros = self.micros.load(Ordering::Relaxed);
        (counts, Duration::from_micros(micros).as_secs_f64())
    }
}

impl StoreStatus {
    /// Of an engine that brokers share, and that is not reached yet.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn shared(engine: Storage) -> Self {
        Self {
            engine: Some(engine),
            out_of_reach: true.into(),
            ..Self::default()
        }
    }

    /// What each topic has on the disk, as of the last second.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn sizes(&self) -> Vec<(TopicName, Size)> {
        let sizes = self.sizes.lock();
        sizes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_sizes(&self, sizes: Vec<(TopicName, Size)>) {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }

    /// Messages of so many bytes are being appended, in one piece.
    pub(super) fn note_appending(&self, bytes: usize) {
        self.appended.fetch_add(1, Ordering::Relaxed);
        self.appended_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The engine that brokers share, if it cannot be reached.
    pub(crate) fn out_of_reach(&self) -> Option<Storage> {
        let is_out_of_reach = self.out_of_reach.load(Ordering::Relaxed);
        self.engine.filter(|_| is_out_of_reach)
    }

    /// Whether some log waits for room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_it_fits_in() {
        let latency = Latency::default();
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            latency.note(Duration::from_micros(micros));
        }
        let (counts, seconds) = latency.read();
        assert_eq!(counts[..2], [2, 1]);
        assert_eq!(counts[11..], [1, 1]);
        assert!((seconds - 20.000202).abs() < 1e-9);
    }
}
