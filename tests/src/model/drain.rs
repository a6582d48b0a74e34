//! The orderly end.

use super::{Connection, Effect, Model};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, DeliveryMode, DropReason, GroupId, Now};
use std::time::Duration;

impl Model {
    /// What the broker must do when its orderly end begins. Said again, it can only come sooner;
    /// otherwise it changes nothing.
    pub fn drain(&mut self, timeout: Duration, now: Now) -> Vec<Effect> {
        self.now = now;
        let due = now + timeout;
        if self.drain_due.is_some_and(|before| before <= due) {
            return Vec::new();
        }
        self.drain_due = Some(due);
        self.do_what_is_due();
        self.go_on_draining();
        std::mem::take(&mut self.effects)
    }

    /// Whether the orderly end is over: nobody is connected and nothing waits.
    pub fn is_drained(&self) -> bool {
        self.drain_due.is_some()
            && self.connections.is_empty()
            && self.parked.is_empty()
            && self.groups.values().all(|group| group.waiting.is_empty())
    }

    /// A consumer that comes while the broker is draining is let in if there is, or may yet come,
    /// something in the queue that it could be given.
    pub(super) fn admits_consumers(&self) -> bool {
        match self.drain_due {
            None => true,
            Some(due) if due <= self.now => false,
            Some(_) => {
                let waits = self.groups.keys().any(|id| self.waiting(*id).messages > 0);
                self.config.delivery == DeliveryMode::Queue && (waits || self.is_receiving())
            }
        }
    }

    /// Whether anybody may still send, or waits for room.
    fn is_receiving(&self) -> bool {
        let mut all = self.connections.values();
        let sends = |it: &Connection| match it.role {
            Some(Role::Producer) => true,
            Some(Role::Consumer) => false,
            None => !it.late,
        };
        !self.parked.is_empty() || all.any(sends)
    }

    /// Whoever may still send is let go when there is nothing to read from it.
    pub(super) fn nothing_to_read(&mut self, conn: ConnId) {
        let connection = self.connection(conn);
        if connection.role != Some(Role::Consumer) && !connection.late {
            self.close(conn, CloseReason::Drained);
        }
    }

    /// When all that was sent is in, each consumer goes when nothing more waits for it, and when
    /// nothing waits at all, so does whoever has come late and said no role.
    pub(super) fn go_on_draining(&mut self) {
        if self.drain_has_ended {
            return self.lose_all_backlogs();
        }
        if self.drain_due.is_none() || self.is_receiving() {
            return;
        }
        let waits = |conn: &ConnId| {
            let id = self.connections[conn].group.expect("a consumer");
            self.waiting(id).messages > 0
        };
        let consumers = self.with_role(Some(Role::Consumer)).into_iter();
        let done: Vec<ConnId> = consumers.filter(|conn| !waits(conn)).collect();
        for conn in done {
            self.close(conn, CloseReason::Drained);
        }
        if self.groups.keys().all(|id| self.waiting(*id).messages == 0) {
            for conn in self.with_role(None) {
                self.close(conn, CloseReason::Drained);
            }
        }
    }

    /// The time is up: everything that is left is lost, and everybody goes.
    pub(super) fn end_draining(&mut self) {
        self.drain_has_ended = true;
        for (_, messages) in std::mem::take(&mut self.parked) {
            self.count_received(&messages);
            self.lose_without_a_group(&messages, DropReason::Shutdown);
        }
        let everybody: Vec<ConnId> = self.connections.keys().copied().collect();
        for conn in everybody {
            self.close(conn, CloseReason::DrainTimeout);
        }
        self.lose_all_backlogs();
    }

    fn lose_all_backlogs(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.lose_backlog(id, DropReason::Shutdown);
        }
    }
}
