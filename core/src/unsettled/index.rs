//! Where the messages of a run are, and which of them are unsettled, once they are no longer
//! consecutive.

use super::alive::Alive;
use super::run::Piece;
use crate::stats::Count;
use crate::wire::FrameBatch;
use alloc::vec::Vec;
use core::ops::Range;

/// The places of messages in a batch.
///
/// At least three in four of them are unsettled: [`shrink`](Self::shrink) sees to it. So a message
/// takes no more than eleven bytes here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Index {
    /// In order.
    places: Vec<Place>,
    /// Which of them, by their number in `places`, are unsettled.
    alive: Alive,
    /// The bytes of those.
    bytes: usize,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Place {
    /// How many messages of the run came before it.
    offset: u32,
    /// Where in the batch its frame begins.
    start: u32,
}

impl Index {
    /// The index of a batch whose messages are all unsettled and consecutive; the first has the
    /// offset `front`.
    pub(super) fn of(batch: &FrameBatch, front: u64) -> Self {
        let mut places = Vec::with_capacity(batch.messages());
        let mut start = 0;
        while start < batch.byte_len() {
            places.push(Place {
                offset: front as u32 + places.len() as u32,
                start: start as u32,
            });
            start = batch.frame_end(start);
        }
        Self {
            alive: Alive::all(places.len()),
            places,
            bytes: batch.byte_len(),
        }
    }

    /// What is unsettled.
    pub(super) const fn count(&self) -> Count {
        Count::new(self.alive.count(), self.bytes)
    }

    /// Shows `each` what is unsettled of the messages with these offsets and removes it.
    pub(super) fn remove(
        &mut self,
        batch: &FrameBatch,
        offsets: &Range<u64>,
        each: &mut dyn FnMut(Piece<'_>),
    ) -> Count {
        let mut places = self.places_of(offsets);
        let mut removed = Count::ZERO;
        while let Some(stretch) = self.next_stretch(&places, usize::MAX) {
            let piece = self.piece(batch, &stretch);
            removed += piece.count();
            self.bytes -= piece.bytes.len();
            self.alive.remove(stretch.clone());
            places.start = stretch.end;
            each(piece);
        }
        removed
    }

    /// The offsets of the first `messages` that are unsettled, in stretches without a gap.
    pub(super) fn oldest(&self, messages: usize) -> impl Iterator<Item = Range<u64>> {
        let (mut places, mut left) = (0..self.places.len(), messages);
        core::iter::from_fn(move || {
            let stretch = self.next_stretch(&places, left)?;
            places.start = stretch.end;
            left -= stretch.len();
            let first = u64::from(self.places[stretch.start].offset);
            Some(first..first + stretch.len() as u64)
        })
    }

    /// Forgets the places of what is settled if they are more than one in four, and what is settled
    /// itself if it takes more than half of the batch. Afterwards the messages may be consecutive
    /// again: then the offset of the first is returned, the batch holds nothing else, and no index
    /// is needed.
    pub(super) fn shrink(&mut self, batch: &mut FrameBatch) -> Option<u64> {
        // Whether anything is done may hang on what a checkpoint holds, not on how much memory the batch keeps alive.
        let sparse = 2 * self.bytes < batch.byte_len();
        if !sparse && 4 * self.alive.count() >= 3 * self.places.len() {
            return None;
        }
        self.forget_settled();
        if sparse {
            *batch = self.copy_out(batch);
        }
        let (first, last) = (self.places.first()?, self.places.last()?);
        let messages = self.places.len();
        if (last.offset - first.offset) as usize + 1 != messages {
            return None;
        }
        let frames = first.start as usize..batch.frame_end(last.start as usize);
        *batch = batch.slice(frames, messages);
        Some(u64::from(first.offset))
    }

    /// Keeps the places of what is unsettled alone.
    fn forget_settled(&mut self) {
        let mut places = Vec::with_capacity(self.alive.count());
        for (i, place) in self.places.iter().enumerate() {
            if self.alive.contains(i) {
                places.push(*place);
            }
        }
        self.alive = Alive::all(places.len());
        self.places = places;
    }

    /// A batch of what is unsettled, which from now on is what the index speaks of. No place is
    /// settled.
    fn copy_out(&mut self, batch: &FrameBatch) -> FrameBatch {
        let mut end = 0;
        let frames = self.places.iter_mut().map(|place| {
            let from = place.start as usize;
            let frame = from..batch.frame_end(from);
            place.start = end as u32;
            end += frame.len();
            frame
        });
        batch.gather(frames, self.bytes)
    }

    /// The places with these offsets.
    fn places_of(&self, offsets: &Range<u64>) -> Range<usize> {
        let before = |offset: u64| move |place: &Place| u64::from(place.offset) < offset;
        let start = self.places.partition_point(before(offsets.start));
        // There are no more places than offsets: for a single message the search is over.
        let rest = &self.places[start..];
        let most = (offsets.end - offsets.start).min(rest.len() as u64);
        let rest = &rest[..most as usize];
        start..start + rest.partition_point(before(offsets.end))
    }

    /// The first of these places that are unsettled and have consecutive offsets: as many as there
    /// are, but no more than `most`.
    fn next_stretch(&self, places: &Range<usize>, most: usize) -> Option<Range<usize>> {
        let start = self.alive.first_from(places.start)?;
        let limit = places.end.min(start.saturating_add(most));
        if start >= limit {
            return None;
        }
        let mut end = start + 1;
        while end < limit
            && self.places[end].offset == self.places[end - 1].offset + 1
            && self.alive.contains(end)
        {
            end += 1;
        }
        Some(start..end)
    }

    /// A stretch of messages.
    fn piece<'a>(&self, batch: &'a FrameBatch, stretch: &Range<usize>) -> Piece<'a> {
        // Messages with consecutive offsets stand side by side: whatever was between them has gone.
        let (first, last) = (self.places[stretch.start], self.places[stretch.end - 1]);
        Piece {
            offset: u64::from(first.offset),
            batch,
            bytes: first.start as usize..batch.frame_end(last.start as usize),
            messages: stretch.len(),
        }
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(super) const fn overhead(&self) -> usize {
        size_of::<Self>() + self.places.capacity() * size_of::<Place>() + self.alive.overhead()
    }

    /// Checks what always holds of the index of this batch. Returns the offset of the last message.
    pub(super) fn check(&self, batch: &FrameBatch) -> u64 {
        self.alive.check();
        let (alive, places) = (self.alive.count(), self.places.len());
        assert!(alive > 0, "a run of nothing");
        assert!(4 * alive >= 3 * places, "{alive} of {places} places");
        let (mut bytes, mut end, mut next) = (0, 0, 0);
        for (i, place) in self.places.iter().enumerate() {
            let start = place.start as usize;
            assert!(start >= end && place.offset >= next, "out of order");
            assert!(
                place.offset > next || start == end || i == 0,
                "consecutive messages are not side by side"
            );
            end = batch.frame_end(start);
            next = place.offset + 1;
            if self.alive.contains(i) {
                bytes += end - start;
            }
        }
        assert_eq!(self.bytes, bytes);
        assert!(
            2 * bytes >= batch.byte_len(),
            "what is settled takes {} of {} bytes",
            batch.byte_len() - bytes,
            batch.byte_len()
        );
        u64::from(next) - 1
    }
}
