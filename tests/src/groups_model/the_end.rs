//! The orderly end: who is asked to finish, who is let go, and who is still let in.

use super::{GroupName, Model};
use message_queue_core::{ConnId, DeliveryMode};
use std::time::Duration;

/// The orderly end of the broker.
#[derive(Debug)]
pub(super) struct Drain {
    /// When its time is over.
    due: Duration,
    has_ended: bool,
}

impl Model {
    /// The broker begins to drain, or is to be quicker. Every producer is asked to finish, and so is one that waits.
    pub fn drain(&mut self, time: Duration) {
        let due = self.now + time;
        let due = self.drain.as_ref().map_or(due, |it| it.due.min(due));
        self.drain = Some(Drain {
            due,
            has_ended: false,
        });
        for producer in self.producers.values_mut() {
            producer.is_going = true;
        }
        self.drain_goes_on();
    }

    /// Whether the broker drains.
    pub const fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether a connection that comes now is let in, and may then be a consumer. While the broker drains that is so in
    /// queue mode, as long as messages wait or may still come.
    pub fn lets_in(&self, mode: DeliveryMode) -> bool {
        let has_ended = self.drain.as_ref().is_some_and(|it| it.has_ended);
        let anything_comes = !self.producers.is_empty() || self.anything_waits();
        !self.is_draining() || (mode == DeliveryMode::Queue && !has_ended && anything_comes)
    }

    /// Whether the orderly end is over.
    pub fn is_drained(&self) -> bool {
        let is_empty = self.producers.is_empty() && self.consumers.is_empty();
        self.is_draining() && is_empty && !self.anything_waits()
    }

    /// Whether a client was asked to finish.
    pub fn is_going(&self, conn: ConnId) -> bool {
        let producer = self.producers.get(&conn).is_some_and(|it| it.is_going);
        producer || self.consumers.get(&conn).is_some_and(|it| it.is_going)
    }

    /// Whether a consumer is still there.
    pub fn has_consumer(&self, conn: ConnId) -> bool {
        self.consumers.contains_key(&conn)
    }

    /// A producer is silent while the broker drains: it is let go when all that it sent is in.
    pub fn producer_is_silent(&mut self, conn: ConnId) {
        if self.is_draining() {
            self.producer_ends(conn);
        }
    }

    /// When all that producers sent is in, those who hold something and will get nothing more are asked to finish; and
    /// who holds nothing, and will get nothing more, is let go.
    pub fn drain_goes_on(&mut self) {
        if !self.is_draining() || !self.producers.is_empty() {
            return;
        }
        let consumers: Vec<ConnId> = self.consumers.keys().copied().collect();
        for conn in consumers {
            let Some(consumer) = self.consumers.get(&conn) else {
                continue;
            };
            let holds = !consumer.held.is_empty();
            let mut groups = consumer.groups.iter();
            let waits = groups.any(|(topic, name)| self.waits_in(topic, name));
            // What another holds may come back.
            let mut groups = consumer.groups.iter();
            let may_come = waits || groups.any(|(topic, name)| self.held_of(topic, name) > 0);
            if !holds && (consumer.is_going || !may_come) {
                self.consumer_leaves(conn, true);
            } else if holds && !waits {
                self.consumer(conn).is_going = true;
            }
        }
    }

    /// Its time is over: everybody is closed, and what waits is lost.
    pub(super) fn drain_ends(&mut self) {
        let now = self.now;
        let Some(drain) = self.drain.as_mut().filter(|it| it.due <= now) else {
            return;
        };
        drain.has_ended = true;
        for (topic, name) in self.all_groups() {
            let held = self.held_of(&topic, &name);
            let group = self.group(&topic, &name);
            group.lost += (group.ready.len() + group.delayed.len() + held) as u64;
            group.ready.clear();
            group.delayed.clear();
            group.members.clear();
            if !name.is_lasting() {
                self.topic(&topic).groups.remove(&name);
            }
        }
        for topic in self.topics.values_mut() {
            topic.line.clear();
        }
        self.consumers.clear();
        self.producers.clear();
    }

    /// Whether a group has something that it will hand out.
    fn waits_in(&self, topic: &str, name: &GroupName) -> bool {
        let group = &self.topics[topic].groups[name];
        let waiting = group.ready.len() + group.on_its_way.len() + group.delayed.len();
        waiting > 0
    }

    fn anything_waits(&self) -> bool {
        let mut groups = self.all_groups().into_iter();
        groups.any(|(topic, name)| self.waits_in(&topic, &name) || self.held_of(&topic, &name) > 0)
    }
}
