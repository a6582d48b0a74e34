//! A batch: a run of whole frames, as they came off the wire. The unit of flow.

use super::frame::{self, Front, LENGTH_PREFIX};
use crate::error::ProtocolError;
use crate::stats::Count;
use bytes::Bytes;
use core::fmt;

/// How many bytes of memory a batch at rest may hold for each byte of its frames.
///
/// A batch is a view of the buffer that it was read into and keeps all of it alive. One that
/// would keep more than this many times its own size is copied instead.
const PIN_RATIO: usize = 2;

/// A run of whole frames in one piece of memory, and how many they are.
///
/// The frames stand in it exactly as on the wire, length prefixes included, so a batch is
/// forwarded without being copied or encoded again: to send it is to write
/// [`as_bytes`](Self::as_bytes). A clone is a reference count. Splitting one copies nothing; it
/// walks the lengths of the frames in the front part.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Bytes", into = "Bytes"))]
pub struct FrameBatch {
    /// Whole frames only.
    bytes: Bytes,
    /// How many frames `bytes` holds.
    messages: usize,
    /// The size of the memory that `bytes` keeps alive; at least `bytes.len()`.
    pinned: usize,
}

impl FrameBatch {
    /// A batch of `bytes`, which hold `messages` whole frames and keep `pinned` bytes alive.
    pub(super) fn of_whole_frames(bytes: Bytes, messages: usize, pinned: usize) -> Self {
        debug_assert!(pinned >= bytes.len());
        debug_assert_eq!(count(&bytes), Ok(messages));
        Self {
            bytes,
            messages,
            pinned,
        }
    }

    /// Checks that `bytes` are whole frames and makes a batch of them, without a copy.
    ///
    /// # Errors
    /// [`ProtocolError::FrameTooLarge`] and [`ProtocolError::TruncatedFrame`].
    pub fn parse(bytes: Bytes) -> Result<Self, ProtocolError> {
        let messages = count(&bytes)?;
        Ok(Self {
            pinned: bytes.len(),
            bytes,
            messages,
        })
    }

    /// How many messages there are.
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// How many bytes the frames take, length prefixes included.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no message.
    pub const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The frames as they stand on the wire.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The frames as they stand on the wire.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The messages, first to last.
    pub const fn bodies(&self) -> Bodies<'_> {
        Bodies { batch: self, at: 0 }
    }

    /// How many of the first messages fit into `messages` and `bytes`, and the bytes they take.
    pub fn prefix(&self, messages: usize, bytes: usize) -> (usize, usize) {
        if self.messages <= messages && self.bytes.len() <= bytes {
            return (self.messages, self.bytes.len());
        }
        let (mut taken, mut end) = (0, 0);
        while taken < messages.min(self.messages) {
            let next = end + frame::whole(&self.bytes[end..]);
            if next > bytes {
                break;
            }
            end = next;
            taken += 1;
        }
        (taken, end)
    }

    /// Splits off the first `messages` messages and leaves the rest.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_to(&mut self, messages: usize) -> Self {
        assert!(
            messages <= self.messages,
            "a batch of {} has no {messages}",
            self.messages
        );
        let (_, end) = self.prefix(messages, self.bytes.len());
        self.split_at((messages, end))
    }

    /// Splits off a front part that [`prefix`](Self::prefix) has measured.
    pub(crate) fn split_at(&mut self, (messages, end): (usize, usize)) -> Self {
        let front = Self {
            bytes: self.bytes.split_to(end),
            messages,
            pinned: self.pinned,
        };
        self.messages -= messages;
        front
    }

    /// The same batch, fit to be kept: copied if it would keep alive more than twice the memory
    /// that its frames take.
    #[must_use]
    pub fn compact(self) -> Self {
        if self.pinned <= PIN_RATIO * self.bytes.len() {
            return self;
        }
        let bytes = Bytes::copy_from_slice(&self.bytes);
        Self {
            pinned: bytes.len(),
            bytes,
            messages: self.messages,
        }
    }

    /// Whether the batch keeps alive no more than twice the memory that its frames take.
    pub(crate) fn is_compact(&self) -> bool {
        self.pinned <= PIN_RATIO * self.bytes.len()
    }
}

/// How many whole frames `bytes` are.
fn count(bytes: &[u8]) -> Result<usize, ProtocolError> {
    let (mut messages, mut end) = (0, 0);
    while end < bytes.len() {
        match frame::front(&bytes[end..])? {
            Front::Whole(size) => end += size,
            Front::Partial(_) => return Err(ProtocolError::TruncatedFrame),
        }
        messages += 1;
    }
    Ok(messages)
}

impl Count {
    /// What a batch holds.
    pub fn of(batch: &FrameBatch) -> Self {
        Self::new(batch.messages(), batch.byte_len())
    }
}

impl TryFrom<Bytes> for FrameBatch {
    type Error = ProtocolError;

    fn try_from(bytes: Bytes) -> Result<Self, ProtocolError> {
        Self::parse(bytes)
    }
}

impl From<FrameBatch> for Bytes {
    fn from(batch: FrameBatch) -> Self {
        batch.into_bytes()
    }
}

/// Equal frames are equal batches, wherever they are kept.
impl PartialEq for FrameBatch {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for FrameBatch {}

impl fmt::Debug for FrameBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FrameBatch({} messages, {} bytes)",
            self.messages,
            self.bytes.len()
        )
    }
}

/// The messages of a batch, first to last: [`FrameBatch::bodies`].
#[derive(Clone, Debug)]
pub struct Bodies<'a> {
    batch: &'a FrameBatch,
    at: usize,
}

impl Iterator for Bodies<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let bytes = &self.batch.bytes;
        if self.at == bytes.len() {
            return None;
        }
        let size = frame::whole(&bytes[self.at..]);
        let body = bytes.slice(self.at + LENGTH_PREFIX..self.at + size);
        self.at += size;
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use bytes::BytesMut;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn bodies(batch: &FrameBatch) -> Vec<Bytes> {
        batch.bodies().collect()
    }

    #[test]
    fn a_split_cuts_between_frames_and_loses_nothing() {
        let mut rest = batch(&["a", "", "bcd", "e"]);
        let front = rest.split_to(3);
        assert_eq!(bodies(&front), ["a", "", "bcd"]);
        assert_eq!((front.messages(), front.byte_len()), (3, 4 * 3 + 4));
        assert_eq!(bodies(&rest), ["e"]);
        assert!(rest.split_to(0).is_empty());
        assert_eq!(rest.split_to(1), batch(&["e"]));
        assert!(rest.is_empty());
    }

    #[test]
    fn a_prefix_keeps_to_both_limits() {
        let batch = batch(&["a", "", "bcd", "e"]);
        assert_eq!(batch.prefix(4, 100), (4, 21));
        assert_eq!(batch.prefix(4, 21), (4, 21));
        assert_eq!(batch.prefix(4, 20), (3, 16));
        assert_eq!(batch.prefix(4, 15), (2, 9));
        assert_eq!(batch.prefix(4, 4), (0, 0));
        assert_eq!(batch.prefix(1, 100), (1, 5));
        assert_eq!(batch.prefix(0, 100), (0, 0));
    }

    #[test]
    fn parsing_tells_whole_frames_from_others() {
        let whole = batch(&["a", "bc"]).into_bytes();
        assert_eq!(
            FrameBatch::parse(whole.clone()).map(|batch| batch.messages()),
            Ok(2)
        );
        assert_eq!(
            FrameBatch::parse(whole.slice(..10)),
            Err(ProtocolError::TruncatedFrame)
        );
        assert_eq!(
            FrameBatch::parse(Bytes::from_static(b"\x80\0\0\0")),
            Err(ProtocolError::FrameTooLarge { length: 1 << 31 })
        );
        assert_eq!(
            FrameBatch::parse(Bytes::new()).map(|batch| batch.messages()),
            Ok(0)
        );
    }

    #[test]
    fn a_sliver_of_a_large_buffer_is_copied_and_a_large_part_is_not() {
        let mut buffer = BytesMut::with_capacity(1000);
        buffer.extend_from_slice(batch(&["a"]).as_bytes());
        let sliver = FrameBatch::of_whole_frames(buffer.split().freeze(), 1, 1000);
        assert!(!sliver.is_compact());
        let copied = sliver.clone().compact();
        assert_eq!(copied, sliver);
        assert_ne!(copied.as_bytes().as_ptr(), sliver.as_bytes().as_ptr());

        let half = FrameBatch::of_whole_frames(sliver.as_bytes().clone(), 1, 10);
        assert_eq!(
            half.clone().compact().as_bytes().as_ptr(),
            half.as_bytes().as_ptr()
        );
    }
}
