//! Bytes into messages and control frames: what a side of wire version 2 reads.

use super::batch::FrameBatch;
use super::control::{Control, Link};
use super::frames::{self, Frames};
use super::read_buffer::{ReadBuffer, SpareBuffers};
use super::verifier::{Damage, Verifier};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadStream {
    /// It does not begin with a line of UTF-8 of at most 4,096 bytes.
    Line,
    /// A message or a control frame is not allowed.
    Frame(ProtocolError),
    /// What has come is not what was sent: only where that is [verified](FrameReader::verifying).
    Damaged(Damage),
}

impl fmt::Display for BadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("what comes first is not a line of text"),
            Self::Frame(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
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
    /// Verifies what comes behind the first line, if that is wanted.
    verifier: Option<Verifier>,
}

impl FrameReader {
    /// A reader at the start of a connection; it reads at most `read_bytes` at once, 0 being taken as 1.
    pub fn new(link: Link, read_bytes: usize) -> Self {
        Self {
            link,
            has_line: false,
            failed: None,
            buffer: ReadBuffer::new(read_bytes.max(1)),
            verifier: None,
        }
    }

    /// The same, and nothing of a message, and of what is said of it, comes out that does not have the sum that came with
    /// it: for the consumer whose role line says `check=1`. Then whatever cannot be understood is damaged.
    #[must_use]
    pub fn verifying(self) -> Self {
        Self {
            verifier: Some(Verifier::default()),
            ..self
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
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = if self.has_line {
            self.frames()
        } else {
            self.line()
        };
        if let Err(error) = &next {
            self.failed = Some(error.clone());
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
        let frames = match &mut self.verifier {
            None => frames::next(self.link, &mut self.buffer).map_err(BadStream::Frame)?,
            Some(verifier) => {
                let next = verifier.next(self.link, &mut self.buffer);
                next.map_err(BadStream::Damaged)?
            }
        };
        Ok(frames.map(|it| match it {
            Frames::Batch(batch) => Received::Batch(batch),
            Frames::Control(control) => Received::Control(control),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::BadFrame;
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
        out.put_slice(b"\x80\0\0\x03\xeeno");
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
        let wrong_way = Err(BadStream::Frame(ProtocolError::BadFrame(
            BadFrame::WrongWay(0x08),
        )));
        assert_eq!(read(&mut answered, b"\x80\0\0\x01\x08"), wrong_way);
        assert_eq!(read(&mut answered, b"\x80\0\0\x01\x08"), wrong_way);

        for (bytes, error) in [
            (
                &b"\x80\0\0\0"[..],
                BadStream::Frame(ProtocolError::BadFrame(BadFrame::Length(0))),
            ),
            (
                b"\x80\x01\0\x01",
                BadStream::Frame(ProtocolError::BadFrame(BadFrame::Length(65_537))),
            ),
            (
                b"\0\x10\0\x01",
                BadStream::Frame(ProtocolError::FrameTooLarge { length: 1_048_577 }),
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
