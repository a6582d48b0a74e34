//! The one list of settings.
//!
//! Everything that names a setting comes from here or is tested against it: parsing and its errors,
//! `--help`, `--print-config`, `docs/SETTINGS.md`, `.env.example` and the chart's values.

use super::allowed::Allowed;
use crate::operate::metrics::MOST_LABELLED;
use message_queue_core::wire::MAX_FRAME;

/// One setting: an environment variable.
#[derive(Debug)]
pub struct Setting {
    /// The name of the variable.
    pub name: &'static str,
    /// The value where none is given, as it would be written; empty where there is none.
    pub default: &'static str,
    /// The values that are allowed.
    pub allowed: Allowed,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// For a bound: what it costs in memory.
    pub memory: Option<&'static str>,
    /// Whether the value is never shown: not by `--print-config`, in the log, or in an error.
    pub secret: bool,
}

const PLACES: Allowed = Allowed::Number {
    min: 1,
    max: 1_000_000,
    unit: "",
};
pub(super) const MESSAGES: Allowed = Allowed::Number {
    min: 1,
    max: 100_000_000,
    unit: "messages",
};
/// A backlog that could not hold one message of the largest size would drop it for ever.
pub(super) const BACKLOG: Allowed = Allowed::Size {
    min: MAX_FRAME as u64,
    max: 1 << 40,
    or_zero: false,
};
const IO_SIZE: Allowed = Allowed::Size {
    min: 4_096,
    max: 16_777_216,
    or_zero: false,
};
const SOCKET_BUFFER: Allowed = Allowed::Size {
    min: 4_096,
    max: 1_073_741_824,
    or_zero: true,
};
/// An hour: a longer deadline is more likely a slip of the unit than a wish.
const DEADLINE: Allowed = Allowed::Time {
    min: 1,
    max: 3_600_000,
    or_zero: false,
};
const SPAN: Allowed = Allowed::Time {
    min: 0,
    max: 3_600_000,
    or_zero: false,
};

/// Things that are counted, of which there may be none.
const COUNT: Allowed = Allowed::Number {
    min: 0,
    max: 1_000_000,
    unit: "",
};
/// Up to a year, of 365.25 days.
const IDLE: Allowed = Allowed::Time {
    min: 1_000,
    max: 31_557_600_000,
    or_zero: true,
};

/// Where a topic is kept.
pub(super) const STORAGE: Allowed =
    Allowed::OneOf(&["memory", "disk", "rocksdb", "rabbitmq", "kafka"]);
/// Of a topic in Kafka.
const PARTITIONS: Allowed = Allowed::Number {
    min: 1,
    max: 10_000,
    unit: "",
};
/// When what is stored is synced: a minute is the most that a power cut may take.
pub(super) const FSYNC: Allowed = Allowed::WordOrTime {
    words: &["always", "never"],
    min: 1,
    max: 60_000,
};
/// The smallest leaves room for some records, the largest is what recovery still reads in seconds.
pub(super) const SEGMENT: Allowed = Allowed::Size {
    min: 1 << 20,
    max: 1 << 30,
    or_zero: false,
};
/// Up to ten years, of 365.25 days.
pub(super) const RETENTION: Allowed = Allowed::Time {
    min: 1,
    max: 315_576_000_000,
    or_zero: true,
};
/// No less than the smallest segment: the last one always stays.
pub(super) const RETENTION_SIZE: Allowed = Allowed::Size {
    min: 1 << 20,
    max: 1 << 50,
    or_zero: true,
};

/// Every setting, in the order in which they are listed everywhere.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "TCP_PORT",
        default: "9080",
        allowed: Allowed::Port { or_off: true },
        help: "Port that producers and consumers connect to, without TLS; 0 takes any free port.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "HTTP_PORT",
        default: "8080",
        allowed: Allowed::Port { or_off: false },
        help: "Port of /healthz, /ready, /metrics and more (GET / lists them); 0 takes any free port.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "BIND_ADDRESS",
        default: "::",
        allowed: Allowed::IpAddress,
        help: "Address that all ports listen on; :: stands for all, of IPv6 and of IPv4.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_PORT",
        default: "off",
        allowed: Allowed::Port { or_off: true },
        help: "Port that producers and consumers connect to with TLS; 0 takes any free port.",
        memory: Some(
            "For each connection 16 KiB more than without TLS (measured), and up to 64 KiB of a write that its socket has not taken.",
        ),
        secret: false,
    },
    Setting {
        name: "TLS_CERT_FILE",
        default: "",
        allowed: Allowed::File,
        help: "PEM file of the certificate for TLS, and behind it the chain of those that issued it.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_KEY_FILE",
        default: "",
        allowed: Allowed::File,
        help: "PEM file of the key of TLS_CERT_FILE, without a password.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_CLIENT_CA_FILE",
        default: "",
        allowed: Allowed::File,
        help: "PEM file of the authorities whose certificates clients may show.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_CLIENT_AUTH",
        default: "off",
        allowed: Allowed::OneOf(&["off", "optional", "required"]),
        help: "Whether clients show a certificate: off: never asked, optional: a good one or none, required.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_HANDSHAKE_TIMEOUT_MS",
        default: "10s",
        allowed: DEADLINE,
        help: "Time from connecting in which the TLS handshake must be done.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TLS_MAX_HANDSHAKES",
        default: "256",
        allowed: Allowed::Number {
            min: 1,
            max: 10_000,
            unit: "",
        },
        help: "TLS handshakes under way at a time, on each port; one more gets the place of the oldest.",
        memory: Some(
            "For each a file descriptor and 14 KiB; a client can make it 80 KiB (both measured).",
        ),
        secret: false,
    },
    Setting {
        name: "HTTP_TLS",
        default: "off",
        allowed: Allowed::OneOf(&["on", "off"]),
        help: "on: HTTP_PORT speaks TLS too, with the same certificate; clients of it need not show one.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "DELIVERY_MODE",
        default: "broadcast",
        allowed: Allowed::OneOf(&["broadcast", "queue"]),
        help: "broadcast: every consumer gets every message. queue: each message goes to one.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "OVERFLOW",
        default: "drop",
        allowed: Allowed::OneOf(&["drop", "block", "reject", "drop_oldest"]),
        help: "No room: drop the newest message, block or reject its producer, or drop_oldest in broadcast.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "MAX_CONSUMERS",
        default: "10",
        allowed: PLACES,
        help: "Consumers at a time; one more is refused.",
        memory: Some(
            "In broadcast mode one backlog for each consumer: up to MAX_CONSUMERS x \
             BACKLOG_BYTES, and never more than BROKER_BYTES. Consumers that wait for the same \
             messages share them.",
        ),
        secret: false,
    },
    Setting {
        name: "MAX_CONNECTIONS",
        default: "10000",
        allowed: PLACES,
        help: "Connections at a time; where producers may wait, a tenth is reserved for consumers.",
        memory: Some(
            "For each connection a file descriptor and, while it is idle, 1.5 KiB (measured: the \
             broker takes 19 MiB with 10,000 idle producers, 39 MiB with half a message read from \
             each). Each producer that sends also costs what READ_BYTES says.",
        ),
        secret: false,
    },
    Setting {
        name: "MAX_CONNECTIONS_PER_ADDRESS",
        default: "0",
        allowed: COUNT,
        help: "Connections at a time from one address, or one IPv6 network of 64 bits; 0: no limit.",
        memory: Some(
            "With one of the two limits by address: 64 bytes for each address that has a connection.",
        ),
        secret: false,
    },
    Setting {
        name: "CONNECTION_RATE_PER_ADDRESS",
        default: "0",
        allowed: COUNT,
        help: "New connections a second from one address, at once or spread; 0: no limit.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "FAILED_HANDSHAKES_PER_ADDRESS",
        default: "0",
        allowed: COUNT,
        help: "Failed TLS handshakes and tokens a minute from one address, before it is refused; 0: any.",
        memory: Some(
            "64 bytes for each address with a failure in the last minute, 10,000 addresses at most.",
        ),
        secret: false,
    },
    Setting {
        name: "PROXY_PROTOCOL",
        default: "off",
        allowed: Allowed::OneOf(&["off", "on"]),
        help: "on: connections from PROXY_TRUSTED begin with a PROXY header that says whose they are.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "PROXY_TRUSTED",
        default: "",
        allowed: Allowed::Networks,
        help: "Where load balancers connect from that speak the PROXY protocol, with commas between.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "CONSUMER_CHANNEL_BUFFER_SIZE",
        default: "10000",
        allowed: MESSAGES,
        help: "Messages that may wait for one consumer in broadcast mode.",
        memory: Some(
            "The messages themselves; BACKLOG_BYTES bounds their bytes. A message that arrived \
             alone takes up to 150 bytes more (measured: 90); messages that arrived together \
             share that.",
        ),
        secret: false,
    },
    Setting {
        name: "QUEUE_CAPACITY",
        default: "10000",
        allowed: MESSAGES,
        help: "Messages that may wait in the queue in queue mode.",
        memory: Some(
            "The messages themselves; BACKLOG_BYTES bounds their bytes. A message that arrived \
             alone takes up to 150 bytes more (measured: 90); messages that arrived together \
             share that.",
        ),
        secret: false,
    },
    Setting {
        name: "BACKLOG_BYTES",
        default: "32MiB",
        allowed: BACKLOG,
        help: "Bytes that may wait for one consumer (broadcast) or in the queue.",
        memory: Some(
            "This many bytes for each consumer (broadcast) or once (queue), within BROKER_BYTES.",
        ),
        secret: false,
    },
    Setting {
        name: "BROKER_BYTES",
        default: "512MiB",
        allowed: BACKLOG,
        help: "Bytes of all messages that the broker holds, whole or not; at least BACKLOG_BYTES.",
        memory: Some(
            "At most twice this many bytes for all messages, and an eighth more while consumers acknowledge: those that wait, in a backlog or with a \
             blocked producer, those on their way to consumers, and those of which a part has \
             arrived. The overhead that QUEUE_CAPACITY names comes on top. A message that waits for \
             several consumers counts once for each, though it is kept once. An unfinished message \
             counts from 16 KiB on. When the bytes run short, the producer with the largest \
             unfinished message is disconnected, unless all unfinished messages together take no more \
             than an eighth of this, or one largest message. There is always room for one largest \
             message (with OVERFLOW=block, for each consumer), even beyond this bound. In broadcast mode what \
             is on its way counts for each consumer, too: with OVERFLOW=block and hundreds of \
             consumers, two READ_BYTES for each of them let reads pass whole (measured with 1,000 \
             consumers: 3 times the rate).",
        ),
        secret: false,
    },
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
    Setting {
        name: "MAX_HTTP_CONNECTIONS",
        default: "64",
        allowed: Allowed::Number {
            min: 1,
            max: 10_000,
            unit: "",
        },
        help: "HTTP connections at a time; one more gets the place of the one that has been idle for \
               longest.",
        memory: Some("For each a file descriptor, and up to 16 KiB while a request comes."),
        secret: false,
    },
    Setting {
        name: "HTTP_TIMEOUT_MS",
        default: "10s",
        allowed: DEADLINE,
        help: "Time in which an HTTP request must come, or an idle HTTP connection be used again.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "METRICS_TOPICS",
        default: "100",
        allowed: Allowed::Number {
            min: 0,
            max: MOST_LABELLED as u64,
            unit: "topics",
        },
        help: "Topics that have metrics of their own; all further ones are summed up as other.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "AUTH_TOKENS_FILE",
        default: "",
        allowed: Allowed::File,
        help: "TOML file of who may do what, by token or certificate; none: all may do everything.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "AUTH_JWKS_FILE",
        default: "",
        allowed: Allowed::File,
        help: "JWK set, as JSON: whoever has a JSON Web Token that one of its keys has signed is its subject.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "AUTH_JWT_ISSUER",
        default: "",
        allowed: Allowed::Text,
        help: "Who must have issued a JSON Web Token: its iss.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "AUTH_JWT_AUDIENCE",
        default: "message-queue",
        allowed: Allowed::Text,
        help: "Whom a JSON Web Token must be meant for: one of its aud.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "AUTH_ANONYMOUS",
        default: "auto",
        allowed: Allowed::OneOf(&["auto", "none", "produce", "consume", "all"]),
        help: "What others may do, in all topics; auto: nothing with AUTH_TOKENS_FILE, all without.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "HTTP_AUTH",
        default: "open",
        allowed: Allowed::OneOf(&["open", "metrics", "all"]),
        help: "What admins alone are shown over HTTP: open: nothing; metrics: all but metrics; all: all.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "ROLE_TIMEOUT_MS",
        default: "10s",
        allowed: DEADLINE,
        help: "Time from connecting in which the whole role line must come.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "ROLE_LINE_BYTES",
        default: "4KiB",
        allowed: Allowed::Size {
            min: 16,
            max: 65_536,
            or_zero: false,
        },
        help: "Longest role line.",
        memory: Some("This many bytes for each connection that has not named its role yet."),
        secret: false,
    },
    Setting {
        name: "FRAME_TIMEOUT_MS",
        default: "30s",
        allowed: DEADLINE,
        help: "Time that a producer may pause in the middle of a message before it is disconnected.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "WRITE_TIMEOUT_MS",
        default: "30s",
        allowed: DEADLINE,
        help: "Time in which a consumer must take some of a write before it is disconnected.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "MIN_CONSUMER_RATE",
        default: "1KiB",
        allowed: Allowed::Size {
            min: 1,
            max: 1 << 30,
            or_zero: true,
        },
        help: "Bytes a second that a consumer must take; 0: any progress will do.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "WRITE_BYTES",
        default: "1MiB",
        allowed: IO_SIZE,
        help: "Most bytes in one write to a consumer; one larger message goes alone.",
        memory: Some(
            "This many bytes in flight for each consumer. In queue mode a consumer that stops \
             reading withholds this many bytes from the others, and what the kernels' socket \
             buffers hold. If a quarter of this or more waits in a queue, at most eight free \
             consumers share it, or more if each then gets an eighth of this. Of consumers that acknowledge, two share it.",
        ),
        secret: false,
    },
    Setting {
        name: "READ_BYTES",
        default: "1MiB",
        allowed: IO_SIZE,
        help: "Most bytes in one read from a producer.",
        memory: Some(
            "Producers take turns in two buffers of this many bytes (measured: 100 that flood and \
             the broker take 10 MiB). One that pauses in the middle of a message keeps a buffer of \
             its own of up to 2 MiB, which counts within BROKER_BYTES.",
        ),
        secret: false,
    },
    Setting {
        name: "SEND_BUFFER_BYTES",
        default: "0",
        allowed: SOCKET_BUFFER,
        help: "Size of the kernel's send buffer (SO_SNDBUF) for a consumer; 0 leaves it to the kernel.",
        memory: Some(
            "Kernel memory for each consumer, up to this many bytes (Linux reserves twice as \
             many); with 0 the kernel decides, on Linux up to 4 MiB by default. Measured on loopback \
             with a consumer that reads nothing, its own receive buffer included: 4.2 MB with 0, \
             0.23 MB with 65536. Less than that makes every consumer slow: 2 MB a second with \
             16384 or 4096, over 500 with 65536 or 0.",
        ),
        secret: false,
    },
    Setting {
        name: "RECEIVE_BUFFER_BYTES",
        default: "0",
        allowed: SOCKET_BUFFER,
        help: "Size of the kernel's receive buffer (SO_RCVBUF) for a producer; 0 leaves it to the kernel.",
        memory: Some(
            "Kernel memory for each producer that sends more than is read, up to this many bytes \
             (Linux reserves twice as many, and allows no more than net.core.rmem_max); with 0 the \
             kernel decides, on Linux up to 6 MiB or more (net.ipv4.tcp_rmem). All sockets of a \
             machine share net.ipv4.tcp_mem: where hundreds of producers flood, set this so that \
             they stay below it, or consumers' sockets are starved of memory too.",
        ),
        secret: false,
    },
    Setting {
        name: "KEEPALIVE_MS",
        default: "30s",
        allowed: Allowed::Time {
            min: 3_000,
            max: 3_600_000,
            or_zero: true,
        },
        help: "Silence after which TCP asks a peer whether it is still there; 0 never asks.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "TCP_USER_TIMEOUT_MS",
        default: "1m",
        allowed: Allowed::Time {
            min: 1_000,
            max: 3_600_000,
            or_zero: true,
        },
        help: "Time a peer may acknowledge nothing before it counts as gone; 0: the kernel decides.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "DRAIN_TIMEOUT_MS",
        default: "20s",
        allowed: SPAN,
        help: "After SIGTERM: time allowed to deliver what was received.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "DRAIN_DELAY_MS",
        default: "0",
        allowed: SPAN,
        help: "After SIGTERM: time in which /ready already fails but everything still works.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "WORKER_THREADS",
        default: "1",
        allowed: Allowed::Number {
            min: 1,
            max: 1_024,
            unit: "",
        },
        help: "Threads that serve connections; 1 is the fastest for most loads.",
        memory: Some("A stack of 2 MiB (address space, used as needed) for each beyond the first."),
        secret: false,
    },
    Setting {
        name: "LOG_LEVEL",
        default: "info",
        allowed: Allowed::OneOf(&["error", "warn", "info", "debug", "trace"]),
        help: "Least severe level that is logged. RUST_LOG, where set, wins.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "LOG_FORMAT",
        default: "auto",
        allowed: Allowed::OneOf(&["auto", "text", "json"]),
        help: "text or json; auto is text on a terminal and JSON lines elsewhere.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RUST_LOG",
        default: "",
        allowed: Allowed::LogFilter,
        help: "What is logged, part by part, as directives of tracing's EnvFilter.",
        memory: None,
        secret: false,
    },
    Setting {
        name: "RECORD_DIR",
        default: "",
        allowed: Allowed::Directory,
        help: "Directory for the flight recorder's files; none turns it off.",
        memory: Some(
            "While the disk is slower than the broker, up to 64 MiB of messages (128 MiB with \
             what they keep from being freed); more than that is a gap in the recording. The messages \
             of checkpoints that wait are kept too: 64 MiB, or one larger checkpoint.",
        ),
        secret: false,
    },
    Setting {
        name: "RECORD_BYTES",
        default: "256MiB",
        allowed: Allowed::Size {
            min: 16_777_216,
            max: 8_589_934_592,
            or_zero: false,
        },
        help: "Bytes on disk for all recordings in RECORD_DIR together; the oldest make room.",
        memory: Some("Up to a quarter of this while the recorder writes a checkpoint."),
        secret: false,
    },
    Setting {
        name: "RECORD_PAYLOADS",
        default: "hash",
        allowed: Allowed::OneOf(&["full", "hash"]),
        help: "What recordings keep of messages: all, or length and hash (nothing is readable).",
        memory: None,
        secret: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_allowed_and_in_its_usual_form() {
        for setting in SETTINGS {
            let canonical = setting.allowed.canonical(setting.default).unwrap();
            assert_eq!(
                setting.allowed.shown(&canonical),
                setting.default,
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn every_name_is_listed_once() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
