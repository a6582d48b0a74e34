//! What goes on going wrong is said, and not more often than somebody wants to read it.

use crate::store::clock::{elapsed, moment};
use std::time::{Duration, Instant};
#[cfg(feature = "kafka")]
use tracing::error;
use tracing::warn;

/// How long nothing is said after something was.
const QUIET: Duration = Duration::from_secs(1);

/// Says what is wrong, once a second at most.
#[derive(Default)]
pub(in crate::store) struct Complaint {
    said: Option<Instant>,
}

impl Complaint {
    pub(in crate::store) fn say(&mut self, what: &str) {
        if self.is_due() {
            warn!("{what}");
        }
    }

    /// Says what cannot be mended.
    #[cfg(feature = "kafka")]
    pub(in crate::store) fn fail(&mut self, what: &str) {
        if self.is_due() {
            error!("{what}");
        }
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.said.is_none_or(|at| elapsed(at) >= QUIET);
        if is_due {
            self.said = Some(moment());
        }
        is_due
    }
}
