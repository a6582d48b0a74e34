//! The strings that a client hangs on: what it is told from outside, wherever it is in what it does. They outlive its
//! crashes.

use crate::plan::Micros;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a client waits until it tries again to connect.
pub(crate) const AGAIN: Duration = Duration::from_millis(150);

/// See the module.
#[derive(Default)]
pub(crate) struct Strings {
    /// It is to do nothing.
    stalled: Cell<bool>,
    /// It is to leave, and to come back after so long.
    leave: Cell<Option<Micros>>,
    /// When its connection breaks, it is to come back after so long.
    away: Cell<Option<Micros>>,
    /// All is healed: it hurries.
    healed: Cell<bool>,
    /// Something of the above has changed.
    pulled: Notify,
}

impl Strings {
    /// The client does nothing from now on, or goes on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
        self.pulled.notify_one();
    }

    /// It leaves at the next opportunity, and comes back after so long.
    pub(crate) fn leave(&self, away: Micros) {
        self.leave.set(Some(away));
        self.pulled.notify_one();
    }

    /// Its connection is about to be reset; it comes back after so long.
    pub(crate) fn stay_away(&self, away: Micros) {
        self.away.set(Some(away));
    }

    /// All is healed.
    pub(crate) fn heal(&self) {
        self.leave.set(None);
        self.healed.set(true);
        self.stall(false);
    }

    /// Whether all is healed.
    pub(crate) fn is_healed(&self) -> bool {
        self.healed.get()
    }

    /// If it is to leave: for how long. It is told once.
    pub(crate) fn take_leave(&self) -> Option<Micros> {
        self.leave.take()
    }

    /// Waits until something has changed.
    pub(crate) async fn pulled(&self) {
        self.pulled.notified().await;
    }

    /// Waits until it may do something.
    pub(crate) async fn until_free(&self) {
        while self.stalled.get() {
            self.pulled().await;
        }
    }

    /// Waits, but no longer than usual once all is healed.
    pub(crate) async fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        while !self.is_healed() {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.pulled() => {}
            }
        }
        sleep(AGAIN.min(span)).await;
    }

    /// Waits between two connections: as long as it is to stay away.
    pub(crate) async fn wait_to_connect(&self) {
        let away = self.away.take();
        self.wait(away.map_or(AGAIN, Duration::from_micros)).await;
    }

    /// Waits for a while between two acts; less if there is something to be done.
    pub(crate) async fn pause(&self, span: Duration) {
        let until = Instant::now() + span;
        while self.leave.get().is_none() && !self.is_healed() {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.pulled() => {}
            }
        }
    }
}
