//! The orderly end: what was received is delivered, then everybody is let go.

use super::Broker;
use crate::error::CloseReason;
use crate::id::{ConnId, TopicId};
use crate::shared::{Drain, DrainPhase};
use crate::timers::Timeout;
use crate::topic::Topic;
use alloc::vec::Vec;
use core::mem;
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
        let phase = match self.shared.drain.take() {
            Some(before) if before.due <= due => {
                self.shared.drain = Some(before);
                return;
            }
            Some(before) => {
                self.shared.timers.clear(before.due, Timeout::Drain);
                before.phase
            }
            None => DrainPhase::Receiving,
        };
        self.shared.drain = Some(Drain { due, phase });
        self.shared.timers.set(due, Timeout::Drain);
        self.expire();
        self.proceed_with_drain();
    }

    /// Whether [`drain`](Self::drain) was called.
    pub const fn is_draining(&self) -> bool {
        self.shared.drain.is_some()
    }

    /// Whether the orderly end is over: nobody is connected and nothing waits.
    pub fn is_drained(&self) -> bool {
        self.is_draining()
            && self.shared.sessions.is_empty()
            && self.shared.stats.parked.is_zero()
            && self.shared.stats.flow.waiting.is_zero()
    }

    pub(super) fn nothing_to_read(&mut self, conn: ConnId) {
        assert!(
            self.is_draining(),
            "only while draining is there an end to what is read"
        );
        if !self.shared.session(conn).state().is_consumer() {
            self.close(conn, CloseReason::Drained);
        }
    }

    /// Lets go whoever has nothing more to send or to receive.
    pub(super) fn proceed_with_drain(&mut self) {
        if !self.is_draining() {
            return;
        }
        let stats = &self.shared.stats;
        if stats.consumers == 0 {
            return self.give_up_delivering();
        }
        if stats.connections == stats.consumers && stats.parked.is_zero() {
            self.release_finished();
        }
    }

    /// All that was sent is in: lets go the members of each group for which nothing waits. The
    /// first time all groups are looked at; from then on each tells when nothing more waits for it.
    fn release_finished(&mut self) {
        let Some(drain) = &mut self.shared.drain else {
            return;
        };
        let finished = match &mut drain.phase {
            DrainPhase::Receiving => {
                let topics = self.topics.values();
                let finished = topics.flat_map(Topic::finished_groups).collect();
                drain.phase = DrainPhase::Delivering {
                    finished: Vec::new(),
                };
                finished
            }
            DrainPhase::Delivering { finished } => mem::take(finished),
        };
        for (topic, group) in finished {
            let group = self.topics[&topic].groups().get(&group);
            let members: Vec<ConnId> = group
                .map(|group| group.members().iter().copied().collect())
                .unwrap_or_default();
            for conn in members {
                self.close(conn, CloseReason::Drained);
            }
        }
    }

    /// No consumer is left and none will come: nothing that waits can be delivered. Producers that
    /// wait for room go on, so that they come to their end.
    fn give_up_delivering(&mut self) {
        self.discard_backlogs();
        while !self.shared.stats.parked.is_zero() {
            let topics: Vec<TopicId> = self.topics.keys().copied().collect();
            for topic in topics {
                self.admit_parked(topic);
            }
            self.discard_backlogs();
        }
    }

    /// The time for an orderly end ran out.
    pub(super) fn end_draining(&mut self) {
        let everybody: Vec<ConnId> = self.shared.sessions.keys().copied().collect();
        for topic in self.topics.values_mut() {
            topic.discard_parked(&mut self.shared);
        }
        for conn in everybody {
            self.close(conn, CloseReason::DrainTimeout);
        }
        self.discard_backlogs();
    }

    fn discard_backlogs(&mut self) {
        for topic in self.topics.values_mut() {
            topic.discard_backlogs(&mut self.shared);
        }
    }
}
