//! How far a group has got.

use crate::wire::control::Range;
use alloc::vec::Vec;
use bytes::{BufMut, BytesMut};

/// How far a group has got with a topic's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// It has no business any more with what is up to this sequence.
    pub settled_up_to: u64,
    /// What is settled above that: ranges in order.
    pub settled: Vec<Range>,
    /// What has failed and is not settled: in order.
    pub failed: Vec<Failed>,
}

/// A message that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Failed {
    /// Its sequence.
    pub sequence: u64,
    /// How often.
    pub failures: u32,
    /// Before this it is not to be handed out, in milliseconds since 1970.
    pub not_before_ms: u64,
}

impl Progress {
    /// The highest sequence that it speaks of.
    pub fn highest(&self) -> u64 {
        let settled = self.settled.last().map_or(0, |it| it.to);
        let failed = self.failed.last().map_or(0, |it| it.sequence);
        self.settled_up_to.max(settled).max(failed)
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub(super) fn encoded_len(&self) -> usize {
        16 + 16 * self.settled.len() + 20 * self.failed.len()
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64(self.settled_up_to);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a record has no room for more"
        )]
        out.put_u32(self.settled.len() as u32);
        for range in &self.settled {
            out.put_u64(range.from);
            out.put_u64(range.to);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a record has no room for more"
        )]
        out.put_u32(self.failed.len() as u32);
        for failed in &self.failed {
            out.put_u64(failed.sequence);
            out.put_u32(failed.failures);
            out.put_u64(failed.not_before_ms);
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let settled_up_to = fields.u64()?;
        let mut settled = Vec::new();
        for _ in 0..fields.u32()? {
            settled.push(Range::new(fields.u64()?, fields.u64()?)?);
        }
        let mut failed = Vec::new();
        for _ in 0..fields.u32()? {
            failed.push(Failed {
                sequence: fields.u64()?,
                failures: fields.u32()?,
                not_before_ms: fields.u64()?,
            });
        }
        Some(Self {
            settled_up_to,
            settled,
            failed,
        })
    }
}

/// Fields that were not read yet. A read that finds too few bytes has nothing.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn text8(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}
