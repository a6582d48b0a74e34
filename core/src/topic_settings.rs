//! What can be set for topics: how many there may be, and how each of them works.

use crate::config::{Config, ConfigError, DeliveryMode, Overflow};
use crate::log::Fsync;
use crate::names::{Name, Pattern, TopicName};
use crate::store::{Storage, StoreSettings};
use crate::wire::MAX_FRAME;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of all topics together. Each of these can be given to a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicsConfig {
    /// The topic of version 1, and of who names none. It is always there. Default: `default`.
    pub default_topic: TopicName,
    /// Whether a topic that somebody asks for is made. Dead-letter topics are made in any case.
    /// Default: yes.
    pub creation: bool,
    /// The most topics, at least 1; dead-letter topics are not counted. Default: 1,000. Memory: some 1 KiB for
    /// each.
    pub max_topics: usize,
    /// The most named groups, over all topics. Default: 10,000. Memory: some 512 bytes for each, and its backlog.
    pub max_groups: usize,
    /// The most names of producers that are remembered without a connection; the one that left first is
    /// forgotten first. Default: 10,000. Memory: up to 512 bytes for each.
    pub max_producer_names: usize,
    /// A topic that nobody has used for so long is forgotten; none: never. Default: a day.
    pub topic_idle: Option<Duration>,
    /// A named group that has had no member for so long is ended, and what it holds is lost and counted;
    /// none: never. Default: a day.
    pub group_idle: Option<Duration>,
    /// A producer's name without a connection is remembered for so long; none: for ever. Default: a day.
    pub producer_idle: Option<Duration>,
    /// How some topics differ from the others. For each value the first rule counts that matches and has it.
    pub rules: Vec<TopicRule>,
}

/// How the topics that a pattern matches differ from the others. What is not said is as in the settings of the
/// broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicRule {
    /// Which topics. Dead-letter topics match no pattern, but a rule may name one.
    pub topics: Pattern,
    /// To whom a message goes that comes to no named group.
    pub mode: Option<DeliveryMode>,
    /// The most messages of each group; at least 1.
    pub capacity: Option<usize>,
    /// The most bytes of each group; at least one largest frame.
    pub bytes: Option<usize>,
    /// What happens to a message for which there is no room.
    pub overflow: Option<Overflow>,
    /// Named groups that are there from the start.
    pub groups: Option<Vec<Name>>,
    /// See [`TopicSettings::ack_timeout`]; zero: off.
    pub ack_timeout: Option<Duration>,
    /// See [`TopicSettings::max_failures`]; 0: no limit.
    pub max_failures: Option<u32>,
    /// See [`TopicSettings::backoff_max`].
    pub backoff_max: Option<Duration>,
    /// See [`TopicSettings::dead_letter`].
    pub dead_letter: Option<bool>,
    /// See [`TopicSettings::max_age`]; zero: never.
    pub max_age: Option<Duration>,
    /// Where its messages are kept.
    pub storage: Option<Storage>,
    /// See [`StoreSettings::fsync`].
    pub fsync: Option<Fsync>,
    /// See [`StoreSettings::segment_bytes`].
    pub segment_bytes: Option<u64>,
    /// See [`StoreSettings::retention`]; zero: never.
    pub retention: Option<Duration>,
    /// See [`StoreSettings::retention_bytes`]; 0: no limit.
    pub retention_bytes: Option<u64>,
    /// See [`StoreSettings::retention_settled`].
    pub retention_settled: Option<bool>,
}

/// How one topic works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TopicSettings {
    /// To whom a message goes that comes to no named group.
    pub mode: DeliveryMode,
    /// What happens to a message for which there is no room.
    pub overflow: Overflow,
    /// The most messages of a consumer's own group.
    pub own_capacity: usize,
    /// The most messages of the shared queue, and of each named group.
    pub capacity: usize,
    /// The most bytes of each group.
    pub bytes: usize,
    /// Named groups that are there from the start.
    pub groups: Vec<Name>,
    /// A consumer that has settled nothing for so long loses the oldest messages that it works on; none: never.
    /// Default: none. The connection is the lease.
    pub ack_timeout: Option<Duration>,
    /// After so many failures a message is given up; 0: never. Default: 20.
    pub max_failures: u32,
    /// The longest that the broker itself waits between two failures of a message. Default: 1 s.
    pub backoff_max: Duration,
    /// Whether what is given up goes to the dead-letter topic; else it is lost and counted. Default: yes.
    pub dead_letter: bool,
    /// A message that has waited in a group's backlog since it was published so long ago is lost and counted; none:
    /// never. Default: none. What is with a consumer, delayed or given up does not expire there.
    pub max_age: Option<Duration>,
    /// Where its messages are kept. Default: in memory.
    pub storage: Storage,
    /// How, where they are stored.
    pub store: StoreSettings,
}

/// Why new rules for topics are not for a broker that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsRestart {
    /// With the settings that it runs with they do not keep a bound.
    Bounds(ConfigError),
    /// Some topic blocks producers now and none did before, or the other way round: places are kept for consumers
    /// where one does.
    Blocking,
    /// Some topic is stored now and none was before, or the other way round: the store is opened when the broker
    /// starts.
    Storing,
}

impl fmt::Display for NeedsRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds(error) => error.fmt(f),
            Self::Blocking => f.write_str(
                "whether any topic blocks its producers, for which places are kept for consumers, changes at a \
                 restart only",
            ),
            Self::Storing => f.write_str(
                "whether any topic is stored, for which the store is opened, changes at a restart only",
            ),
        }
    }
}

impl core::error::Error for NeedsRestart {}

impl TopicSettings {
    /// What differs, by the names of the keys in a file of rules.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let bounds = |it: &Self| (it.capacity, it.own_capacity);
        let keys = [
            ("mode", self.mode != other.mode),
            ("capacity", bounds(self) != bounds(other)),
            ("bytes", self.bytes != other.bytes),
            ("overflow", self.overflow != other.overflow),
            ("groups", self.groups != other.groups),
            ("ack_timeout_ms", self.ack_timeout != other.ack_timeout),
            ("max_failures", self.max_failures != other.max_failures),
            ("backoff_max_ms", self.backoff_max != other.backoff_max),
            ("dead_letter", self.dead_letter != other.dead_letter),
            ("max_age_ms", self.max_age != other.max_age),
            ("storage", self.storage != other.storage),
            ("fsync", self.store.fsync != other.store.fsync),
            (
                "segment_bytes",
                self.store.segment_bytes != other.store.segment_bytes,
            ),
            (
                "retention_ms",
                self.store.retention != other.store.retention,
            ),
            (
                "retention_bytes",
                self.store.retention_bytes != other.store.retention_bytes,
            ),
            (
                "retention_settled",
                self.store.retention_settled != other.store.retention_settled,
            ),
        ];
        let differ = keys.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(key, _)| key).collect()
    }
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            default_topic: TopicName::new("default").expect("a good name"),
            creation: true,
            max_topics: 1_000,
            max_groups: 10_000,
            max_producer_names: 10_000,
            topic_idle: Some(DAY),
            group_idle: Some(DAY),
            producer_idle: Some(DAY),
            rules: Vec::new(),
        }
    }
}

impl TopicsConfig {
    /// Checks the bounds that the fields of the rules state.
    pub(crate) fn check_rules(&self) -> Result<(), ConfigError> {
        for rule in &self.rules {
            let bounds = [
                (rule.capacity, 1, "topics.rules.capacity"),
                (rule.bytes, MAX_FRAME, "topics.rules.bytes"),
            ];
            for (value, at_least, field) in bounds {
                if value.is_some_and(|value| value < at_least) {
                    return Err(ConfigError { field, at_least });
                }
            }
        }
        Ok(())
    }
}

impl TopicRule {
    /// A rule that changes nothing.
    pub const fn new(topics: Pattern) -> Self {
        Self {
            topics,
            mode: None,
            capacity: None,
            bytes: None,
            overflow: None,
            groups: None,
            ack_timeout: None,
            max_failures: None,
            backoff_max: None,
            dead_letter: None,
            max_age: None,
            storage: None,
            fsync: None,
            segment_bytes: None,
            retention: None,
            retention_bytes: None,
            retention_settled: None,
        }
    }

    /// Whether it is about this topic.
    pub fn matches(&self, topic: &TopicName) -> bool {
        self.topics.as_str() == topic.as_str() || self.topics.matches(topic)
    }
}

impl Config {
    /// How a topic of this name works.
    pub fn topic(&self, name: &TopicName) -> TopicSettings {
        let dead = name.is_dead_letter();
        let mode = self.value(name, |rule| rule.mode);
        let capacity = self.value(name, |rule| rule.capacity);
        let ack_timeout = self.value(name, |rule| rule.ack_timeout);
        let max_age = self.value(name, |rule| rule.max_age);
        TopicSettings {
            mode: if dead {
                DeliveryMode::Queue
            } else {
                mode.unwrap_or(self.delivery)
            },
            overflow: self
                .value(name, |rule| rule.overflow)
                .unwrap_or(self.overflow),
            own_capacity: capacity.unwrap_or(self.consumer_backlog),
            capacity: capacity.unwrap_or(self.queue_capacity),
            bytes: self
                .value(name, |rule| rule.bytes)
                .unwrap_or(self.backlog_bytes),
            groups: self
                .value(name, |rule| rule.groups.clone())
                .unwrap_or_default(),
            ack_timeout: ack_timeout.filter(|it| !it.is_zero()),
            // What has come to a dead-letter topic has nowhere else to go.
            max_failures: if dead {
                0
            } else {
                self.value(name, |rule| rule.max_failures).unwrap_or(20)
            },
            backoff_max: self
                .value(name, |rule| rule.backoff_max)
                .unwrap_or(Duration::from_secs(1)),
            dead_letter: !dead && self.value(name, |rule| rule.dead_letter).unwrap_or(true),
            max_age: max_age.filter(|it| !it.is_zero()),
            storage: self.storage_of(name),
            store: self.store_settings(name),
        }
    }

    /// Where the messages of a topic of this name are kept. A dead-letter topic is kept where its source is, unless a
    /// rule says something else.
    fn storage_of(&self, name: &TopicName) -> Storage {
        let of = |name| self.value(name, |rule| rule.storage);
        let source = name.source();
        of(name)
            .or_else(|| of(source.as_ref()?))
            .unwrap_or(self.storage)
    }

    /// How a topic of this name is kept, if it is stored.
    fn store_settings(&self, name: &TopicName) -> StoreSettings {
        let default = &self.store;
        let retention = self.value(name, |rule| rule.retention);
        let retention_bytes = self.value(name, |rule| rule.retention_bytes);
        StoreSettings {
            fsync: self.value(name, |rule| rule.fsync).unwrap_or(default.fsync),
            segment_bytes: self
                .value(name, |rule| rule.segment_bytes)
                .unwrap_or(default.segment_bytes),
            retention: retention.or(default.retention).filter(|it| !it.is_zero()),
            retention_bytes: retention_bytes
                .or(default.retention_bytes)
                .filter(|it| *it > 0),
            retention_settled: self
                .value(name, |rule| rule.retention_settled)
                .unwrap_or(default.retention_settled),
        }
    }

    /// The first rule's value for a topic.
    fn value<T>(&self, topic: &TopicName, value: impl Fn(&TopicRule) -> Option<T>) -> Option<T> {
        let mut rules = self.topics.rules.iter().filter(|rule| rule.matches(topic));
        rules.find_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn rule(topics: &str) -> TopicRule {
        TopicRule::new(Pattern::new(topics).expect("a pattern"))
    }

    #[test]
    fn the_first_rule_that_has_a_value_gives_it() {
        let config = Config {
            topics: TopicsConfig {
                rules: vec![
                    TopicRule {
                        capacity: Some(5),
                        ..rule("jobs.*")
                    },
                    TopicRule {
                        mode: Some(DeliveryMode::Queue),
                        capacity: Some(7),
                        ..rule("jobs.>")
                    },
                ],
                ..TopicsConfig::default()
            },
            ..Config::default()
        };
        let topic = |name| config.topic(&TopicName::new(name).expect("a name"));
        assert_eq!(
            (topic("jobs.a").capacity, topic("jobs.a").mode),
            (5, DeliveryMode::Queue)
        );
        assert_eq!(topic("jobs.a.b").capacity, 7);
        assert_eq!(
            topic("other"),
            Config::default().topic(&config.topics.default_topic)
        );
        let dead = topic("jobs.dead");
        assert_eq!(
            (dead.capacity, dead.mode, dead.dead_letter),
            (10_000, DeliveryMode::Queue, false)
        );
        assert_eq!(dead.max_failures, 0);
    }
}
