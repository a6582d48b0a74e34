//! Consumers: what they ask for, the groups that they are in, and how much they may hold.
//!
//! Who asks for a pattern is in a group of each topic that matches, also of those that are made later. What it may hold
//! is one window over all.

use super::rights::{is_pattern, matches};
use super::{GroupName, Message, Model};
use message_queue_core::{ConnId, DeliveryMode};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a message counts with what frames it. All have this size: else who gets which would depend on their sizes.
pub const MESSAGE_BYTES: usize = 12;

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct Asks {
    /// A topic, or a pattern.
    pub topics: String,
    /// A group by name; none: each topic's default.
    pub group: Option<String>,
    /// How much it may hold; none: it settles nothing.
    pub prefetch: Option<Prefetch>,
    /// How many of them it works on at once.
    pub workers: usize,
    /// Whether one member of the group is to get everything.
    pub as_one: bool,
}

/// How much a consumer may hold. One message is always allowed, if it may hold any.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    /// So many messages.
    pub messages: usize,
    /// And so many bytes.
    pub bytes: usize,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) asks: Asks,
    /// Its groups, by their topics.
    pub(super) groups: BTreeMap<String, GroupName>,
    /// The position of the next message that it is handed.
    pub(super) next: u64,
    /// What it holds, by position.
    pub(super) held: BTreeMap<u64, Held>,
    /// When it has last settled something.
    pub(super) settled: Duration,
    /// The positions that it has lost because it settled nothing for too long.
    pub(super) revoked: Vec<u64>,
    /// Whether it was asked to finish: then it gets nothing more.
    pub(super) is_going: bool,
}

/// A message that a consumer holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) topic: String,
    pub(super) sequence: u64,
    pub(super) message: Message,
}

impl Model {
    /// A consumer connects, and joins a group; or, by a pattern, one of each topic that matches.
    pub fn consumer_comes(&mut self, conn: ConnId, asks: &Asks) {
        let topics: Vec<String> = if is_pattern(&asks.topics) {
            let made = self.topics.iter().filter(|(_, it)| it.is_made);
            let matching = made.filter(|(name, _)| matches(&asks.topics, name));
            matching.map(|(name, _)| name.clone()).collect()
        } else {
            self.make(&asks.topics);
            vec![asks.topics.clone()]
        };
        let consumer = Consumer {
            asks: asks.clone(),
            groups: BTreeMap::new(),
            next: 1,
            held: BTreeMap::new(),
            settled: self.now,
            revoked: Vec::new(),
            is_going: false,
        };
        self.consumers.insert(conn, consumer);
        for topic in topics {
            self.join(conn, &topic);
        }
        self.let_in_who_waits();
    }

    pub(super) fn join(&mut self, conn: ConnId, topic: &str) {
        let asks = self.consumers[&conn].asks.clone();
        let name = match (asks.group, self.topics[topic].rules.mode) {
            (Some(name), _) => GroupName::Named(name),
            (None, DeliveryMode::Queue) => GroupName::Queue,
            (None, DeliveryMode::Broadcast) => GroupName::Own(conn),
        };
        let groups = &mut self.topic(topic).groups;
        let group = groups.entry(name.clone()).or_default();
        if asks.as_one && group.members.is_empty() {
            group.active = Some(conn);
        }
        group.members.push(conn);
        self.consumer(conn).groups.insert(topic.to_owned(), name);
    }

    /// A consumer may hold so much from now on.
    pub fn credit_changes(&mut self, conn: ConnId, prefetch: Prefetch) {
        self.consumer(conn).asks.prefetch = Some(prefetch);
        self.hand_out();
    }

    /// How many messages the members of a group may be handed now.
    pub(super) fn credit(&self, topic: &str, name: &GroupName) -> usize {
        let group = &self.topics[topic].groups[name];
        let members = group.members.iter().filter(|it| group.may_serve(**it));
        let free = members.map(|it| self.consumers[it].credit());
        let free = free.fold(0, usize::saturating_add);
        free.saturating_sub(group.on_its_way.len())
    }

    /// Whether a consumer settles what it is handed.
    pub fn settles(&self, conn: ConnId) -> bool {
        let consumer = self.consumers.get(&conn);
        consumer.is_some_and(|it| it.asks.prefetch.is_some())
    }

    /// The groups of its own that a consumer has: their topics, and the sequence of the next message there.
    pub fn own_groups(&self, conn: ConnId) -> Vec<(String, u64)> {
        let consumer = self.consumers.get(&conn);
        let groups = consumer.into_iter().flat_map(|it| &it.groups);
        let own = groups.filter(|(_, name)| !name.is_lasting());
        own.map(|(topic, _)| (topic.clone(), self.topics[topic].received + 1))
            .collect()
    }

    /// Whether a consumer has a group of its own in a topic.
    pub fn is_own_group(&self, conn: ConnId, topic: &str) -> bool {
        !self.consumers[&conn].groups[topic].is_lasting()
    }

    /// Whether a consumer holds messages of several topics.
    pub fn holds_of_several_topics(&self, conn: ConnId) -> bool {
        let mut held = self.consumers[&conn].held.values();
        let first = held.next();
        first.is_some_and(|first| held.any(|it| it.topic != first.topic))
    }

    /// How many messages a consumer was handed in all.
    pub fn was_handed(&self, conn: ConnId) -> u64 {
        self.consumers.get(&conn).map_or(0, |it| it.next - 1)
    }

    /// The positions that a consumer holds.
    pub fn holds(&self, conn: ConnId) -> Vec<u64> {
        let consumer = self.consumers.get(&conn);
        consumer.map_or_else(Vec::new, |it| it.held.keys().copied().collect())
    }

    /// The positions that a consumer has lost because it settled nothing for too long.
    pub fn revoked(&self, conn: ConnId) -> &[u64] {
        &self.consumers[&conn].revoked
    }

    pub(super) fn held_of(&self, topic: &str, group: &GroupName) -> usize {
        let members = self.consumers.values();
        let members = members.filter(|it| it.groups.get(topic) == Some(group));
        let held = members.flat_map(|it| it.held.values());
        held.filter(|it| it.topic == topic).count()
    }

    pub(super) fn consumer(&mut self, conn: ConnId) -> &mut Consumer {
        self.consumers.get_mut(&conn).expect("it is connected")
    }
}

impl Consumer {
    pub(super) fn has_pattern(&self) -> bool {
        is_pattern(&self.asks.topics)
    }

    pub(super) fn wants_by_pattern(&self, topic: &str) -> bool {
        self.has_pattern() && matches(&self.asks.topics, topic)
    }

    /// How many messages it may be handed now.
    pub(super) fn credit(&self) -> usize {
        let holds_one_alone = self.held.values().any(|it| it.message.goes_alone());
        if self.is_going || holds_one_alone {
            return 0;
        }
        let Some(prefetch) = self.asks.prefetch else {
            return usize::MAX;
        };
        let by_bytes = match prefetch.bytes / MESSAGE_BYTES {
            0 => 1,
            messages => messages,
        };
        let most = prefetch.messages.min(by_bytes);
        most.saturating_sub(self.held.len())
    }
}
