//! A batch: a run of whole frames, as they came off the wire. The unit of flow.

use super::checksum::crc32c;
use super::frame::{self, Front, LENGTH_PREFIX};
use super::sums::Sums;
use crate::error::ProtocolError;
use crate::stats::Count;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::fmt;
use core::ops::Range;

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
    /// The sums of `bytes` as they came in, if a consumer has asked for sums by then.
    sums: Option<Sums>,
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
            sums: None,
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
            sums: None,
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

    /// Carries the sums of its bytes from now on, unless it does.
    pub(crate) fn keep_sums(&mut self) {
        if self.sums.is_none() {
            self.sums = Some(Sums::of(&self.bytes));
        }
    }

    /// The sum of its bytes: of what they were when they came in, if it was made then.
    pub(crate) fn sum(&self) -> u32 {
        match &self.sums {
            Some(sums) => sums.whole(),
            None => crc32c([&self.bytes[..]]),
        }
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

    /// Splits off the messages whose frames take at most so many bytes, or the first if that alone takes more, and leaves
    /// the rest.
    ///
    /// # Panics
    /// If there is none.
    pub fn split_within(&mut self, bytes: usize) -> Self {
        match self.prefix(usize::MAX, bytes) {
            (0, _) => self.split_to(1),
            measured => self.split_at(measured),
        }
    }

    /// Splits off a front part that [`prefix`](Self::prefix) has measured.
    pub(crate) fn split_at(&mut self, (messages, end): (usize, usize)) -> Self {
        let sums = if self.sums.is_some() {
            self.split_sums_at(end)
        } else {
            None
        };
        let front = Self {
            bytes: self.bytes.split_to(end),
            messages,
            pinned: self.pinned,
            sums,
        };
        self.messages -= messages;
        front
    }

    /// Splits off the sums of a front part.
    #[cold]
    #[inline(never)]
    fn split_sums_at(&mut self, end: usize) -> Option<Sums> {
        let (front, rest) = self.sums.as_ref()?.split_at(&self.bytes, end);
        self.sums = Some(rest);
        Some(front)
    }

    /// Drops a front part that [`prefix`](Self::prefix) has measured.
    pub(crate) fn drop_front(&mut self, (messages, end): (usize, usize)) {
        if self.sums.is_some() {
            drop(self.split_sums_at(end));
        }
        self.bytes.advance(end);
        self.messages -= messages;
    }

    /// Where the frame that begins at this byte ends.
    pub(crate) fn frame_end(&self, start: usize) -> usize {
        start + frame::whole(&self.bytes[start..])
    }

    /// The `messages` messages whose frames stand at these bytes. Neither copies nor walks them.
    pub(crate) fn slice(&self, frames: Range<usize>, messages: usize) -> Self {
        let sums = self.sums.as_ref();
        let sums = sums.map(|it| it.slice(&self.bytes, frames.clone()));
        Self {
            sums,
            ..Self::of_whole_frames(self.bytes.slice(frames), messages, self.pinned)
        }
    }

    /// A batch of its own of the messages whose frames stand at these places; they take `bytes`
    /// together.
    pub(crate) fn gather(
        &self,
        frames: impl IntoIterator<Item = Range<usize>>,
        bytes: usize,
    ) -> Self {
        let mut gathered = Vec::with_capacity(bytes);
        let mut messages = 0;
        for frame in frames {
            gathered.extend_from_slice(&self.bytes[frame]);
            messages += 1;
        }
        let pinned = gathered.capacity();
        let sums = self.sums.as_ref();
        let sums = sums.map(|it| it.gathered(&self.bytes, &gathered));
        Self {
            sums,
            ..Self::of_whole_frames(gathered.into(), messages, pinned)
        }
    }

    /// The same batch, fit to be kept: copied if it would keep alive more than twice the memory
    /// that its frames take.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.compact_for(self.bytes.len());
        self
    }

    /// Makes the batch fit to be kept for the sake of this many of its bytes: it is copied if it
    /// keeps alive more than twice as much memory.
    pub(crate) fn compact_for(&mut self, bytes: usize) {
        if !self.is_compact_for(bytes) {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
            self.pinned = self.bytes.len();
        }
    }

    /// The same batch, of which it is known that it keeps so many bytes alive.
    pub(crate) fn pinning(self, bytes: usize) -> Self {
        Self {
            pinned: bytes.max(self.bytes.len()),
            ..self
        }
    }

    /// The bytes of memory that the batch keeps alive.
    pub(crate) const fn pinned(&self) -> usize {
        self.pinned
    }

    /// Whether the batch keeps alive no more than twice the memory that its frames take.
    pub(crate) fn is_compact(&self) -> bool {
        self.is_compact_for(self.bytes.len())
    }

    /// Whether the batch keeps alive no more than twice this many bytes.
    pub(crate) const fn is_compact_for(&self, bytes: usize) -> bool {
        self.pinned <= PIN_RATIO * bytes
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
    use bytes::BytesMut;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn bodies(batch: &FrameBatch) -> Vec<Bytes> {
        batch.bodies().collect()
    }

    #[test]
    fn what_is_split_off_within_some_bytes_is_what_fits_and_the_first_in_any_case() {
        let mut rest = batch(&["a", "bc", "a long one", "d"]);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(rest.split_within(11).messages());
        }
        assert_eq!(pieces, [2, 1, 1]);
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

    #[test]
    fn known_frames_are_dropped_and_sliced_without_a_copy_and_gathered_with_one() {
        let mut batch = batch(&["a", "", "bcd", "e"]);
        let at = batch.as_bytes().as_ptr();
        assert_eq!([0, 5, 9, 16].map(|it| batch.frame_end(it)), [5, 9, 16, 21]);

        let middle = batch.slice(5..16, 2);
        assert_eq!(bodies(&middle), ["", "bcd"]);
        assert_eq!(middle.as_bytes().as_ptr(), at.wrapping_add(5));
        assert_eq!(middle.pinned, batch.pinned, "it keeps all of it alive");

        let gathered = batch.gather([0..5, 9..16], 12);
        assert_eq!(bodies(&gathered), ["a", "bcd"]);
        assert_eq!((gathered.messages(), gathered.pinned), (2, 12));

        batch.drop_front((2, 9));
        assert_eq!(bodies(&batch), ["bcd", "e"]);
        assert_eq!(batch.as_bytes().as_ptr(), at.wrapping_add(9));
    }

    #[test]
    fn a_batch_is_copied_for_the_sake_of_less_than_half_of_what_it_keeps_alive() {
        let mut batch = FrameBatch::parse(batch(&["a", "bcd"]).into_bytes()).expect("frames");
        let at = batch.as_bytes().as_ptr();
        batch.compact_for(6);
        assert_eq!(batch.as_bytes().as_ptr(), at);
        assert!(!batch.is_compact_for(5));
        batch.compact_for(5);
        assert_ne!(batch.as_bytes().as_ptr(), at);
        assert_eq!((batch.messages(), batch.pinned), (2, 12));
    }
}
