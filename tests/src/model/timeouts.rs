//! What happens by itself.

use super::publish::bytes;
use super::{Effect, Model};
use message_queue_core::{CloseReason, ConnId, Now};
use std::time::Duration;

/// What is due. At one moment the first of these comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Role(ConnId),
    Write(ConnId),
    DrainEnd,
}

impl Model {
    /// What the broker must do by itself, now that it is this time.
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        self.now = now;
        self.do_what_is_due();
        self.go_on_draining();
        std::mem::take(&mut self.effects)
    }

    pub(super) fn do_what_is_due(&mut self) {
        while let Some((_, due)) = self.next_due().filter(|(at, _)| *at <= self.now) {
            match due {
                Due::Role(conn) => self.close(conn, CloseReason::RoleTimeout),
                Due::Write(conn) => self.close(conn, CloseReason::WriteTimeout),
                Due::DrainEnd => self.end_draining(),
            }
        }
    }

    /// When the broker must next do something by itself.
    pub fn deadline(&self) -> Option<Now> {
        self.next_due().map(|(at, _)| at)
    }

    fn next_due(&self) -> Option<(Now, Due)> {
        let mut due = Vec::new();
        let open = self.connections.iter();
        for (conn, connection) in open.filter(|(_, connection)| connection.closing.is_none()) {
            if connection.role.is_none() {
                let at = connection.opened + self.config.role_timeout;
                due.push((at, Due::Role(*conn)));
            }
            if let Some(in_flight) = &connection.in_flight {
                // It took nothing for so long, or is slower than the least rate.
                let mut at = in_flight.progressed + self.config.write_timeout;
                if self.config.min_consumer_rate > 0 {
                    let size = bytes(&in_flight.messages) as u64;
                    let rate = self.config.min_consumer_rate as u64;
                    let longest = Duration::from_micros(size * 1_000_000 / rate);
                    at = at.min(in_flight.started + self.config.write_timeout + longest);
                }
                due.push((at, Due::Write(*conn)));
            }
        }
        let ended = self.drain_has_ended || self.is_drained();
        if let Some(at) = self.drain_due.filter(|_| !ended) {
            due.push((at, Due::DrainEnd));
        }
        due.into_iter().min()
    }
}
