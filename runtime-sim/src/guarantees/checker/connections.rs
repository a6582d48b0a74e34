//! Who comes, and who goes.

use super::Checker;
use super::consumers::own_label;
use super::state::{Conn, Key};
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use crate::guarantees::plan::TOPICS;
use message_queue_core::wire::control::Control;
use message_queue_core::wire::handshake::Accepted;
use message_queue_core::{CloseReason, ConnId, DropReason, ProtocolError};

impl Checker {
    pub(super) fn connected(&mut self, conn: ConnId, asked: &Asked) {
        let state = Conn::new(asked, self.at);
        self.state.conns.insert(conn, state);
    }

    /// Any byte is life.
    pub(super) fn read(&mut self, conn: ConnId) {
        let at = self.at;
        self.state.conn(conn).heard = at;
    }

    pub(super) fn write_started(&mut self, conn: ConnId) {
        let state = self.state.conn(conn);
        let is_free = !state.is_busy && state.closed.is_none();
        state.is_busy = true;
        self.must(is_free, Invariant::OneWrite, || {
            format!("{conn} is written to while it is busy or closed")
        });
    }

    pub(super) fn accepted(&mut self, conn: ConnId, answer: &Accepted) {
        let at = self.at;
        let state = self.state.conn(conn);
        state.is_accepted = true;
        state.heard = at;
        state.settled = at;
        let asked = state.asked.clone();
        self.accepted_with_a_right(conn);
        match asked {
            Asked::ToSend { topic, life, .. } => {
                if let Some((name, session)) = life {
                    self.begins_life(conn, (topic, name), session, answer);
                }
            }
            Asked::ToReceive { consumer, group } => {
                if consumer.topic.contains('*') {
                    for topic in TOPICS {
                        self.state.group(&(topic.to_owned(), group.clone()));
                    }
                }
                let key = (consumer.topic, group);
                // Nothing is said to who asks for a pattern.
                if let Some(created) = answer.created {
                    self.joined(conn, &key, created);
                }
            }
        }
    }

    /// A group is new exactly if nobody has joined it before.
    fn joined(&mut self, conn: ConnId, key: &Key, created: bool) {
        let is_there = self.state.groups.contains_key(key) || key.1 == super::state::DECLARED;
        let is_there = is_there || key.1 == "queue";
        self.state.group(key);
        self.must(created != is_there, Invariant::Groups, || {
            format!("{conn} joins {key:?}, created={created}")
        });
    }

    pub(super) fn heard(&mut self, conn: ConnId, control: &Control) {
        match self.state.conn(conn).asked {
            Asked::ToSend { .. } => {
                if let Control::Topic(topic) = control {
                    self.heard_topic(conn, topic);
                }
            }
            Asked::ToReceive { .. } => self.heard_consumer(conn, control),
        }
    }

    pub(super) fn told(&mut self, conn: ConnId, control: &Control) {
        match self.state.conn(conn).asked {
            Asked::ToSend { .. } => self.told_producer(conn, control),
            Asked::ToReceive { .. } => self.told_consumer(conn, control),
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId, reason: CloseReason) {
        let (at, heartbeat) = (self.at, self.state.heartbeat());
        let (is_deleting, is_draining) = (self.state.is_deleting, self.state.drain_began.is_some());
        let has_store_failed = self.state.has_store_failed;
        let is_turned_away = self.is_turned_away(conn, reason);
        let state = self.state.conn(conn);
        let was_closed = state.closed.replace(reason).is_some();
        let has_ended = state.has_ended;
        let fits = match reason {
            CloseReason::PeerClosed => has_ended || state.said_bye,
            CloseReason::PeerReset => has_ended,
            CloseReason::HeartbeatTimeout => at >= state.heard + 2 * heartbeat,
            CloseReason::TakenOver => matches!(state.asked, Asked::ToSend { life: Some(_), .. }),
            CloseReason::EndedByOperator => is_deleting,
            CloseReason::Drained | CloseReason::DrainTimeout | CloseReason::Draining => is_draining,
            // Its client gave up in the middle of its role line.
            CloseReason::Protocol(ProtocolError::TruncatedFrame) => has_ended,
            CloseReason::Protocol(_) => has_ended && !state.is_accepted,
            // None of a role line has come through.
            CloseReason::RoleTimeout => !state.is_accepted,
            CloseReason::FrameTimeout
            | CloseReason::WriteTimeout
            | CloseReason::BrokerBytes
            | CloseReason::TooManyConnections
            | CloseReason::TooManyConsumers
            | CloseReason::UnknownTopic
            | CloseReason::TooManyTopics
            | CloseReason::TooManyGroups
            | CloseReason::GroupMismatch
            | CloseReason::NoHistory => false,
            CloseReason::Unauthorized | CloseReason::Forbidden => is_turned_away,
            CloseReason::StoreFailed => has_store_failed,
        };
        self.must(fits && !was_closed, Invariant::CloseReason, || {
            format!("{conn} is closed for {reason}, which does not fit")
        });
    }

    pub(super) fn sealed(&mut self, conn: ConnId, unwritten: usize) {
        self.gives_back(conn, unwritten);
        if let Some(Conn {
            asked: Asked::ToReceive { group, .. },
            ..
        }) = self.state.conns.remove(&conn)
            && group.starts_with("own-")
        {
            for topic in TOPICS {
                self.state
                    .group_is_gone(&(topic.to_owned(), own_label(&group)));
                // What waited there is lost with it.
                self.state.groups.remove(&(topic.to_owned(), group.clone()));
            }
        }
    }

    pub(super) fn deleted(&mut self, topic: &str, group: &str, existed: bool) {
        self.state.is_deleting = false;
        let key = (topic.to_owned(), group.to_owned());
        let known = self.state.groups.remove(&key).is_some();
        self.state.group_is_gone(&key);
        self.forget_share(&key);
        self.must(existed || !known, Invariant::Groups, || {
            format!("{key:?} is there and was not found")
        });
    }

    /// Nothing is dropped that a group owes to its members, but for what an operator gives up, what is too old, and
    /// what is left when the time for an orderly end is over. What came of producers without confirms is owed to nobody
    /// if there was no room for it.
    pub(super) fn dropped(&mut self, whence: Option<&Key>, reason: DropReason, messages: u64) {
        let own = whence.is_some_and(|(_, group)| group.starts_with("own-"));
        let is_allowed = match reason {
            DropReason::GroupEnded => self.state.is_deleting,
            DropReason::Shutdown => self.state.drain_began.is_some(),
            DropReason::ConsumerLeft => own,
            DropReason::BacklogMessages | DropReason::BacklogBytes => {
                self.has_no_room(whence, messages) || own
            }
            DropReason::Expired => self.expire(whence, messages),
            DropReason::BrokerBytes
            | DropReason::NoConsumer
            | DropReason::Purged
            | DropReason::GivenUp
            | DropReason::NotKept
            | DropReason::Refused => false,
        };
        if reason == DropReason::Shutdown {
            self.state.shut_down += messages;
        }
        self.must(is_allowed, Invariant::Confirmed, || {
            format!("{messages} dropped: {reason}")
        });
    }
}
