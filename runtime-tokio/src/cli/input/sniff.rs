//! What an input looks like: from its first bytes, and from its header.

use super::records;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use std::fmt;

/// The most bytes that are looked at.
pub(super) const SAMPLE_BYTES: usize = 1024;

/// Of an input's first bytes those that are looked at: the first line, as far as it is no longer
/// than a sample. None while there may be more of it to come.
///
/// So what is seen depends on the input alone, and not on how much of it a read brought; and a
/// line that is complete waits for nothing.
pub(super) fn sample(bytes: &[u8]) -> Option<&[u8]> {
    let most = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    match memchr::memchr(b'\n', most) {
        Some(end) => Some(&most[..=end]),
        None if most.len() == SAMPLE_BYTES => Some(most),
        None => None,
    }
}

/// What an input is that cannot be taken for text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotText {
    Compressed {
        format: &'static str,
        /// The command that decompresses a file to its standard output.
        command: &'static str,
    },
    /// UTF-16 without a byte-order mark.
    Utf16(&'static Encoding),
    Utf32,
}

impl NotText {
    /// What a sample shows. `named` is whether the user has said what the encoding is.
    pub(super) fn of(sample: &[u8], named: bool) -> Option<Self> {
        if let Some(compressed) = Self::compressed(sample) {
            return Some(compressed);
        }
        if sample.starts_with(b"\xff\xfe\0\0") || sample.starts_with(b"\0\0\xfe\xff") {
            return Some(Self::Utf32);
        }
        if named || Encoding::for_bom(sample).is_some() {
            return None;
        }
        looks_like_utf16(sample).map(Self::Utf16)
    }

    /// The kind of compression that begins with these bytes.
    pub(super) fn compressed(bytes: &[u8]) -> Option<Self> {
        let (format, command) = match bytes {
            [0x1f, 0x8b, 0x08, ..] => ("gzip", "gzip -dc"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "zstd -dc"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", "xz -dc"),
            // The level, and a number that no text begins with.
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if rest.starts_with(b"1AY&SY") => {
                ("bzip2", "bzip2 -dc")
            }
            [b'P', b'K', 3, 4, ..] => ("zip", "unzip -p"),
            _ => return None,
        };
        Some(Self::Compressed { format, command })
    }
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed { format, command } => {
                write!(f, "is compressed ({format}")?;
                if *format == "zip" {
                    write!(f, ", or a spreadsheet: then export it as CSV")?;
                }
                write!(
                    f,
                    "); decompress it first, as in `{command} FILE | message-queue produce` \
                     (with --format csv for CSV)"
                )
            }
            Self::Utf16(encoding) => write!(
                f,
                "looks like UTF-16 without a byte-order mark; name the encoding: --encoding {} \
                 (or utf-8, to take it as it is)",
                encoding.name().to_ascii_lowercase()
            ),
            Self::Utf32 => write!(
                f,
                "is UTF-32; convert it first, as in \
                 `iconv -f UTF-32 -t UTF-8 FILE | message-queue produce` (with --format csv for CSV)"
            ),
        }
    }
}

/// UTF-16 of a Western text has a zero in every other byte, always on the same side.
fn looks_like_utf16(sample: &[u8]) -> Option<&'static Encoding> {
    let zeros = |side: usize| {
        let bytes = sample.iter().skip(side).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let (first, second) = (zeros(0), zeros(1));
    // Some may stand in anything; this is most of the characters.
    let enough = |zeros| zeros > 1 && zeros > sample.len() / 4;
    if first == 0 && enough(second) {
        Some(UTF_16LE)
    } else if second == 0 && enough(first) {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The delimiter that makes several columns of a header, which a comma leaves in one.
pub(super) fn delimiter(header: &[u8]) -> Option<u8> {
    const OTHERS: [u8; 3] = [b';', b'\t', b'|'];
    let several = |delimiter: &u8| records::count_fields(header, *delimiter) > 1;
    OTHERS.into_iter().find(several)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_first_line_or_as_much_of_it_as_is_looked_at() {
        assert_eq!(sample(b""), None);
        assert_eq!(sample(b"a,b"), None);
        assert_eq!(sample(b"a,b\nc"), Some(&b"a,b\n"[..]));
        let long = [b'x'; SAMPLE_BYTES + 1];
        assert_eq!(sample(&long), Some(&long[1..]));
    }

    #[test]
    fn compressed_files_are_known_by_their_first_bytes() {
        for (bytes, format) in [
            (&b"\x1f\x8b\x08\0\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\xfd7zXZ\0\0", "xz"),
            (b"BZh91AY&SYabc", "bzip2"),
            (b"BZh11AY&SY", "bzip2"),
            (b"PK\x03\x04\x14", "zip"),
        ] {
            let Some(NotText::Compressed { format: found, .. }) = NotText::of(bytes, true) else {
                panic!("{format} is not text");
            };
            assert_eq!(found, format);
        }
        for text in [&b"BZh9 is not it\n"[..], b"(a)\n", b"PK,a\n", b"\x1f\n"] {
            assert_eq!(NotText::of(text, false), None);
        }
    }

    #[test]
    fn utf_16_is_known_by_its_zeros_unless_the_encoding_is_named() {
        let little = Some(NotText::Utf16(UTF_16LE));
        let big = Some(NotText::Utf16(UTF_16BE));
        assert_eq!(NotText::of(b"a\0,\0b\0\n", false), little);
        assert_eq!(NotText::of(b"\0a\0,\0b\0\n", false), big);
        assert_eq!(NotText::of(b"\xe4\0,\0\x1c\x20\n", false), little);
        assert_eq!(NotText::of(b"a\0,\0b\0\n", true), None);
        for other in [&b"a\0b\n"[..], b"\0\0\0\0\n", b"key\0value\0\n", b"\0a\n"] {
            assert_eq!(NotText::of(other, false), None, "{other:?}");
        }
    }

    #[test]
    fn utf_32_is_known_by_its_mark_which_begins_like_that_of_utf_16() {
        assert_eq!(NotText::of(b"\xff\xfe\0\0a", true), Some(NotText::Utf32));
        assert_eq!(NotText::of(b"\0\0\xfe\xff\0", false), Some(NotText::Utf32));
        assert_eq!(NotText::of(b"\xff\xfea\0\n", false), None);
    }

    #[test]
    fn a_delimiter_inside_of_quotes_is_none() {
        assert_eq!(delimiter(b"a;b\n"), Some(b';'));
        assert_eq!(delimiter(b"a\tb\n"), Some(b'\t'));
        assert_eq!(delimiter(b"\"a;x\"|b"), Some(b'|'));
        assert_eq!(delimiter(b"\"a;b\"\n"), None);
        assert_eq!(delimiter(b"a\n"), None);
    }
}
