//! What can be set, and what the bounds cost.

use crate::store::{Storage, StoreSettings};
use crate::topic_settings::{TopicRule, TopicsConfig};
use crate::wire::MAX_FRAME;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// To whom a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DeliveryMode {
    /// To every consumer that was registered when it was published.
    #[default]
    Broadcast,
    /// To exactly one consumer, first in first out.
    Queue,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Overflow {
    /// It is dropped and counted; whoever was slow has lost it.
    #[default]
    Drop,
    /// Its producer waits: nothing more is read from it until there is room.
    Block,
    /// As with `Drop`; but a producer that has asked for confirms is told that it was refused.
    Reject,
    /// A consumer that is a group of its own loses its oldest message instead of the newest. Everywhere else as
    /// with `Drop`.
    DropOldest,
}

/// The settings of a [`Broker`](crate::Broker).
///
/// # Memory
/// Messages at rest and partial frames take at most `2 * broker_bytes`, plus one read for each group
/// and, for each consumer, the read that its write in flight (`write_bytes`, or one larger message)
/// may be the last part of. Parts of reads that consumers have not settled may keep alive an eighth of
/// `broker_bytes` more, so that little is copied. A batch shared by many consumers is counted for each and kept once, so in
/// `broadcast` the real figure is lower. Beside its frames each batch takes some 150 bytes, once for
/// each backlog that it waits in; what counts if messages are tiny and come alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// To whom a message goes. Default: broadcast.
    pub delivery: DeliveryMode,
    /// What happens to a message for which there is no room. Default: drop.
    pub overflow: Overflow,
    /// The most connections at a time, in whatever role; at least 1, with `Overflow::Block` at least
    /// 2. Default: 10,000. Some are reserved for consumers:
    /// [`reserved_for_consumers`](Self::reserved_for_consumers).
    pub max_connections: usize,
    /// The most consumers at a time; at least 1. Default: 10.
    pub max_consumers: usize,
    /// The most messages that wait for one consumer in `broadcast`; at least 1. Default: 10,000.
    pub consumer_backlog: usize,
    /// The most messages that wait in the queue in `queue` mode; at least 1. Default: 10,000.
    pub queue_capacity: usize,
    /// The most bytes that one backlog holds, length prefixes included; at least one largest
    /// frame. Default: 32 MiB.
    pub backlog_bytes: usize,
    /// The most bytes that all backlogs, what is in flight, what is parked and partial frames hold
    /// together; at least `backlog_bytes`. Default: 512 MiB.
    ///
    /// Where it is used up, or a whole message waits for bytes, the connection with the largest
    /// partial frame is closed, unless partial frames hold no more than an eighth (or one largest
    /// frame). Whatever is parked or partial, one largest frame for everybody may wait: beyond the
    /// limit if need be. So may what idle consumers are given with `Overflow::Drop`.
    pub broker_bytes: usize,
    /// The time from a connection's opening to the end of its role line. Default: 10 s.
    pub role_timeout: Duration,
    /// How long a consumer's socket may take nothing of a write, from its start or from the last
    /// byte that it took. Default: 30 s.
    pub write_timeout: Duration,
    /// The least rate of a consumer, in bytes a second: a write of `n` bytes may take
    /// `write_timeout + n / min_consumer_rate`, however steadily it goes on. 0 stands for no least
    /// rate. Default: 1024.
    pub min_consumer_rate: usize,
    /// The most bytes in one write, unless a single message is larger; at least 1.
    /// Default: 1 MiB.
    ///
    /// This is what a consumer that stops reading hoards on the broker's side. What the kernels'
    /// socket buffers take comes on top.
    pub write_bytes: usize,
    /// The topics.
    pub topics: TopicsConfig,
    /// Where the messages of topics are kept. Default: in memory.
    pub storage: Storage,
    /// How stored topics are kept.
    pub store: StoreSettings,
    /// What the broker says it is, in answers to role lines of version 2. Default: `message-queue` and the
    /// version of this crate.
    pub server: String,
    /// Milliseconds from 1970 to [`Now::START`](crate::Now::START): when messages were published is told to
    /// consumers in such milliseconds. Default: 0.
    pub started_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delivery: DeliveryMode::default(),
            overflow: Overflow::default(),
            max_connections: 10_000,
            max_consumers: 10,
            consumer_backlog: 10_000,
            queue_capacity: 10_000,
            backlog_bytes: 32 << 20,
            broker_bytes: 512 << 20,
            role_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            min_consumer_rate: 1 << 10,
            write_bytes: 1 << 20,
            topics: TopicsConfig::default(),
            storage: Storage::default(),
            store: StoreSettings::default(),
            server: concat!("message-queue/", env!("CARGO_PKG_VERSION")).into(),
            started_ms: 0,
        }
    }
}

impl Config {
    /// Checks the bounds that the fields state.
    ///
    /// # Errors
    /// The first bound that is not kept.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.max_connections < self.least_connections() {
            return Err(ConfigError {
                field: "max_connections",
                at_least: self.least_connections(),
            });
        }
        let at_least_one = [
            (self.max_consumers, "max_consumers"),
            (self.consumer_backlog, "consumer_backlog"),
            (self.queue_capacity, "queue_capacity"),
            (self.write_bytes, "write_bytes"),
            (self.topics.max_topics, "topics.max_topics"),
        ];
        if let Some((_, field)) = at_least_one.into_iter().find(|(value, _)| *value == 0) {
            return Err(ConfigError { field, at_least: 1 });
        }
        self.topics.check_rules()?;
        if self.backlog_bytes < MAX_FRAME {
            return Err(ConfigError {
                field: "backlog_bytes",
                at_least: MAX_FRAME,
            });
        }
        if self.broker_bytes < self.least_broker_bytes() {
            let at_least = self.least_broker_bytes();
            return Err(ConfigError {
                field: "broker_bytes",
                at_least,
            });
        }
        Ok(())
    }

    /// How many connections are never given to producers, so that a consumer can enter however many
    /// producers are blocked: with `Overflow::Block` in any topic a tenth of `max_connections`, but no more
    /// than `max_consumers`, and at least 1. Elsewhere nobody waits for a consumer, and none are reserved.
    /// (PROTOCOL.md, section 6.)
    pub fn reserved_for_consumers(&self) -> usize {
        if self.may_block() { self.reserve() } else { 0 }
    }

    /// Whether a producer that asks for no confirms may have to wait for room, in any topic.
    pub fn may_block(&self) -> bool {
        let rules = self.topics.rules.iter();
        let mut overflows = rules.filter_map(|rule| rule.overflow);
        self.overflow == Overflow::Block || overflows.any(|it| it == Overflow::Block)
    }

    /// Whether any topic is, or may be, stored.
    pub fn may_store(&self) -> bool {
        self.engines().next().is_some()
    }

    /// Where topics are, or may be, stored: what [`storage`](Self::storage) says, then what each rule does. A store keeps
    /// all of its topics in one way.
    pub fn engines(&self) -> impl Iterator<Item = Storage> {
        let rules = self.topics.rules.iter();
        let storages = rules.filter_map(|rule| rule.storage);
        let storages = core::iter::once(self.storage).chain(storages);
        storages.filter(|it| *it != Storage::Memory)
    }

    /// Whether any topic is, or may be, shared with other brokers.
    pub fn may_share(&self) -> bool {
        self.engines().any(Storage::is_shared)
    }

    /// The places that are kept for consumers where a producer may wait for one.
    pub(crate) fn reserve(&self) -> usize {
        (self.max_connections / 10).clamp(1, self.max_consumers)
    }

    /// The least that `max_connections` may be: room for one producer beside what is reserved.
    pub fn least_connections(&self) -> usize {
        if self.may_block() { 2 } else { 1 }
    }

    /// The least that `broker_bytes` may be: one full backlog, the largest of any topic, and, where a
    /// producer waits until its message fits for every consumer at once, one largest frame for each of them.
    pub fn least_broker_bytes(&self) -> usize {
        let of_rules = self.topics.rules.iter().filter_map(|rule| rule.bytes);
        let backlog = of_rules.fold(self.backlog_bytes, usize::max);
        backlog.max(self.frame_for_everybody())
    }

    /// The bytes that one largest frame takes where it has to fit for everybody at once.
    pub(crate) fn frame_for_everybody(&self) -> usize {
        if self.may_block_in_broadcast() {
            self.max_consumers.saturating_mul(MAX_FRAME)
        } else {
            MAX_FRAME
        }
    }

    /// Whether there can be a topic whose producers wait until every consumer has room. A topic may take its
    /// mode and its overflow from different rules, so this looks at those that may meet.
    fn may_block_in_broadcast(&self) -> bool {
        let rules = &self.topics.rules;
        let broadcasts = |rule: &TopicRule| rule.mode == Some(DeliveryMode::Broadcast);
        let anywhere = self.delivery == DeliveryMode::Broadcast || rules.iter().any(broadcasts);
        let mut rules_before = rules.iter().enumerate();
        let by_rule = rules_before.any(|(at, rule)| {
            rule.overflow == Some(Overflow::Block)
                && match rule.mode {
                    Some(DeliveryMode::Broadcast) => true,
                    Some(DeliveryMode::Queue) => rules[..at].iter().any(broadcasts),
                    None => anywhere,
                }
        });
        let mut rules = rules.iter();
        by_rule
            || self.overflow == Overflow::Block
                && (self.delivery == DeliveryMode::Broadcast
                    || rules.any(|rule| broadcasts(rule) && rule.overflow.is_none()))
    }

    /// The longest that a write of so many bytes may take, however steadily it goes on; `None` where
    /// there is no least rate.
    pub(crate) fn longest_write(&self, bytes: u64) -> Option<Duration> {
        let rate = self.min_consumer_rate as u64;
        let micros = bytes.saturating_mul(1_000_000).checked_div(rate)?;
        Some(
            self.write_timeout
                .saturating_add(Duration::from_micros(micros)),
        )
    }

    /// The most messages that a backlog holds in the mode that is set.
    pub const fn backlog_messages(&self) -> usize {
        match self.delivery {
            DeliveryMode::Broadcast => self.consumer_backlog,
            DeliveryMode::Queue => self.queue_capacity,
        }
    }
}

/// A setting that is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`Config`].
    pub field: &'static str,
    /// The least that it may be.
    pub at_least: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be at least {}", self.field, self.at_least)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Pattern;

    #[test]
    fn the_defaults_keep_their_own_bounds() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_bound_that_is_not_kept_is_named() {
        let config = Config {
            queue_capacity: 0,
            ..Config::default()
        };
        assert_eq!(
            config.check(),
            Err(ConfigError {
                field: "queue_capacity",
                at_least: 1
            })
        );
        let config = Config {
            backlog_bytes: 1_048_579,
            ..Config::default()
        };
        assert_eq!(
            config.check(),
            Err(ConfigError {
                field: "backlog_bytes",
                at_least: 1_048_580
            })
        );
    }

    #[test]
    fn where_producers_block_places_are_reserved_for_consumers() {
        let reserved = |max_connections, max_consumers| {
            let config = Config {
                overflow: Overflow::Block,
                max_connections,
                max_consumers,
                ..Config::default()
            };
            (config.check().is_ok(), config.reserved_for_consumers())
        };
        assert_eq!(reserved(1, 10), (false, 1));
        assert_eq!(reserved(4, 10), (true, 1));
        assert_eq!(reserved(50, 10), (true, 5));
        assert_eq!(reserved(10_000, 10), (true, 10));
        assert_eq!(Config::default().reserved_for_consumers(), 0);
    }

    #[test]
    fn what_rules_say_counts_as_what_the_settings_say() {
        let with = |rules: &[TopicRule]| Config {
            delivery: DeliveryMode::Queue,
            max_consumers: 1000,
            topics: TopicsConfig {
                rules: rules.into(),
                ..TopicsConfig::default()
            },
            ..Config::default()
        };
        let rule = || TopicRule::new(Pattern::new("jobs.>").expect("a pattern"));
        let capacity = TopicRule {
            capacity: Some(0),
            ..rule()
        };
        let field = |config: Config| config.check().map_err(|error| error.field);
        assert_eq!(field(with(&[capacity])), Err("topics.rules.capacity"));
        let bytes = |bytes| TopicRule {
            bytes: Some(bytes),
            ..rule()
        };
        assert_eq!(
            field(with(&[bytes(MAX_FRAME - 1)])),
            Err("topics.rules.bytes")
        );
        assert_eq!(field(with(&[bytes(MAX_FRAME)])), Ok(()));
        assert_eq!(field(with(&[bytes(1 << 30)])), Err("broker_bytes"));

        let blocks = |mode| TopicRule {
            overflow: Some(Overflow::Block),
            mode,
            ..rule()
        };
        let broadcasts = || TopicRule {
            mode: Some(DeliveryMode::Broadcast),
            ..rule()
        };
        assert_eq!(with(&[blocks(None)]).reserved_for_consumers(), 1000);
        assert_eq!(with(&[blocks(None)]).least_connections(), 2);
        assert_eq!(field(with(&[blocks(None)])), Ok(()));
        let queue = Some(DeliveryMode::Queue);
        assert_eq!(field(with(&[blocks(queue), broadcasts()])), Ok(()));
        for rules in [
            &[blocks(Some(DeliveryMode::Broadcast))][..],
            &[blocks(None), broadcasts()],
            &[broadcasts(), blocks(queue)],
        ] {
            assert_eq!(field(with(rules)), Err("broker_bytes"), "{rules:?}");
        }
        let blocking = |rules: &[TopicRule]| Config {
            overflow: Overflow::Block,
            ..with(rules)
        };
        assert_eq!(field(blocking(&[])), Ok(()));
        assert_eq!(field(blocking(&[broadcasts()])), Err("broker_bytes"));
        let drops = TopicRule {
            overflow: Some(Overflow::Drop),
            ..broadcasts()
        };
        assert_eq!(field(blocking(&[drops])), Ok(()));
    }

    #[test]
    fn a_blocking_broadcast_has_room_for_a_message_to_every_consumer() {
        let mut config = Config {
            overflow: Overflow::Block,
            max_consumers: 1000,
            broker_bytes: 512 << 20,
            ..Config::default()
        };
        assert_eq!(
            config.check(),
            Err(ConfigError {
                field: "broker_bytes",
                at_least: 1_048_580_000
            })
        );
        config.delivery = DeliveryMode::Queue;
        assert_eq!(config.check(), Ok(()));
    }
}
