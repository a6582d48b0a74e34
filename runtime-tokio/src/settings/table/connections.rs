//! What a connection of a client may take: time, buffers, silence.

use super::{DEADLINE, Setting};
use crate::settings::allowed::Allowed;

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

pub(super) const SETTINGS: &[Setting] = &[
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
];
