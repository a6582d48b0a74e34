//! The reference model of version 2: topics, their groups, and what producers and consumers are promised; a dozen
//! lines a rule, and nothing else.
//!
//! It says what must be true after each event, once everybody has read what there is to read: what each group has to
//! hand out, what its members hold, what has failed and waits, what is dead, what is confirmed, refused or lost.
//! To which of several members that have room a message goes is the broker's choice. So the model is told who was
//! handed what ([`Model::handed_out`]), and checks that it was owed and that nobody is left waiting.
//! It was written from `docs/PROTOCOL.md`. Messages are text in plain vectors; everything is found by walking.
//!
//! One file a rule: `topics.rs` (topics and their groups), `publish.rs` (who gets a message, who waits and who is
//! refused), `consumers.rs` (who is in which groups, and how much it may hold), `handing_out.rs` (what members are handed),
//! `choice.rs` (the same where the broker has a choice of messages, too), `alone.rs` (what is handed out alone),
//! `settling.rs` (what becomes of it), `time.rs` (what is too late, and too old), `names.rs` (producers that come back),
//! `rights.rs` (who may do what), `the_end.rs` (the orderly end).
//!
//! What it leaves to others: messages of several sizes, producers with and without confirms in one topic, rights that end
//! by time, limits on topics and groups, and that no topic of a pattern starves another.

mod alone;
mod choice;
mod consumers;
mod handing_out;
mod names;
mod publish;
mod rights;
mod settling;
mod the_end;
mod time;
mod topics;

pub use consumers::{Asks, MESSAGE_BYTES, Prefetch};
pub use handing_out::HandedOut;
pub use publish::Told;
pub use rights::{Person, Rights, is_pattern, matches};
pub use settling::Fate;
pub use topics::{GroupName, Rules, dead_letters_of};

use consumers::{Consumer, Held};
use message_queue_core::ConnId;
use message_queue_core::{DeliveryMode, Overflow};
use std::collections::BTreeMap;
use std::time::Duration;
use the_end::Drain;
use topics::{Topic, is_dead_letter_topic};

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

/// What is known of a producer with a name.
#[derive(Debug)]
struct Life {
    session: String,
    /// How far it has come in it.
    accepted: u64,
    /// Who took the name first; none: somebody whom nobody asked.
    owner: Option<String>,
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
        for (name, topic) in self.topics.iter().filter(|(_, it)| it.is_made) {
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
}
