//! What is due is done.

use super::Broker;
use crate::error::CloseReason;
use crate::id::ConnId;
use crate::time::Now;
use crate::timers::Timeout;

impl Broker {
    pub(super) fn expire(&mut self) {
        while let Some((due, timeout)) = self.shared.timers.take_due(self.shared.now) {
            match timeout {
                Timeout::Role(conn) => self.close(conn, CloseReason::RoleTimeout),
                Timeout::Write(conn) => self.expire_write(conn, due),
                Timeout::Drain => self.end_draining(),
            }
        }
    }

    pub(super) fn clear_role_timer(&mut self, conn: ConnId) {
        let due = self.shared.session(conn).opened + self.shared.config.role_timeout;
        self.shared.timers.clear(due, Timeout::Role(conn));
    }

    /// What is late is done in the order in which it was due, however late that is noticed: a
    /// write that is due later than its timer waits for its turn.
    fn expire_write(&mut self, conn: ConnId, due: Now) {
        self.shared.consumer(conn).outbox.timer = None;
        match self.shared.write_due(conn) {
            Some(write_due) if write_due <= due => self.close(conn, CloseReason::WriteTimeout),
            Some(_) => self.shared.arm_write_timer(conn),
            None => {}
        }
    }
}
