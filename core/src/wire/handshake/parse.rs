//! The options of a role line, as the broker reads them.

use super::options::{
    Common, ConsumerOptions, Identity, MAX_HEARTBEAT, MAX_POSITION, MAX_PREFETCH, MAX_SESSION,
    ProducerOptions, RoleOptions, Share, Start,
};
use super::text;
use crate::names::{Name, NameError, TopicFilter, TopicName};
use crate::wire::Role;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

/// Every option, with the role that has it; none: both have.
const OPTIONS: [(&str, Option<Role>); 17] = [
    ("v", None),
    ("topic", None),
    ("token", None),
    ("client", None),
    ("heartbeat", None),
    ("confirm", Some(Role::Producer)),
    ("producer", Some(Role::Producer)),
    ("session", Some(Role::Producer)),
    ("at", Some(Role::Producer)),
    ("group", Some(Role::Consumer)),
    ("ack", Some(Role::Consumer)),
    ("prefetch", Some(Role::Consumer)),
    ("prefetch_bytes", Some(Role::Consumer)),
    ("workers", Some(Role::Consumer)),
    ("share", Some(Role::Consumer)),
    ("from", Some(Role::Consumer)),
    ("check", Some(Role::Consumer)),
];

/// Which code a role line is refused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BadOptionKind {
    /// `unsupported_version`
    Version,
    /// `unknown_option`
    Unknown,
    /// `bad_option`
    Bad,
}

/// Why the options of a role line are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BadOption {
    /// The kind of mistake.
    pub kind: BadOptionKind,
    /// What is wrong and what is allowed, in printable ASCII. Names the option, and never a token's value.
    pub text: String,
}

impl BadOptionKind {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "unsupported_version",
            Self::Unknown => "unknown_option",
            Self::Bad => "bad_option",
        }
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.text)
    }
}

impl core::error::Error for BadOption {}

impl RoleOptions {
    /// Reads what follows the role and one space in a role line, without the end of the line.
    ///
    /// # Errors
    /// See [`BadOption`].
    pub fn parse(role: Role, options: &[u8]) -> Result<Self, BadOption> {
        let options = || options.split(|byte| *byte == b' ').map(split);
        // Another version may have other options: it comes first.
        if let Some((_, value)) = options().find(|(key, _)| *key == b"v")
            && value != Some(b"2")
        {
            return Err(BadOption {
                kind: BadOptionKind::Version,
                text: "v: this broker speaks version 2, and version 1 without options".to_owned(),
            });
        }
        let mut taken = [false; OPTIONS.len()];
        let mut parsed = Parsed::new(role);
        for (key, value) in options() {
            let shown = key.escape_ascii();
            let Some(place) = OPTIONS.iter().position(|(name, _)| name.as_bytes() == key) else {
                return Err(BadOption {
                    kind: BadOptionKind::Unknown,
                    text: format!("'{shown}' is no option of a {role}"),
                });
            };
            let (name, of) = OPTIONS[place];
            if of.is_some_and(|of| of != role) {
                return Err(bad(name, &format!("is no option of a {role}")));
            }
            if core::mem::replace(&mut taken[place], true) {
                return Err(bad(name, "stands there twice"));
            }
            let Some(value) = value.and_then(text::decode) else {
                return Err(bad(
                    name,
                    "has no value of printable ASCII, percent-encoded where it is something else",
                ));
            };
            parsed.set(name, value)?;
        }
        parsed.options()
    }
}

/// Key and value of one option.
fn split(option: &[u8]) -> (&[u8], Option<&[u8]>) {
    match option.iter().position(|byte| *byte == b'=') {
        Some(at) => (&option[..at], Some(&option[at + 1..])),
        None => (option, None),
    }
}

fn bad(option: &str, why: &str) -> BadOption {
    BadOption {
        kind: BadOptionKind::Bad,
        text: format!("{option}: {why}"),
    }
}

/// What has been read of a line.
struct Parsed {
    role: Role,
    common: Common,
    producer: ProducerOptions,
    consumer: ConsumerOptions,
    name: Option<Name>,
    session: Option<String>,
    at: Option<u64>,
    confirm: Option<bool>,
}

impl Parsed {
    fn new(role: Role) -> Self {
        Self {
            role,
            common: Common::default(),
            producer: ProducerOptions::default(),
            consumer: ConsumerOptions::default(),
            name: None,
            session: None,
            at: None,
            confirm: None,
        }
    }

    fn set(&mut self, option: &'static str, value: String) -> Result<(), BadOption> {
        let consumer = &mut self.consumer;
        match option {
            "token" => self.common.token = Some(value),
            "client" => self.common.client = Some(name(option, Name::new(&value))?),
            "heartbeat" => self.common.heartbeat = number(option, &value, 0..=MAX_HEARTBEAT)?,
            "topic" if self.role == Role::Producer => {
                self.producer.topic = Some(name(option, TopicName::new(&value))?);
            }
            "topic" => consumer.topic = Some(name(option, TopicFilter::new(&value))?),
            "confirm" => self.confirm = Some(flag(option, &value)?),
            "producer" => self.name = Some(name(option, Name::new(&value))?),
            "session" if value.len() > MAX_SESSION => {
                return Err(bad(option, "is longer than 64 bytes"));
            }
            "session" => self.session = Some(value),
            "at" => self.at = Some(number(option, &value, 1..=MAX_POSITION)?),
            "group" => consumer.group = Some(name(option, Name::new(&value))?),
            "ack" => consumer.ack = flag(option, &value)?,
            "prefetch" => consumer.prefetch = number(option, &value, 1..=MAX_PREFETCH)?,
            "prefetch_bytes" => consumer.prefetch_bytes = number(option, &value, 1..=u32::MAX)?,
            "workers" => consumer.workers = number(option, &value, 1..=MAX_PREFETCH)?,
            "share" => {
                consumer.share = match value.as_str() {
                    "all" => Share::All,
                    "one" => Share::One,
                    _ => return Err(bad(option, "allowed: all, one")),
                };
            }
            "from" => {
                consumer.from = start(&value).ok_or_else(|| {
                    bad(
                        option,
                        "allowed: new, first, last, a sequence, or @ and milliseconds since 1970",
                    )
                })?;
            }
            "check" => consumer.check = flag(option, &value)?,
            // `v` has been looked at.
            _ => {}
        }
        Ok(())
    }

    fn options(self) -> Result<RoleOptions, BadOption> {
        if self.role == Role::Consumer {
            return Ok(RoleOptions::Consumer(ConsumerOptions {
                common: self.common,
                ..self.consumer
            }));
        }
        let identity = match self.name {
            Some(name) => Some(Identity {
                name,
                session: self.session.unwrap_or_default(),
                at: self.at.unwrap_or(1),
            }),
            None if self.session.is_some() => return Err(bad("session", "needs producer=NAME")),
            None if self.at.is_some() => return Err(bad("at", "needs producer=NAME")),
            None => None,
        };
        if identity.is_some() && self.confirm == Some(false) {
            return Err(bad("confirm", "is 1 with producer=NAME"));
        }
        Ok(RoleOptions::Producer(ProducerOptions {
            common: self.common,
            confirm: identity.is_some() || self.confirm.unwrap_or(false),
            identity,
            ..self.producer
        }))
    }
}

fn name<T>(option: &str, name: Result<T, NameError>) -> Result<T, BadOption> {
    name.map_err(|error| bad(option, &error.to_string()))
}

/// A number of digits alone.
fn digits<T: FromStr>(value: &str) -> Option<T> {
    let all_digits = value.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| value.parse().ok()).flatten()
}

fn number<T: FromStr + PartialOrd + fmt::Display>(
    option: &str,
    value: &str,
    allowed: RangeInclusive<T>,
) -> Result<T, BadOption> {
    let number = digits(value).filter(|number| allowed.contains(number));
    number.ok_or_else(|| {
        let (least, most) = allowed.into_inner();
        bad(option, &format!("allowed: {least} to {most}"))
    })
}

fn flag(option: &str, value: &str) -> Result<bool, BadOption> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(bad(option, "allowed: 0, 1")),
    }
}

fn start(value: &str) -> Option<Start> {
    match value {
        "new" => Some(Start::New),
        "first" => Some(Start::First),
        "last" => Some(Start::Last),
        _ => match value.strip_prefix('@') {
            Some(milliseconds) => digits(milliseconds).map(Start::Time),
            None => digits(value).filter(|it| *it > 0).map(Start::Sequence),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RoleOptions, String> {
        let (role, options) = line.split_once(' ').expect("options");
        let role = match role {
            "PRODUCER" => Role::Producer,
            _ => Role::Consumer,
        };
        RoleOptions::parse(role, options.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_line_that_a_client_writes_is_what_the_broker_reads() {
        for line in [
            "PRODUCER v=2",
            "PRODUCER v=2 topic=gpu.0 confirm=1",
            "PRODUCER v=2 token=a%20b client=me heartbeat=0 producer=p session=%C3%A9 at=9223372036854775808",
            "CONSUMER v=2",
            "CONSUMER v=2 topic=gpu.> group=store ack=1 prefetch=1 prefetch_bytes=1 workers=3 share=one from=@5 check=1",
            "CONSUMER v=2 from=7",
        ] {
            let options = parse(line).expect(line);
            assert_eq!(options.line(), format!("{line}\n"));
        }
        assert_eq!(
            parse("CONSUMER v=2"),
            Ok(RoleOptions::Consumer(ConsumerOptions::default()))
        );
        assert_eq!(
            parse("CONSUMER ack=0 from=new share=all"),
            parse("CONSUMER v=2")
        );
    }

    #[test]
    fn a_name_implies_confirms() {
        let Ok(RoleOptions::Producer(options)) = parse("PRODUCER producer=p") else {
            panic!("a producer");
        };
        assert!(options.confirm);
        assert_eq!(options.identity.map(|it| it.at), Some(1));
    }

    #[test]
    fn a_mistake_names_the_option_and_what_is_allowed() {
        for (line, error) in [
            (
                "PRODUCER v=3 new=1",
                "unsupported_version v: this broker speaks version 2, and version 1 without options",
            ),
            (
                "PRODUCER v",
                "unsupported_version v: this broker speaks version 2, and version 1 without options",
            ),
            (
                "PRODUCER speed=9",
                "unknown_option 'speed' is no option of a producer",
            ),
            (
                "PRODUCER  v=2",
                "unknown_option '' is no option of a producer",
            ),
            (
                "PRODUCER \u{1b}=2",
                "unknown_option '\\x1b' is no option of a producer",
            ),
            (
                "PRODUCER ack=1",
                "bad_option ack: is no option of a producer",
            ),
            (
                "CONSUMER confirm=1",
                "bad_option confirm: is no option of a consumer",
            ),
            ("CONSUMER ack=1 ack=1", "bad_option ack: stands there twice"),
            (
                "CONSUMER ack",
                "bad_option ack: has no value of printable ASCII, percent-encoded where it is something else",
            ),
            ("CONSUMER ack=yes", "bad_option ack: allowed: 0, 1"),
            (
                "CONSUMER prefetch=0",
                "bad_option prefetch: allowed: 1 to 1000000",
            ),
            (
                "CONSUMER prefetch=+1",
                "bad_option prefetch: allowed: 1 to 1000000",
            ),
            (
                "CONSUMER prefetch=",
                "bad_option prefetch: allowed: 1 to 1000000",
            ),
            (
                "CONSUMER heartbeat=3601",
                "bad_option heartbeat: allowed: 0 to 3600",
            ),
            ("CONSUMER share=two", "bad_option share: allowed: all, one"),
            (
                "CONSUMER from=0",
                "bad_option from: allowed: new, first, last, a sequence, or @ and milliseconds since 1970",
            ),
            (
                "CONSUMER group=a%20b",
                "bad_option group: the byte ' '; allowed: A-Z a-z 0-9 _ - .",
            ),
            (
                "PRODUCER topic=a.*",
                "bad_option topic: the byte '*'; allowed: A-Z a-z 0-9 _ - .",
            ),
            ("PRODUCER at=1", "bad_option at: needs producer=NAME"),
            (
                "PRODUCER session=1",
                "bad_option session: needs producer=NAME",
            ),
            (
                "PRODUCER producer=p at=0",
                "bad_option at: allowed: 1 to 9223372036854775808",
            ),
            (
                "PRODUCER producer=p at=9223372036854775809",
                "bad_option at: allowed: 1 to 9223372036854775808",
            ),
            (
                "PRODUCER producer=p confirm=0",
                "bad_option confirm: is 1 with producer=NAME",
            ),
            (
                "PRODUCER token=%zz",
                "bad_option token: has no value of printable ASCII, percent-encoded where it is something else",
            ),
        ] {
            assert_eq!(parse(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let options = parse("PRODUCER token=hunter2").expect("allowed");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
