//! To whom messages go, and how many clients and messages there may be.

use super::{COUNT, PLACES, Setting};
use crate::settings::allowed::Allowed;
use message_queue_core::wire::MAX_FRAME;

pub(in crate::settings) const MESSAGES: Allowed = Allowed::Number {
    min: 1,
    max: 100_000_000,
    unit: "messages",
};
/// A backlog that could not hold one message of the largest size would drop it for ever.
pub(in crate::settings) const BACKLOG: Allowed = Allowed::Size {
    min: MAX_FRAME as u64,
    max: 1 << 40,
    or_zero: false,
};

pub(super) const SETTINGS: &[Setting] = &[
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
];
