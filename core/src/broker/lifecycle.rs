//! Connections come, take up a role, and go.

use super::{Broker, Output};
use crate::error::CloseReason;
use crate::id::{ConnId, TopicId};
use crate::session::{Consumer, Event, Outbox, Session, State};
use crate::timers::Timeout;
use crate::wire::Role;

impl Broker {
    pub(super) fn open(&mut self, conn: ConnId) {
        let known = self.shared.sessions.contains_key(&conn);
        assert!(!known, "{conn} was opened twice");
        self.shared.stats.opened += 1;
        if !self.admits_consumers() {
            return self.refuse(conn, CloseReason::Draining);
        }
        if self.places_taken() >= self.shared.config.max_connections {
            return self.refuse(conn, CloseReason::TooManyConnections);
        }
        let (now, late) = (self.shared.now, self.is_draining());
        self.shared.sessions.insert(conn, Session::new(now, late));
        self.shared.late += usize::from(late);
        self.shared.stats.connections += 1;
        let due = now + self.shared.config.role_timeout;
        self.shared.timers.set(due, Timeout::Role(conn));
    }

    /// Connections, and producers that have left something parked.
    fn places_taken(&self) -> usize {
        self.shared.sessions.len() + self.shared.departed
    }

    /// Turns a connection away before it has become one.
    fn refuse(&mut self, conn: ConnId, reason: CloseReason) {
        self.shared.stats.closed[reason.index()] += 1;
        self.shared
            .outputs
            .push_back(Output::Close { conn, reason });
    }

    /// Takes up a role, in a topic.
    pub(super) fn register(&mut self, conn: ConnId, role: Role, topic: TopicId) {
        match role {
            Role::Producer => {
                if self.shared.session(conn).late {
                    return self.close(conn, CloseReason::Draining);
                }
                let limit = self.shared.config.max_connections
                    - self.shared.config.reserved_for_consumers();
                let taken = self.shared.stats.producers + self.shared.departed;
                if taken >= limit {
                    return self.close(conn, CloseReason::TooManyConnections);
                }
                let session = self.shared.session(conn);
                session.advance(Event::IsProducer);
                session.topic = topic;
                self.shared.stats.producers += 1;
                self.shared.stats.producers_registered += 1;
            }
            Role::Consumer => {
                if !self.admits_consumers() {
                    return self.close(conn, CloseReason::Draining);
                }
                if self.shared.stats.consumers >= self.shared.config.max_consumers {
                    return self.close(conn, CloseReason::TooManyConsumers);
                }
                self.join(conn, topic);
            }
        }
        self.clear_role_timer(conn);
        self.shared
            .outputs
            .push_back(Output::Registered { conn, role });
        if let Some(consumer) = &self.shared.session(conn).consumer {
            let group = consumer.group;
            self.with_topic(topic, |it, shared| it.dispatch(group, shared));
            self.admit_parked(topic);
        }
    }

    fn join(&mut self, conn: ConnId, topic: TopicId) {
        let (group, turn) = self.with_topic(topic, |it, shared| it.join(conn, shared));
        let session = self.shared.session(conn);
        session.advance(Event::IsConsumer);
        let late = core::mem::take(&mut session.late);
        session.topic = topic;
        session.consumer = Some(Consumer {
            group,
            turn,
            outbox: Outbox::default(),
        });
        self.shared.late -= usize::from(late);
        self.shared.stats.consumers += 1;
        self.shared.stats.consumers_registered += 1;
    }

    /// Begins to end a connection: it is handed nothing more, and asked for nothing but
    /// [`Input::Sealed`](crate::Input::Sealed). If it is closing already, the first reason stands.
    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if self.shared.session(conn).is_closing() {
            return;
        }
        self.begin_to_close(conn, reason);
        self.settle_budget();
    }

    /// [`close`](Self::close), where others get the room of its partial frame later, and it is known
    /// not to be closing.
    pub(super) fn begin_to_close(&mut self, conn: ConnId, reason: CloseReason) {
        let session = self.shared.session(conn);
        session.begin_closing(reason);
        let topic = session.topic;
        if session.state() == State::AwaitingRole {
            self.clear_role_timer(conn);
        }
        self.shared.set_partial(conn, 0);
        if self.shared.session(conn).consumer.is_some() {
            self.shared.clear_write_timer(conn);
            self.with_topic(topic, |it, shared| it.withdraw(conn, shared.consumer(conn)));
        }
        self.shared
            .outputs
            .push_back(Output::Close { conn, reason });
    }

    /// Ends a connection whose socket has taken `written` bytes in all and takes nothing more. What
    /// it has parked stays; what was on its way to it does not get lost without being counted.
    pub(super) fn sealed(&mut self, conn: ConnId, written: u64) {
        if self.shared.session(conn).consumer.is_some() {
            self.written(conn, written);
        }
        let Some(session) = self.shared.sessions.remove(&conn) else {
            return;
        };
        let reason = session.closing();
        let reason = reason.expect("sealed before it was to be closed");
        let stats = &mut self.shared.stats;
        stats.connections -= 1;
        stats.closed[reason.index()] += 1;
        match session.state() {
            State::AwaitingRole => self.shared.late -= usize::from(session.late),
            State::Producing => stats.producers -= 1,
            State::Blocked => {
                stats.producers -= 1;
                self.shared.departed += 1;
            }
            State::Idle | State::Writing => stats.consumers -= 1,
        }
        if let Some(consumer) = session.consumer {
            self.leave(conn, session.topic, consumer, reason);
        }
    }

    /// Takes a consumer out of its topic.
    fn leave(&mut self, conn: ConnId, topic: TopicId, consumer: Consumer, reason: CloseReason) {
        self.with_topic(topic, |it, shared| it.leave(conn, consumer, reason, shared));
        self.admit_parked(topic);
    }
}
