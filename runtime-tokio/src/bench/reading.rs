//! Reading as cheaply as a client can: large reads into one buffer, which are walked in place.

use super::plan::Plan;
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::wire::control::CONTROL_BIT;
use std::io::{self, Read};

/// How much is read in one go, in bytes.
const READ_BYTES: usize = 256 << 10;

/// What the buffers of all consumers together may take, in bytes, unless messages are large.
const ALL_BUFFERS: usize = 64 << 20;

/// The smallest buffer, in bytes.
const LEAST_BUFFER: usize = 16 << 10;

/// So much more than a read takes a buffer that is not always filled from its first byte, in bytes.
pub(super) const PAGE: usize = 4096;

/// Where in its page the next read is to begin. Where all begin at the same place, some sizes of
/// message are copied at a fraction of the speed (`docs/PERFORMANCE.md`), and that would be measured.
pub(super) const fn next_start(start: usize) -> usize {
    (start + 7 * 64) % PAGE
}

/// The buffer that each consumer gets: room for one read, and for two messages.
pub(super) fn buffer_size(plan: &Plan) -> usize {
    (ALL_BUFFERS / plan.consumers)
        .clamp(LEAST_BUFFER, READ_BYTES)
        .max(2 * plan.frame_size())
}

/// Reads to the end of the stream and tells the size of each read.
pub(super) fn bytes(
    mut stream: impl Read,
    buffer_size: usize,
    mut each: impl FnMut(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; buffer_size + PAGE];
    let mut start = 0;
    loop {
        start = next_start(start);
        match stream.read(&mut buffer[start..start + buffer_size])? {
            0 => return Ok(()),
            size => each(size),
        }
    }
}

/// Reads to the end of the stream and shows the whole frames that each read brought, until `each`
/// returns that it has seen enough. The buffer holds at least one frame.
pub(super) fn frames(
    mut stream: impl Read,
    buffer_size: usize,
    mut each: impl FnMut(&mut Frames<'_>) -> bool,
) -> io::Result<()> {
    let mut buffer = Buffer::new(buffer_size);
    let mut goes_on = true;
    while goes_on && buffer.read(&mut stream, |frames| goes_on = each(frames))? {}
    Ok(())
}

/// A buffer with the part of a frame that the last read left.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub(super) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            filled: 0,
        }
    }

    /// Reads once and shows the whole frames that there are. Returns whether the stream goes on.
    pub(super) fn read(
        &mut self,
        mut stream: impl Read,
        each: impl FnOnce(&mut Frames<'_>),
    ) -> io::Result<bool> {
        match stream.read(&mut self.bytes[self.filled..])? {
            0 => return Ok(false),
            size => self.filled += size,
        }
        let mut frames = Frames {
            rest: &self.bytes[..self.filled],
        };
        each(&mut frames);
        let partial = frames.rest.len();
        if partial == self.bytes.len() {
            return Err(io::Error::other("a message larger than all that were sent"));
        }
        self.bytes
            .copy_within(self.filled - partial..self.filled, 0);
        self.filled = partial;
        Ok(true)
    }
}

/// The whole frames at the front of some bytes.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
}

/// The body of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Message(&'a [u8]),
    Control(&'a [u8]),
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        let (header, rest) = self.rest.split_first_chunk::<LENGTH_PREFIX>()?;
        let header = u32::from_be_bytes(*header);
        let length = (header & !CONTROL_BIT) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(if header & CONTROL_BIT == 0 {
            Frame::Message(body)
        } else {
            Frame::Control(body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::wire::FrameBatch;

    /// Gives its bytes a few at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    #[test]
    fn frames_are_whole_however_the_bytes_come() {
        let sent = ["first", "", "second", "x"];
        let bytes = FrameBatch::encode(sent).expect("small").into_bytes();
        for at_a_time in 1..=bytes.len() {
            let mut received = Vec::new();
            frames(Trickle(&bytes, at_a_time), 20, |frames| {
                received.extend(frames.map(|frame| match frame {
                    Frame::Message(body) => body.to_vec(),
                    Frame::Control(body) => panic!("{body:?}"),
                }));
                true
            })
            .expect("readable");
            assert_eq!(received, sent.map(|body| body.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_message_too_large_for_the_buffer_is_an_error() {
        let bytes = FrameBatch::encode(["0123456789"])
            .expect("small")
            .into_bytes();
        assert!(frames(&bytes[..], 8, |frames| frames.count() == 0).is_err());
    }
}
