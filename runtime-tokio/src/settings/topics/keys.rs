//! The one list of what a rule may say.
//!
//! Everything that names a key comes from here or is tested against it: the file's errors,
//! `--print-config TOPIC` and `docs/SETTINGS.md`.

use super::super::allowed::Allowed;
use super::super::table::{BACKLOG, FSYNC, MESSAGES, RETENTION, RETENTION_SIZE, SEGMENT, STORAGE};
use super::super::units::{format_size, format_time};
use super::super::values::FsyncValue;
use message_queue_core::log::Fsync;
use message_queue_core::names::Name;
use message_queue_core::{DeliveryMode, Overflow, Storage, TopicRule, TopicSettings};
use std::fmt;
use std::time::Duration;

/// What stands before the `=`.
#[derive(Debug)]
pub(in super::super) struct Key {
    pub(in super::super) name: &'static str,
    pub(in super::super) form: Form,
    /// What it does, in a sentence or two.
    #[cfg_attr(not(test), expect(dead_code, reason = "docs/SETTINGS.md shows it"))]
    pub(in super::super) help: &'static str,
    /// What counts if no rule says it.
    pub(in super::super) otherwise: Otherwise,
    /// Sets it to a value that its form has given.
    pub(super) set: fn(&mut TopicRule, &str),
    /// Whether a rule says it.
    pub(super) is_in: fn(&TopicRule) -> bool,
    /// The value in force, as it would be written in the file.
    pub(super) shown: fn(&TopicSettings) -> String,
    /// What it means for a dead-letter topic.
    pub(super) of_dead_letters: DeadLetters,
}

/// What a key means for a dead-letter topic, which no pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadLetters {
    /// Nothing: it is the same for all of them.
    Never,
    /// What a rule says that names it.
    Own,
    /// What a rule says that names it, or else what is so for its source.
    AsSource,
}

/// What a value may be.
#[derive(Debug)]
pub(in super::super) enum Form {
    /// As in a setting.
    One(Allowed),
    /// `true` or `false`.
    Switch,
    /// An array of names of groups.
    Groups,
}

/// What counts if no rule says it.
#[derive(Debug)]
pub(in super::super) enum Otherwise {
    /// A setting.
    Setting(&'static str),
    /// One setting for a consumer that is a group of its own, another for all other groups.
    Settings {
        own: &'static str,
        other: &'static str,
    },
    /// What is always so, as it would be written in the file.
    Always(&'static str),
}

/// Every key of a rule but `topics`, in the order in which they are listed everywhere.
pub(in super::super) static KEYS: &[Key] = &[
    Key {
        name: "mode",
        form: Form::One(Allowed::OneOf(&["broadcast", "queue"])),
        help: "To whom a message goes that comes to no named group.",
        otherwise: Otherwise::Setting("DELIVERY_MODE"),
        set: |rule, value| {
            rule.mode = Some(match value {
                "queue" => DeliveryMode::Queue,
                _ => DeliveryMode::Broadcast,
            });
        },
        is_in: |rule| rule.mode.is_some(),
        shown: |topic| {
            text(match topic.mode {
                DeliveryMode::Broadcast => "broadcast",
                DeliveryMode::Queue => "queue",
            })
        },
        of_dead_letters: DeadLetters::Never,
    },
    Key {
        name: "capacity",
        form: Form::One(MESSAGES),
        help: "Messages that each group may hold, unsettled and delayed ones included.",
        otherwise: Otherwise::Settings {
            own: "CONSUMER_CHANNEL_BUFFER_SIZE",
            other: "QUEUE_CAPACITY",
        },
        set: |rule, value| rule.capacity = value.parse().ok(),
        is_in: |rule| rule.capacity.is_some(),
        shown: |topic| topic.capacity.to_string(),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "bytes",
        form: Form::One(BACKLOG),
        help: "Bytes that each group may hold; at most BROKER_BYTES.",
        otherwise: Otherwise::Setting("BACKLOG_BYTES"),
        set: |rule, value| rule.bytes = value.parse().ok(),
        is_in: |rule| rule.bytes.is_some(),
        shown: |topic| text(&format_size(topic.bytes as u64)),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "overflow",
        form: Form::One(Allowed::OneOf(&["drop", "block", "reject", "drop_oldest"])),
        help: "What happens to a message for which there is no room.",
        otherwise: Otherwise::Setting("OVERFLOW"),
        set: |rule, value| {
            rule.overflow = Some(match value {
                "block" => Overflow::Block,
                "reject" => Overflow::Reject,
                "drop_oldest" => Overflow::DropOldest,
                _ => Overflow::Drop,
            });
        },
        is_in: |rule| rule.overflow.is_some(),
        shown: |topic| {
            text(match topic.overflow {
                Overflow::Drop => "drop",
                Overflow::Block => "block",
                Overflow::Reject => "reject",
                Overflow::DropOldest => "drop_oldest",
            })
        },
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "groups",
        form: Form::Groups,
        help: "Named groups that are there from the start and never end by themselves: nothing is \
               published before them.",
        otherwise: Otherwise::Always("[]"),
        set: |rule, value| {
            let names = value.split(',').filter_map(|name| Name::new(name).ok());
            rule.groups = Some(names.collect());
        },
        is_in: |rule| rule.groups.is_some(),
        shown: |topic| {
            let names: Vec<_> = topic.groups.iter().map(|it| text(it.as_str())).collect();
            format!("[{}]", names.join(", "))
        },
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "ack_timeout_ms",
        form: Form::One(Allowed::Time {
            min: 1,
            max: 31_557_600_000,
            or_zero: true,
        }),
        help: "A consumer that has settled nothing for so long loses the oldest messages that it works \
               on; 0: never.",
        otherwise: Otherwise::Always("0"),
        set: |rule, value| rule.ack_timeout = millis(value),
        is_in: |rule| rule.ack_timeout.is_some(),
        shown: |topic| time(topic.ack_timeout.unwrap_or_default()),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "max_failures",
        form: Form::One(Allowed::Number {
            min: 0,
            max: 1_000_000,
            unit: "failures",
        }),
        help: "Failures after which a message is given up; 0: never.",
        otherwise: Otherwise::Always("20"),
        set: |rule, value| rule.max_failures = value.parse().ok(),
        is_in: |rule| rule.max_failures.is_some(),
        shown: |topic| topic.max_failures.to_string(),
        of_dead_letters: DeadLetters::Never,
    },
    Key {
        name: "backoff_max_ms",
        form: Form::One(Allowed::Time {
            min: 10,
            max: 86_400_000,
            or_zero: false,
        }),
        help: "Longest that the broker waits between two failures of a message, from 10 ms on and twice \
               as long each time.",
        otherwise: Otherwise::Always("\"1s\""),
        set: |rule, value| rule.backoff_max = millis(value),
        is_in: |rule| rule.backoff_max.is_some(),
        shown: |topic| time(topic.backoff_max),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "dead_letter",
        form: Form::Switch,
        help: "Whether what is given up goes to TOPIC.dead; otherwise it is lost and counted.",
        otherwise: Otherwise::Always("true"),
        set: |rule, value| rule.dead_letter = value.parse().ok(),
        is_in: |rule| rule.dead_letter.is_some(),
        shown: |topic| topic.dead_letter.to_string(),
        of_dead_letters: DeadLetters::Never,
    },
    Key {
        name: "max_age_ms",
        form: Form::One(Allowed::Time {
            min: 1,
            max: 31_557_600_000,
            or_zero: true,
        }),
        help: "A message that has waited in a group for so long since it was published is dropped and counted \
               (`expired`); 0: never. What is with a consumer or delayed does not expire there.",
        otherwise: Otherwise::Always("0"),
        set: |rule, value| rule.max_age = millis(value),
        is_in: |rule| rule.max_age.is_some(),
        shown: |topic| time(topic.max_age.unwrap_or_default()),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "storage",
        form: Form::One(STORAGE),
        help: "Where messages are kept; `disk` and `rocksdb` need `DATA_DIR`, `rabbitmq` needs `RABBITMQ_URL`, `kafka` needs `KAFKA_BROKERS`. A dead-letter topic is kept where its source is, \
               unless a rule for it says otherwise.",
        otherwise: Otherwise::Setting("STORAGE"),
        set: |rule, value| rule.storage = Storage::named(value),
        is_in: |rule| rule.storage.is_some(),
        shown: |topic| text(topic.storage.name()),
        of_dead_letters: DeadLetters::AsSource,
    },
    Key {
        name: "fsync",
        form: Form::One(FSYNC),
        help: "When stored messages are synced: before they are confirmed, after so long, or never.",
        otherwise: Otherwise::Setting("FSYNC"),
        set: |rule, value| rule.fsync = value.parse().ok().map(|FsyncValue(fsync)| fsync),
        is_in: |rule| rule.fsync.is_some(),
        shown: |topic| match topic.store.fsync {
            Fsync::Always => text("always"),
            Fsync::Every(after) => time(after),
            Fsync::Never => text("never"),
        },
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "segment_bytes",
        form: Form::One(SEGMENT),
        help: "Size of a segment: recovery reads one, and retention deletes whole ones.",
        otherwise: Otherwise::Setting("SEGMENT_BYTES"),
        set: |rule, value| rule.segment_bytes = value.parse().ok(),
        is_in: |rule| rule.segment_bytes.is_some(),
        shown: |topic| text(&format_size(topic.store.segment_bytes)),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "retention_ms",
        form: Form::One(RETENTION),
        help: "Age at which stored messages are deleted, by whole segments; 0: never.",
        otherwise: Otherwise::Setting("RETENTION_MS"),
        set: |rule, value| rule.retention = millis(value),
        is_in: |rule| rule.retention.is_some(),
        shown: |topic| time(topic.store.retention.unwrap_or_default()),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "retention_bytes",
        form: Form::One(RETENTION_SIZE),
        help: "Bytes beyond which the oldest segments are deleted; 0: no limit.",
        otherwise: Otherwise::Setting("RETENTION_BYTES"),
        set: |rule, value| rule.retention_bytes = value.parse().ok(),
        is_in: |rule| rule.retention_bytes.is_some(),
        shown: |topic| size(topic.store.retention_bytes.unwrap_or_default()),
        of_dead_letters: DeadLetters::Own,
    },
    Key {
        name: "retention_settled",
        form: Form::Switch,
        help: "Whether segments are deleted that every lasting group has settled whole.",
        otherwise: Otherwise::Setting("RETENTION_SETTLED"),
        set: |rule, value| rule.retention_settled = value.parse().ok(),
        is_in: |rule| rule.retention_settled.is_some(),
        shown: |topic| topic.store.retention_settled.to_string(),
        of_dead_letters: DeadLetters::Own,
    },
];

fn millis(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::from_millis)
}

fn time(time: Duration) -> String {
    unless_zero(&format_time(time))
}

fn size(bytes: u64) -> String {
    unless_zero(&format_size(bytes))
}

/// As a string of TOML; a zero is a number.
fn unless_zero(shown: &str) -> String {
    match shown {
        "0" => "0".to_owned(),
        shown => text(shown),
    }
}

/// As a string of TOML. What comes here needs no escapes.
fn text(value: &str) -> String {
    format!("\"{value}\"")
}

impl Form {
    /// The value as [`Key::set`] takes it, or what is wrong with it.
    pub(super) fn canonical(&self, value: &toml::Value) -> Result<String, String> {
        let canonical = match (self, value) {
            (Self::One(allowed), toml::Value::Integer(number)) => {
                allowed.canonical(&number.to_string())
            }
            (Self::One(allowed), toml::Value::String(text)) => allowed.canonical(text.trim()),
            (Self::Switch, toml::Value::Boolean(is_on)) => Some(is_on.to_string()),
            (Self::Groups, toml::Value::Array(names)) => {
                let names = names.iter().map(|name| {
                    let name = name.as_str().ok_or_else(|| self.refuse(value))?;
                    Name::new(name)
                        .map(|_| name)
                        .map_err(|error| format!("{name:?} is no name of a group: {error}"))
                });
                Some(names.collect::<Result<Vec<_>, _>>()?.join(","))
            }
            _ => None,
        };
        canonical.ok_or_else(|| self.refuse(value))
    }

    fn refuse(&self, value: &toml::Value) -> String {
        let value = match value {
            toml::Value::String(text) => format!("{text:?}"),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(is_on) => is_on.to_string(),
            toml::Value::Datetime(_) => "a date".to_owned(),
            toml::Value::Array(_) => "an array".to_owned(),
            toml::Value::Table(_) => "a table".to_owned(),
        };
        format!("{value} is not allowed: use {self}")
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(allowed) => allowed.fmt(f),
            Self::Switch => f.write_str("true or false"),
            Self::Groups => f.write_str("an array of names such as [\"billing\", \"audit\"]"),
        }
    }
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(name) => write!(f, "`{name}`"),
            Self::Settings { own, other } => write!(
                f,
                "`{other}`, and `{own}` for a consumer that is a group of its own"
            ),
            Self::Always(value) => write!(f, "`{value}`"),
        }
    }
}
