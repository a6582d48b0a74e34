//! What happens by itself.

use super::Broker;
use crate::error::CloseReason;
use crate::id::ConnId;
use crate::planted::{self, Bug};
use crate::time::Now;
use alloc::collections::BTreeSet;

/// What is due at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timeout {
    /// The role line must be whole.
    Role(ConnId),
    /// The write in flight may be due; see [`Broker::arm_write_timer`].
    Write(ConnId),
    /// The orderly end must be over.
    Drain,
}

/// All that is due, soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Now, Timeout)>);

impl Timers {
    pub(super) fn next(&self) -> Option<Now> {
        self.0.first().map(|(due, _)| *due)
    }

    pub(super) fn set(&mut self, due: Now, timeout: Timeout) {
        self.0.insert((due, timeout));
    }

    pub(super) fn clear(&mut self, due: Now, timeout: Timeout) {
        self.0.remove(&(due, timeout));
    }

    pub(super) fn is_set(&self, due: Now, timeout: Timeout) -> bool {
        self.0.contains(&(due, timeout))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn take_due(&mut self, now: Now) -> Option<(Now, Timeout)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}

impl Broker {
    pub(super) fn do_what_is_due(&mut self) {
        while let Some((due, timeout)) = self.timers.take_due(self.now) {
            match timeout {
                Timeout::Role(conn) => self.close(conn, CloseReason::RoleTimeout),
                Timeout::Write(conn) => self.write_timer_went_off(conn, due),
                Timeout::Drain => self.end_draining(),
            }
        }
    }

    pub(super) fn clear_role_timer(&mut self, conn: ConnId) {
        let due = self.session(conn).opened + self.config.role_timeout;
        self.timers.clear(due, Timeout::Role(conn));
    }

    /// Makes sure that a write that has just started is looked at when it is due.
    ///
    /// Writes are many and hardly ever late, so a connection's timer is not moved with each: it
    /// goes off at the time of the first, and is then set to the time of the one in flight.
    pub(super) fn arm_write_timer(&mut self, conn: ConnId) {
        let timeout = self.config.write_timeout;
        let outbox = self
            .session(conn)
            .consumer
            .as_mut()
            .map(|consumer| &mut consumer.outbox);
        let Some(outbox) = outbox else { return };
        if outbox.timer.is_none()
            && let Some(started) = outbox.started()
        {
            let due = started + timeout;
            outbox.timer = Some(due);
            self.timers.set(due, Timeout::Write(conn));
        }
    }

    /// What is late is done in the order in which it was due, however late that is noticed: a
    /// write that is due later than its timer waits for its turn.
    fn write_timer_went_off(&mut self, conn: ConnId, due: Now) {
        let timeout = self.config.write_timeout;
        let Some(consumer) = self.session(conn).consumer.as_mut() else {
            return;
        };
        consumer.outbox.timer = None;
        match consumer.outbox.started() {
            Some(started) if started + timeout <= due => {
                self.close(conn, CloseReason::WriteTimeout);
            }
            Some(_) if planted::is(Bug::WriteTimerForgotten) => {}
            Some(_) => self.arm_write_timer(conn),
            None => {}
        }
    }
}
