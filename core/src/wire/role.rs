//! The role line: the first line a client sends (PROTOCOL.md, section 2).

use crate::error::ProtocolError;
use core::fmt;

/// What a client is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Role {
    /// Sends messages, reads nothing.
    Producer,
    /// Reads messages, sends nothing.
    Consumer,
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

    /// Finds the role line at the front of `bytes`: the role, and the bytes that its line takes.
    /// `None` if the line has not ended yet. `limit` is the longest line allowed, in bytes, its
    /// line feed not counted.
    pub(super) fn parse(
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let window = &bytes[..bytes.len().min(limit.saturating_add(1))];
        let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
            return if bytes.len() > limit {
                Err(ProtocolError::RoleLineTooLong { limit })
            } else {
                Ok(None)
            };
        };
        let line = &bytes[..end];
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"PRODUCER" => Ok(Some((Self::Producer, end + 1))),
            b"CONSUMER" => Ok(Some((Self::Consumer, end + 1))),
            _ => Err(ProtocolError::UnknownRole),
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

    #[test]
    fn a_line_feed_ends_the_line_and_one_carriage_return_may_stand_before_it() {
        assert_eq!(
            Role::parse(b"PRODUCER\n", 1024),
            Ok(Some((Role::Producer, 9)))
        );
        assert_eq!(
            Role::parse(b"CONSUMER\r\nrest", 1024),
            Ok(Some((Role::Consumer, 10)))
        );
        assert_eq!(
            Role::parse(b"CONSUMER\r\r\n", 1024),
            Err(ProtocolError::UnknownRole)
        );
        assert_eq!(Role::parse(b"", 1024), Ok(None));
        assert_eq!(Role::parse(b"PRODUCER", 1024), Ok(None));
        assert_eq!(Role::parse(b"PRODUCER\r", 1024), Ok(None));
    }

    #[test]
    fn nothing_but_the_two_words_is_a_role() {
        for line in [
            "\n",
            "producer\n",
            " PRODUCER\n",
            "PRODUCER \n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(
                Role::parse(line.as_bytes(), 1024),
                Err(ProtocolError::UnknownRole),
                "{line:?}"
            );
        }
    }

    #[test]
    fn the_limit_counts_the_line_without_its_line_feed() {
        let too_long = Err(ProtocolError::RoleLineTooLong { limit: 8 });
        assert_eq!(Role::parse(b"PRODUCER\n", 8), Ok(Some((Role::Producer, 9))));
        assert_eq!(Role::parse(b"PRODUCER\r\n", 8), too_long);
        assert_eq!(Role::parse(b"12345678", 8), Ok(None));
        assert_eq!(Role::parse(b"123456789", 8), too_long);
    }
}
