//! Messages into frames.

use super::batch::FrameBatch;
use super::frame::{LENGTH_PREFIX, MAX_FRAME_BODY};
use bytes::{BufMut, BytesMut};
use core::fmt;

/// Gathers messages into a batch.
///
/// The clients' side of the wire; the broker itself never encodes a frame.
#[derive(Debug, Default)]
pub struct Encoder {
    buf: BytesMut,
    messages: usize,
}

impl Encoder {
    /// An encoder that holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages have been pushed since the last [`take`](Self::take).
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// How many bytes their frames take.
    pub fn byte_len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing has been pushed since the last [`take`](Self::take).
    pub const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Adds a message.
    ///
    /// # Errors
    /// A message above [`MAX_FRAME_BODY`]; nothing is added then.
    pub fn push(&mut self, message: &[u8]) -> Result<(), MessageTooLarge> {
        if message.len() > MAX_FRAME_BODY {
            return Err(MessageTooLarge {
                length: message.len(),
            });
        }
        self.buf.reserve(LENGTH_PREFIX + message.len());
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_FRAME_BODY")]
        self.buf.put_u32(message.len() as u32);
        self.buf.put_slice(message);
        self.messages += 1;
        Ok(())
    }

    /// Takes what has been pushed, as one batch.
    pub fn take(&mut self) -> FrameBatch {
        let pinned = self.buf.capacity();
        let messages = core::mem::take(&mut self.messages);
        FrameBatch::of_whole_frames(self.buf.split().freeze(), messages, pinned)
    }
}

impl FrameBatch {
    /// Makes a batch of these messages, each a frame of its own.
    ///
    /// # Errors
    /// A message above [`MAX_FRAME_BODY`].
    pub fn encode<M: AsRef<[u8]>>(
        messages: impl IntoIterator<Item = M>,
    ) -> Result<Self, MessageTooLarge> {
        let mut encoder = Encoder::new();
        for message in messages {
            encoder.push(message.as_ref())?;
        }
        Ok(encoder.take())
    }
}

/// A message that no frame can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTooLarge {
    /// Its length in bytes.
    pub length: usize,
}

impl fmt::Display for MessageTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message of {} bytes; the largest allowed is {MAX_FRAME_BODY}",
            self.length
        )
    }
}

impl core::error::Error for MessageTooLarge {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_frame_is_a_big_endian_length_and_the_body() {
        let mut encoder = Encoder::new();
        encoder.push(b"hello").expect("small");
        encoder.push(b"").expect("small");
        assert_eq!((encoder.messages(), encoder.byte_len()), (2, 13));
        let batch = encoder.take();
        assert_eq!(&batch.as_bytes()[..], b"\0\0\0\x05hello\0\0\0\0");
        assert_eq!(batch.messages(), 2);
        assert!(encoder.is_empty() && encoder.take().is_empty());
    }

    #[test]
    fn the_largest_message_fits_and_one_byte_more_does_not() {
        let mut encoder = Encoder::new();
        let largest = vec![7; MAX_FRAME_BODY];
        assert_eq!(encoder.push(&largest), Ok(()));
        let larger = vec![7; MAX_FRAME_BODY + 1];
        assert_eq!(
            encoder.push(&larger),
            Err(MessageTooLarge { length: 1_048_577 })
        );
        assert_eq!(encoder.take().messages(), 1);
    }
}
