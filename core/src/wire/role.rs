//! The role line: the first line a client sends (PROTOCOL.md, section 2).

use super::first_bytes::FirstBytes;
use crate::error::ProtocolError;
use core::fmt;
use core::ops::Range;

/// A whole role line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoleLine {
    pub(super) role: Role,
    /// Where its options stand, from one space behind the role on. With options it is of version 2.
    pub(super) options: Option<Range<usize>>,
    /// The bytes that it takes, its line feed included.
    pub(super) size: usize,
}

/// What a client is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Role {
    /// Sends messages, reads nothing.
    Producer,
    /// Reads messages, sends nothing.
    Consumer,
}

impl RoleLine {
    /// Finds the role line at the front of `bytes`. `None` if the line has not ended yet. `limit` is
    /// the longest line allowed, in bytes, its line feed not counted.
    ///
    /// What cannot become a role line is an error at once, however the bytes are cut.
    pub(super) fn parse(bytes: &[u8], limit: usize) -> Result<Option<Self>, ProtocolError> {
        let window = &bytes[..bytes.len().min(limit.saturating_add(1))];
        let unknown = || ProtocolError::UnknownRole(FirstBytes::of(bytes));
        let role = Role::begun(window).ok_or_else(unknown)?;
        let word = role.as_word().len();
        let line = |size| Self {
            role,
            options: None,
            size,
        };
        let line = match window.get(word..).unwrap_or(&[]) {
            [b'\n', ..] => Some(line(word + 1)),
            [b'\r', b'\n', ..] => Some(line(word + 2)),
            [b' ', b'\n', ..] | [b' ', b'\r', b'\n', ..] => return Err(unknown()),
            [b' ', rest @ ..] => rest.iter().position(|byte| *byte == b'\n').map(|end| {
                let options = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                Self {
                    options: Some(word + 1..word + 1 + options.len()),
                    ..line(word + 1 + end + 1)
                }
            }),
            [] | [b'\r'] => None,
            [_, ..] => return Err(unknown()),
        };
        match line {
            Some(line) => Ok(Some(line)),
            None if bytes.len() > limit => Err(ProtocolError::RoleLineTooLong { limit }),
            None => Ok(None),
        }
    }
}

impl Role {
    /// The line that announces this role, its line feed included.
    pub const fn line(self) -> &'static str {
        match self {
            Self::Producer => "PRODUCER\n",
            Self::Consumer => "CONSUMER\n",
        }
    }

    /// The name of this role in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// The role whose word `bytes` begin with, or may yet begin with.
    fn begun(bytes: &[u8]) -> Option<Self> {
        [Self::Producer, Self::Consumer].into_iter().find(|role| {
            let pairs = role.as_word().iter().zip(bytes);
            pairs.into_iter().all(|(expected, byte)| expected == byte)
        })
    }

    /// The word that announces this role.
    const fn as_word(self) -> &'static [u8] {
        match self {
            Self::Producer => b"PRODUCER",
            Self::Consumer => b"CONSUMER",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = Result<Option<(Role, usize)>, ProtocolError>;

    fn parse(bytes: &[u8], limit: usize) -> Parsed {
        let line = RoleLine::parse(bytes, limit)?;
        Ok(line.map(|line| {
            assert_eq!(line.options, None);
            (line.role, line.size)
        }))
    }

    fn unknown(first: &[u8]) -> Parsed {
        Err(ProtocolError::UnknownRole(FirstBytes::of(first)))
    }

    /// What comes of these bytes when they arrive one by one, and after how many.
    fn byte_by_byte(bytes: &[u8]) -> (usize, Parsed) {
        let parsed = |length| (length, parse(&bytes[..length], 1024));
        let mut steps = (0..=bytes.len()).map(parsed);
        let settled = steps.find(|(_, parsed)| *parsed != Ok(None));
        settled.unwrap_or((bytes.len(), Ok(None)))
    }

    #[test]
    fn the_first_byte_that_no_role_line_has_there_is_an_error_at_once() {
        for (bytes, length) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"\x16\x03\x01", 1),
            (b"\n", 1),
            (b"PROXY TCP4", 4),
            (b"POST / HTTP/1.1", 2),
            (b"CONNECT example.org:443", 4),
            (b"PRODUCERS", 9),
            (b"CONSUMER\t", 9),
            (b"CONSUMER\rx", 10),
            (b"PRODUCER\0", 9),
        ] {
            let expected = (length, unknown(&bytes[..length]));
            assert_eq!(byte_by_byte(bytes), expected, "{bytes:?}");
            assert_eq!(parse(bytes, 1024), unknown(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_feed_ends_the_line_and_one_carriage_return_may_stand_before_it() {
        assert_eq!(parse(b"PRODUCER\n", 1024), Ok(Some((Role::Producer, 9))));
        assert_eq!(
            parse(b"CONSUMER\r\nrest", 1024),
            Ok(Some((Role::Consumer, 10)))
        );
        assert_eq!(parse(b"CONSUMER\r\r\n", 1024), unknown(b"CONSUMER\r\r\n"));
        assert_eq!(parse(b"", 1024), Ok(None));
        assert_eq!(parse(b"PRODUCER", 1024), Ok(None));
        assert_eq!(parse(b"PRODUCER\r", 1024), Ok(None));
    }

    #[test]
    fn nothing_but_the_two_words_is_a_role() {
        for line in [
            "\n",
            "producer\n",
            " PRODUCER\n",
            "PRODUCER \n",
            "PRODUCER \r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(
                parse(line.as_bytes(), 1024),
                unknown(line.as_bytes()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn the_limit_counts_the_line_without_its_line_feed() {
        let too_long = Err(ProtocolError::RoleLineTooLong { limit: 8 });
        assert_eq!(parse(b"PRODUCER\n", 8), Ok(Some((Role::Producer, 9))));
        assert_eq!(parse(b"PRODUCER\r\n", 8), too_long);
        assert_eq!(parse(b"PRODUCER", 8), Ok(None));
        assert_eq!(parse(b"PRODUCER ", 8), too_long);
        // What lies behind the limit is not looked at.
        assert_eq!(parse(b"PRODUCER \n", 8), too_long);
        assert_eq!(parse(b"PRODUCERS", 8), unknown(b"PRODUCERS"));
        let too_long = Err(ProtocolError::RoleLineTooLong { limit: 3 });
        assert_eq!(parse(b"PRODX", 3), too_long);
    }

    #[test]
    fn options_stand_behind_one_space() {
        for (bytes, options, size) in [
            (&b"PRODUCER v=2\nrest"[..], &b"v=2"[..], 13),
            (b"CONSUMER v=2 ack=1\r\n", b"v=2 ack=1", 20),
            (b"CONSUMER  ack=1\n", b" ack=1", 16),
            (b"PRODUCER \rv=2\n", b"\rv=2", 14),
        ] {
            let line = RoleLine::parse(bytes, 1024).expect("a role line");
            let line = line.expect("a whole one");
            assert_eq!(&bytes[line.options.expect("options")], options);
            assert_eq!(line.size, size);
        }
        assert_eq!(parse(b"CONSUMER v=2", 1024), Ok(None));
        assert_eq!(parse(b"CONSUMER v=2\r", 1024), Ok(None));
        assert_eq!(parse(b"CONSUMER \r", 1024), Ok(None));
    }
}
