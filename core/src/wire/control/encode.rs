//! Control frames into bytes.

use super::{CONTROL_BIT, Control, MAX_CONTROL_BODY, Mark, Range, Reason};
use crate::wire::frame::LENGTH_PREFIX;
use bytes::{BufMut, BytesMut};

impl Control {
    /// Appends the whole frame to `out`.
    ///
    /// # Panics
    /// If it is longer than [`MAX_CONTROL_BODY`], or a text in it is longer than its length field can say.
    /// Whoever makes texts or ranges keeps them short.
    pub fn encode(&self, out: &mut BytesMut) {
        let begin = out.len();
        out.put_u32(0);
        out.put_u8(self.code());
        self.put_fields(out);
        let length = out.len() - begin - LENGTH_PREFIX;
        assert!(
            length <= MAX_CONTROL_BODY,
            "a control frame of {length} bytes"
        );
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CONTROL_BODY")]
        let header = CONTROL_BIT | length as u32;
        out[begin..begin + LENGTH_PREFIX].copy_from_slice(&header.to_be_bytes());
    }

    fn put_fields(&self, out: &mut BytesMut) {
        match self {
            Self::Topic(name) => out.put_slice(name.as_bytes()),
            Self::Ping(number)
            | Self::Pong(number, None)
            | Self::Flush(number)
            | Self::Flushed(number) => out.put_u64(*number),
            Self::Pong(number, Some(lag)) => {
                out.put_u64(*number);
                out.put_u64(lag.messages);
                out.put_u32(lag.oldest_ms);
            }
            Self::Error(reason) => put_reason(out, reason),
            Self::GoAway {
                left_ms,
                wait_ms,
                text,
            } => {
                out.put_u32(*left_ms);
                out.put_u32(*wait_ms);
                out.put_slice(text.as_bytes());
            }
            Self::Bye => {}
            Self::Confirmed { position, unrouted } => {
                out.put_u64(*position);
                out.put_u64(*unrouted);
            }
            Self::Refused(range, reason) | Self::Gap(range, reason) => {
                put_range(out, *range);
                put_reason(out, reason);
            }
            Self::Blocked { blocked, text } => {
                out.put_u8(u8::from(*blocked));
                out.put_slice(text.as_bytes());
            }
            Self::Run {
                first,
                published,
                attempt,
            } => {
                out.put_u64(*first);
                out.put_u64(*published);
                out.put_u32(*attempt);
            }
            Self::Origin(origin) => {
                out.put_u64(origin.sequence);
                out.put_u32(origin.failures);
                out.put_u64(origin.published);
                put_text16(out, &origin.topic);
                put_text16(out, &origin.group);
                out.put_slice(origin.reason.as_bytes());
            }
            Self::Revoked { code, ranges } => {
                put_text8(out, code);
                put_ranges(out, ranges);
            }
            Self::Settle {
                outcome,
                delay_ms,
                ranges,
            } => {
                out.put_u8(*outcome as u8);
                out.put_u32(*delay_ms);
                put_ranges(out, ranges);
            }
            Self::Credit { messages, bytes } => {
                out.put_u32(*messages);
                out.put_u32(*bytes);
            }
            Self::Check {
                crc32c,
                length,
                safe,
                producers,
            } => {
                out.put_u32(*crc32c);
                out.put_u32(*length);
                out.put_u64(*safe);
                for mark in producers {
                    put_mark(out, mark);
                }
            }
            Self::Segment {
                format,
                epoch,
                first,
                previous,
                published,
            } => {
                out.put_u32(*format);
                for number in [epoch, first, previous, published] {
                    out.put_u64(*number);
                }
            }
        }
    }
}

fn put_range(out: &mut BytesMut, range: Range) {
    out.put_u64(range.from);
    out.put_u64(range.to);
}

fn put_ranges(out: &mut BytesMut, ranges: &[Range]) {
    debug_assert!(!ranges.is_empty(), "one range at least");
    for range in ranges {
        put_range(out, *range);
    }
}

fn put_reason(out: &mut BytesMut, reason: &Reason) {
    out.put_slice(reason.code.as_bytes());
    if !reason.text.is_empty() {
        out.put_u8(b' ');
        out.put_slice(reason.text.as_bytes());
    }
}

fn put_mark(out: &mut BytesMut, mark: &Mark) {
    put_text8(out, &mark.name);
    put_text8(out, &mark.session);
    out.put_u64(mark.position);
}

fn put_text8(out: &mut BytesMut, text: &str) {
    let length = u8::try_from(text.len());
    out.put_u8(length.expect("a code or a name is short"));
    out.put_slice(text.as_bytes());
}

fn put_text16(out: &mut BytesMut, text: &str) {
    let length = u16::try_from(text.len());
    out.put_u16(length.expect("a name is short"));
    out.put_slice(text.as_bytes());
}
