//! The clocks of the store.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now: on a thread of the store's own, by the system's clock; in a task of a simulation, by the clock of its runtime.
pub(super) fn moment() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time since a moment, by the same clock.
pub(super) fn elapsed(since: Instant) -> Duration {
    moment().saturating_duration_since(since)
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "what is old is judged by the clock by which it was published"
)]
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}

/// Waits for a disk to have room.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody says when there is room: it is tried again"
)]
pub(super) fn wait(time: Duration) {
    thread::sleep(time);
}
