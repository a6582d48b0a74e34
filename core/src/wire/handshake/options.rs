//! What a role line of version 2 may ask for, and how a client writes it.

use super::text;
use crate::names::{Name, TopicFilter, TopicName};
use crate::wire::Role;
use alloc::string::{String, ToString};
use core::fmt;

/// The longest heartbeat, in seconds.
pub const MAX_HEARTBEAT: u16 = 3600;

/// The most messages that may be unsettled on one connection.
pub const MAX_PREFETCH: u32 = 1_000_000;

/// The highest position that a producer may begin at.
pub const MAX_POSITION: u64 = 1 << 63;

/// The longest name of a producer's session, in bytes.
pub const MAX_SESSION: usize = 64;

/// The options of a role line, those included that were left out and have their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RoleOptions {
    /// Of a producer.
    Producer(ProducerOptions),
    /// Of a consumer.
    Consumer(ConsumerOptions),
}

/// What both roles have.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Common {
    /// Who the client is. Secret: it is in no recording.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub token: Option<String>,
    /// A label for logs; no rights hang on it.
    pub client: Option<Name>,
    /// After so many seconds of silence a side sends PING, after twice as many it ends the connection; 0: never.
    /// At most [`MAX_HEARTBEAT`]. Default: 15.
    pub heartbeat: u16,
}

/// What a producer may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProducerOptions {
    /// What both roles have.
    pub common: Common,
    /// Where messages go. Default: the broker's default topic.
    pub topic: Option<TopicName>,
    /// Whether the broker tells what is safe. Default: no; with an identity always.
    pub confirm: bool,
    /// The name under which positions are remembered.
    pub identity: Option<Identity>,
}

/// A producer that the broker knows again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// One life of it; up to [`MAX_SESSION`] bytes of any text. Default: empty.
    pub session: String,
    /// The position of the first message that it has not seen confirmed: 1 to [`MAX_POSITION`]. Default: 1.
    pub at: u64,
}

/// What a consumer may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConsumerOptions {
    /// What both roles have.
    pub common: Common,
    /// What it reads. Default: the broker's default topic.
    pub topic: Option<TopicFilter>,
    /// The group whose members share the work. Default: the topic's.
    pub group: Option<Name>,
    /// Whether a message is the consumer's until it is settled. Default: no.
    pub ack: bool,
    /// The most messages unsettled: 1 to [`MAX_PREFETCH`]. Default: 100.
    pub prefetch: u32,
    /// The most bytes unsettled, of frames; at least 1. One message is always allowed. Default: 8 MiB.
    pub prefetch_bytes: u32,
    /// How many messages it works on at once: 1 to [`MAX_PREFETCH`]. Default: 1.
    pub workers: u32,
    /// How the members of its group share. Default: all.
    pub share: Share,
    /// Where a new group begins. Default: at what is new.
    pub from: Start,
    /// Whether messages come with their sums. Default: no.
    pub check: bool,
}

/// How the members of a group share its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Share {
    /// All of them at a time.
    #[default]
    All,
    /// One at a time; the others stand by.
    One,
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Start {
    /// At the next message.
    #[default]
    New,
    /// At the first that is kept.
    First,
    /// At the last that is kept.
    Last,
    /// At a sequence.
    Sequence(u64),
    /// At the first that was published at that moment or later, in milliseconds since 1970.
    Time(u64),
}

impl Default for Common {
    fn default() -> Self {
        Self {
            token: None,
            client: None,
            heartbeat: 15,
        }
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            common: Common::default(),
            topic: None,
            group: None,
            ack: false,
            prefetch: 100,
            prefetch_bytes: 8 * 1024 * 1024,
            workers: 1,
            share: Share::All,
            from: Start::New,
            check: false,
        }
    }
}

impl Share {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::One => "one",
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Sequence(sequence) => write!(f, "{sequence}"),
            Self::Time(milliseconds) => write!(f, "@{milliseconds}"),
        }
    }
}

impl fmt::Debug for Common {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("client", &self.client)
            .field("heartbeat", &self.heartbeat)
            .finish()
    }
}

impl RoleOptions {
    /// The role.
    pub const fn role(&self) -> Role {
        match self {
            Self::Producer(_) => Role::Producer,
            Self::Consumer(_) => Role::Consumer,
        }
    }

    /// The token, which is for whoever authenticates: it is not left in the options.
    pub fn take_token(&mut self) -> Option<String> {
        match self {
            Self::Producer(options) => options.common.token.take(),
            Self::Consumer(options) => options.common.token.take(),
        }
    }

    pub(crate) fn without_token(mut self) -> Self {
        drop(self.take_token());
        self
    }

    /// The role line, its line feed included. What has its default is left out, but `v=2` is always said.
    pub fn line(&self) -> String {
        let mut line = Line::default();
        match self {
            Self::Producer(options) => options.write(&mut line),
            Self::Consumer(options) => options.write(&mut line),
        }
        line.0.push('\n');
        line.0
    }
}

impl ProducerOptions {
    fn write(&self, line: &mut Line) {
        line.0.push_str("PRODUCER v=2");
        self.common.write(line);
        line.option("topic", self.topic.as_ref().map(TopicName::as_str));
        match &self.identity {
            Some(identity) => {
                line.option("producer", Some(identity.name.as_str()));
                let session = Some(identity.session.as_str()).filter(|it| !it.is_empty());
                line.option("session", session);
                line.unless("at", identity.at, 1);
            }
            None => line.flag("confirm", self.confirm),
        }
    }
}

impl ConsumerOptions {
    fn write(&self, line: &mut Line) {
        let default = Self::default();
        line.0.push_str("CONSUMER v=2");
        self.common.write(line);
        line.option("topic", self.topic.as_ref().map(TopicFilter::as_str));
        line.option("group", self.group.as_ref().map(Name::as_str));
        line.flag("ack", self.ack);
        line.unless("prefetch", self.prefetch, default.prefetch);
        line.unless(
            "prefetch_bytes",
            self.prefetch_bytes,
            default.prefetch_bytes,
        );
        line.unless("workers", self.workers, default.workers);
        if self.share != default.share {
            line.option("share", Some(self.share.as_str()));
        }
        line.unless("from", self.from, default.from);
        line.flag("check", self.check);
    }
}

impl Common {
    fn write(&self, line: &mut Line) {
        line.option("token", self.token.as_deref());
        line.option("client", self.client.as_ref().map(Name::as_str));
        line.unless("heartbeat", self.heartbeat, Self::default().heartbeat);
    }
}

#[derive(Default)]
struct Line(String);

impl Line {
    fn option(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.extend([" ", key, "="]);
            text::encode(value, &mut self.0);
        }
    }

    fn unless<T: PartialEq + ToString>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.option(key, Some(&value.to_string()));
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.option(key, value.then_some("1"));
    }
}
