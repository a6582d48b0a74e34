//! Producers: whether they are read from, and how far what they have sent is safe.

use super::Shared;
use crate::broker::Output;
use crate::id::{ConnId, TopicId};
use crate::session::{BLOCKED_AFTER, Session};
use crate::timers::Timeout;
use crate::topic::Reached;
use core::mem;

impl Shared {
    /// A producer is read from again, or not any more: if that lasts, it is to be told.
    fn read_state_changed(&mut self, conn: ConnId, blocked: bool) {
        let now = self.now;
        let session = self.sessions.get_mut(&conn);
        let Some(version2) = session.and_then(|it| it.version2.as_mut()) else {
            return;
        };
        version2.heard = now;
        let before = version2.blocked_timer.take();
        let is_news = version2.was_told_blocked != blocked;
        version2.blocked_timer = is_news.then(|| now + BLOCKED_AFTER);
        let after = version2.blocked_timer;
        if let Some(due) = before {
            self.timers.clear(due, Timeout::Blocked(conn));
        }
        if let Some(due) = after {
            self.timers.set(due, Timeout::Blocked(conn));
        }
    }

    /// A producer's last batch is parked: nothing more is to be read from it.
    pub(crate) fn park(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut() {
            producer.is_parked = true;
        }
        self.outputs.push_back(Output::Pause { conn });
        self.read_state_changed(conn, true);
    }

    /// A producer has much to hear that it does not read: nothing more is to be read from it until it has.
    pub(crate) fn hold_back(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.is_read()
        {
            producer.has_much_to_hear = true;
            self.outputs.push_back(Output::Pause { conn });
        }
    }

    /// It has heard everything.
    pub(super) fn has_heard(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.has_much_to_hear
        {
            producer.has_much_to_hear = false;
            if producer.is_read() {
                self.outputs.push_back(Output::Resume { conn });
            }
        }
    }

    /// The last of what a producer had parked is offered. It may be gone.
    pub(crate) fn admitted(&mut self, conn: ConnId) {
        if self.unparked(conn) {
            self.outputs.push_back(Output::Resume { conn });
            self.read_state_changed(conn, false);
        }
    }

    /// A producer has nothing parked any more. Returns whether it is there and may go on.
    pub(crate) fn unparked(&mut self, conn: ConnId) -> bool {
        let Some(session) = self.sessions.get_mut(&conn) else {
            self.departed -= 1;
            return false;
        };
        let may_go_on = match session.producer_mut() {
            Some(producer) => {
                producer.is_parked = false;
                producer.is_read()
            }
            None => false,
        };
        may_go_on && !session.is_closing()
    }

    /// Messages of a producer were offered, but for so many that found no group.
    pub(crate) fn note_safe(&mut self, conn: ConnId, messages: u64, unrouted: u64) {
        let producer = self.sessions.get_mut(&conn).and_then(Session::producer_mut);
        let Some(producer) = producer else { return };
        let Some(confirms) = producer.confirms.as_mut() else {
            return;
        };
        let counts = producer.line.pass(messages);
        let confirmed = confirms.pass(counts, unrouted);
        if confirmed.is_some()
            && let Some(version2) = self.signal(conn)
        {
            version2.signals.confirmed = confirmed;
        }
    }

    /// A topic is to store messages of a producer. Returns how far it gets with them, if it has a name.
    pub(crate) fn note_storing(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        messages: u64,
    ) -> Option<Reached> {
        let producer = self.sessions.get_mut(&conn)?.producer_mut()?;
        producer.line.store(topic, messages);
        let (name, confirms) = (producer.name.clone()?, producer.confirms?);
        Some(Reached {
            home: producer.home,
            name,
            session: producer.session.clone(),
            position: confirms.safe + producer.line.joined() - producer.line.left(),
        })
    }

    /// Whether what a producer sends is remembered under a name.
    pub(crate) fn has_producer_name(&self, conn: ConnId) -> bool {
        let producer = self.sessions.get(&conn).and_then(Session::producer);
        producer.is_some_and(|it| it.name.is_some())
    }

    /// A topic has stored messages of a producer, which is told, and how many of them found no group. Returns whether its
    /// connection knows how far it has got: it is there, and was not closed yet.
    pub(crate) fn note_stored(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        messages: u64,
        unrouted: u64,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return false;
        };
        let is_closing = session.is_closing();
        let Some(producer) = session.producer_mut() else {
            return false;
        };
        let counts = producer.line.stored(topic, messages);
        let mut confirmed = None;
        if let Some(confirms) = producer.confirms.as_mut() {
            confirmed = confirms.pass(counts, unrouted);
        }
        let flushed = producer.flushed();
        let has_stored_all = producer.line.storing() == 0;
        let goes_on = has_stored_all && mem::take(&mut producer.awaits_store) && producer.is_read();
        if has_stored_all && producer.ends.is_some() {
            self.stored_all.push(conn);
        }
        if is_closing {
            return false;
        }
        if goes_on {
            self.outputs.push_back(Output::Resume { conn });
            self.read_state_changed(conn, false);
        }
        if let Some(version2) = self.signal(conn) {
            version2.signals.confirmed = confirmed.or(version2.signals.confirmed);
            version2.signals.flushed = flushed.or(version2.signals.flushed);
        }
        true
    }

    /// A producer with a name sends to another topic: first all is to be safe that it sent before.
    pub(crate) fn await_store(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.is_read()
        {
            producer.awaits_store = true;
            self.outputs.push_back(Output::Pause { conn });
            self.read_state_changed(conn, true);
        }
    }
}
