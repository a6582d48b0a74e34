//! What one consumer holds unsettled on one connection: by runs, not by messages.
//!
//! ```text
//! Unsettled ─▶ Run ─▶ FrameBatch              settled in order: the front of the batch goes
//!              │
//!              └────▶ Index ─▶ Alive          otherwise: where the frames are, and which are left
//! ```
//!
//! Each message has a *position*: they are counted from 1 as they are pushed, and never sent. Settled in
//! order, messages take no memory here beside their batches. Where one is settled elsewhere, its run gets
//! an index of at most eleven bytes for each message that is left. A run takes what it takes as long as a
//! message of it is left.
//!
//! To settle a range takes O(log n) and work for the messages that are removed. Now and then it takes work for
//! a whole run, which is no longer than one write, however many are held: when its first message is settled out of
//! order its index is made, when a quarter of that is settled it is made anew, and when half of the run's bytes are
//! settled the others are copied. So each message is walked and copied a bounded number of times in all.

mod alive;
mod index;
mod run;
#[cfg(test)]
mod tests;

use crate::stats::Count;
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops;
use run::Run;

/// The messages that a consumer was sent and has not settled, by their positions. `M` is the caller's: what
/// all messages of a run have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Unsettled<M> {
    /// By the position that the first message of each had, whether it is settled or not. In each at least
    /// one message is unsettled.
    runs: BTreeMap<u64, Marked<M>>,
    /// The position of the next message.
    next: u64,
    /// What is unsettled.
    count: Count,
    /// The bytes of memory that runs keep alive which are spared a copy.
    pinned: usize,
}

/// A run, and what its messages have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Marked<M> {
    run: Run,
    mark: M,
}

/// Some consecutive messages that were taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part<M> {
    /// The position of the first.
    pub(crate) position: u64,
    /// The messages. It may keep more memory alive than a batch at rest should.
    pub(crate) batch: FrameBatch,
    /// How many messages of the run, as it was pushed, came before the first.
    pub(crate) offset: u64,
    /// What the messages of the run have in common.
    pub(crate) mark: M,
}

impl<M: Clone> Unsettled<M> {
    /// Nothing. The first message gets position 1.
    pub(crate) const fn new() -> Self {
        Self {
            runs: BTreeMap::new(),
            next: 1,
            count: Count::ZERO,
            pinned: 0,
        }
    }

    /// The position of the next message that is pushed.
    pub(crate) const fn next_position(&self) -> u64 {
        self.next
    }

    /// What is unsettled.
    pub(crate) const fn count(&self) -> Count {
        self.count
    }

    /// The bytes of memory that runs keep alive which are spared a copy.
    pub(crate) const fn pinned(&self) -> usize {
        self.pinned
    }

    /// Whether nothing is unsettled.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count.is_zero()
    }

    /// What the oldest unsettled message has in common with its run.
    pub(crate) fn first(&self) -> Option<&M> {
        self.runs.values().next().map(|it| &it.mark)
    }

    /// Shows `visit` each run: what its messages have in common, and what is unsettled of it.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&M, Count)) {
        for Marked { run, mark } in self.runs.values() {
            visit(mark, run.count());
        }
    }

    /// Appends a run, which is not empty. Returns the position of its first message.
    ///
    /// A run keeps alive no more than twice the memory that its unsettled messages take. One that would keep
    /// more is copied, unless it can be spared that: so it is as long as all that are spared keep no more
    /// than `most` bytes alive.
    pub(crate) fn push(&mut self, batch: FrameBatch, mark: M, most: usize) -> u64 {
        debug_assert!(!batch.is_empty(), "a run of nothing");
        let position = self.next;
        let count = Count::of(&batch);
        let mut run = Run::new(batch);
        self.pinned += run.spare_or_compact(most.saturating_sub(self.pinned));
        self.runs.insert(position, Marked { run, mark });
        self.next += count.messages;
        self.count += count;
        position
    }

    /// Removes the messages at these positions, all of them before [`next_position`](Self::next_position).
    /// Tells `each` once for each run of which something was removed what that was, and `piece` for each stretch of
    /// them how many messages of the run came before it and how many it has. Returns how many of
    /// the positions had been removed before. What is left is spared a copy as in [`push`](Self::push).
    pub(crate) fn settle(
        &mut self,
        range: Range,
        most: usize,
        each: &mut dyn FnMut(&M, Count),
        piece: &mut dyn FnMut(&M, u64, u64),
    ) -> u64 {
        self.remove(range, most, |_, Marked { run, mark }, offsets| {
            let removed = run.remove(offsets, &mut |it| {
                piece(mark, it.offset, it.messages as u64);
            });
            if !removed.is_zero() {
                each(mark, removed);
            }
            removed
        })
    }

    /// Does the same and hands the messages out, in order.
    pub(crate) fn take(&mut self, range: Range, each: &mut dyn FnMut(Part<M>)) -> u64 {
        self.remove(range, 0, |first, Marked { run, mark }, offsets| {
            run.remove(offsets, &mut |piece| {
                each(Part {
                    position: first + piece.offset,
                    batch: piece.to_batch(),
                    offset: piece.offset,
                    mark: mark.clone(),
                });
            })
        })
    }

    /// Takes everything, in order.
    pub(crate) fn take_all(&mut self, each: &mut dyn FnMut(Part<M>)) {
        if let Some(all) = Range::new(1, self.next - 1) {
            self.take(all, each);
        }
    }

    /// Takes everything of the runs that are meant, in order.
    pub(crate) fn take_of(&mut self, is_meant: impl Fn(&M) -> bool, each: &mut dyn FnMut(Part<M>)) {
        let runs = self.runs.iter();
        let meant: Vec<u64> = runs
            .filter(|(_, held)| is_meant(&held.mark))
            .map(|(first, _)| *first)
            .collect();
        for from in meant {
            let behind = self.runs.range(from + 1..).next();
            let to = behind.map_or(self.next, |(first, _)| *first) - 1;
            self.take(Range { from, to }, each);
        }
    }

    /// Lets `remove` remove these positions from each run that may have some, and says what offsets
    /// they have there. Returns how many had been removed before.
    fn remove(
        &mut self,
        range: Range,
        most: usize,
        mut remove: impl FnMut(u64, &mut Marked<M>, &ops::Range<u64>) -> Count,
    ) -> u64 {
        debug_assert!(range.to < self.next, "a position that was never sent");
        let mut removed = Count::ZERO;
        let mut from = self.first_run(range.from);
        while from <= range.to
            && let Some((&first, held)) = self.runs.range_mut(from..=range.to).next()
        {
            removed += remove(first, held, &offsets(range, first));
            self.pinned -= held.run.spared();
            if held.run.count().is_zero() {
                self.runs.remove(&first);
            } else {
                self.pinned += held.run.spare_or_compact(most.saturating_sub(self.pinned));
            }
            from = first + 1;
        }
        self.count -= removed;
        range.to - range.from + 1 - removed.messages
    }

    /// The positions of the oldest `messages` that are unsettled, ascending.
    pub(crate) fn oldest(&self, messages: u64) -> Vec<Range> {
        let mut oldest: Vec<Range> = Vec::new();
        let mut left = messages;
        for (first, held) in &self.runs {
            if left == 0 {
                break;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            held.run.oldest(most, &mut |offsets| {
                left -= offsets.end - offsets.start;
                let (from, to) = (first + offsets.start, first + offsets.end - 1);
                match oldest.last_mut() {
                    Some(last) if last.to + 1 == from => last.to = to,
                    Some(_) | None => oldest.push(Range { from, to }),
                }
            });
        }
        oldest
    }

    /// Where the run begins that this position belongs to; the position itself if all before it are settled.
    fn first_run(&self, position: u64) -> u64 {
        let before = self.runs.range(..=position).next_back();
        before.map_or(position, |(first, _)| *first)
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        for held in self.runs.values_mut() {
            visit(held.run.batch_mut());
        }
    }

    /// About how many bytes of memory it takes beside the messages.
    #[cfg(test)]
    pub(crate) fn overhead(&self) -> usize {
        // Nodes of a map that only grows at its end are filled to 6 in 11.
        let runs = self.runs.len() * size_of::<(u64, Marked<M>)>() * 11 / 6;
        let indexes: usize = self.runs.values().map(|held| held.run.overhead()).sum();
        size_of::<Self>() + runs + indexes
    }

    /// Checks what always holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) {
        let mut count = Count::ZERO;
        let mut end = 1;
        let mut pinned = 0;
        for (first, held) in &self.runs {
            assert!(*first >= end, "runs overlap");
            end = first + held.run.check() + 1;
            count += held.run.count();
            pinned += held.run.spared();
        }
        assert_eq!(self.pinned, pinned);
        assert!(end <= self.next, "a position that is yet to come");
        assert_eq!(self.count, count);
    }
}

/// The offsets that these positions have in a run that begins at `first`, which is not behind the last.
const fn offsets(range: Range, first: u64) -> ops::Range<u64> {
    range.from.saturating_sub(first)..range.to - first + 1
}
