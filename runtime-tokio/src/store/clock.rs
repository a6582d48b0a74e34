//! The clocks of the store. Its threads are real, and so is their time: simulations have stores of their own.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "threads that wait for a disk, not for tokio's clock"
)]
pub(super) fn moment() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "what is old is judged by the clock by which it was published"
)]
pub(super) fn wall_clock() -> u64 {
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
