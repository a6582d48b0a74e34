//! The text of a value: printable ASCII without space; anything else percent-encoded, as UTF-8.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Appends `value` as it is written.
pub(super) fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What a written value says; none if it is not written as it must be, or is no UTF-8.
pub(super) fn decode(written: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
                #[expect(clippy::cast_possible_truncation, reason = "two digits")]
                bytes.push((high? * 16 + low?) as u8);
                rest = after;
            }
            _ if byte.is_ascii_graphic() => bytes.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_wrongly_says_nothing() {
        for bad in ["%", "%4", "%4g", "a b", "%ff", "é", "\u{7f}"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decode(b"%25%20%c3%A9=").as_deref(), Some("% é="));
    }

    proptest! {
        #[test]
        fn every_text_can_be_written(text in ".{0,40}") {
            let mut written = String::new();
            encode(&text, &mut written);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(decode(written.as_bytes()), Some(text));
        }
    }
}
