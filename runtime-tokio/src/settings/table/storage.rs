//! Where topics are stored, and for how long.

use super::Setting;
use crate::settings::allowed::Allowed;

/// Where a topic is kept.
pub(in crate::settings) const STORAGE: Allowed =
    Allowed::OneOf(&["memory", "disk", "rocksdb", "rabbitmq", "kafka"]);
/// Of a topic in Kafka.
const PARTITIONS: Allowed = Allowed::Number {
    min: 1,
    max: 10_000,
    unit: "",
};
/// When what is stored is synced: a minute is the most that a power cut may take.
pub(in crate::settings) const FSYNC: Allowed = Allowed::WordOrTime {
    words: &["always", "never"],
    min: 1,
    max: 60_000,
};
/// The smallest leaves room for some records, the largest is what recovery still reads in seconds.
pub(in crate::settings) const SEGMENT: Allowed = Allowed::Size {
    min: 1 << 20,
    max: 1 << 30,
    or_zero: false,
};
/// Up to ten years, of 365.25 days.
pub(in crate::settings) const RETENTION: Allowed = Allowed::Time {
    min: 1,
    max: 315_576_000_000,
    or_zero: true,
};
/// No less than the smallest segment: the last one always stays.
pub(in crate::settings) const RETENTION_SIZE: Allowed = Allowed::Size {
    min: 1 << 20,
    max: 1 << 50,
    or_zero: true,
};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "STORAGE",
        default: "memory",
        allowed: STORAGE,
        help: "Where topics are kept: in memory until the broker ends, in DATA_DIR (disk, rocksdb), or there.",
        memory: Some(
            "With disk or rocksdb, up to BACKLOG_BYTES of each topic wait for the disk, within BROKER_BYTES. They \
             are up to 4,096 pieces, each of which takes some 200 bytes more. A group that is behind \
             reads 32 KiB of messages at a time, and up to WRITE_BYTES if its members take that \
             quickly; then it holds 1.5 x WRITE_BYTES or so, however much waits for it on the disk. \
             RocksDB itself holds up to 112 MiB more.",
        ),
        secret: false,
    },
    Setting {
        name: "DATA_DIR",
        default: "",
        allowed: Allowed::Directory,
        help: "Folder of stored topics, of one broker alone; its parent must be there.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RABBITMQ_URL",
        default: "",
        allowed: Allowed::Text,
        help: "Where RabbitMQ is: amqp[s]://USER:PASSWORD@HOST:PORT/VHOST; %2f is the vhost /.",
        memory: None,
        secret: true,
    },
    Setting {
        name: "RABBITMQ_CA_FILE",
        default: "",
        allowed: Allowed::File,
        help: "PEM file of authorities for amqps://, beside the system's; read at each start.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RABBITMQ_PREFIX",
        default: "mq.",
        allowed: Allowed::Text,
        help: "What names in RabbitMQ begin with; the same for all brokers of a service.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_BROKERS",
        default: "",
        allowed: Allowed::Text,
        help: "Where Kafka is: HOST:PORT of one of its brokers or more, with commas.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_TOPIC_PREFIX",
        default: "mq.",
        allowed: Allowed::Text,
        help: "What names in Kafka begin with; the same for all brokers of a service.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_PARTITIONS",
        default: "1",
        allowed: PARTITIONS,
        help: "Partitions of a topic that is made: so many brokers share a group. Each keeps the order.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_RECORD",
        default: "message",
        allowed: Allowed::OneOf(&["message", "batch"]),
        help: "What a record in Kafka holds: a message, which others can read, or a batch, which is faster.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_KEY_PATTERN",
        default: "",
        allowed: Allowed::Wildcards,
        help: "Topics with keys in Kafka: what its wildcards stand for. All of a topic is in one partition.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "KAFKA_CONFIG_FILE",
        default: "",
        allowed: Allowed::File,
        help: "File of properties for librdkafka, as of TLS and SASL: lines NAME=VALUE.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "FSYNC",
        default: "always",
        allowed: FSYNC,
        help: "When stored messages are synced: before they are confirmed, after so long, or never.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "SEGMENT_BYTES",
        default: "64MiB",
        allowed: SEGMENT,
        help: "Size of a file of a stored topic: a start reads one per topic, retention deletes whole ones.",
        memory: Some(
            "For each stored topic the index of its last segment: 24 bytes for every 64 KiB of it, so \
             24 KiB at the default. Each stored topic takes at least \
             one segment of this size on the disk, and up to one more for the next, which is made in advance.",
        ),
        secret: false,
    },
    Setting {
        name: "RETENTION_MS",
        default: "0",
        allowed: RETENTION,
        help: "Age at which stored messages are deleted, by whole segments; 0: never.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RETENTION_BYTES",
        default: "0",
        allowed: RETENTION_SIZE,
        help: "Bytes of a stored topic beyond which its oldest segments are deleted; 0: no limit.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RETENTION_SETTLED",
        default: "off",
        allowed: Allowed::OneOf(&["on", "off"]),
        help: "on: segments are deleted that every lasting group of the topic has settled whole.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "DISK_RESERVE_BYTES",
        default: "256MiB",
        allowed: Allowed::Size {
            min: 1 << 20,
            max: 1 << 40,
            or_zero: true,
        },
        help: "Free space that is left on the file system of DATA_DIR: below it the disk is full; 0: none.",
        memory: None,
        secret: false,
    },
];
