//! The timers of a connection.

use super::Shared;
use crate::id::ConnId;
use crate::timers::Timeout;

impl Shared {
    /// Sets the write timer of a consumer, if it has a write in flight and no timer set.
    pub(crate) fn arm_write_timer(&mut self, conn: ConnId) {
        let session = self.sessions.get_mut(&conn);
        let session = session.expect("the connection is there");
        // A producer that does not read what it is told costs no more for that.
        let waits_for_it = session.consumer().is_some() || session.is_finishing();
        if waits_for_it
            && session.outbox.timer.is_none()
            && let Some(due) = session.outbox.due(&self.config)
        {
            session.outbox.timer = Some(due);
            self.timers.set(due, Timeout::Write(conn));
        }
    }

    pub(crate) fn clear_write_timer(&mut self, conn: ConnId) {
        if let Some(due) = self.session(conn).outbox.timer.take() {
            self.timers.clear(due, Timeout::Write(conn));
        }
    }

    /// Sets the timer by which a consumer is to have settled something, if it holds something and no timer is set.
    pub(crate) fn arm_ack_timer(&mut self, conn: ConnId) {
        let facts = &self.facts;
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let acks = session.consumer_mut().and_then(|it| it.acks.as_mut());
        let Some(acks) = acks.filter(|acks| acks.timer.is_none()) else {
            return;
        };
        if let Some(due) = acks.due(|topic| facts[&topic].ack_timeout) {
            acks.timer = Some(due);
            self.timers.set(due, Timeout::Ack(conn));
        }
    }

    /// It is not looked whether this consumer settles something.
    pub(crate) fn clear_ack_timer(&mut self, conn: ConnId) {
        let consumer = self.session(conn).consumer_mut();
        if let Some(due) = consumer
            .and_then(|it| it.acks.as_mut())
            .and_then(|acks| acks.timer.take())
        {
            self.timers.clear(due, Timeout::Ack(conn));
        }
    }

    /// Sets the heartbeat timer of a connection that has heartbeats.
    pub(crate) fn arm_heartbeat(&mut self, conn: ConnId) {
        let session = self.sessions.get_mut(&conn);
        let Some(version2) = session.and_then(|it| it.version2.as_mut()) else {
            return;
        };
        if version2.timer.is_none()
            && let Some(due) = version2.due()
        {
            version2.timer = Some(due);
            self.timers.set(due, Timeout::Heartbeat(conn));
        }
    }
}
