//! What these clients can meet. Each error says whether trying again makes sense.

use super::token::TokenError;
use crate::client::ConnectError;
use message_queue_core::client::Ended;
use message_queue_core::names::NameError;
use message_queue_core::wire::control::Reason;
use message_queue_core::wire::{Damage, MessageTooLarge};
use std::io;
use std::sync::Arc;

/// What was asked for is not allowed: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct BadOption {
    /// Which option.
    pub option: &'static str,
    /// What is wrong with its value, and what is allowed.
    pub problem: String,
}

impl BadOption {
    pub(super) fn new(option: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { option, problem }
    }

    pub(super) fn name(option: &'static str, value: &str, error: NameError) -> Self {
        Self::new(option, format!("{value:?}: {error}"))
    }
}

/// Why there is no connection, or none any more. The last one that a client meets is why it has ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Gone {
    /// None came about.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// None was tried: the token of this client cannot be read.
    #[error(transparent)]
    Token(Arc<TokenError>),
    /// It ended before the broker had answered.
    #[error(
        "the broker at {address} did not accept the connection: {}", why(.ended, .cause.as_deref())
    )]
    Unanswered {
        /// Where the broker is.
        address: Arc<str>,
        /// How it ended.
        ended: Ended,
        /// What the broker has said of that, in TLS: that it wants a certificate, for instance.
        cause: Option<Arc<io::Error>>,
    },
    /// It ended.
    #[error("the connection to the broker at {address} is lost: {ended}")]
    Lost {
        /// Where the broker is.
        address: Arc<str>,
        /// How it ended.
        ended: Ended,
    },
    /// This side has closed it.
    #[error("this client is closed")]
    Closed,
}

/// How it ended, and what that may mean.
fn why(ended: &Ended, cause: Option<&io::Error>) -> String {
    match cause {
        Some(cause) => cause.to_string(),
        None => format!("{ended}{}", hint(ended)),
    }
}

/// What else it may mean that a connection ends without an answer.
fn hint(ended: &Ended) -> &'static str {
    match ended {
        Ended::Disconnected | Ended::NoAnswer(_) | Ended::NotUnderstood(_) => {
            " (is it the TCP port of a broker of version 0.2 or later?)"
        }
        Ended::Refused(_) | Ended::Damaged(_) | Ended::Silent => "",
    }
}

impl Gone {
    /// Whether connecting again makes sense: the same may go well at another time.
    pub fn may_try_again(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Token(_) => true,
            Self::Unanswered { ended, .. } | Self::Lost { ended, .. } => ended.may_try_again(),
            Self::Closed => false,
        }
    }

    /// What was damaged, if that is why: only of a consumer that [verifies](super::ConsumerBuilder::verify).
    pub const fn damage(&self) -> Option<&Damage> {
        match self {
            Self::Lost {
                ended: Ended::Damaged(damage),
                ..
            } => Some(damage),
            Self::Connect(_)
            | Self::Token(_)
            | Self::Unanswered { .. }
            | Self::Lost { .. }
            | Self::Closed => None,
        }
    }

    /// The code with which the broker ended the connection, if it gave one: `taken_over` for instance.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Unanswered { ended, .. } | Self::Lost { ended, .. } => match ended {
                Ended::Refused(reason) => Some(&reason.code),
                Ended::NotUnderstood(_)
                | Ended::NoAnswer(_)
                | Ended::Damaged(_)
                | Ended::Silent
                | Ended::Disconnected => None,
            },
            Self::Connect(_) | Self::Token(_) | Self::Closed => None,
        }
    }
}

/// A client has not come about.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// What was asked for is not allowed.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// There is no connection.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl StartError {
    /// Whether the same may go well at another time.
    pub fn may_try_again(&self) -> bool {
        match self {
            Self::Option(_) => false,
            Self::Gone(gone) => gone.may_try_again(),
        }
    }
}

/// A message was not accepted for sending.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// No frame can carry it: the caller's fault. The producer can still be used.
    #[error(transparent)]
    MessageTooLarge(#[from] MessageTooLarge),
    /// No topic has such a name: the caller's fault. The producer can still be used.
    #[error(transparent)]
    Topic(#[from] BadOption),
    /// The producer has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// Messages are not known to be safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unconfirmed {
    /// The broker has not taken them, and will not: they can be sent again, as new messages.
    #[error(transparent)]
    Refused(Refused),
    /// The producer has ended: the broker may have taken them or not.
    #[error("{gone}; {messages} messages are not confirmed")]
    Gone {
        /// Why.
        gone: Gone,
        /// How many of the messages that were asked for.
        messages: u64,
    },
}

/// Messages that a broker has not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker refused {messages} messages: {}: {}", .reason.code, .reason.text)]
pub struct Refused {
    /// How many.
    pub messages: u64,
    /// Why the first of them was refused.
    pub reason: Reason,
}

impl Refused {
    /// Adds messages that were refused to those before.
    pub(super) fn add(before: &mut Option<Self>, messages: u64, reason: &Reason) {
        match before {
            Some(refused) => refused.messages += messages,
            None => {
                *before = Some(Self {
                    messages,
                    reason: reason.clone(),
                });
            }
        }
    }
}
