//! What holds of any input.

use super::*;
use encoding_rs::{Encoding, SHIFT_JIS, UTF_16LE, WINDOWS_1252};
use proptest::prelude::*;

/// Bytes in which much has a meaning.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&b"ab,;\t\"\"\n\n\r\0"[..]).prop_map(|byte| vec![byte]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![
            &b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"\xc3\xa9", b"\r\n",
            b"\"\"", b"\xd8\0", b"\0\xd8", b"a\0", b"a,b\n", b"\0\0\0\x01a", b"\0\0\0\0",
        ]).prop_map(<[u8]>::to_vec),
        // One that fills what is looked at, or a buffer.
        1 => (900_usize..5000).prop_map(|size| vec![b'x'; size]),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn options() -> impl Strategy<Value = Options> {
    let encodings: Vec<Option<&'static Encoding>> = vec![
        None,
        None,
        Some(UTF_16LE),
        Some(WINDOWS_1252),
        Some(SHIFT_JIS),
    ];
    (
        prop::sample::select(vec![
            InputFormat::Lines,
            InputFormat::Csv,
            InputFormat::Frames,
        ]),
        prop::sample::select(encodings),
        prop_oneof![4 => Just(0_u64), 1 => 0_u64..4],
        prop::sample::select(vec![OnBadRow::Stop, OnBadRow::Skip]),
        prop::sample::select(vec![None, Some(b','), Some(b';')]),
        prop::sample::select(vec![Header::AsItIs, Header::MadeUnique, Header::None]),
    )
        .prop_map(
            |(format, encoding, skip_lines, on_bad_row, delimiter, header)| Options {
                format,
                encoding,
                skip_lines,
                on_bad_row,
                delimiter,
                header,
            },
        )
}

/// `bytes`, cut where `cuts` say.
fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let pieces = places.windows(2);
    pieces
        .map(|ends| bytes[ends[0]..ends[1]].to_vec())
        .collect()
}

proptest! {
    #[test]
    fn how_an_input_comes_in_pieces_makes_no_difference(
        bytes in bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        options in options(),
    ) {
        let whole = read_whole(options, &bytes).whole();
        prop_assert_eq!(&read(options, &cut(&bytes, &cuts)).whole(), &whole);
        let single: Vec<[u8; 1]> = bytes.iter().map(|byte| [*byte]).collect();
        prop_assert_eq!(&read(options, &single).whole(), &whole);
    }

    #[test]
    fn rows_that_were_quoted_come_back_as_they_were(
        rows in prop::collection::vec(prop::collection::vec("[a,\"\r\né ]{0,4}", 3), 1..20),
        line_end in prop::sample::select(vec!["\n", "\r\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let plain = |field: &String| !field.contains(['"', ',', '\r', '\n']);
        let field = |field: &String| if plain(field) { field.clone() } else { quoted(field) };
        let row = |row: &Vec<String>| {
            row.iter().map(field).collect::<Vec<_>>().join(",") + line_end
        };
        let text: String = rows.iter().map(row).collect();
        let no_header = Options { header: Header::None, ..CSV };
        let came = read(no_header, &cut(text.as_bytes(), &cuts)).all();
        let expected: Vec<String> = rows
            .iter()
            .map(|row| serde_json::to_string(row).expect("text"))
            .collect();
        prop_assert_eq!(came, expected);
    }

    #[test]
    fn another_encoding_makes_no_difference(text in "[ab,;\"\r\né日😀]{0,40}") {
        let text = format!("a,b\n{text}");
        let as_it_is = Options { header: Header::None, ..CSV_SKIP };
        let utf_8 = read_whole(as_it_is, &text).whole();
        let little = [&b"\xff\xfe"[..], &utf16(&text, u16::to_le_bytes)].concat();
        let big = [&b"\xfe\xff"[..], &utf16(&text, u16::to_be_bytes)].concat();
        prop_assert_eq!(&read_whole(as_it_is, little).whole(), &utf_8);
        prop_assert_eq!(&read_whole(as_it_is, big).whole(), &utf_8);
    }
}
