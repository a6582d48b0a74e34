//! What systemd is told where it started the broker as a `Type=notify` service. Anywhere else, which
//! is where `NOTIFY_SOCKET` is not set, nothing happens.

use sd_notify::{NotifyState, notify, watchdog_enabled};
use std::env;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use tracing::warn;

/// What the broker may take after the drain to close its sockets and to end.
const TO_END: Duration = Duration::from_secs(5);

/// How often [`alive`] is to be called.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Both ports are open, and the settings are in force: the service counts as started, or as
/// reloaded.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The settings are read again; [`ready`] follows.
pub(crate) fn reloading() {
    // A service of `Type=notify-reload` needs the time, which tells this answer from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The broker was told to stop, and needs up to `drain` (`DRAIN_DELAY_MS` and `DRAIN_TIMEOUT_MS`)
/// for that: the unit's `TimeoutStopSec` does not cut it short.
pub(crate) fn stopping(drain: Duration) {
    let extend = format!("EXTEND_TIMEOUT_USEC={}", (drain + TO_END).as_micros());
    // `NotifyState::ExtendTimeoutUsec` ends at 71 minutes; the settings allow two hours.
    tell(&[NotifyState::Stopping, NotifyState::Custom(&extend)]);
}

/// The broker needs longer to start: it opens the logs of stored topics. To be called once a [`HEARTBEAT`].
pub(crate) fn starting() {
    let extend = format!("EXTEND_TIMEOUT_USEC={}", (HEARTBEAT + TO_END).as_micros());
    tell(&[NotifyState::Custom(&extend)]);
}

/// Whether the unit has a `WatchdogSec`: systemd then restarts a broker of which it has not heard
/// for so long that it is [`alive`].
pub(crate) fn has_watchdog() -> bool {
    let Some(patience) = watchdog_enabled() else {
        return false;
    };
    if patience < 2 * HEARTBEAT {
        warn!(
            watchdog_seconds = patience.as_secs_f64(),
            "WatchdogSec is less than two seconds, and the broker tells systemd once a second that \
             it is alive"
        );
    }
    true
}

/// The broker serves.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    let told = match env::var_os("NOTIFY_SOCKET") {
        Some(socket) if socket.as_bytes().starts_with(b"@") => tell_abstract(&socket, states),
        Some(_) => notify(states),
        None => Ok(()),
    };
    if let Err(error) = told {
        warn!(%error, "systemd could not be told");
    }
}

/// Linux has sockets without a file, written with `@` in the place of a zero byte. `sd_notify` does
/// not know them.
#[cfg(target_os = "linux")]
fn tell_abstract(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let address = SocketAddr::from_abstract_name(&socket.as_bytes()[1..])?;
    let mut message = String::new();
    for state in states {
        // Writing to a string cannot fail.
        let _ = writeln!(message, "{state}");
    }
    // A datagram is sent whole or not at all.
    UnixDatagram::unbound()?
        .send_to_addr(message.as_bytes(), &address)
        .map(|_| ())
}

#[cfg(not(target_os = "linux"))]
fn tell_abstract(_: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    notify(states)
}
