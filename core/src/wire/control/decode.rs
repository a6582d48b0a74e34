//! The body of a control frame into what it says.

use super::table::{self, Link};
use super::{
    Control, FIRST_SKIPPABLE, Lag, MAX_CONTROL_BODY, Mark, Origin, Outcome, Range, Reason,
};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a control frame is none. A kind is said by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BadFrame {
    /// Its header announces a length that is not allowed.
    Length(u32),
    /// Its kind is unknown, and not one that may be skipped.
    Unknown(u8),
    /// This side may not send it, or not on this connection.
    WrongWay(u8),
    /// Something came behind a role line whose answer was to be waited for.
    TooEarly,
    /// It ends inside a field, or a value in it is not allowed.
    Field(u8),
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(
                f,
                "a control frame of {length} bytes; allowed: 1 to {MAX_CONTROL_BODY}"
            ),
            Self::Unknown(code) => write!(f, "a control frame of the unknown kind {code:02x}"),
            Self::WrongWay(code) => write!(f, "{} does not come from this side", name(*code)),
            Self::TooEarly => f.write_str(
                "a producer with a name waits for the answer to its role line before it sends anything",
            ),
            Self::Field(code) => write!(
                f,
                "{} is cut short, or a value in it is not allowed",
                name(*code)
            ),
        }
    }
}

fn name(code: u8) -> &'static str {
    table::find(code).map_or("a control frame", |kind| kind.name)
}

impl core::error::Error for BadFrame {}

impl Control {
    /// What the body of a control frame says that came on `link`; `None` for a kind that is unknown and may be
    /// skipped. Bytes after the last field are ignored.
    ///
    /// # Errors
    /// See [`BadFrame`].
    pub fn decode(link: Link, body: &[u8]) -> Result<Option<Self>, BadFrame> {
        let Some((&code, fields)) = body.split_first() else {
            return Err(BadFrame::Length(0));
        };
        let Some(kind) = table::find(code) else {
            return if code < FIRST_SKIPPABLE {
                Err(BadFrame::Unknown(code))
            } else {
                Ok(None)
            };
        };
        if !kind.may_come(link) {
            return Err(BadFrame::WrongWay(code));
        }
        match Fields(fields).control(code, link) {
            Some(control) => Ok(Some(control)),
            None => Err(BadFrame::Field(code)),
        }
    }
}

/// Fields that were not read yet. A read that finds too few bytes, or a value that is not allowed, has nothing.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn control(&mut self, code: u8, link: Link) -> Option<Control> {
        Some(match code {
            0x01 => Control::Topic(self.rest()?),
            0x02 => Control::Ping(self.u64()?),
            0x03 => Control::Pong(self.u64()?, self.lag(link)?),
            0x04 => Control::Flush(self.u64()?),
            0x05 => Control::Flushed(self.u64()?),
            0x06 => Control::Error(self.reason()?),
            0x07 => Control::GoAway {
                left_ms: self.u32()?,
                wait_ms: self.u32()?,
                text: self.rest()?,
            },
            0x08 => Control::Bye,
            0x10 => Control::Confirmed {
                position: self.u64()?,
                unrouted: self.u64()?,
            },
            0x11 => Control::Refused(self.range()?, self.reason()?),
            0x12 => Control::Blocked {
                blocked: match self.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
                text: self.rest()?,
            },
            0x20 => Control::Run {
                first: self.u64()?,
                published: self.u64()?,
                attempt: self.u32()?,
            },
            0x21 => Control::Gap(self.range()?, self.reason()?),
            0x22 => Control::Origin(Origin {
                sequence: self.u64()?,
                failures: self.u32()?,
                published: self.u64()?,
                topic: self.text16()?,
                group: self.text16()?,
                reason: self.rest()?,
            }),
            0x23 => Control::Revoked {
                code: self.text8()?,
                ranges: self.ranges()?,
            },
            0x30 => Control::Settle {
                outcome: Outcome::from_code(self.u8()?)?,
                delay_ms: self.u32()?,
                ranges: self.ranges()?,
            },
            0x31 => Control::Credit {
                messages: self.u32()?,
                bytes: self.u32()?,
            },
            0x80 => Control::Check {
                crc32c: self.u32()?,
                length: self.u32()?,
                safe: self.u64()?,
                producers: self.marks()?,
            },
            0x81 => Control::Segment {
                format: self.u32()?,
                epoch: self.u64()?,
                first: self.u64()?,
                previous: self.u64()?,
                published: self.u64()?,
            },
            _ => return None,
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        core::str::from_utf8(text).ok().map(String::from)
    }

    fn text8(&mut self) -> Option<String> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    fn text16(&mut self) -> Option<String> {
        let length = self.take().map(u16::from_be_bytes)?;
        self.text(usize::from(length))
    }

    fn rest(&mut self) -> Option<String> {
        self.text(self.0.len())
    }

    fn reason(&mut self) -> Option<Reason> {
        self.rest().map(|line| Reason::parse(&line))
    }

    fn range(&mut self) -> Option<Range> {
        Range::new(self.u64()?, self.u64()?)
    }

    fn ranges(&mut self) -> Option<Vec<Range>> {
        let mut ranges = Vec::with_capacity(self.0.len() / 16);
        while !self.0.is_empty() || ranges.is_empty() {
            ranges.push(self.range()?);
        }
        Some(ranges)
    }

    fn marks(&mut self) -> Option<Vec<Mark>> {
        let mut marks = Vec::new();
        while !self.0.is_empty() {
            marks.push(Mark {
                name: self.text8()?,
                session: self.text8()?,
                position: self.u64()?,
            });
        }
        Some(marks)
    }

    /// What waits for the group, where the broker tells it; the outer `None` if it is cut short.
    fn lag(&mut self, link: Link) -> Option<Option<Lag>> {
        if link != Link::ToConsumer {
            return Some(None);
        }
        Some(Some(Lag {
            messages: self.u64()?,
            oldest_ms: self.u32()?,
        }))
    }
}
