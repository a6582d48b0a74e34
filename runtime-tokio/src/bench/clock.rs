//! The clock that all clients of a run share.

use std::time::Duration;
use tokio::time::Instant;

/// The time, since the origin that all clients of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    /// The origin is now.
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn since_origin(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.origin)
    }
}
