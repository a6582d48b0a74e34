//! How a recording is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a recording is doing. A clone shows the same.
#[derive(Clone, Debug, Default)]
pub struct RecordingStatus(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    gaps: AtomicU64,
    missed: AtomicU64,
    failed: AtomicBool,
}

impl RecordingStatus {
    /// Bytes written to files.
    pub fn written_bytes(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// How many times the recording was interrupted.
    pub fn gaps(&self) -> u64 {
        self.0.gaps.load(Ordering::Relaxed)
    }

    /// How many steps of the core fell into gaps.
    pub fn missed_steps(&self) -> u64 {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Whether a file could not be written, which has ended the recording.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.0.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn gap(&self) {
        self.0.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self) {
        self.0.missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        self.0.failed.store(true, Ordering::Release);
    }
}
