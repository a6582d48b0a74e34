//! Heartbeats: PROTOCOL.md, section "Liveness".

use crate::time::Now;
use core::time::Duration;

/// When a side last sent and received something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// None: heartbeats are off.
    heartbeat: Option<Duration>,
    sent: Now,
    received: Now,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Nothing was sent for the length of a heartbeat.
    Ping,
    /// Nothing was received for twice as long.
    Silent,
}

impl Liveness {
    /// A side that begins now, with a heartbeat of so many seconds, 0 for none.
    pub(super) fn new(seconds: u16, now: Now) -> Self {
        Self {
            heartbeat: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            sent: now,
            received: now,
        }
    }

    pub(super) const fn sent(&mut self, now: Now) {
        self.sent = now;
    }

    pub(super) const fn received(&mut self, now: Now) {
        self.received = now;
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Now> {
        let heartbeat = self.heartbeat?;
        Some((self.sent + heartbeat).min(self.received + heartbeat * 2))
    }

    pub(super) fn due(&self, now: Now) -> Due {
        match self.heartbeat {
            Some(heartbeat) if now >= self.received + heartbeat * 2 => Due::Silent,
            Some(heartbeat) if now >= self.sent + heartbeat => Due::Ping,
            Some(_) | None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_ping_after_one_heartbeat_and_the_end_after_two() {
        let mut side = Liveness::new(15, at(0));
        assert_eq!(
            (side.next(), side.due(at(14))),
            (Some(at(15)), Due::Nothing)
        );
        assert_eq!(side.due(at(15)), Due::Ping);
        side.sent(at(15));
        assert_eq!(
            (side.next(), side.due(at(29))),
            (Some(at(30)), Due::Nothing)
        );
        assert_eq!(side.due(at(30)), Due::Silent);
        side.received(at(29));
        assert_eq!(side.due(at(30)), Due::Ping);
    }

    #[test]
    fn without_a_heartbeat_nothing_is_ever_due() {
        let side = Liveness::new(0, at(0));
        assert_eq!((side.next(), side.due(at(99_999))), (None, Due::Nothing));
    }
}
