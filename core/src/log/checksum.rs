//! CRC-32C (Castagnoli).
//!
//! By tables: 2.2 GiB/s on one core of the machine it was measured on, so a seventh of a core at 330,000 messages of
//! 1 KiB a second. The processor's own instruction is five times as fast, but the crates that use it need the standard
//! library.

use crc::{CRC_32_ISCSI, Crc, Table};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The sum of these pieces, one after the other.
pub(super) fn crc32c<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut digest = CRC32C.digest();
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_value_of_the_catalogue_in_one_piece_and_in_several() {
        assert_eq!(crc32c([&b"123456789"[..]]), 0xe306_9283);
        assert_eq!(crc32c([&b"1234"[..], b"", b"56789"]), 0xe306_9283);
    }
}
