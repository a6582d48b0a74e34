//! The orderly end.

use super::{Effect, Model};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, DropReason, GroupId, Now};
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

    /// Whoever may still send is let go when there is nothing to read from it.
    pub(super) fn nothing_to_read(&mut self, conn: ConnId) {
        if self.connection(conn).role != Some(Role::Consumer) {
            self.close(conn, CloseReason::Drained);
        }
    }

    /// When all that was sent is in, each consumer goes when nothing more waits for it. When there
    /// is no consumer, what waits is lost, and producers that wait for room go on.
    pub(super) fn go_on_draining(&mut self) {
        if self.drain_due.is_none() {
            return;
        }
        let consumers = self.with_role(Some(Role::Consumer));
        while consumers.is_empty() {
            self.lose_all_backlogs();
            if self.parked.is_empty() {
                return;
            }
            self.offer_parked();
        }
        if consumers.len() == self.connections.len() && self.parked.is_empty() {
            let waits = |conn: &ConnId| {
                let id = self.connections[conn].group.expect("a consumer");
                self.waiting(id).messages > 0
            };
            let done: Vec<ConnId> = consumers.into_iter().filter(|conn| !waits(conn)).collect();
            for conn in done {
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
