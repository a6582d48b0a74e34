//! The reference model of version 2: topics, their groups, and what producers and consumers are promised; a dozen
//! lines a rule, and nothing else.
//!
//! It says what must be true after each event, once everybody has read what there is to read: what each group has to
//! hand out, what its members hold, what has failed and waits, what is dead, what is confirmed, refused or lost.
//! To which of several members that have room a message goes is the broker's choice. So the model is told who was
//! handed what ([`Model::handed_out`]), and checks that it was owed and that nobody is left waiting.
//! It was written from `docs/PROTOCOL.md`. Messages are text in plain vectors; everything is found by walking.
//!
//! One file a rule: `publish.rs` (who gets a message, who waits and who is refused), `handing_out.rs` (what members
//! hold and what becomes of it), `time.rs` (what is too late, and too old), `names.rs` (producers that come back),
//! `rights.rs` (who may do what), `the_end.rs` (the orderly end), `alone.rs` (what is handed out alone).
//!
//! What it leaves to others: patterns, sizes in bytes, producers with and without confirms in one topic; and where
//! several members of a group get messages, topics with both an `ack_timeout` and a greatest age, and messages that are
//! handed out alone.

mod alone;
mod handing_out;
mod names;
mod publish;
mod rights;
mod the_end;
mod time;

pub use handing_out::Fate;
pub use publish::Told;
pub use rights::{Person, Rights};

use message_queue_core::ConnId;
use message_queue_core::{DeliveryMode, Overflow};
use std::collections::BTreeMap;
use std::time::Duration;
use the_end::Drain;

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
    /// With so many failures a message is dead. Above 3 it is handed out alone before that: then one member of each group
    /// is to get everything.
    pub max_failures: u32,
    /// For how long a consumer may hold messages and settle nothing.
    pub ack_timeout: Option<Duration>,
    /// For how long a message may wait for a consumer.
    pub max_age: Option<Duration>,
}

/// The longest that a message waits after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A model of a broker.
#[derive(Debug)]
pub struct Model {
    topics: BTreeMap<String, Topic>,
    producers: BTreeMap<ConnId, Producer>,
    consumers: BTreeMap<ConnId, Consumer>,
    now: Duration,
    drain: Option<Drain>,
}

#[derive(Debug)]
struct Topic {
    rules: Rules,
    received: u64,
    groups: BTreeMap<GroupName, Group>,
    /// Producers that wait for room, first come first.
    line: Vec<ConnId>,
    /// The names that producers have.
    names: BTreeMap<String, Life>,
}

/// What is known of a producer with a name.
#[derive(Debug)]
struct Life {
    session: String,
    /// How far it has come in it.
    accepted: u64,
    /// Who took the name first; none: somebody whom nobody asked.
    owner: Option<String>,
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
struct Group {
    /// What may be handed out, by its sequence.
    ready: BTreeMap<u64, Message>,
    /// What some member is about to get.
    on_its_way: BTreeMap<u64, Message>,
    /// What has failed, and when it may be handed out again.
    delayed: Vec<(Duration, u64, Message)>,
    /// Its members, in the order in which they connected.
    members: Vec<ConnId>,
    /// The member that gets everything, where they share as one.
    active: Option<ConnId>,
    /// Messages for which there was no room.
    lost: u64,
    /// Messages that were too old.
    expired: u64,
}

/// A message in one group.
#[derive(Clone, Debug)]
struct Message {
    body: String,
    published: Duration,
    /// When it was handed out last.
    handed_out: Duration,
    /// How often it was handed out.
    attempts: u32,
    failures: u32,
    /// For a dead letter: where it came from.
    origin: Option<Origin>,
}

/// Where a dead letter came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// Its sequence there.
    pub sequence: u64,
    /// The group that gave up.
    pub group: String,
    /// How often it had failed.
    pub failures: u32,
}

#[derive(Debug)]
struct Producer {
    topic: String,
    confirms: bool,
    name: Option<String>,
    /// The position of its next message.
    next: u64,
    /// How many of its messages are safe, or were refused.
    confirmed: u64,
    unrouted: u64,
    refused: Vec<(u64, &'static str)>,
    /// What it has sent and the broker has not taken in: first what waits for room, then what is not read.
    waiting: Vec<Vec<String>>,
    /// Whether it has ended its side behind that.
    has_ended: bool,
    /// Whether it was asked to finish.
    is_going: bool,
}

#[derive(Debug)]
struct Consumer {
    topic: String,
    group: GroupName,
    /// How many messages it may hold; none: it settles nothing, and may have all.
    prefetch: Option<usize>,
    /// The position of the next message that it is handed.
    next: u64,
    /// What it holds, by position: the sequence, and the message.
    held: BTreeMap<u64, (u64, Message)>,
    /// How many of them it works on at once, oldest first.
    workers: usize,
    /// When it has last settled something.
    settled: Duration,
    /// The positions that it has lost because it settled nothing for too long.
    revoked: Vec<u64>,
    /// Whether it was asked to finish: then it gets nothing more.
    is_going: bool,
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct Asks {
    /// How many messages it may hold; none: it settles nothing.
    pub prefetch: Option<usize>,
    /// How many of them it works on at once.
    pub workers: usize,
    /// Whether one member of the group is to get everything.
    pub as_one: bool,
}

/// What a group holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Messages that wait for a member.
    pub ready: u64,
    /// Messages that members hold.
    pub unsettled: u64,
    /// Messages that wait after a failure.
    pub delayed: u64,
    /// Messages that it has lost, but for those that were too old.
    pub lost: u64,
    /// Messages that it has lost because they were too old.
    pub expired: u64,
}

impl Model {
    /// A model of a broker that has these topics from the start. Each has a topic for its dead letters.
    pub fn new(rules: &[Rules]) -> Self {
        let with_dead = rules.iter().flat_map(|rules| {
            let dead = Rules {
                topic: dead_letters_of(&rules.topic),
                mode: DeliveryMode::Queue,
                overflow: Overflow::Block,
                capacity: usize::MAX,
                // There messages fail any number of times.
                max_failures: u32::MAX,
                ack_timeout: None,
                max_age: None,
            };
            [rules.clone(), dead]
        });
        let topics = with_dead.map(|rules| (rules.topic.clone(), Topic::new(rules)));
        Self {
            topics: topics.collect(),
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            now: Duration::ZERO,
            drain: None,
        }
    }

    /// What each group holds that outlives its members.
    pub fn groups(&self) -> Vec<(String, GroupName, Holds)> {
        let mut all = Vec::new();
        for (name, topic) in &self.topics {
            for (group_name, group) in &topic.groups {
                let holds = Holds {
                    ready: group.ready.len() as u64,
                    unsettled: self.held_of(name, group_name) as u64,
                    delayed: group.delayed.len() as u64,
                    lost: group.lost,
                    expired: group.expired,
                };
                all.push((name.clone(), group_name.clone(), holds));
            }
        }
        all
    }

    fn all_groups(&self) -> Vec<(String, GroupName)> {
        let mut all = Vec::new();
        for (name, topic) in &self.topics {
            all.extend(
                topic
                    .groups
                    .keys()
                    .map(|group| (name.clone(), group.clone())),
            );
        }
        all
    }

    fn held_of(&self, topic: &str, group: &GroupName) -> usize {
        let members = self.consumers.values();
        let members = members.filter(|it| it.topic == topic && it.group == *group);
        members.map(|it| it.held.len()).sum()
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics.get_mut(name).expect("the topic is there")
    }

    fn group(&mut self, topic: &str, group: &GroupName) -> &mut Group {
        let groups = &mut self.topic(topic).groups;
        groups.get_mut(group).expect("the group is there")
    }
}

impl Topic {
    fn new(rules: Rules) -> Self {
        let mut groups = BTreeMap::new();
        if rules.mode == DeliveryMode::Queue {
            groups.insert(GroupName::Queue, Group::default());
        }
        Self {
            rules,
            received: 0,
            groups,
            line: Vec::new(),
            names: BTreeMap::new(),
        }
    }
}

impl GroupName {
    /// As a dead letter names it.
    fn label(&self) -> String {
        match self {
            Self::Queue => "queue".to_owned(),
            Self::Named(name) => name.clone(),
            Self::Own(conn) => conn.to_string(),
        }
    }

    /// Whether it is there without a member.
    const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Own(_))
    }
}

/// The topic of the dead letters of `topic`.
pub fn dead_letters_of(topic: &str) -> String {
    format!("{topic}.dead")
}

fn is_dead_letter_topic(topic: &str) -> bool {
    topic.ends_with(".dead")
}
