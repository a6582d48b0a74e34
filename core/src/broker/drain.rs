//! The orderly end: what was received is delivered, then everybody is let go.

use super::Broker;
use super::timers::Timeout;
use crate::error::{CloseReason, DropReason};
use crate::id::{ConnId, GroupId};
use crate::stats::Count;
use alloc::vec::Vec;
use core::time::Duration;

impl Broker {
    /// Begins the orderly end. From now on new connections and new consumers are refused. Each
    /// producer (and each connection without a role) is read until
    /// [`Input::NothingToRead`](crate::Input::NothingToRead) and let go; when the last is gone, each
    /// consumer is let go as soon as nothing more waits for it. Once there is no consumer, what
    /// waits is dropped and counted, and so is whatever is left after `timeout`.
    ///
    /// Calling it again can only shorten the time.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn drain(&mut self, timeout: Duration, now: crate::Now) {
        self.advance_to(now);
        let due = now + timeout;
        if let Some(before) = self.drain_due {
            if before <= due {
                return;
            }
            self.timers.clear(before, Timeout::Drain);
        }
        self.drain_due = Some(due);
        self.timers.set(due, Timeout::Drain);
        self.do_what_is_due();
        self.go_on_draining();
    }

    /// Whether [`drain`](Self::drain) was called.
    pub const fn is_draining(&self) -> bool {
        self.drain_due.is_some()
    }

    /// Whether the orderly end is over: nobody is connected and nothing waits.
    pub fn is_drained(&self) -> bool {
        self.is_draining()
            && self.sessions.is_empty()
            && self.parked.is_empty()
            && self.stats.flow.waiting.is_zero()
    }

    pub(super) fn nothing_to_read(&mut self, conn: ConnId) {
        assert!(
            self.is_draining(),
            "only while draining is there an end to what is read"
        );
        if !self.session(conn).state().is_consumer() {
            self.close(conn, CloseReason::Drained);
        }
    }

    /// Lets go whoever has nothing more to send or to receive.
    pub(super) fn go_on_draining(&mut self) {
        if !self.is_draining() {
            return;
        }
        if self.stats.consumers == 0 {
            return self.give_up_delivering();
        }
        let all_was_sent = self.stats.connections == self.stats.consumers && self.parked.is_empty();
        if all_was_sent {
            let done = self
                .groups
                .values()
                .filter(|group| group.flow.waiting.is_zero());
            let members: Vec<ConnId> = done.flat_map(|group| &group.members).copied().collect();
            for conn in members {
                self.close(conn, CloseReason::Drained);
            }
        }
    }

    /// No consumer is left and none will come: nothing that waits can be delivered. Producers that
    /// wait for room go on, so that they come to their end.
    fn give_up_delivering(&mut self) {
        self.discard_backlogs();
        while !self.parked.is_empty() {
            self.admit_parked();
            self.discard_backlogs();
        }
    }

    /// The time for an orderly end ran out.
    pub(super) fn end_draining(&mut self) {
        let everybody: Vec<ConnId> = self.sessions.keys().copied().collect();
        self.discard_parked();
        // What the first to go hand back must not go out to the others.
        for group in self.groups.values_mut() {
            group.idle.clear();
        }
        for conn in everybody {
            self.close(conn, CloseReason::DrainTimeout);
        }
        self.discard_backlogs();
    }

    fn discard_backlogs(&mut self) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            self.discard_backlog(id, DropReason::Shutdown);
        }
    }

    /// Drops what producers have parked. It was received, if never offered.
    fn discard_parked(&mut self) {
        while let Some((_, batch)) = self.parked.pop_front() {
            let count = Count::of(&batch);
            self.stats.parked -= count;
            self.stats.received += count;
            self.drop_without_group(count, DropReason::Shutdown);
        }
    }
}
