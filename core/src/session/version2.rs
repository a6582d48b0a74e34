//! What a connection has that speaks version 2: a label, heartbeats, and what it is yet to be told.

use super::Signals;
use crate::error::CloseReason;
use crate::names::Name;
use crate::stats::Count;
use crate::time::Now;
use bytes::Bytes;
use core::time::Duration;

/// How long a producer is not read from, or is again, before it is told.
pub(crate) const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// A connection of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Version2 {
    /// The label that it gave itself.
    pub(crate) client: Option<Name>,
    /// None: no heartbeats.
    pub(crate) heartbeat: Option<Duration>,
    /// When something last came from it, or it was chosen not to read from it.
    pub(crate) heard: Now,
    /// When something was last written to it.
    pub(crate) said: Now,
    /// When its heartbeat timer goes off, if one is set.
    pub(crate) timer: Option<Now>,
    /// What it is yet to be told.
    pub(crate) signals: Signals,
    /// Whether it was told to go away, and is handed nothing more.
    pub(crate) is_going_away: bool,
    /// Whether it was last told that it is not read from.
    pub(crate) was_told_blocked: bool,
    /// When it is to be told whether it is read from, if that has changed.
    pub(crate) blocked_timer: Option<Now>,
    /// Why it is closed as soon as it has been told everything.
    pub(crate) finishing: Option<CloseReason>,
    /// What of it is counted among the broker's [`Stats`](crate::Stats).
    pub(crate) counted: Counted,
}

/// What is on its way to a connection of version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Counted {
    /// Those of the write in flight.
    pub(crate) messages: Count,
    /// About how many bytes it is told, or yet to be told, beside them.
    pub(crate) said: u64,
}

impl Version2 {
    pub(crate) fn new(client: Option<Name>, heartbeat: u16, now: Now) -> Self {
        Self {
            client,
            heartbeat: (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into())),
            heard: now,
            said: now,
            timer: None,
            signals: Signals::default(),
            is_going_away: false,
            was_told_blocked: false,
            blocked_timer: None,
            finishing: None,
            counted: Counted::default(),
        }
    }

    /// What it is yet to be told, to be written to it now.
    pub(crate) fn take_signals(&mut self, now: Now) -> Option<Bytes> {
        self.said = now;
        self.signals.take()
    }

    /// When something is due: a PING after one heartbeat without a word to it, its end after two without one
    /// from it.
    pub(crate) fn due(&self) -> Option<Now> {
        let heartbeat = self.heartbeat?;
        Some((self.said + heartbeat).min(self.heard + heartbeat * 2))
    }

    /// Whether nothing was written to it for a heartbeat.
    pub(crate) fn is_owed_a_word(&self, now: Now) -> bool {
        self.heartbeat
            .is_some_and(|heartbeat| now >= self.said + heartbeat)
    }

    /// Whether it has been silent for so long that it is given up.
    pub(crate) fn is_silent(&self, now: Now) -> bool {
        self.heartbeat
            .is_some_and(|heartbeat| now >= self.heard + heartbeat * 2)
    }
}
