//! Connections come, take up a role, and go.

use super::{Broker, Output};
use crate::error::CloseReason;
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::Name;
use crate::session::{Consumer, Producer, Session, State};
use crate::timers::Timeout;
use crate::wire::Role;
use crate::wire::control::{Control, Reason};
use crate::wire::handshake::{Answer, Share, Start};
use alloc::boxed::Box;
use bytes::BytesMut;

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

    /// Takes up a role of version 1, in the default topic.
    pub(super) fn register(&mut self, conn: ConnId, role: Role) {
        let topic = self.default_topic;
        let allowed = match role {
            Role::Producer => self.may_produce(conn, self.topics[&topic].name()),
            Role::Consumer => self.may_join(conn, topic, None),
        };
        let admitted = allowed.and_then(|()| match role {
            Role::Producer => self.admit_producer(conn, false),
            Role::Consumer => self.admit_consumer(),
        });
        if let Err(reason) = admitted {
            return self.close(conn, reason);
        }
        match role {
            Role::Producer => {
                let producer = Box::new(Producer::new(topic));
                self.shared.session(conn).state = State::Producer(producer);
                self.use_topic(topic);
                self.shared.stats.producers += 1;
                self.shared.stats.producers_registered += 1;
            }
            Role::Consumer => {
                self.become_consumer(conn, Consumer::new());
                if let Err(reason) = self.join(conn, topic, None, None, Start::New) {
                    return self.close(conn, reason);
                }
            }
        }
        self.clear_role_timer(conn);
        self.shared
            .outputs
            .push_back(Output::Registered { conn, role });
        if role == Role::Consumer {
            self.serve(conn);
            self.admit_parked(topic);
        }
    }

    /// Whether there is a place for one more producer.
    pub(super) fn admit_producer(
        &mut self,
        conn: ConnId,
        confirms: bool,
    ) -> Result<(), CloseReason> {
        if self.shared.session(conn).is_late() {
            return Err(CloseReason::Draining);
        }
        let reserved = self.reserved_for_consumers(confirms);
        let limit = self.shared.config.max_connections.saturating_sub(reserved);
        let taken = self.shared.stats.producers + self.shared.departed;
        if taken >= limit {
            return Err(CloseReason::TooManyConnections);
        }
        Ok(())
    }

    /// How many places are kept for consumers, where a producer that may wait for one is there or comes.
    pub(super) fn reserved_for_consumers(&self, comes: bool) -> usize {
        let config = &self.shared.config;
        if comes || self.shared.confirming > 0 {
            config.reserve()
        } else {
            config.reserved_for_consumers()
        }
    }

    /// Whether there is a place for one more consumer.
    pub(super) fn admit_consumer(&self) -> Result<(), CloseReason> {
        if !self.admits_consumers() {
            return Err(CloseReason::Draining);
        }
        if self.shared.stats.consumers >= self.shared.config.max_consumers {
            return Err(CloseReason::TooManyConsumers);
        }
        Ok(())
    }

    /// A connection becomes a consumer, a member of nothing yet.
    pub(super) fn become_consumer(&mut self, conn: ConnId, consumer: Consumer) {
        let session = self.shared.session(conn);
        let late = session.is_late();
        session.state = State::Consumer(Box::new(consumer));
        self.shared.late -= usize::from(late);
        self.shared.stats.consumers += 1;
        self.shared.stats.consumers_registered += 1;
    }

    /// A consumer becomes a member of a group of a topic. Returns the group, and whether it is new.
    pub(super) fn join(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        group: Option<&Name>,
        share: Option<Share>,
        from: Start,
    ) -> Result<(GroupId, bool), CloseReason> {
        let checks = self.shared.consumer(conn).checks();
        let joined = self.with_topic(topic, |it, shared| {
            it.join(conn, group, share, from, shared)
                .inspect(|_| it.checking += usize::from(checks))
        });
        let (group, created) = joined?;
        let next = self.topics[&topic].next_for(group);
        self.shared.consumer(conn).join(topic, group, next);
        self.shared.stats.memberships += 1;
        self.use_topic(topic);
        Ok((group, created))
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
        self.shared.session(conn).begin_closing(reason);
        self.shared.set_partial(conn, 0);
        self.clear_role_timer(conn);
        self.shared.clear_write_timer(conn);
        self.clear_timers(conn);
        self.withdraw(conn);
        self.end_producer_name(conn);
        self.say_farewell(conn, reason);
        self.shared
            .outputs
            .push_back(Output::Close { conn, reason });
    }

    /// It waits for its turn in no group any more.
    fn withdraw(&mut self, conn: ConnId) {
        let Some(consumer) = self.shared.session(conn).consumer_mut() else {
            return;
        };
        let memberships = core::mem::take(&mut consumer.memberships);
        for membership in &memberships {
            self.with_topic(membership.topic, |topic, _| {
                topic.withdraw(membership.group, conn, membership.turn);
            });
        }
        let consumer = self.shared.consumer(conn);
        consumer.memberships = memberships;
        for membership in &mut consumer.memberships {
            membership.turn = None;
        }
    }

    /// What a producer with a name has sent and what was not taken in will be sent again: it is not taken in
    /// later.
    fn end_producer_name(&mut self, conn: ConnId) {
        let Some(producer) = self.shared.session(conn).producer() else {
            return;
        };
        let (Some(name), Some(confirms)) = (producer.name.clone(), producer.confirms) else {
            return;
        };
        let (home, parked_in) = (producer.home, producer.topic.ok());
        let asked = confirms.safe + producer.line.joined() - producer.line.left();
        if let Some(topic) = parked_in.filter(|_| producer.is_parked) {
            if let Some(producer) = self.shared.session(conn).producer_mut() {
                producer.is_parked = false;
            }
            self.with_topic(topic, |it, shared| it.unpark(conn, shared));
        }
        let now = self.shared.now;
        let ended = self.with_topic(home, |it, _| {
            it.producers.end(&name, conn, (confirms.safe, asked), now)
        });
        if ended {
            self.shared.idle_names.insert((now, home, name));
            self.forget_producers();
        }
    }

    /// Tells a peer of version 2 why it is closed, where it did not close itself.
    fn say_farewell(&mut self, conn: ConnId, reason: CloseReason) {
        let session = self.shared.session(conn);
        let is_told = session.version2.is_some()
            && !matches!(
                reason,
                CloseReason::PeerClosed | CloseReason::PeerReset | CloseReason::Drained
            );
        if !is_told {
            return;
        }
        let (code, text) = (reason.as_str().into(), reason.explanation());
        // Who waits for an answer gets this one.
        let bytes = if session.awaits_answer() {
            Answer::Error { code, text }.line().into()
        } else {
            let mut bytes = BytesMut::new();
            Control::Error(Reason { code, text }).encode(&mut bytes);
            bytes.freeze()
        };
        self.shared
            .outputs
            .push_back(Output::Farewell { conn, bytes });
    }

    /// Ends a connection whose socket has taken `written` bytes in all and takes nothing more. What
    /// it has parked stays; what was on its way to it does not get lost without being counted.
    pub(super) fn sealed(&mut self, conn: ConnId, written: u64) {
        self.written(conn, written);
        let Some(session) = self.shared.sessions.remove(&conn) else {
            return;
        };
        let reason = session.closing();
        let reason = reason.expect("sealed before it was to be closed");
        let stats = &mut self.shared.stats;
        stats.connections -= 1;
        stats.closed[reason.index()] += 1;
        if let Some(version2) = &session.version2 {
            stats.version2 -= 1;
            stats.writing -= version2.counted.messages;
            stats.saying -= version2.counted.said;
        }
        match session.state {
            State::AwaitingRole { late } => self.shared.late -= usize::from(late),
            State::Producer(producer) => {
                stats.producers -= 1;
                self.shared.departed += usize::from(producer.is_parked);
                self.shared.confirming -= usize::from(producer.confirms.is_some());
                self.leave_topic(producer.home);
                if let Some(topic) = producer.topic.ok().filter(|it| *it != producer.home) {
                    self.leave_topic(topic);
                }
            }
            State::Consumer(consumer) => {
                stats.consumers -= 1;
                self.shared.patterns.remove(&conn);
                self.leave(conn, *consumer, session.outbox, reason);
            }
        }
    }
}
