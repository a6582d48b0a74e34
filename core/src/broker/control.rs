//! What a connection of version 2 says between messages (PROTOCOL.md, section "Control frames").

use super::Broker;
use crate::error::{CloseReason, NotTaken, ProtocolError};
use crate::group::Source;
use crate::id::ConnId;
use crate::names::TopicName;
use crate::wire::control::{BadFrame, Control, Lag};
use crate::wire::handshake::MAX_PREFETCH;

/// The number of TOPIC.
const TOPIC: u8 = 0x01;

/// The number of SETTLE.
const SETTLE: u8 = 0x30;

/// The number of CREDIT.
const CREDIT: u8 = 0x31;

impl Broker {
    /// Something came from the peer, or it was chosen not to read from it: it counts as alive.
    pub(super) fn heard(&mut self, conn: ConnId) {
        let now = self.shared.now;
        if let Some(version2) = &mut self.shared.session(conn).version2 {
            version2.heard = now;
        }
    }

    pub(super) fn control(&mut self, conn: ConnId, control: Control) {
        match control {
            Control::Topic(name) => self.switch_topic(conn, &name),
            Control::Ping(number) => {
                let lag = self.lag(conn);
                if let Some(version2) = self.shared.signal(conn) {
                    version2.signals.pong = Some((number, lag));
                }
            }
            Control::Pong(..) => {}
            Control::Flush(number) => {
                if self.is_flushed(conn, number)
                    && let Some(version2) = self.shared.signal(conn)
                {
                    version2.signals.flushed = Some(number);
                }
            }
            Control::Bye => {
                let consumer = self.shared.session(conn).consumer_mut();
                if let Some(acks) = consumer.and_then(|it| it.acks.as_mut()) {
                    acks.said_bye = true;
                }
                self.close(conn, CloseReason::PeerClosed);
            }
            Control::Settle {
                outcome,
                delay_ms,
                ranges,
            } => self.settle(conn, outcome, delay_ms, &ranges),
            Control::Credit { messages, bytes } => self.set_credit(conn, messages, bytes),
            Control::Flushed(_)
            | Control::Error(_)
            | Control::GoAway { .. }
            | Control::Confirmed { .. }
            | Control::Refused(..)
            | Control::Blocked { .. }
            | Control::Run { .. }
            | Control::Gap(..)
            | Control::Origin(_)
            | Control::Revoked { .. }
            | Control::Check { .. }
            | Control::Segment { .. } => {
                unreachable!("the decoder lets nothing through that goes another way")
            }
        }
    }

    /// The messages that a producer sends from now on belong to another topic.
    fn switch_topic(&mut self, conn: ConnId, name: &str) {
        let Ok(name) = TopicName::new(name) else {
            return self.break_protocol(conn, BadFrame::Field(TOPIC));
        };
        let Some(producer) = self.shared.session(conn).producer() else {
            return self.break_protocol(conn, BadFrame::WrongWay(TOPIC));
        };
        let (home, before) = (producer.home, producer.topic.ok());
        let has_to_wait = producer.name.is_some() && producer.line.storing() > 0;
        // Whoever may not send there does not learn whether it is there.
        let topic = match self.may_produce(conn, &name) {
            Ok(()) => self.topic_for(&name),
            Err(_) => Err(NotTaken::Forbidden),
        };
        if let Some(topic) = topic.ok().filter(|it| *it != home) {
            self.use_topic(topic);
        }
        if let Some(before) = before.filter(|it| *it != home) {
            self.leave_topic(before);
        }
        if let Some(producer) = self.shared.session(conn).producer_mut() {
            producer.topic = topic;
        }
        if has_to_wait && topic.ok() != before {
            self.shared.await_store(conn);
        }
    }

    /// What waits for a consumer's groups.
    fn lag(&self, conn: ConnId) -> Option<Lag> {
        let consumer = self.shared.sessions[&conn].consumer()?;
        let (mut messages, mut since) = (0, None);
        for membership in &consumer.memberships {
            let topic = &self.topics[&membership.topic];
            let group = &topic.groups()[&membership.group];
            messages += group.flow().waiting.messages;
            messages += match (group.source(), topic.stored()) {
                // Any of them may be its: where it begins is not known yet.
                (Some(source), Some(stored)) if source.is_sought() => stored.kept(),
                (source, _) => source.map_or(0, Source::behind),
            };
            since = match (since, group.waiting_since()) {
                (Some(one), Some(other)) => Some(core::cmp::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        let waited = since.map_or(0, |since| self.shared.now.since(since).as_millis());
        Some(Lag {
            messages,
            oldest_ms: u32::try_from(waited).unwrap_or(u32::MAX),
        })
    }

    fn set_credit(&mut self, conn: ConnId, messages: u32, bytes: u32) {
        if messages > MAX_PREFETCH {
            return self.break_protocol(conn, BadFrame::Field(CREDIT));
        }
        let Some(consumer) = self.shared.session(conn).consumer_mut() else {
            return;
        };
        match &mut consumer.acks {
            Some(acks) => {
                acks.credit_was_set = true;
                acks.prefetch = messages;
                acks.prefetch_bytes = bytes;
            }
            None => consumer.is_paused = messages == 0,
        }
        if let Some(topic) = self.serve(conn) {
            self.admit_parked(topic);
        }
    }

    pub(super) fn break_protocol(&mut self, conn: ConnId, error: BadFrame) {
        self.close(conn, CloseReason::Protocol(ProtocolError::BadFrame(error)));
    }

    /// It has asked for no acknowledgements, so it has nothing to settle.
    pub(super) fn settles_nothing(&mut self, conn: ConnId) {
        self.break_protocol(conn, BadFrame::WrongWay(SETTLE));
    }
}
