//! The other end of wire version 2, as state machines: a runtime feeds them bytes and time, and does what they
//! ask for. They open no connection and wait for nothing, so that tokio, smol, WebAssembly, simulators and fuzzers
//! run the same clients.
//!
//! ```text
//! messages ─▶ ProducerClient ─▶ bytes      resend.rs keeps what is not confirmed, over any number of connections
//! bytes ─▶ ConsumerClient ─▶ deliveries    settling.rs gathers what became of them
//! ```

mod connection;
mod consumer;
mod liveness;
mod producer;
mod resend;
mod settling;
#[cfg(test)]
mod tests;

pub use consumer::{ConsumerClient, ConsumerEvent, Delivery, Position};
pub use producer::{ProducerClient, ProducerEvent};
pub use resend::Window;

use crate::wire::control::Reason;
use crate::wire::handshake::BadAnswer;
use crate::wire::{BadStream, Damage};
use core::fmt;

/// Why a connection of a client has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The broker said so, in its answer or in an ERROR frame.
    Refused(Reason),
    /// What it sent cannot be understood.
    NotUnderstood(BadStream),
    /// Its answer is none.
    NoAnswer(BadAnswer),
    /// What came is not what was sent, of which no message was handed out: only where the client verifies.
    Damaged(Damage),
    /// It was silent for twice the heartbeat.
    Silent,
    /// The stream ended or failed.
    Disconnected,
}

impl From<BadStream> for Ended {
    fn from(error: BadStream) -> Self {
        match error {
            BadStream::Damaged(damage) => Self::Damaged(damage),
            BadStream::Line | BadStream::Frame(_) => Self::NotUnderstood(error),
        }
    }
}

impl From<BadAnswer> for Ended {
    fn from(error: BadAnswer) -> Self {
        Self::NoAnswer(error)
    }
}

/// Codes after which the same client would be refused again, or must not come back by itself.
const FINAL: [&str; 15] = [
    "unknown_role",
    "tls_required",
    "unsupported_version",
    "unknown_option",
    "bad_option",
    "unauthorized",
    "forbidden",
    "unknown_topic",
    "group_mismatch",
    "bad_frame",
    "bad_position",
    "unexpected_data",
    "frame_too_large",
    "taken_over",
    "no_history",
];

impl Ended {
    /// Whether connecting again makes sense.
    pub fn may_try_again(&self) -> bool {
        match self {
            Self::Refused(reason) => !FINAL.contains(&reason.code.as_str()),
            Self::NotUnderstood(_) | Self::NoAnswer(_) => false,
            Self::Damaged(_) | Self::Silent | Self::Disconnected => true,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "{}: {}", reason.code, reason.text),
            Self::NotUnderstood(error) => error.fmt(f),
            Self::NoAnswer(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Silent => f.write_str("the broker was silent for twice the heartbeat"),
            Self::Disconnected => f.write_str("the connection ended"),
        }
    }
}

impl core::error::Error for Ended {}
