//! What becomes of HTTP connections, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// In an orderly way.
    Done,
    /// No request came in time, or an answer was not taken in time.
    Timeout,
    /// It waited for a request, and its place was needed.
    Displaced,
    /// What came was no HTTP, or the connection was reset.
    Failed,
}

impl Closed {
    pub(crate) const ALL: [Self; 4] = [Self::Done, Self::Timeout, Self::Displaced, Self::Failed];

    /// Its name, as in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Timeout => "timeout",
            Self::Displaced => "displaced",
            Self::Failed => "failed",
        }
    }
}

/// Counts: `opened = open + refused + closed`.
#[derive(Debug)]
pub(crate) struct HttpStats {
    /// The most connections at a time.
    pub(crate) limit: usize,
    pub(crate) accept_failures: Arc<AtomicU64>,
    opened: AtomicU64,
    refused: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpCounts {
    pub(crate) open: u64,
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    /// In the order of [`Closed::ALL`].
    pub(crate) closed: [u64; Closed::ALL.len()],
}

impl HttpStats {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            accept_failures: Arc::default(),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closed: Default::default(),
        }
    }

    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, how: Closed) {
        self.closed[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now. Read by the thread that counts, so they add up.
    pub(crate) fn counts(&self) -> HttpCounts {
        let opened = self.opened.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        let closed = self.closed.each_ref().map(|it| it.load(Ordering::Relaxed));
        let ended = refused + closed.iter().sum::<u64>();
        HttpCounts {
            open: opened.saturating_sub(ended),
            opened,
            refused,
            closed,
        }
    }
}
