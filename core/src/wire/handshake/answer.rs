//! The line that answers a role line of version 2.

use super::options::MAX_POSITION;
use super::text;
use crate::names::Name;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection is what it asked to be.
    Ok(Accepted),
    /// It is not, and the broker closes it.
    Error {
        /// One word that a program can act upon.
        code: String,
        /// For people; no control characters.
        text: String,
    },
}

/// What the broker tells of a connection that it has accepted. What does not concern it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The name and version of the broker.
    pub server: String,
    /// The connection's number in the broker's log.
    pub conn: u64,
    /// The heartbeat in force, in seconds.
    pub heartbeat: u16,
    /// The largest message, in bytes.
    pub max_message: u32,
    /// The topic; not for a pattern.
    pub topic: Option<String>,
    /// The life of the topic's sequences; not for a pattern.
    pub epoch: Option<u64>,
    /// For a producer: what it means to be confirmed here.
    pub safe: Option<Safety>,
    /// For a producer: the last position that is safe under its name and session; at most [`MAX_POSITION`].
    pub accepted: Option<u64>,
    /// For a producer: whether the broker knew this life of it.
    pub resumed: Option<bool>,
    /// For a producer that is resumed: how many REFUSED follow at once, of positions from its `at` to what is
    /// accepted. Only what they do not name is safe.
    pub refused: Option<u32>,
    /// For a consumer: the group it has joined, unless it is one of its own.
    pub group: Option<Name>,
    /// For a consumer: whether the group is new.
    pub created: Option<bool>,
}

impl Accepted {
    /// For a consumer: whether other brokers share the topic. It is told then by neither whether the group is new nor,
    /// in a PONG, what waits for the group elsewhere. A pattern matches no such topic.
    pub const fn shares_topic(&self) -> bool {
        self.topic.is_some() && self.created.is_none()
    }
}

/// What it means that a message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It is in the broker's memory.
    Memory,
    /// It is on the broker's disk.
    Disk,
    /// An engine behind the broker has it.
    Engine,
}

/// Why a line is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// It begins with neither `OK` nor `ERROR`, or is no text.
    NotAnAnswer,
    /// A key that must be there is missing, or its value is not allowed.
    Key(&'static str),
}

impl Safety {
    const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Engine];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Engine => "engine",
        }
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAnswer => f.write_str("this is not the answer of a message-queue broker"),
            Self::Key(key) => write!(f, "the broker's answer has no {key} that is allowed"),
        }
    }
}

impl core::error::Error for BadAnswer {}

impl Answer {
    /// The line, its line feed included.
    pub fn line(&self) -> String {
        match self {
            Self::Ok(accepted) => accepted.line(),
            Self::Error { code, text } => {
                let clean = |it: char| if it.is_control() { '?' } else { it };
                let text: String = text.chars().map(clean).collect();
                format!("ERROR {code} {text}\n")
            }
        }
    }

    /// Reads a line, without its line feed. Keys that are not known are ignored.
    ///
    /// # Errors
    /// See [`BadAnswer`].
    pub fn parse(line: &[u8]) -> Result<Self, BadAnswer> {
        let line = core::str::from_utf8(line).map_err(|_| BadAnswer::NotAnAnswer)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "OK" => Accepted::parse(rest).map(Self::Ok),
            "ERROR" => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Self::Error {
                    code: code.to_owned(),
                    text: text.to_owned(),
                })
            }
            _ => Err(BadAnswer::NotAnAnswer),
        }
    }
}

impl Accepted {
    fn line(&self) -> String {
        let mut line = "OK v=2".to_owned();
        let flag = |it: bool| u8::from(it).to_string();
        let pairs = [
            ("server", Some(self.server.clone())),
            ("conn", Some(self.conn.to_string())),
            ("heartbeat", Some(self.heartbeat.to_string())),
            ("max_message", Some(self.max_message.to_string())),
            ("topic", self.topic.clone()),
            ("epoch", self.epoch.map(|it| format!("{it:x}"))),
            ("safe", self.safe.map(|it| it.as_str().to_owned())),
            ("accepted", self.accepted.map(|it| it.to_string())),
            ("resumed", self.resumed.map(flag)),
            ("refused", self.refused.map(|it| it.to_string())),
            ("group", self.group.as_ref().map(ToString::to_string)),
            ("created", self.created.map(flag)),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                line.extend([" ", key, "="]);
                text::encode(&value, &mut line);
            }
        }
        line.push('\n');
        line
    }

    fn parse(pairs: &str) -> Result<Self, BadAnswer> {
        let mut accepted = Self::default();
        let mut version = None;
        for pair in pairs.split(' ') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = text::decode(value.as_bytes());
            accepted.set(key, value.as_deref(), &mut version)?;
        }
        match version {
            Some(2) => Ok(accepted),
            Some(_) | None => Err(BadAnswer::Key("v")),
        }
    }

    fn set(
        &mut self,
        key: &str,
        value: Option<&str>,
        version: &mut Option<u8>,
    ) -> Result<(), BadAnswer> {
        let (key, parsed) = match key {
            "v" => ("v", put(version, value.and_then(|it| it.parse().ok()))),
            "server" => (
                "server",
                put_plain(&mut self.server, value.map(ToOwned::to_owned)),
            ),
            "conn" => (
                "conn",
                put_plain(&mut self.conn, value.and_then(|it| it.parse().ok())),
            ),
            "heartbeat" => (
                "heartbeat",
                put_plain(&mut self.heartbeat, value.and_then(|it| it.parse().ok())),
            ),
            "max_message" => (
                "max_message",
                put_plain(&mut self.max_message, value.and_then(|it| it.parse().ok())),
            ),
            "topic" => ("topic", put(&mut self.topic, value.map(ToOwned::to_owned))),
            "epoch" => (
                "epoch",
                put(
                    &mut self.epoch,
                    value.and_then(|it| u64::from_str_radix(it, 16).ok()),
                ),
            ),
            "safe" => (
                "safe",
                put(
                    &mut self.safe,
                    value.and_then(|it| Safety::ALL.into_iter().find(|safe| safe.as_str() == it)),
                ),
            ),
            "accepted" => (
                "accepted",
                put(
                    &mut self.accepted,
                    value
                        .and_then(|it| it.parse().ok())
                        .filter(|it| *it <= MAX_POSITION),
                ),
            ),
            "resumed" => ("resumed", put(&mut self.resumed, value.and_then(flag))),
            "refused" => (
                "refused",
                put(&mut self.refused, value.and_then(|it| it.parse().ok())),
            ),
            "group" => (
                "group",
                put(&mut self.group, value.and_then(|it| Name::new(it).ok())),
            ),
            "created" => ("created", put(&mut self.created, value.and_then(flag))),
            _ => return Ok(()),
        };
        parsed.ok_or(BadAnswer::Key(key))
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

fn put_plain<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Accepted {
        Accepted {
            server: "message-queue/0.2.0".into(),
            conn: 7,
            heartbeat: 15,
            max_message: 1_048_576,
            ..Accepted::default()
        }
    }

    #[test]
    fn every_key_comes_back_as_it_was_told() {
        let producer = Accepted {
            topic: Some("gpu.0".into()),
            epoch: Some(0x19),
            safe: Some(Safety::Memory),
            accepted: Some(4),
            resumed: Some(true),
            refused: Some(2),
            ..accepted()
        };
        let line = "OK v=2 server=message-queue/0.2.0 conn=7 heartbeat=15 max_message=1048576 \
                    topic=gpu.0 epoch=19 safe=memory accepted=4 resumed=1 refused=2\n";
        assert_eq!(Answer::Ok(producer.clone()).line(), line);
        assert_eq!(
            Answer::parse(line.trim_end().as_bytes()),
            Ok(Answer::Ok(producer))
        );
        let consumer = Accepted {
            group: Name::new("store").ok(),
            created: Some(false),
            ..accepted()
        };
        let line = Answer::Ok(consumer.clone()).line();
        assert!(line.ends_with(" group=store created=0\n"), "{line}");
        assert_eq!(
            Answer::parse(line.trim_end().as_bytes()),
            Ok(Answer::Ok(consumer))
        );
    }

    #[test]
    fn unknown_keys_are_ignored_and_bad_ones_are_not() {
        assert_eq!(
            Answer::parse(b"OK v=2 conn=7 colour=blue later"),
            Ok(Answer::Ok(Accepted {
                conn: 7,
                ..Accepted::default()
            }))
        );
        assert_eq!(Answer::parse(b"OK conn=7"), Err(BadAnswer::Key("v")));
        assert_eq!(Answer::parse(b"OK v=3"), Err(BadAnswer::Key("v")));
        assert_eq!(Answer::parse(b"OK v=2 conn=x"), Err(BadAnswer::Key("conn")));
        assert_eq!(Answer::parse(b"HTTP/1.1 400"), Err(BadAnswer::NotAnAnswer));
        assert_eq!(Answer::parse(b"OK\xff"), Err(BadAnswer::NotAnAnswer));
    }

    #[test]
    fn an_error_is_one_line_whatever_is_in_it() {
        let error = Answer::Error {
            code: "bad_option".into(),
            text: "a\nb".into(),
        };
        assert_eq!(error.line(), "ERROR bad_option a?b\n");
        assert_eq!(
            Answer::parse(b"ERROR draining\r"),
            Ok(Answer::Error {
                code: "draining".into(),
                text: String::new()
            })
        );
    }
}
