//! What systemd is told where it started the broker as a `Type=notify` service. Anywhere else, which
//! is where `NOTIFY_SOCKET` is not set, nothing happens.

use std::time::Duration;

use sd_notify::{NotifyState, notify};

/// What the broker may take after the drain to close its sockets and to end.
const TO_END: Duration = Duration::from_secs(5);

/// Both ports are open: the service counts as started.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The broker was told to stop, and needs up to `drain` (`DRAIN_DELAY_MS` and `DRAIN_TIMEOUT_MS`)
/// for that: the unit's `TimeoutStopSec` does not cut it short.
pub(crate) fn stopping(drain: Duration) {
    let extend = format!("EXTEND_TIMEOUT_USEC={}", (drain + TO_END).as_micros());
    // `NotifyState::ExtendTimeoutUsec` ends at 71 minutes; the settings allow two hours.
    tell(&[NotifyState::Stopping, NotifyState::Custom(&extend)]);
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
