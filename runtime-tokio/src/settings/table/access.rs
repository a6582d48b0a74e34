//! HTTP, and who may do what.

use super::{DEADLINE, Setting};
use crate::operate::metrics::MOST_LABELLED;
use crate::settings::allowed::Allowed;

pub(super) const SETTINGS: &[Setting] = &[
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
];
