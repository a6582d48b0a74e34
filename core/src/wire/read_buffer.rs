//! Where the bytes of a connection are read to: sized by what its reads bring, and passed on to the
//! next connection while this one has nothing to read.

use super::batch::FrameBatch;
use super::frame::MAX_FRAME;
use bytes::{Buf, Bytes, BytesMut};
use core::mem;

/// The smallest read asked for, in bytes: where every connection starts.
pub(super) const MIN_READ: usize = 2 * 1024;

/// Part of a frame that takes no more than this part of its buffer is moved out of it, so that
/// the buffer can be passed on. A longer one would be copied too often.
const SHORT_RATIO: usize = 8;

/// The largest buffer that part of a frame keeps: of twice the largest frame.
const MAX_KEPT: usize = 2 * MAX_FRAME;

/// One to read into while what was read into the other is being written.
const SPARES: usize = 2;

/// From this size on a buffer is not always filled from its first byte: see
/// [`ReadBuffer::next_start`].
const SHIFTED: usize = 64 * 1024;

/// A step from one start to the next, in bytes: whole cache lines, and all of a page in 64 steps.
const SHIFT: usize = 7 * 64;
const PAGE: usize = 4096;

/// The read buffer of one connection.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    /// What was received and not yet taken.
    pub(super) bytes: BytesMut,
    /// The size of the allocation that `bytes` is a part of.
    pub(super) allocated: usize,
    /// How much to ask for in the next read: follows the size of the reads before it.
    pub(super) target: usize,
    /// The largest read asked for.
    max_read: usize,
    /// `bytes.len()` when the caller was last given the buffer.
    before_read: usize,
    /// Where the last buffer was filled from.
    start: usize,
}

/// Read buffers that no connection uses. One that has nothing to read leaves its buffer here, and
/// the next that reads as much at a time takes it, most likely still in the processor's cache.
///
/// So many connections that take turns read into the same memory. It holds at most two buffers,
/// each at most as large as the largest read. See [`Decoder::recv_buf_from`] and
/// [`Decoder::park`].
///
/// [`Decoder::recv_buf_from`]: super::Decoder::recv_buf_from
/// [`Decoder::park`]: super::Decoder::park
#[derive(Debug, Default)]
pub struct SpareBuffers {
    /// The one left last is the last.
    spares: [Spare; SPARES],
}

/// A buffer without content. Batches may still keep parts of its allocation.
#[derive(Debug, Default)]
struct Spare {
    buffer: BytesMut,
    /// The size of the allocation; 0 where there is none.
    allocated: usize,
}

impl ReadBuffer {
    /// An empty buffer, for reads of at most `max_read` bytes.
    pub(super) fn new(max_read: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            allocated: 0,
            target: MIN_READ.min(max_read),
            max_read,
            before_read: 0,
            start: 0,
        }
    }

    /// What was received and not yet taken.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the memory for part of a frame counts, after [`park`](Self::park): its own bytes, or
    /// half the buffer that it keeps if that is more.
    pub(super) fn held(&self) -> usize {
        self.bytes.len().max(self.allocated / 2)
    }

    /// Whether the buffer is too large for what is left in it.
    fn is_sparse(&self) -> bool {
        SHORT_RATIO * self.bytes.len() <= self.allocated || self.allocated > MAX_KEPT
    }

    /// The buffer to append to. It has room for at least one byte.
    pub(super) fn room(&mut self, spares: &mut SpareBuffers) -> &mut BytesMut {
        if self.bytes.capacity() - self.bytes.len() < self.target.div_ceil(2) {
            self.make_room(spares);
        }
        self.before_read = self.bytes.len();
        &mut self.bytes
    }

    fn make_room(&mut self, spares: &mut SpareBuffers) {
        // It may get the same memory back, if nothing else uses it.
        self.park(spares);
        let filled = self.bytes.len();
        // A short partial frame has its place within the read, so that no batch is larger than one.
        // A long one grows by doubling, so that its bytes are copied O(1) times.
        let (size, start) = if filled <= self.target / 2 {
            (self.target, self.next_start())
        } else {
            (filled + self.target.max(filled), 0)
        };
        let mut other = spares
            .take(size)
            .unwrap_or_else(|| BytesMut::with_capacity(size));
        let allocated = other.capacity();
        other.resize(start, 0);
        other.advance(start);
        other.extend_from_slice(&self.bytes);
        self.replace(other, allocated, spares);
    }

    /// Where the next buffer is to be filled from, for reads of the size that is due.
    ///
    /// Processors copy at a fraction of their speed where source and destination stand just so in
    /// their pages (`docs/PERFORMANCE.md`). How they stand follows from the sizes of messages and
    /// reads, and can stay as it is for ever. So every buffer begins at another place in its page:
    /// then no size of message is an unlucky one.
    fn next_start(&mut self) -> usize {
        if self.target < SHIFTED {
            return 0;
        }
        self.start = (self.start + SHIFT) % PAGE;
        self.start
    }

    /// Follows the size of the reads: doubles when one filled the buffer, halves when one left
    /// most of it empty. To be called after each read.
    pub(super) fn adapt(&mut self) {
        let read = self.bytes.len() - self.before_read;
        if read == 0 {
            return;
        }
        if self.bytes.len() == self.bytes.capacity() {
            self.target = (self.target * 2).min(self.max_read);
        } else if read < self.target / 4 {
            self.target = (self.target / 2).max(MIN_READ.min(self.max_read));
        }
        self.before_read = self.bytes.len();
    }

    /// Takes the first `end` bytes, which hold `messages` whole frames. A part too small to keep
    /// the whole buffer alive is copied, and the buffer is used again.
    pub(super) fn take(&mut self, messages: usize, end: usize) -> FrameBatch {
        let (view, allocated) = self.take_bytes(end);
        FrameBatch::of_whole_frames(view, messages, allocated).compact()
    }

    /// Takes the first `end` bytes, and says how many bytes of memory they keep alive.
    pub(super) fn take_bytes(&mut self, end: usize) -> (Bytes, usize) {
        // A caller that appended more than there was room for has made the buffer grow.
        self.allocated = self.allocated.max(self.bytes.capacity());
        let view = self.bytes.split_to(end).freeze();
        self.before_read = self.bytes.len();
        (view, self.allocated)
    }

    /// Drops the first `size` bytes.
    pub(super) fn advance(&mut self, size: usize) {
        self.bytes.advance(size);
        self.before_read = self.bytes.len();
    }

    /// Drops what is left, and the memory.
    pub(super) fn clear(&mut self) {
        (self.bytes, self.allocated, self.before_read) = (BytesMut::new(), 0, 0);
    }

    /// Leaves the memory, if there is any, to `spares`, unless a good part of it holds part of a
    /// frame.
    pub(super) fn park(&mut self, spares: &mut SpareBuffers) {
        if self.allocated > 0 && self.is_sparse() {
            let partial = BytesMut::from(self.as_bytes());
            let allocated = partial.capacity();
            self.replace(partial, allocated, spares);
            self.before_read = self.bytes.len();
        }
    }

    /// Goes on in `other`, which holds the same, and leaves the buffer there was to `spares`.
    fn replace(&mut self, other: BytesMut, allocated: usize, spares: &mut SpareBuffers) {
        let buffer = mem::replace(&mut self.bytes, other);
        let allocated = mem::replace(&mut self.allocated, allocated);
        if allocated <= self.max_read {
            spares.leave(buffer, allocated);
        }
    }
}

impl SpareBuffers {
    /// The buffer left last of those that are just of this size and that nothing else uses. A
    /// larger one will not do: of a buffer that reads do not fill, batches are slivers, each copied.
    fn take(&mut self, size: usize) -> Option<BytesMut> {
        let fits = |spare: &mut Spare| spare.allocated == size && spare.buffer.try_reclaim(size);
        let at = self.spares.iter_mut().rposition(fits)?;
        Some(mem::take(&mut self.spares[at]).buffer)
    }

    /// Keeps this buffer, unless all that are kept are larger.
    fn leave(&mut self, mut buffer: BytesMut, allocated: usize) {
        let sizes = self.spares.iter().map(|spare| spare.allocated).enumerate();
        // Of those of the same size the one left first.
        let smallest = sizes.min_by_key(|(_, size)| *size);
        if let Some((smallest, size)) = smallest
            && size <= allocated
        {
            buffer.clear();
            self.spares[smallest..].rotate_left(1);
            self.spares[SPARES - 1] = Spare { buffer, allocated };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::LENGTH_PREFIX;
    use alloc::vec;
    use alloc::vec::Vec;

    const MAX_READ: usize = 64 * 1024;

    /// A buffer of a connection whose reads are as large as may be.
    fn busy() -> ReadBuffer {
        let mut buffer = ReadBuffer::new(MAX_READ);
        buffer.target = MAX_READ;
        buffer
    }

    /// Reads one frame that fills the buffer but for `rest` bytes, then so many of the next one.
    /// Returns where the buffer ends in memory, and the batch.
    fn fill(
        buffer: &mut ReadBuffer,
        spares: &mut SpareBuffers,
        rest: usize,
    ) -> (*const u8, FrameBatch) {
        let room = buffer.room(spares);
        let end = room.as_ptr().wrapping_add(room.capacity());
        let body = room.capacity() - rest - room.len() - LENGTH_PREFIX;
        room.extend_from_slice(&u32::try_from(body).expect("it is small").to_be_bytes());
        room.extend_from_slice(&vec![0; body + rest]);
        buffer.adapt();
        (end, buffer.take(1, LENGTH_PREFIX + body))
    }

    #[test]
    fn what_one_connection_leaves_the_next_reads_into() {
        let (mut one, mut other) = (busy(), busy());
        let mut spares = SpareBuffers::default();
        let (first, batch) = fill(&mut one, &mut spares, 100);
        one.park(&mut spares);
        assert_eq!(one.as_bytes(), [0; 100], "part of a frame stays");
        assert!(one.allocated < MAX_READ / SHORT_RATIO);
        drop(batch);
        let (second, _) = fill(&mut other, &mut spares, 0);
        assert_eq!(second, first);
    }

    #[test]
    fn a_buffer_that_a_batch_keeps_is_not_read_into() {
        let mut buffer = busy();
        let mut spares = SpareBuffers::default();
        let (first, written) = fill(&mut buffer, &mut spares, 0);
        buffer.park(&mut spares);
        let (second, batch) = fill(&mut buffer, &mut spares, 0);
        assert_ne!(second, first);
        buffer.park(&mut spares);
        drop(written);
        // Two are enough for one to be written while the other is read into.
        let (third, _) = fill(&mut buffer, &mut spares, 0);
        assert_eq!(third, first);
        drop(batch);
    }

    #[test]
    fn one_that_is_not_parked_leaves_its_buffer_when_it_takes_another() {
        let mut buffer = busy();
        let mut spares = SpareBuffers::default();
        let (first, written) = fill(&mut buffer, &mut spares, 0);
        let (_, batch) = fill(&mut buffer, &mut spares, 0);
        drop(written);
        let (third, _) = fill(&mut buffer, &mut spares, 0);
        assert_eq!(third, first);
        drop(batch);
    }

    #[test]
    fn a_long_part_of_a_frame_keeps_its_buffer() {
        let mut buffer = busy();
        let mut spares = SpareBuffers::default();
        fill(&mut buffer, &mut spares, MAX_READ / SHORT_RATIO + 1);
        let at = buffer.as_bytes().as_ptr();
        buffer.park(&mut spares);
        assert_eq!(buffer.as_bytes().as_ptr(), at);
        assert_eq!(buffer.allocated, MAX_READ);
        assert_eq!(spares.take(MAX_READ), None);
    }

    #[test]
    fn every_buffer_begins_at_another_place_in_its_page() {
        let mut buffer = busy();
        let mut spares = SpareBuffers::default();
        let mut starts = Vec::new();
        for _ in 0..PAGE / 64 {
            let room = buffer.room(&mut spares);
            assert!(room.capacity() > MAX_READ - PAGE);
            starts.push(room.as_ptr() as usize % PAGE);
            let rest = room.capacity() - room.len();
            room.extend_from_slice(&vec![0; rest]);
            buffer.adapt();
            buffer.advance(buffer.as_bytes().len());
        }
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), PAGE / 64);
    }

    #[test]
    fn the_largest_are_kept_and_of_those_the_last() {
        let mut spares = SpareBuffers::default();
        let mut at = Vec::new();
        for size in [3000, 5000, 5000, 4000, 5000] {
            let buffer = BytesMut::with_capacity(size);
            at.push(buffer.as_ptr());
            spares.leave(buffer, size);
        }
        assert_eq!(spares.take(4000), None);
        let kept = [spares.take(5000), spares.take(5000)];
        assert_eq!(
            kept.map(|buffer| buffer.map(|buffer| buffer.as_ptr())),
            [Some(at[4]), Some(at[2])]
        );
        assert_eq!(spares.take(5000), None);
    }
}
