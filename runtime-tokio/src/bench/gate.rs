//! The gate in front of the producers: they begin together.

use std::sync::{Condvar, Mutex, PoisonError};
use tokio::time::Instant;

/// Holds producers back until all are there.
#[derive(Debug, Default)]
pub(super) struct Gate {
    opened: Mutex<Option<Instant>>,
    open: Condvar,
}

impl Gate {
    /// Waits until it opens. Returns when that was.
    pub(super) fn wait(&self) -> Instant {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(opened) = *opened {
                return opened;
            }
            opened = self
                .open
                .wait(opened)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the producers go. Returns when that was.
    pub(super) fn open(&self) -> Instant {
        let now = Instant::now();
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.open.notify_all();
        now
    }
}
