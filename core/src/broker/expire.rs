//! What is due is done.

use super::Broker;
use crate::error::CloseReason;
use crate::group::Group;
use crate::id::{ConnId, TopicId};
use crate::time::Now;
use crate::timers::Timeout;
use crate::topic::{Blocker, Topic};
use alloc::format;
use alloc::string::String;

impl Broker {
    pub(super) fn expire(&mut self) {
        while let Some((due, timeout)) = self.shared.timers.take_due(self.shared.now) {
            match timeout {
                Timeout::Role(conn) => self.close(conn, CloseReason::RoleTimeout),
                Timeout::Write(conn) => self.expire_write(conn, due),
                Timeout::Drain => self.end_draining(),
                Timeout::Heartbeat(conn) => self.expire_heartbeat(conn),
                Timeout::Blocked(conn) => self.tell_blocked(conn),
                Timeout::Ack(conn) => self.expire_ack(conn),
                Timeout::Expiry(conn) => self.expire_access(conn),
                Timeout::Retry(topic, group) => {
                    self.with_topic(topic, |it, shared| {
                        it.with_group(group, shared, |group, books| {
                            group.retry_due(books.shared);
                        });
                    });
                    self.admit_parked(topic);
                }
                Timeout::Age(topic, group) => {
                    self.with_topic(topic, |it, shared| {
                        it.with_group(group, shared, Group::expire);
                    });
                    self.admit_parked(topic);
                }
                Timeout::GroupIdle(topic, group) => {
                    self.with_topic(topic, |it, _| it.idle_time_is_over(group));
                    self.end_group(topic, group);
                }
                Timeout::TopicIdle(topic) => self.forget_idle_topic(topic),
                Timeout::Fetch(topic, group) => {
                    self.with_topic(topic, |it, shared| {
                        it.with_group(group, shared, |group, _| group.asks_again());
                    });
                }
                Timeout::Turn(topic) => {
                    self.with_topic(topic, Topic::turn_is_over);
                    self.admit_parked(topic);
                }
            }
        }
    }

    pub(super) fn clear_role_timer(&mut self, conn: ConnId) {
        let due = self.shared.session(conn).opened + self.shared.config.role_timeout;
        self.shared.timers.clear(due, Timeout::Role(conn));
    }

    /// A connection is closing: it is neither asked nor told anything more.
    pub(super) fn clear_timers(&mut self, conn: ConnId) {
        let session = self.shared.session(conn);
        let consumer = session.consumer_mut();
        let acks = consumer.and_then(|it| it.acks.as_mut());
        let ack = acks.and_then(|it| it.timer.take());
        let access = session.access.as_mut();
        let expiry = access.and_then(|it| it.timer.take());
        let version2 = session.version2.as_mut();
        let (heartbeat, blocked) = match version2 {
            Some(it) => (it.timer.take(), it.blocked_timer.take()),
            None => (None, None),
        };
        let timers = [
            (ack, Timeout::Ack(conn)),
            (expiry, Timeout::Expiry(conn)),
            (heartbeat, Timeout::Heartbeat(conn)),
            (blocked, Timeout::Blocked(conn)),
        ];
        for (due, timeout) in timers {
            if let Some(due) = due {
                self.shared.timers.clear(due, timeout);
            }
        }
    }

    /// What is late is done in the order in which it was due, however late that is noticed: a
    /// write that is due later than its timer waits for its turn.
    fn expire_write(&mut self, conn: ConnId, due: Now) {
        let config = &self.shared.config;
        let session = self.shared.sessions.get_mut(&conn);
        let outbox = &mut session.expect("the connection is there").outbox;
        outbox.timer = None;
        match outbox.due(config) {
            Some(at) if at <= due => self.close(conn, CloseReason::WriteTimeout),
            Some(_) => self.shared.arm_write_timer(conn),
            None => {}
        }
    }

    /// A peer that has been silent is asked whether it is there, or given up.
    fn expire_heartbeat(&mut self, conn: ConnId) {
        let now = self.shared.now;
        let session = self.shared.session(conn);
        let is_parked = session.producer().is_some_and(|it| !it.is_read());
        let Some(version2) = &mut session.version2 else {
            return;
        };
        version2.timer = None;
        if is_parked || version2.signals.is_held {
            // It was chosen not to read from it, or it waits for its answer.
            version2.heard = now;
        }
        if version2.is_silent(now) {
            return self.close(conn, CloseReason::HeartbeatTimeout);
        }
        if version2.is_owed_a_word(now) {
            version2.said = now;
            version2.signals.ping = Some(now.since_start().as_millis() as u64);
            self.shared.signal(conn);
        }
        self.shared.arm_heartbeat(conn);
    }

    /// A producer is told that it is not read from, and why; or that it is again.
    fn tell_blocked(&mut self, conn: ConnId) {
        let session = self.shared.session(conn);
        let Some(producer) = session.producer() else {
            return;
        };
        let (is_parked, topic) = (producer.is_parked, producer.topic.ok());
        let text = match topic.filter(|_| is_parked) {
            Some(topic) => self.blocked_by(topic),
            None => String::new(),
        };
        if let Some(version2) = self.shared.signal(conn) {
            version2.blocked_timer = None;
            if version2.was_told_blocked != is_parked {
                version2.was_told_blocked = is_parked;
                version2.signals.blocked = Some((is_parked, text));
            }
        }
    }

    /// What keeps a topic's producers from being read from, for people.
    fn blocked_by(&self, topic: TopicId) -> String {
        let topic = &self.topics[&topic];
        match topic.parked().blocker() {
            Some(Blocker::Group(group)) => {
                let name = topic.groups().get(&group).map(Group::label);
                format!(
                    "topic {}, group {}: full",
                    topic.name(),
                    name.unwrap_or_default()
                )
            }
            Some(Blocker::Store) if topic.is_shared() => {
                let engine = topic.settings.storage.name();
                format!(
                    "topic {}: its store, {engine}, is slow, or out of reach",
                    topic.name()
                )
            }
            Some(Blocker::Store) => {
                format!("topic {}: its store is slow, or full", topic.name())
            }
            Some(Blocker::Budget { .. }) => {
                format!(
                    "topic {}: the broker holds as many bytes as it may (BROKER_BYTES)",
                    topic.name()
                )
            }
            None => format!("topic {}", topic.name()),
        }
    }
}
