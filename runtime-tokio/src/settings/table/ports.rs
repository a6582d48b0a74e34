//! Where clients connect, and TLS there.

use super::{DEADLINE, Setting};
use crate::settings::allowed::Allowed;

pub(super) const SETTINGS: &[Setting] = &[
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
];
