//! One write: what a peer's socket gets in one go.

use super::batch::FrameBatch;
use crate::stats::Count;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// The most batches gathered into one write: what a vectored write passes to the kernel at once.
pub(crate) const MAX_BATCHES: usize = 64;

/// A part of a write, in one piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Piece {
    /// Messages.
    Messages(FrameBatch),
    /// What is said between them, in version 2: whole control frames, or the answer to a role line.
    Control(Bytes),
    /// A CHECK frame: the sum of the pieces after it, up to the next CHECK. Alone of what is said it depends on what is in
    /// messages.
    Check(Bytes),
}

impl Piece {
    /// As it stands on the wire.
    pub const fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Messages(batch) => batch.as_bytes(),
            Self::Control(bytes) | Self::Check(bytes) => bytes,
        }
    }

    /// Its messages, if it holds any.
    pub const fn batch(&self) -> Option<&FrameBatch> {
        match self {
            Self::Messages(batch) => Some(batch),
            Self::Control(_) | Self::Check(_) => None,
        }
    }
}

/// Pieces to be written to one peer, one after the other. A clone is a reference count.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<Piece>", into = "Vec<Piece>"))]
pub struct Write {
    /// At least one; at most [`MAX_BATCHES`] with messages, and for each two of control frames.
    pieces: Arc<[Piece]>,
    /// The messages in them.
    count: Count,
    /// The bytes of all of them.
    bytes: usize,
}

impl Write {
    /// A write of these pieces.
    pub fn new(pieces: Vec<Piece>) -> Self {
        Self::of(pieces.into())
    }

    fn of(pieces: Arc<[Piece]>) -> Self {
        let (mut count, mut bytes) = (Count::ZERO, 0);
        for piece in &*pieces {
            bytes += piece.as_bytes().len();
            if let Some(batch) = piece.batch() {
                count += Count::of(batch);
            }
        }
        Self {
            pieces,
            count,
            bytes,
        }
    }

    /// A write of messages alone.
    pub fn from_batches(batches: impl Iterator<Item = FrameBatch>) -> Self {
        Self::of(batches.map(Piece::Messages).collect())
    }

    /// The pieces, to be written in this order: [`Piece::as_bytes`] of each.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The batches of messages in it, in order.
    pub fn batches(&self) -> impl Iterator<Item = &FrameBatch> {
        self.pieces.iter().filter_map(Piece::batch)
    }

    /// The messages in it.
    pub const fn count(&self) -> Count {
        self.count
    }

    /// How many bytes the socket gets: those of the messages, and of what is said between them.
    pub const fn byte_len(&self) -> usize {
        self.bytes
    }
}

impl From<Vec<FrameBatch>> for Write {
    fn from(batches: Vec<FrameBatch>) -> Self {
        Self::from_batches(batches.into_iter())
    }
}

impl From<Vec<Piece>> for Write {
    fn from(pieces: Vec<Piece>) -> Self {
        Self::new(pieces)
    }
}

impl From<Write> for Vec<Piece> {
    fn from(write: Write) -> Self {
        write.pieces.to_vec()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { messages, bytes } = self.count;
        write!(
            f,
            "Write({messages} messages, {bytes} bytes, {} batches)",
            self.batches().count()
        )?;
        match self.bytes as u64 - bytes {
            0 => Ok(()),
            control => write!(f, " and {control} bytes of control frames"),
        }
    }
}
