//! The orderly end: what was received is delivered, then everybody is let go.

use super::Broker;
use crate::config::DeliveryMode;
use crate::error::CloseReason;
use crate::group::Group;
use crate::id::{ConnId, TopicId};
use crate::session::Consumer;
use crate::shared::{Drain, DrainPhase};
use crate::timers::Timeout;
use crate::topic::Topic;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

impl Broker {
    /// Begins the orderly end. From now on no producer is let in, and a consumer only while
    /// [`admits_consumers`](Self::admits_consumers) says so. Each producer (and each connection
    /// that had no role) is read until [`Input::NothingToRead`](crate::Input::NothingToRead) and let
    /// go; when the last is gone, each consumer is let go as soon as nothing more waits for it.
    /// What is left after `timeout` is dropped and counted. (PROTOCOL.md, section 5.)
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
        self.ask_producers_to_finish();
        self.expire();
        self.proceed_with_drain();
        self.tell();
    }

    /// Whether [`drain`](Self::drain) was called.
    pub const fn is_draining(&self) -> bool {
        self.shared.drain.is_some()
    }

    /// Whether the orderly end is over: nobody is connected, nothing waits, and all is stored, unless time ran out for
    /// that.
    pub fn is_drained(&self) -> bool {
        self.is_draining()
            && self.shared.sessions.is_empty()
            && self.shared.stats.parked.is_zero()
            && self.shared.stats.flow.waiting.is_zero()
            && (self.shared.drain_has_ended() || self.has_stored_all())
    }

    /// Whether a consumer that comes now is let in (if there is a place for it). Always, but while
    /// draining: then in `queue` mode as long as something waits that it could be given, or may
    /// still come; in `broadcast` mode nothing is for one that comes now.
    pub fn admits_consumers(&self) -> bool {
        let Some(drain) = &self.shared.drain else {
            return true;
        };
        let has_time = self.shared.now < drain.due;
        let anything_comes =
            self.shared.is_receiving() || !self.shared.stats.flow.waiting.is_zero();
        match self.shared.config.delivery {
            DeliveryMode::Broadcast => false,
            DeliveryMode::Queue => has_time && anything_comes,
        }
    }

    /// The peer ended its side of the stream.
    pub(super) fn peer_closed(&mut self, conn: ConnId) {
        if self.ends_when_stored(conn, CloseReason::PeerClosed) {
            return;
        }
        match self.shared.session(conn).producer() {
            // It is told first what became of all that it sent.
            Some(producer) if producer.confirms.is_some() => {
                self.finish(conn, CloseReason::PeerClosed);
            }
            Some(_) | None => self.close(conn, CloseReason::PeerClosed),
        }
    }

    pub(super) fn nothing_to_read(&mut self, conn: ConnId) {
        assert!(
            self.is_draining(),
            "only while draining is there an end to what is read"
        );
        let session = self.shared.session(conn);
        // One that came late has sent nothing that could be lost, and may yet become a consumer.
        if session.consumer().is_none()
            && !session.is_late()
            && !self.ends_when_stored(conn, CloseReason::Drained)
        {
            self.finish(conn, CloseReason::Drained);
        }
    }

    /// Asks a peer of version 2 to finish and to come back later, if the broker drains.
    pub(super) fn go_away(&mut self, conn: ConnId) {
        let Some(drain) = &self.shared.drain else {
            return;
        };
        let left = drain.due.since(self.shared.now);
        self.ask_to_finish(conn, left);
    }

    /// Asks a peer of version 2 to finish within the time that is left, and to come back.
    pub(super) fn ask_to_finish(&mut self, conn: ConnId, left: Duration) {
        let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        // Spread over a second, so that not all come back at once.
        let wait = (conn.0 % 1000 * 397 % 1000) as u32;
        if let Some(version2) = self.shared.signal(conn)
            && !version2.is_going_away
        {
            version2.is_going_away = true;
            version2.signals.go_away = Some((left, wait));
        }
    }

    /// Asks all producers of version 2 to finish.
    fn ask_producers_to_finish(&mut self) {
        let sessions = self.shared.sessions.iter();
        let producers = sessions.filter(|(_, session)| session.producer().is_some());
        let producers: Vec<ConnId> = producers.map(|(conn, _)| *conn).collect();
        for conn in producers {
            self.go_away(conn);
        }
    }

    /// Lets go whoever has nothing more to send or to receive.
    pub(super) fn proceed_with_drain(&mut self) {
        if !self.is_draining() || self.shared.is_receiving() || self.shared.drain_has_ended() {
            return;
        }
        self.release_finished();
        if self.shared.stats.flow.waiting.is_zero() && self.shared.late > 0 {
            self.release_late();
        }
    }

    /// Lets go whoever came late and is no consumer yet: nothing waits for it.
    fn release_late(&mut self) {
        let sessions = self.shared.sessions.iter();
        let late: Vec<ConnId> = sessions
            .filter(|(_, session)| session.is_late())
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            self.close(conn, CloseReason::Drained);
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
                let topics: Vec<TopicId> = self.topics.keys().copied().collect();
                for topic in topics {
                    self.with_topic(topic, Topic::close_windows);
                }
                let Some(drain) = &mut self.shared.drain else {
                    return;
                };
                let topics = self.topics.values();
                let finished = topics.flat_map(Topic::finished_groups).collect();
                drain.phase = DrainPhase::Delivering {
                    finished: Vec::new(),
                };
                self.release_members_of_nothing();
                finished
            }
            DrainPhase::Delivering { finished } => mem::take(finished),
            DrainPhase::Ended => return,
        };
        for (topic, group) in finished {
            for conn in self.members(topic, group).unwrap_or_default() {
                self.release(conn);
            }
        }
    }

    /// Lets those go whose pattern matches no topic: no group tells that nothing waits for them.
    pub(super) fn release_members_of_nothing(&mut self) {
        if !self.is_delivering() {
            return;
        }
        let patterns: Vec<ConnId> = self.shared.patterns.iter().copied().collect();
        for conn in patterns {
            if self.shared.consumer(conn).memberships.is_empty() {
                self.finish(conn, CloseReason::Drained);
            }
        }
    }

    /// Whether all that was sent is in, and is being delivered.
    fn is_delivering(&self) -> bool {
        let drain = self.shared.drain.as_ref();
        drain.is_some_and(|it| matches!(it.phase, DrainPhase::Delivering { .. }))
    }

    /// Lets a consumer go if nothing can come to it any more. One that holds something, where nothing waits, is asked to
    /// settle it; one that holds nothing is there for what others give back.
    fn release(&mut self, conn: ConnId) {
        let session = &self.shared.sessions[&conn];
        let Some(consumer) = session.consumer() else {
            return;
        };
        let is_idle = !consumer.holds_anything() && !session.outbox.is_busy();
        let group = |topic, id| -> &Group { &self.topics[&topic].groups()[&id] };
        let (mut exhausted, mut finished) = (true, true);
        for membership in &consumer.memberships {
            let group = group(membership.topic, membership.group);
            exhausted &= group.is_exhausted();
            // What comes back where the topic is stored is left to the next life of the broker.
            let stays = is_idle && group.is_closed() && group.is_exhausted();
            finished &= group.is_finished() || stays;
        }
        if finished {
            self.finish(conn, CloseReason::Drained);
        } else if exhausted && consumer.holds_anything() {
            self.go_away(conn);
        }
    }

    /// Lets a consumer go that was asked to finish, if it has settled all that it held: it gets nothing more.
    pub(super) fn release_settled(&mut self, conn: ConnId) {
        let is_delivering = self.is_delivering();
        let session = self.shared.session(conn);
        let is_asked = session.version2.as_ref().is_some_and(|it| it.is_going_away);
        let holds = session.consumer().is_some_and(Consumer::holds_anything);
        if is_delivering && is_asked && !holds {
            self.finish(conn, CloseReason::Drained);
        }
    }

    /// The time for an orderly end ran out.
    pub(super) fn end_draining(&mut self) {
        if let Some(drain) = &mut self.shared.drain {
            drain.phase = DrainPhase::Ended;
        }
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
        let topics: Vec<TopicId> = self.topics.keys().copied().collect();
        for topic in topics {
            self.with_topic(topic, Topic::discard_backlogs);
        }
    }
}
