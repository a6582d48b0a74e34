//! The sums that a batch carries from where it came in to where it is handed out.
//!
//! They are made once, of pieces of it. Where the batch is cut within a piece, the sum of that is looked at again before
//! two are made of it. So whatever happens to the bytes in the broker's memory, the sum that a consumer gets is of what
//! came in.

use super::checksum::{combine, crc32c};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// The size of a piece, in bytes: what is read again where a batch is cut, at most.
const PIECE: usize = 16 * 1024;

/// The sums of all bytes of a batch, in pieces. It is no larger than a pointer, because every batch has room for it.
#[derive(Clone, Debug)]
pub(super) struct Sums(Arc<Vec<Piece>>);

/// So many bytes, and their sum.
#[derive(Clone, Copy, Debug)]
struct Piece {
    bytes: usize,
    sum: u32,
}

impl Piece {
    fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len(),
            sum: crc32c([bytes]),
        }
    }

    /// The same bytes, and a sum that they do not have: whoever looks finds them damaged.
    const fn spoilt(self) -> Self {
        Self {
            sum: !self.sum,
            ..self
        }
    }
}

impl Sums {
    /// Of these bytes, which are as they came.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::from_pieces(bytes.chunks(PIECE).map(Piece::of).collect())
    }

    fn from_pieces(pieces: Vec<Piece>) -> Self {
        Self(Arc::new(pieces))
    }

    /// The sum of all of it.
    pub(super) fn whole(&self) -> u32 {
        let pieces = self.0.iter();
        // The sum of nothing is 0.
        pieces.fold(0, |sum, it| combine(sum, it.sum, it.bytes))
    }

    /// The sums of the first `at` bytes, and of the rest.
    pub(super) fn split_at(&self, bytes: &[u8], at: usize) -> (Self, Self) {
        let (mut front, mut rest): (Vec<Piece>, Vec<Piece>) = (Vec::new(), Vec::new());
        let mut begin = 0;
        for piece in &*self.0 {
            let end = begin + piece.bytes;
            if end <= at {
                front.push(*piece);
            } else if begin >= at {
                rest.push(*piece);
            } else {
                let parts = [&bytes[begin..at], &bytes[at..end]].map(Piece::of);
                let is_right = combine(parts[0].sum, parts[1].sum, parts[1].bytes) == piece.sum;
                let parts = parts.map(|it| if is_right { it } else { it.spoilt() });
                front.push(parts[0]);
                rest.push(parts[1]);
            }
            begin = end;
        }
        (Self::from_pieces(front), Self::from_pieces(rest))
    }

    /// The sums of a part.
    pub(super) fn slice(&self, bytes: &[u8], part: Range<usize>) -> Self {
        let (front, _) = self.split_at(bytes, part.end);
        let (_, part) = front.split_at(&bytes[..part.end], part.start);
        part
    }

    /// The sums of what was gathered from these `bytes`.
    pub(super) fn gathered(&self, bytes: &[u8], gathered: &[u8]) -> Self {
        let mut rest = bytes;
        let is_right = self.0.iter().all(|piece| {
            let (front, behind) = rest.split_at(piece.bytes);
            rest = behind;
            crc32c([front]) == piece.sum
        });
        let sums = Self::of(gathered);
        if is_right {
            return sums;
        }
        Self::from_pieces(sums.0.iter().map(|it| it.spoilt()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> Vec<u8> {
        (0..3 * PIECE + 100).map(|at| (at * at / 7) as u8).collect()
    }

    proptest! {
        #[test]
        fn a_part_has_its_own_sum(cuts in proptest::collection::vec(0..3 * PIECE + 100, 2)) {
            let bytes = bytes();
            let part = cuts[0].min(cuts[1])..cuts[0].max(cuts[1]);
            let sums = Sums::of(&bytes);
            prop_assert_eq!(sums.whole(), crc32c([&bytes[..]]));
            let (front, rest) = sums.split_at(&bytes, part.start);
            prop_assert_eq!(front.whole(), crc32c([&bytes[..part.start]]));
            prop_assert_eq!(rest.whole(), crc32c([&bytes[part.start..]]));
            prop_assert_eq!(sums.slice(&bytes, part.clone()).whole(), crc32c([&bytes[part]]));
        }

        /// However it is cut afterwards, and wherever: of all that was handed out, the damaged part has a wrong sum.
        #[test]
        fn what_was_damaged_before_it_was_cut_has_a_wrong_sum(
            at in 0..3 * PIECE + 100,
            bit in 0_u8..8,
            cut in 0..3 * PIECE + 100,
        ) {
            let mut bytes = bytes();
            let sums = Sums::of(&bytes);
            bytes[at] ^= 1 << bit;
            let (front, rest) = sums.split_at(&bytes, cut);
            let is_right = [
                front.whole() == crc32c([&bytes[..cut]]),
                rest.whole() == crc32c([&bytes[cut..]]),
            ];
            prop_assert!(!is_right[usize::from(at >= cut)]);
            let gathered = [&bytes[..cut / 2], &bytes[cut..]].concat();
            let sums = sums.gathered(&bytes, &gathered);
            prop_assert!(sums.whole() != crc32c([&gathered[..]]));
        }
    }

    #[test]
    fn what_was_gathered_from_what_is_right_is_right() {
        let bytes = bytes();
        let gathered = [&bytes[..5], &bytes[PIECE..]].concat();
        let sums = Sums::of(&bytes).gathered(&bytes, &gathered);
        assert_eq!(sums.whole(), crc32c([&gathered[..]]));
        assert_eq!(Sums::of(&[]).whole(), crc32c([]));
    }
}
