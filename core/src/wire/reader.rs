//! Bytes into messages and control frames: what a side of wire version 2 reads.

use super::batch::FrameBatch;
use super::control::{BadFrame, CONTROL_BIT, Control, Link, MAX_CONTROL_BODY};
use super::frame::{self, Front, LENGTH_PREFIX};
use super::read_buffer::{ReadBuffer, SpareBuffers};
use crate::error::ProtocolError;
use alloc::string::String;
use bytes::BytesMut;
use core::fmt;

/// The longest line that a side begins with, in bytes.
const MAX_LINE: usize = 4096;

/// What stands next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The line that a side begins with, without its line feed: a role line or the answer to one. Comes first
    /// and once.
    Line(String),
    /// Messages: all the whole frames up to the next control frame, so far as they have come.
    Batch(FrameBatch),
    /// A control frame. One that may be skipped and is not known does not appear.
    Control(Control),
}

/// What is wrong with a stream. Nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadStream {
    /// It does not begin with a line of UTF-8 of at most 4,096 bytes.
    Line,
    /// A message frame announces more than is allowed.
    Message(ProtocolError),
    /// A control frame announces no length that is allowed.
    Length(u32),
    /// A control frame is none.
    Control(BadFrame),
}

impl fmt::Display for BadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("what comes first is not a line of text"),
            Self::Message(error) => error.fmt(f),
            Self::Length(length) => write!(
                f,
                "a control frame of {length} bytes; allowed: 1 to {MAX_CONTROL_BODY}"
            ),
            Self::Control(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BadStream {}

/// Turns the bytes of one connection into what they say.
///
/// Use: read into [`recv_buf`](Self::recv_buf), then call [`next`](Self::next) until it has nothing. How the
/// bytes are cut into reads changes how messages are cut into batches and nothing else.
///
/// # Memory
/// The buffer grows with what arrives, never with a length that is announced.
#[derive(Debug)]
pub struct FrameReader {
    link: Link,
    has_line: bool,
    /// Sticky.
    failed: Option<BadStream>,
    buffer: ReadBuffer,
}

impl FrameReader {
    /// A reader at the start of a connection; it reads at most `read_bytes` at once, 0 being taken as 1.
    pub fn new(link: Link, read_bytes: usize) -> Self {
        Self {
            link,
            has_line: false,
            failed: None,
            buffer: ReadBuffer::new(read_bytes.max(1)),
        }
    }

    /// The buffer to append received bytes to. It has room for at least one byte; what is in it must be left
    /// alone.
    pub fn recv_buf(&mut self) -> &mut BytesMut {
        self.buffer.room(&mut SpareBuffers::default())
    }

    /// Whether it holds part of something. At the end of a stream that is a stream cut short.
    pub fn is_partial(&self) -> bool {
        !self.buffer.as_bytes().is_empty()
    }

    /// What has arrived next; `None` when it takes more bytes to go on.
    ///
    /// # Errors
    /// See [`BadStream`]. From then on the same error is returned by every call.
    #[expect(
        clippy::should_implement_trait,
        reason = "it borrows nothing and may fail"
    )]
    pub fn next(&mut self) -> Result<Option<Received>, BadStream> {
        self.buffer.adapt();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = if self.has_line {
            self.frames()
        } else {
            self.line()
        };
        if let Err(error) = next {
            self.failed = Some(error);
            self.buffer.clear();
        }
        next
    }

    fn line(&mut self) -> Result<Option<Received>, BadStream> {
        let bytes = self.buffer.as_bytes();
        let window = &bytes[..bytes.len().min(MAX_LINE)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() < MAX_LINE {
                Ok(None)
            } else {
                Err(BadStream::Line)
            };
        };
        let line = core::str::from_utf8(&bytes[..end]).map_err(|_| BadStream::Line)?;
        let line = String::from(line);
        self.buffer.advance(end + 1);
        self.has_line = true;
        Ok(Some(Received::Line(line)))
    }

    fn frames(&mut self) -> Result<Option<Received>, BadStream> {
        loop {
            let (messages, end) = self.whole_messages();
            if messages > 0 {
                return Ok(Some(Received::Batch(self.buffer.take(messages, end))));
            }
            let Some(header) = self.header_at(0) else {
                return Ok(None);
            };
            if header & CONTROL_BIT == 0 {
                // It is not whole, or announces too much.
                return match frame::front(self.buffer.as_bytes()) {
                    Ok(_) => Ok(None),
                    Err(error) => Err(BadStream::Message(error)),
                };
            }
            let length = header & !CONTROL_BIT;
            let size = match length as usize {
                length @ 1..=MAX_CONTROL_BODY => LENGTH_PREFIX + length,
                _ => return Err(BadStream::Length(length)),
            };
            let Some(body) = self.buffer.as_bytes().get(LENGTH_PREFIX..size) else {
                return Ok(None);
            };
            let control = Control::decode(self.link, body).map_err(BadStream::Control)?;
            self.buffer.advance(size);
            if let Some(control) = control {
                return Ok(Some(Received::Control(control)));
            }
        }
    }

    /// How many whole messages stand at the front, and the bytes they take.
    fn whole_messages(&self) -> (usize, usize) {
        let (mut messages, mut end) = (0, 0);
        while self
            .header_at(end)
            .is_some_and(|header| header & CONTROL_BIT == 0)
            && let Ok(Front::Whole(size)) = frame::front(&self.buffer.as_bytes()[end..])
        {
            messages += 1;
            end += size;
        }
        (messages, end)
    }

    fn header_at(&self, at: usize) -> Option<u32> {
        let header = self.buffer.as_bytes().get(at..at + LENGTH_PREFIX)?;
        header.first_chunk().map(|it| u32::from_be_bytes(*it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use bytes::BufMut;
    use proptest::prelude::*;

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<Received>, BadStream> {
        reader.recv_buf().put_slice(bytes);
        let mut all = Vec::new();
        while let Some(received) = reader.next()? {
            all.push(received);
        }
        Ok(all)
    }

    fn stream() -> Vec<u8> {
        let mut out = BytesMut::from(&b"OK v=2\n"[..]);
        let run = Control::Run {
            first: 1,
            published: 2,
            attempt: 1,
        };
        run.encode(&mut out);
        out.put_slice(b"\0\0\0\x01a\0\0\0\x00\0\0\0\x02bc");
        Control::Ping(9).encode(&mut out);
        out.put_slice(b"\x80\0\0\x03\x80no");
        run.encode(&mut out);
        out.put_slice(b"\0\0\0\x01d");
        out.to_vec()
    }

    /// What was read, with batches that follow each other put together.
    fn told(received: &[Received]) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for it in received {
            match it {
                Received::Line(line) => told.push(line.clone()),
                Received::Batch(batch) => told.extend(
                    batch
                        .bodies()
                        .map(|body| alloc::format!("message {}", body.escape_ascii())),
                ),
                Received::Control(control) => told.push(control.kind().name.into()),
            }
        }
        told
    }

    const TOLD: [&str; 8] = [
        "OK v=2",
        "RUN",
        "message a",
        "message ",
        "message bc",
        "PING",
        "RUN",
        "message d",
    ];

    #[test]
    fn messages_come_in_batches_between_control_frames() {
        let mut reader = FrameReader::new(Link::ToConsumer, 4096);
        let all = read(&mut reader, &stream()).expect("a good stream");
        assert_eq!(told(&all), TOLD);
        assert_eq!(all.len(), 6, "three messages are one batch: {all:?}");
        assert!(!reader.is_partial());
    }

    #[test]
    fn what_cannot_be_understood_ends_it() {
        let mut answered = FrameReader::new(Link::ToProducer, 4096);
        assert!(read(&mut answered, b"OK v=2\n").is_ok());
        let wrong_way = Err(BadStream::Control(BadFrame::WrongWay("BYE")));
        assert_eq!(read(&mut answered, b"\x80\0\0\x01\x08"), wrong_way);
        assert_eq!(read(&mut answered, b"\x80\0\0\x01\x08"), wrong_way);

        for (bytes, error) in [
            (&b"\x80\0\0\0"[..], BadStream::Length(0)),
            (b"\x80\x01\0\x01", BadStream::Length(65_537)),
            (
                b"\0\x10\0\x01",
                BadStream::Message(ProtocolError::FrameTooLarge { length: 1_048_577 }),
            ),
        ] {
            let mut reader = FrameReader::new(Link::ToConsumer, 4096);
            assert!(read(&mut reader, b"OK v=2\n").is_ok());
            assert_eq!(read(&mut reader, bytes), Err(error));
        }
        let mut endless = FrameReader::new(Link::ToConsumer, 8192);
        assert_eq!(read(&mut endless, &[b'x'; 4095]), Ok(Vec::new()));
        assert_eq!(read(&mut endless, b"x"), Err(BadStream::Line));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_changes_nothing(cuts in proptest::collection::vec(1_usize..20, 1..40)) {
            let stream = stream();
            let mut reader = FrameReader::new(Link::ToConsumer, 4096);
            let (mut all, mut rest) = (Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                all.extend(read(&mut reader, now).expect("a good stream"));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(told(&all), TOLD);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = FrameReader::new(Link::ToProducer, 64);
            let _ = read(&mut reader, b"OK\n");
            let _ = read(&mut reader, &bytes);
        }
    }
}
