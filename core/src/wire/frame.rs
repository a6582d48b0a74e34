//! One frame: a length and that many bytes (PROTOCOL.md, section 3).
//!
//! ```text
//!  0       1       2       3       4                       4 + length
//! ┌───────┬───────┬───────┬───────┬───────────────────────┐
//! │ length: u32, big-endian       │ body: `length` bytes  │
//! └───────┴───────┴───────┴───────┴───────────────────────┘
//! ```
//!
//! The same in both directions, so a frame that came in goes out as it is.

use crate::error::ProtocolError;

/// The bytes of a frame before its body.
pub const LENGTH_PREFIX: usize = 4;

/// The largest body of a frame, in bytes: 1 MiB.
pub const MAX_FRAME_BODY: usize = 1 << 20;

/// The largest frame, in bytes: the largest body and its length prefix.
pub const MAX_FRAME: usize = LENGTH_PREFIX + MAX_FRAME_BODY;

/// What the front of a byte string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A whole frame of this many bytes, its length prefix included.
    Whole(usize),
    /// Part of a frame. It is whole once there are this many bytes (so far as is known).
    Partial(usize),
}

/// Looks at the frame at the front of `bytes`.
///
/// Nothing is allocated or read beyond the length prefix, whatever length it announces.
pub(super) fn front(bytes: &[u8]) -> Result<Front, ProtocolError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_PREFIX>() else {
        return Ok(Front::Partial(LENGTH_PREFIX));
    };
    let length = u32::from_be_bytes(*prefix);
    if length as usize > MAX_FRAME_BODY {
        return Err(ProtocolError::FrameTooLarge { length });
    }
    let size = LENGTH_PREFIX + length as usize;
    Ok(if size <= bytes.len() {
        Front::Whole(size)
    } else {
        Front::Partial(size)
    })
}

/// The size of the whole frame at the front of `bytes`, of which it is known that there is one.
pub(super) fn whole(bytes: &[u8]) -> usize {
    match front(bytes) {
        Ok(Front::Whole(size)) => size,
        Ok(Front::Partial(_)) | Err(_) => unreachable!("a batch holds whole frames only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_judged_by_the_length_alone() {
        assert_eq!(front(b""), Ok(Front::Partial(4)));
        assert_eq!(front(b"\0\0\0"), Ok(Front::Partial(4)));
        assert_eq!(front(b"\0\0\0\0"), Ok(Front::Whole(4)));
        assert_eq!(front(b"\0\0\0\x02a"), Ok(Front::Partial(6)));
        assert_eq!(front(b"\0\0\0\x02ab\0"), Ok(Front::Whole(6)));
        assert_eq!(front(b"\0\x10\0\0"), Ok(Front::Partial(MAX_FRAME)));
        assert_eq!(
            front(b"\0\x10\0\x01"),
            Err(ProtocolError::FrameTooLarge { length: 1_048_577 })
        );
        assert_eq!(
            front(b"\xff\xff\xff\xff"),
            Err(ProtocolError::FrameTooLarge { length: u32::MAX })
        );
    }
}
