//! Messages that were handed out together: one batch, of which some have been settled.

use super::index::Index;
use crate::stats::Count;
use crate::wire::FrameBatch;
use alloc::boxed::Box;
use core::ops::Range;

/// What is unsettled of a run. A message's *offset* says how many of the run came before it.
///
/// As long as messages are settled from the front, the batch is all there is. The first one that is
/// settled elsewhere makes an index of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Run {
    /// The messages; with an index, also some that are settled.
    batch: FrameBatch,
    /// Without an index: the offset of the first message. The others follow without a gap.
    front: u64,
    index: Option<Box<Index>>,
    /// The bytes of memory that it keeps alive, if that is more than twice what is unsettled; otherwise 0.
    spared: usize,
}

/// Some consecutive messages of a run.
pub(super) struct Piece<'a> {
    /// The offset of the first.
    pub(super) offset: u64,
    /// A batch in which they are ...
    pub(super) batch: &'a FrameBatch,
    /// ... at these bytes.
    pub(super) bytes: Range<usize>,
    /// How many they are.
    pub(super) messages: usize,
}

impl Piece<'_> {
    pub(super) const fn count(&self) -> Count {
        Count::new(self.messages, self.bytes.end - self.bytes.start)
    }

    /// A batch of these messages alone.
    pub(super) fn to_batch(&self) -> FrameBatch {
        self.batch.slice(self.bytes.clone(), self.messages)
    }
}

impl Run {
    /// All messages of this batch.
    pub(super) fn new(batch: FrameBatch) -> Self {
        Self {
            batch,
            front: 0,
            index: None,
            spared: 0,
        }
    }

    /// What is unsettled.
    pub(super) fn count(&self) -> Count {
        self.index
            .as_ref()
            .map_or_else(|| Count::of(&self.batch), |index| index.count())
    }

    /// Shows `each` what is unsettled of the messages with these offsets, in order, and removes it.
    pub(super) fn remove(
        &mut self,
        offsets: &Range<u64>,
        each: &mut dyn FnMut(Piece<'_>),
    ) -> Count {
        if self.index.is_none() {
            let offsets = self.within(offsets);
            if offsets.is_empty() {
                return Count::ZERO;
            }
            if offsets.start == self.front {
                return self.remove_front((offsets.end - offsets.start) as usize, each);
            }
        }
        let index = self
            .index
            .get_or_insert_with(|| Box::new(Index::of(&self.batch, self.front)));
        let removed = index.remove(&self.batch, offsets, each);
        if !removed.is_zero()
            && !index.count().is_zero()
            && let Some(front) = index.shrink(&mut self.batch)
        {
            (self.front, self.index) = (front, None);
        }
        removed
    }

    /// The same for the first messages of a run without an index.
    fn remove_front(&mut self, messages: usize, each: &mut dyn FnMut(Piece<'_>)) -> Count {
        let prefix = self.batch.prefix(messages, usize::MAX);
        let piece = Piece {
            offset: self.front,
            batch: &self.batch,
            bytes: 0..prefix.1,
            messages,
        };
        let removed = piece.count();
        each(piece);
        self.front += removed.messages;
        self.batch.drop_front(prefix);
        removed
    }

    /// Makes it fit to be kept. If it keeps alive more than twice the memory that the unsettled messages take, it
    /// is copied, unless that memory is no more than `room` bytes. Returns how many bytes it is spared.
    pub(super) fn spare_or_compact(&mut self, room: usize) -> usize {
        let left = self.count().bytes as usize;
        let pinned = self.batch.pinned();
        self.spared = 0;
        if !self.batch.is_compact_for(left) {
            if pinned <= room {
                self.spared = pinned;
            } else {
                self.batch.compact_for(left);
            }
        }
        self.spared
    }

    /// The bytes of memory that it keeps alive, if it is spared a copy.
    pub(super) const fn spared(&self) -> usize {
        self.spared
    }

    /// Those of these offsets that messages have, where there is no index.
    fn within(&self, offsets: &Range<u64>) -> Range<u64> {
        let end = self.front + self.batch.messages() as u64;
        offsets.start.max(self.front)..offsets.end.min(end)
    }

    /// Shows `each` the offsets of the first `messages` that are unsettled, in stretches without a gap.
    pub(super) fn oldest(&self, messages: usize, each: &mut dyn FnMut(Range<u64>)) {
        if let Some(index) = &self.index {
            return index.oldest(messages).for_each(each);
        }
        let messages = messages.min(self.batch.messages()) as u64;
        each(self.front..self.front + messages);
    }

    /// The batch, to be replaced by one of the same length.
    pub(super) const fn batch_mut(&mut self) -> &mut FrameBatch {
        &mut self.batch
    }

    /// Bytes of memory that it takes beside itself and the messages.
    #[cfg(test)]
    pub(super) fn overhead(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.overhead())
    }

    /// Checks what always holds. Returns the offset of the last message.
    pub(super) fn check(&self) -> u64 {
        let count = self.count();
        assert!(!count.is_zero(), "a run of nothing");
        // What was restored keeps no more alive than what it was made of.
        assert!(
            self.batch.is_compact_for(count.bytes as usize) || self.batch.pinned() <= self.spared,
            "{} bytes keep more than twice as much alive",
            count.bytes
        );
        match &self.index {
            Some(index) => index.check(&self.batch),
            None => self.front + count.messages - 1,
        }
    }

    #[cfg(test)]
    pub(super) const fn has_index(&self) -> bool {
        self.index.is_some()
    }

    #[cfg(test)]
    pub(super) const fn batch(&self) -> &FrameBatch {
        &self.batch
    }
}
