//! CHECK: a control frame with the sum of what follows it (PROTOCOL.md, section "Sums").
//!
//! ```text
//! ┌─────────────────────────────────────────────┬───────────────────┐
//! │ CHECK: crc32c │ length │ safe │ producers … │ content: `length` │
//! └─────────────────────────────────────────────┴───────────────────┘
//!                 └──────────── what the sum is of ────────────────┘
//! ```

use super::batch::FrameBatch;
use super::checksum::{combine, crc32c};
use super::control::{Control, Mark};
use super::frame::LENGTH_PREFIX;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// The longest content, in bytes: 8 MiB.
pub(crate) const MAX_CONTENT: usize = 8 << 20;

/// The number of CHECK.
pub(crate) const CHECK: u8 = 0x80;

/// The bytes of a CHECK frame up to what its sum is of: header, kind and sum.
pub(crate) const SUM_END: usize = LENGTH_PREFIX + 1 + 4;

/// The bytes of a CHECK frame up to its `safe`: where the length of the content is known.
pub(crate) const LENGTH_END: usize = SUM_END + 4;

/// The size of a CHECK frame that names no producers: the least.
pub(crate) const MIN_CHECK: usize = LENGTH_END + 8;

/// Appends the CHECK frame of these pieces of content to `out`.
pub(crate) fn put(out: &mut BytesMut, content: &[&[u8]], safe: u64, producers: Vec<Mark>) {
    let length = content.iter().map(|it| it.len()).sum();
    put_with(out, length, safe, producers, |fields| {
        crc32c(core::iter::once(fields).chain(content.iter().copied()))
    });
}

/// The CHECK frame of these messages and what is `said` before them. Of the messages it has the sum that they came with,
/// if they did.
pub(crate) fn of_messages(said: &[u8], messages: &FrameBatch, safe: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(MIN_CHECK);
    let bytes = messages.byte_len();
    put_with(&mut out, said.len() + bytes, safe, Vec::new(), |fields| {
        combine(crc32c([fields, said]), messages.sum(), bytes)
    });
    out.freeze()
}

/// Appends a CHECK frame; `sum` makes the sum of its own fields from the length on and of the content.
fn put_with(
    out: &mut BytesMut,
    length: usize,
    safe: u64,
    producers: Vec<Mark>,
    sum: impl FnOnce(&[u8]) -> u32,
) {
    debug_assert!(length <= MAX_CONTENT);
    let begin = out.len();
    let check = Control::Check {
        crc32c: 0,
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CONTENT")]
        length: length as u32,
        safe,
        producers,
    };
    check.encode(out);
    let sum = sum(&out[begin + SUM_END..]);
    out[begin + SUM_END - 4..begin + SUM_END].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the sum in the CHECK frame at the front is that of the rest of these bytes: its own fields and the content.
pub(crate) fn is_right(bytes: &[u8]) -> bool {
    let sum = bytes[SUM_END - 4..SUM_END].first_chunk();
    sum.map(|it| u32::from_be_bytes(*it)) == Some(crc32c([&bytes[SUM_END..]]))
}

/// The length of the content that the CHECK frame at the front announces, which has come so far.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(SUM_END..LENGTH_END)?.first_chunk()?;
    Some(u32::from_be_bytes(*length) as usize)
}
