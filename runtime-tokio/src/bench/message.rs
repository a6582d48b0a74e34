//! What is sent: frames of one size, which carry the time, and where asked their number.
//!
//! ```text
//!  0        4            12         16        24
//! ┌────────┬────────────┬──────────┬─────────┬──────────────────────────────┐
//! │ length │ stamp: u64 │ producer │ number  │ filler, different in each    │
//! │        │ ns, or 0   │ u32      │ u64     │ message and at each position │
//! └────────┴────────────┴──────────┴─────────┴──────────────────────────────┘
//! ```
//! The number and what follows it are only there where a run verifies.

use message_queue_core::wire::LENGTH_PREFIX;
use std::time::Duration;

/// The body that a message needs to carry the time.
pub(super) const STAMP_SIZE: usize = 8;

/// The body that a message needs to carry all that is verified.
pub(super) const VERIFIED_SIZE: usize = 20;

/// After so many bytes the filler repeats.
const FILLER_PERIOD: usize = 256;

/// Frames of one size, to be written again and again.
#[derive(Debug)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    frame_size: usize,
    filler: Vec<u8>,
}

impl Frames {
    /// So many frames with bodies of `size` bytes, without time and number.
    pub(super) fn new(size: usize, messages: usize) -> Self {
        let frame_size = LENGTH_PREFIX + size;
        let mut bytes = vec![0; frame_size * messages];
        for frame in bytes.chunks_exact_mut(frame_size) {
            #[expect(clippy::cast_possible_truncation, reason = "at most MAX_FRAME_BODY")]
            frame[..LENGTH_PREFIX].copy_from_slice(&(size as u32).to_be_bytes());
        }
        Self {
            bytes,
            frame_size,
            filler: filler(size),
        }
    }

    /// How many there are.
    pub(super) fn messages(&self) -> usize {
        self.bytes.len() / self.frame_size
    }

    /// Their bytes on the wire.
    pub(super) fn first(&self, messages: usize) -> &[u8] {
        &self.bytes[..messages * self.frame_size]
    }

    /// Writes the time into one of them, if it has room for it.
    pub(super) fn stamp(&mut self, index: usize, since_origin: Duration) {
        let body = self.body(index);
        if body.len() >= STAMP_SIZE {
            // Never 0, which is no time.
            let nanos = u64::try_from(since_origin.as_nanos()).unwrap_or(u64::MAX);
            body[..STAMP_SIZE].copy_from_slice(&nanos.max(1).to_be_bytes());
        }
    }

    /// Makes one of them message number `number` of a producer.
    pub(super) fn number(&mut self, index: usize, producer: u32, number: u64) {
        let at = index * self.frame_size + LENGTH_PREFIX;
        let body = &mut self.bytes[at..at + self.frame_size - LENGTH_PREFIX];
        body[8..12].copy_from_slice(&producer.to_be_bytes());
        body[12..VERIFIED_SIZE].copy_from_slice(&number.to_be_bytes());
        let rest = &mut body[VERIFIED_SIZE..];
        rest.copy_from_slice(&self.filler[phase(number)..][..rest.len()]);
    }

    fn body(&mut self, index: usize) -> &mut [u8] {
        let at = index * self.frame_size + LENGTH_PREFIX;
        &mut self.bytes[at..at + self.frame_size - LENGTH_PREFIX]
    }
}

/// When the message of this body was to be sent, since the origin; none if it does not say.
pub(super) fn stamp(body: &[u8]) -> Option<Duration> {
    let nanos = u64::from_be_bytes(*body.first_chunk()?);
    (nanos != 0).then(|| Duration::from_nanos(nanos))
}

/// Tells whether bodies hold what was sent.
#[derive(Debug)]
pub(super) struct Checker {
    size: usize,
    filler: Vec<u8>,
}

impl Checker {
    /// For bodies of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        let filler = filler(size);
        Self { size, filler }
    }

    /// The producer and the number of the message of this body; none if it was not sent like this.
    pub(super) fn read(&self, body: &[u8]) -> Option<(u32, u64)> {
        let (head, rest) = body.split_first_chunk::<VERIFIED_SIZE>()?;
        let producer = u32::from_be_bytes(*head[8..].first_chunk()?);
        let number = u64::from_be_bytes(*head[12..].first_chunk()?);
        let sound = body.len() == self.size && *rest == self.filler[phase(number)..][..rest.len()];
        sound.then_some((producer, number))
    }
}

/// A pattern long enough to be read from each of its positions.
fn filler(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size + FILLER_PERIOD).collect()
}

/// Where in the pattern the filler of this message begins.
const fn phase(number: u64) -> usize {
    (number % FILLER_PERIOD as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::wire::FrameBatch;

    #[test]
    fn frames_say_what_they_are_and_a_changed_byte_is_seen() {
        let mut frames = Frames::new(100, 3);
        frames.stamp(1, Duration::from_nanos(77));
        for index in 0..3 {
            frames.number(index, 9, 300 + index as u64);
        }
        let batch = FrameBatch::parse(frames.first(3).to_vec().into()).expect("whole frames");
        let bodies: Vec<_> = batch.bodies().collect();
        let stamps: Vec<_> = bodies.iter().map(|body| stamp(body)).collect();
        assert_eq!(stamps, [None, Some(Duration::from_nanos(77)), None]);

        let checker = Checker::new(100);
        let read: Vec<_> = bodies.iter().map(|body| checker.read(body)).collect();
        assert_eq!(read, [Some((9, 300)), Some((9, 301)), Some((9, 302))]);
        assert_eq!(checker.read(&bodies[0][..99]), None);
        for at in 12..100 {
            let mut changed = bodies[0].to_vec();
            changed[at] ^= 1;
            let read = checker.read(&changed);
            assert_ne!(read, Some((9, 300)), "byte {at}");
        }
    }
}
