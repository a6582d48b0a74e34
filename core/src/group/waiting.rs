//! Messages that a group holds, and what it knows of them.

use crate::time::Now;
use crate::wire::FrameBatch;
use crate::wire::control::{Origin, Range};
use alloc::boxed::Box;

/// What a group knows of messages that have it in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Mark {
    /// The sequence of the first of them in their topic; the others follow without a gap.
    pub(crate) sequence: u64,
    /// When they were published. They have been waiting since then.
    pub(crate) published: Now,
    /// How often they were handed out.
    pub(crate) attempts: u32,
    /// How often they have failed.
    pub(crate) failures: u32,
    /// For a dead letter, which is alone: where it came from.
    pub(crate) origin: Option<Box<Origin>>,
}

/// A batch that a group holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Waiting {
    /// The messages; at least one.
    pub(crate) batch: FrameBatch,
    pub(crate) mark: Mark,
}

impl Mark {
    /// Of messages that were published just now.
    pub(crate) const fn new(sequence: u64, published: Now) -> Self {
        Self {
            sequence,
            published,
            attempts: 0,
            failures: 0,
            origin: None,
        }
    }

    /// The sequences of so many messages from the first on; none if there are none.
    pub(crate) const fn range(&self, messages: usize) -> Option<Range> {
        Range::new(self.sequence, self.sequence + messages as u64 - 1)
    }

    /// Of those that come `messages` later.
    pub(crate) fn after(&self, messages: u64) -> Self {
        Self {
            sequence: self.sequence + messages,
            ..self.clone()
        }
    }
}

impl Waiting {
    /// The sequence after its last message.
    pub(crate) const fn end(&self) -> u64 {
        self.mark.sequence + self.batch.messages() as u64
    }

    /// Their sequences.
    pub(crate) const fn range(&self) -> Option<Range> {
        self.mark.range(self.batch.messages())
    }

    /// Splits off a front part that [`FrameBatch::prefix`] has measured.
    pub(crate) fn split_at(&mut self, part: (usize, usize)) -> Self {
        let front = Self {
            batch: self.batch.split_at(part),
            mark: self.mark.clone(),
        };
        self.mark.sequence += part.0 as u64;
        front
    }
}
