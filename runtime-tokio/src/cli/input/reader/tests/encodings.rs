//! Text in its encoding, and what is no text.

use super::*;
use encoding_rs::{SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1252};

#[test]
fn a_mark_in_pieces_is_a_mark() {
    for options in [LINES, CSV] {
        let mut came = Vec::new();
        for bytes in [
            b"\xef\xbb\xbfid,n\n1,2\n".to_vec(),
            [b"\xff\xfe".to_vec(), utf16("id,n\n1,2\n", u16::to_le_bytes)].concat(),
            [b"\xfe\xff".to_vec(), utf16("id,n\n1,2\n", u16::to_be_bytes)].concat(),
        ] {
            let single: Vec<[u8; 1]> = bytes.iter().map(|byte| [*byte]).collect();
            came.push(read(options, &single).all());
            came.push(read_whole(options, bytes).all());
        }
        assert!(
            came.iter().all(|it| *it == came[0] && !it.is_empty()),
            "{came:?}"
        );
        assert!(!came[0][0].contains('\u{feff}'), "{came:?}");
    }
}

#[test]
fn a_mark_has_precedence_over_the_name_of_an_encoding() {
    let named = |encoding| Options {
        encoding: Some(encoding),
        ..LINES
    };
    assert_eq!(read_whole(named(WINDOWS_1252), "\u{feff}é\n").all(), ["é"]);
    assert_eq!(read_whole(named(UTF_16LE), b"\xfe\xff\0a\0\n").all(), ["a"]);
    assert_eq!(read_whole(named(WINDOWS_1252), b"\xe9\x80\n").all(), ["é€"]);
    assert_eq!(read_whole(named(UTF_16BE), b"\0a\0\n").all(), ["a"]);
    let shift_jis = b"\x93\xfa\x96\x7b,1\n";
    assert_eq!(read_whole(named(SHIFT_JIS), shift_jis).all(), ["日本,1"]);
}

#[test]
fn text_that_is_not_in_its_encoding_is_a_bad_row() {
    let came = read_whole(CSV, b"a,b\n1,2\nx,caf\xe9\n");
    assert_eq!(came.messages(), [r#"{"a":"1","b":"2"}"#]);
    let expected = "test: line 3 is not UTF-8; name its encoding, as in --encoding windows-1252";
    assert!(came.error().starts_with(expected), "{}", came.error());
    // Valid together, but not each.
    let came = read_whole(CSV, b"a,b\nx\xc3,\xa9y\n");
    assert!(came.error().contains("line 2 is not UTF-8"));
    // Half of a surrogate pair.
    let halves = Options {
        encoding: Some(UTF_16LE),
        on_bad_row: OnBadRow::Skip,
        ..LINES
    };
    let came = read_whole(halves, b"a\0\n\0\x00\xd8\n\0b\0\n\0c");
    assert_eq!(came.all(), ["a", "b"]);
    assert_eq!(
        format!("{}", came.skipped.shown[0]),
        "line 2 is not UTF-16LE"
    );
    assert_eq!(came.skipped.rows, 2);
}

#[test]
fn what_is_no_text_is_not_sent() {
    for options in [LINES, CSV] {
        for (bytes, hint) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03\n"[..], "gzip -dc"),
            (b"a\0,\0b\0\n\x001\0,\x002\0\n\0", "--encoding utf-16le"),
            (b"\0a\0,\0b\0\n\x001\0,\x002\0\n", "--encoding utf-16be"),
        ] {
            let came = read_whole(options, bytes);
            assert_eq!(came.messages(), [""; 0]);
            assert!(came.error().contains(hint), "{}", came.error());
        }
    }
    let came = read_whole(FRAMES, b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    assert!(came.error().contains("gzip -dc"), "{}", came.error());
}
