//! The broker's process: its end, threads, log and recorder.

use super::Setting;
use crate::settings::allowed::Allowed;

const SPAN: Allowed = Allowed::Time {
    min: 0,
    max: 3_600_000,
    or_zero: false,
};

pub(super) const SETTINGS: &[Setting] = &[
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
