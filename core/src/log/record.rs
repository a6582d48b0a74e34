//! A record: a CHECK frame and the bytes that it covers (`wire/check.rs`). All files of a log are records, one after the
//! other.

use crate::wire::LENGTH_PREFIX;
use crate::wire::check;
pub(super) use crate::wire::check::{MIN_CHECK, put as put_check};
use crate::wire::control::{CONTROL_BIT, Control, Link, MAX_CONTROL_BODY, Mark};
use alloc::vec::Vec;
use bytes::Bytes;
use check::{CHECK, LENGTH_END};

/// The longest content of a record, in bytes: 8 MiB.
pub const MAX_CONTENT: usize = check::MAX_CONTENT;

/// A record that has been read and whose sum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// All up to this number was safe when it was written.
    pub(super) safe: u64,
    pub(super) producers: Vec<Mark>,
    pub(super) content: Bytes,
}

/// What stands at the front of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole record, and how many bytes it takes.
    Record(Record, usize),
    /// The beginning of a record, which is whole with so many bytes, as far as is known.
    Partial(usize),
    /// Zeros, or no bytes at all: nothing was written here.
    Nothing,
    /// Something else.
    Damaged,
}

/// Whether the CHECK frame of these producers is not too long for a frame.
pub(super) fn fits(producers: &[Mark]) -> bool {
    let marks: usize = producers.iter().map(mark_len).sum();
    let are_short = producers
        .iter()
        .all(|it| it.name.len() <= 255 && it.session.len() <= 255);
    are_short && MIN_CHECK - LENGTH_PREFIX + marks <= MAX_CONTROL_BODY
}

/// The bytes that a mark takes.
pub(super) fn mark_len(mark: &Mark) -> usize {
    10 + mark.name.len() + mark.session.len()
}

/// The sizes of the CHECK frame at the front and of the whole record, if there is a CHECK frame.
fn sizes(bytes: &[u8]) -> Option<(usize, usize)> {
    let header = u32::from_be_bytes(*bytes.first_chunk()?);
    let body = (header & !CONTROL_BIT) as usize;
    let is_check = header & CONTROL_BIT != 0
        && (MIN_CHECK - LENGTH_PREFIX..=MAX_CONTROL_BODY).contains(&body)
        && bytes.get(LENGTH_PREFIX) == Some(&CHECK);
    let length = check::length(bytes)?;
    let frame = LENGTH_PREFIX + body;
    (is_check && length <= MAX_CONTENT).then_some((frame, frame + length))
}

/// The size that the record at the front says it has, if there is a CHECK frame.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    sizes(bytes).map(|(_, size)| size)
}

/// What stands at the front of `bytes`.
pub(super) fn next(bytes: &Bytes) -> Next {
    if bytes.iter().take(LENGTH_END).all(|byte| *byte == 0) {
        return Next::Nothing;
    }
    if bytes.len() < LENGTH_END {
        return Next::Partial(LENGTH_END);
    }
    let Some((frame, size)) = sizes(bytes) else {
        return Next::Damaged;
    };
    if bytes.len() < size {
        return Next::Partial(size);
    }
    if !check::is_right(&bytes[..size]) {
        return Next::Damaged;
    }
    match Control::decode(Link::ToConsumer, &bytes[LENGTH_PREFIX..frame]) {
        Ok(Some(Control::Check {
            safe, producers, ..
        })) => Next::Record(
            Record {
                safe,
                producers,
                content: bytes.slice(frame..size),
            },
            size,
        ),
        _ => Next::Damaged,
    }
}

/// Whether there is nothing but zeros. Segments hold many that were written in advance.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut blocks = bytes.chunks(ZEROS.len());
    blocks.all(|it| *it == ZEROS[..it.len()])
}

/// Where a record may begin in `bytes`, at `from` or behind it, that says that `number` was safe. Its sum is not
/// looked at. Found if it begins at least [`MIN_CHECK`] bytes before the end.
pub(super) fn find_witness(bytes: &[u8], from: usize, number: u64) -> Option<usize> {
    let last = bytes.len().checked_sub(MIN_CHECK)?;
    (from..=last).find(|&at| {
        let bytes = &bytes[at..];
        bytes[0] == 0x80 && bytes[LENGTH_PREFIX] == CHECK && says_safe(bytes, number)
    })
}

fn says_safe(bytes: &[u8], number: u64) -> bool {
    let safe = bytes[LENGTH_END..MIN_CHECK].first_chunk();
    let safe = safe.map_or(0, |it| u64::from_be_bytes(*it));
    // Nothing is numbered as high as the second: it is text, not a number.
    number <= safe && safe < 1 << 63 && sizes(bytes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use bytes::BytesMut;

    fn record(content: &[u8], safe: u64) -> BytesMut {
        let mark = Mark {
            name: "p".into(),
            session: String::new(),
            position: 9,
        };
        let mut out = BytesMut::new();
        put_check(&mut out, &[content], safe, vec![mark]);
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn it_is_what_the_example_of_the_protocol_says() {
        let mut content = BytesMut::new();
        let run = Control::Run {
            first: 5,
            published: 1_764_000_000_000,
            attempt: 1,
        };
        run.encode(&mut content);
        content.extend_from_slice(b"\0\0\0\x02hi");
        let bytes = record(&content, 4);
        assert_eq!(bytes[..9], *b"\x80\0\0\x1c\x80\x7b\xa8\x26\xbf");
    }

    #[test]
    fn it_comes_back_whole_is_partial_when_cut_and_damaged_when_a_bit_has_changed() {
        let bytes = record(b"content", 4).freeze();
        let Next::Record(read, size) = next(&bytes) else {
            panic!("it is whole");
        };
        assert_eq!((size, read.safe), (bytes.len(), 4));
        assert_eq!(&read.content[..], b"content");
        assert_eq!(read.producers[0].position, 9);
        for cut in 1..bytes.len() {
            let known = if cut < LENGTH_END { LENGTH_END } else { size };
            assert_eq!(next(&bytes.slice(..cut)), Next::Partial(known), "{cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(next(&changed.into()), Next::Damaged | Next::Partial(_)),
                "bit {bit}"
            );
        }
        assert_eq!(next(&Bytes::new()), Next::Nothing);
        assert_eq!(next(&Bytes::from_static(&[0; 64])), Next::Nothing);
    }

    #[test]
    fn zeros_are_told_from_anything_else() {
        for size in [0, 1, 4096, 10_000] {
            let mut bytes = vec![0; size];
            assert!(is_zero(&bytes));
            for at in [0, 4095, 4096, 9_999] {
                if at < size {
                    bytes[at] = 1;
                    assert!(!is_zero(&bytes), "{at} of {size}");
                    bytes[at] = 0;
                }
            }
        }
    }

    #[test]
    fn a_witness_is_a_record_that_says_safe() {
        let mut bytes = b"garbage \x80\0".to_vec();
        let at = bytes.len();
        bytes.extend_from_slice(&record(b"content", 4));
        assert_eq!(find_witness(&bytes, 0, 4), Some(at));
        assert_eq!(find_witness(&bytes, at, 1), Some(at));
        assert_eq!(find_witness(&bytes, 0, 5), None);
        assert_eq!(find_witness(&bytes, at + 1, 1), None);
        assert_eq!(find_witness(&bytes[..3], 0, 1), None);
    }
}
