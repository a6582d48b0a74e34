//! Reading as cheaply as a client can: large reads into one buffer, which are walked in place.

use super::plan::Plan;
use message_queue_core::wire::LENGTH_PREFIX;
use std::io::{self, Read};
use std::net::TcpStream;

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
    mut stream: &TcpStream,
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
    let mut buffer = vec![0; buffer_size];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            size => filled += size,
        }
        let mut frames = Frames {
            rest: &buffer[..filled],
        };
        if !each(&mut frames) {
            return Ok(());
        }
        let partial = frames.rest.len();
        if partial == buffer.len() {
            return Err(io::Error::other("a message larger than all that were sent"));
        }
        buffer.copy_within(filled - partial..filled, 0);
        filled = partial;
    }
}

/// The bodies of the whole frames at the front of some bytes.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, rest) = self.rest.split_first_chunk::<LENGTH_PREFIX>()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*prefix) as usize)?;
        self.rest = rest;
        Some(body)
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
                received.extend(frames.map(<[u8]>::to_vec));
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
