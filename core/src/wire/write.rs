//! One write: what a consumer's socket gets in one go.

use super::batch::FrameBatch;
use crate::stats::Count;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The most batches gathered into one write: what a vectored write passes to the kernel at once.
pub(crate) const MAX_BATCHES: usize = 64;

/// Batches to be written to one consumer, one after the other. A clone is a reference count.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(from = "Vec<FrameBatch>", into = "Vec<FrameBatch>")
)]
pub struct Write {
    /// At least one; at most [`MAX_BATCHES`].
    batches: Arc<[FrameBatch]>,
    /// What they hold together.
    count: Count,
}

impl Write {
    /// A write of these batches.
    pub fn new(batches: Vec<FrameBatch>) -> Self {
        let mut count = Count::ZERO;
        for batch in &batches {
            count += Count::of(batch);
        }
        Self {
            batches: batches.into(),
            count,
        }
    }

    /// The batches, to be written in this order: [`FrameBatch::as_bytes`] of each.
    pub fn batches(&self) -> &[FrameBatch] {
        &self.batches
    }

    /// What they hold together.
    pub const fn count(&self) -> Count {
        self.count
    }
}

impl From<Vec<FrameBatch>> for Write {
    fn from(batches: Vec<FrameBatch>) -> Self {
        Self::new(batches)
    }
}

impl From<Write> for Vec<FrameBatch> {
    fn from(write: Write) -> Self {
        write.batches.to_vec()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { messages, bytes } = self.count;
        write!(
            f,
            "Write({messages} messages, {bytes} bytes, {} batches)",
            self.batches.len()
        )
    }
}
