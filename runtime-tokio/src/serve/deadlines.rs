//! Sockets before clocks: a deadline is judged after the socket that it concerns was looked at.
//!
//! A broker that did not run for a while (SIGSTOP, a throttled container) finds when it wakes that
//! deadlines have passed, and in its sockets what its peers did meanwhile. And one that did run learns
//! late of a slow peer: see [`Listener::write_now`](super::net::Listener::write_now).

use super::driver::Driver;
use std::time::Duration;
use tokio::time::Instant;

/// How long the connections' tasks have to look at their sockets.
const LOOK: Duration = Duration::from_millis(10);

/// An alarm that is noticed so much later than it was due tells of a broker that did not run.
const LATE: Duration = Duration::from_millis(100);

/// How long they have then: its peers may have been held up with it.
const LOOK_AFTER_A_STALL: Duration = Duration::from_millis(250);

/// The core's deadlines.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// When those that have come are judged. None while none has.
    judged: Option<Instant>,
}

impl Deadlines {
    /// When [`come`](Self::come) is next to be called, while the core's alarm is this.
    pub(crate) fn next(&self, alarm: Option<Instant>) -> Option<Instant> {
        self.judged.or(alarm)
    }

    /// The moment `due` has come: now the sockets are looked at, and after that the clock.
    pub(crate) fn come(&mut self, due: Option<Instant>, driver: &Driver) {
        if self.judged.take().is_some() {
            return driver.handle_timeout();
        }
        let now = Instant::now();
        let stalled = due.is_some_and(|due| now.saturating_duration_since(due) > LATE);
        let look = if stalled { LOOK_AFTER_A_STALL } else { LOOK };
        driver.wake_overdue(look);
        self.judged = Some(now + look);
    }
}
