//! Topics, groups and names of producers: how many, and for how long.

use super::{COUNT, PLACES, Setting};
use crate::settings::allowed::Allowed;

/// Up to a year, of 365.25 days.
const IDLE: Allowed = Allowed::Time {
    min: 1_000,
    max: 31_557_600_000,
    or_zero: true,
};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "DEFAULT_TOPIC",
        default: "default",
        allowed: Allowed::Topic,
        help: "Topic of clients that name none, and of those that speak version 1.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TOPIC_CREATION",
        default: "on",
        allowed: Allowed::OneOf(&["on", "off"]),
        help: "on: a topic that a client names is made. off: only if a rule of TOPICS_FILE matches it.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TOPICS_FILE",
        default: "",
        allowed: Allowed::File,
        help: "TOML file of rules that say how some topics differ from the others; none: all are alike.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "MAX_TOPICS",
        default: "1000",
        allowed: PLACES,
        help: "Topics at a time, without dead-letter topics; one more is refused.",
        memory: Some(
            "Some 1 KiB for each topic, and as much for its dead-letter topic if it has one.",
        ),
        secret: false,
    },
    Setting {
        name: "MAX_GROUPS",
        default: "10000",
        allowed: COUNT,
        help: "Named groups at a time, over all topics; one more is refused, unless it is declared.",
        memory: Some("Some 512 bytes for each, and its backlog, within BROKER_BYTES."),
        secret: false,
    },
    Setting {
        name: "MAX_PRODUCER_NAMES",
        default: "10000",
        allowed: COUNT,
        help: "Producers' names remembered without a connection; who left first is forgotten first.",
        memory: Some("Up to 512 bytes for each."),
        secret: false,
    },
    Setting {
        name: "TOPIC_IDLE_MS",
        default: "1day",
        allowed: IDLE,
        help: "Time after which a topic is forgotten that holds nothing and that nobody uses; 0: never.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "GROUP_IDLE_MS",
        default: "1day",
        allowed: IDLE,
        help: "Time after which a named group without members ends, and loses what it holds; 0: never.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "PRODUCER_IDLE_MS",
        default: "1day",
        allowed: IDLE,
        help: "Time for which a producer's name is remembered without a connection; 0: for ever.",
        memory: None,
        secret: false,
    },
];
