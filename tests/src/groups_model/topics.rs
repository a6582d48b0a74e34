//! Topics and their groups.

use super::{Life, Message, Model};
use message_queue_core::ConnId;
use message_queue_core::{DeliveryMode, Overflow};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a topic works.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Its name.
    pub topic: String,
    /// To whom a message goes that comes to no named group.
    pub mode: DeliveryMode,
    /// What happens to a message for which there is no room.
    pub overflow: Overflow,
    /// How many messages a group holds.
    pub capacity: usize,
    /// With so many failures a message is dead. Above 3 it is handed out alone before that.
    pub max_failures: u32,
    /// For how long a consumer may hold messages and settle nothing.
    pub ack_timeout: Option<Duration>,
    /// For how long a message may wait for a consumer.
    pub max_age: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) rules: Rules,
    /// Whether somebody has named it.
    pub(super) is_made: bool,
    pub(super) received: u64,
    pub(super) groups: BTreeMap<GroupName, Group>,
    /// Producers that wait for room, first come first.
    pub(super) line: Vec<ConnId>,
    /// The names that producers have.
    pub(super) names: BTreeMap<String, Life>,
}

/// Which group of a topic. In order of the connections that own them, where they are somebody's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupName {
    /// The one that the consumers of a queue share.
    Queue,
    /// The one of this name.
    Named(String),
    /// That of one consumer.
    Own(ConnId),
}

#[derive(Debug, Default)]
pub(super) struct Group {
    /// What may be handed out, by its sequence.
    pub(super) ready: BTreeMap<u64, Message>,
    /// What some member is about to get.
    pub(super) on_its_way: BTreeMap<u64, Message>,
    /// What has failed, and when it may be handed out again.
    pub(super) delayed: Vec<(Duration, u64, Message)>,
    /// Its members, in the order in which they connected.
    pub(super) members: Vec<ConnId>,
    /// The member that gets everything, where they share as one.
    pub(super) active: Option<ConnId>,
    /// Where what goes out is the broker's choice: the newest message that went out since all was looked at last, ...
    pub(super) newest_out: Option<u64>,
    /// ... the same of those that go alone, ...
    pub(super) newest_alone: Option<u64>,
    /// ... and what has come back since then.
    pub(super) came_back: Vec<u64>,
    /// Messages for which there was no room.
    pub(super) lost: u64,
    /// Messages that were too old.
    pub(super) expired: u64,
}

impl Model {
    /// Somebody names a topic. If it is not there it is made, and consumers whose patterns match it are members from the
    /// start.
    pub(super) fn make(&mut self, topic: &str) {
        if std::mem::replace(&mut self.topic(topic).is_made, true) {
            return;
        }
        let consumers: Vec<ConnId> = self.consumers.keys().copied().collect();
        for conn in consumers {
            if self.consumers[&conn].wants_by_pattern(topic) {
                self.join(conn, topic);
            }
        }
    }

    /// Which of the topics that it was told of are there: those that somebody has named, and of which something is dead.
    pub fn topics(&self) -> Vec<(&str, bool)> {
        let topics = self.topics.iter();
        topics.map(|(name, it)| (&**name, it.is_made)).collect()
    }

    pub(super) fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics.get_mut(name).expect("the topic is there")
    }

    pub(super) fn group(&mut self, topic: &str, group: &GroupName) -> &mut Group {
        let groups = &mut self.topic(topic).groups;
        groups.get_mut(group).expect("the group is there")
    }
}

impl Topic {
    pub(super) fn new(rules: Rules) -> Self {
        let mut groups = BTreeMap::new();
        if rules.mode == DeliveryMode::Queue {
            groups.insert(GroupName::Queue, Group::default());
        }
        Self {
            rules,
            is_made: false,
            received: 0,
            groups,
            line: Vec::new(),
            names: BTreeMap::new(),
        }
    }
}

impl GroupName {
    /// As a dead letter names it.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Queue => "queue".to_owned(),
            Self::Named(name) => name.clone(),
            Self::Own(conn) => conn.to_string(),
        }
    }

    /// Whether it is there without a member.
    pub(super) const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Own(_))
    }
}

impl Group {
    pub(super) fn may_serve(&self, conn: ConnId) -> bool {
        self.active.is_none_or(|active| active == conn)
    }
}

/// The topic of the dead letters of `topic`.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{topic}.dead")
}

pub(super) fn is_dead_letter_topic(topic: &str) -> bool {
    topic.ends_with(".dead")
}
