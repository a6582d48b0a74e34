use super::super::args::{Header, OnBadRow};
use super::super::error::Skipped;
use super::super::text::READ_BYTES;
use super::*;
use encoding_rs::{Encoding, SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1252};
use message_queue_core::ProtocolError;
use message_queue_core::wire::MAX_FRAME_BODY;
use proptest::prelude::*;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Gives at most one piece a read, and then an end.
struct Pieces(VecDeque<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else {
            return Ok(0);
        };
        let size = piece.len().min(buf.len());
        buf[..size].copy_from_slice(&piece[..size]);
        if size < piece.len() {
            self.0.push_front(piece.split_off(size));
        }
        Ok(size)
    }
}

const LINES: Options = Options {
    format: InputFormat::Lines,
    encoding: None,
    skip_lines: 0,
    on_bad_row: OnBadRow::Stop,
    delimiter: None,
    header: Header::AsItIs,
};

const CSV: Options = Options {
    format: InputFormat::Csv,
    ..LINES
};

const FRAMES: Options = Options {
    format: InputFormat::Frames,
    ..LINES
};

/// Without what stops at the first look.
const CSV_SKIP: Options = Options {
    on_bad_row: OnBadRow::Skip,
    ..CSV
};

/// What came of an input.
#[derive(Debug)]
struct Came {
    /// The messages of each chunk.
    batches: Vec<Vec<Vec<u8>>>,
    skipped: Skipped,
    outcome: Result<(), InputError>,
}

impl Came {
    fn messages(&self) -> Vec<String> {
        let messages = self.batches.concat();
        let text = |message: &Vec<u8>| String::from_utf8_lossy(message).into_owned();
        messages.iter().map(text).collect()
    }

    /// The messages, where all is well.
    fn all(&self) -> Vec<String> {
        assert!(self.outcome.is_ok(), "{self:?}");
        self.messages()
    }

    fn error(&self) -> String {
        match &self.outcome {
            Ok(()) => panic!("no error: {self:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// All that does not depend on how the input was read.
    fn whole(self) -> (Vec<Vec<u8>>, u64, String, String) {
        let Skipped { rows, shown } = self.skipped;
        let outcome = format!("{:?}", self.outcome.map_err(|error| error.to_string()));
        (self.batches.concat(), rows, format!("{shown:?}"), outcome)
    }
}

fn read(options: Options, pieces: &[impl AsRef<[u8]>]) -> Came {
    let pieces = pieces.iter().map(|piece| piece.as_ref().to_vec());
    let pieces = Pieces(pieces.filter(|piece| !piece.is_empty()).collect());
    let (chunks, mut received) = mpsc::channel(10_000);
    let mut feed = Feed::new("test", options.on_bad_row, chunks);
    let outcome = Reader::new(pieces, &options).read(&mut feed, &options);
    drop(feed);
    let mut batches = Vec::new();
    let mut skipped = Skipped::default();
    while let Some(chunk) = received.blocking_recv() {
        let chunk = chunk.expect("errors are returned");
        let bodies = chunk.frames.bodies().map(|body| body.to_vec()).collect();
        batches.push(bodies);
        skipped.rows += chunk.skipped.rows;
        skipped.shown.extend(chunk.skipped.shown);
    }
    Came {
        batches,
        skipped,
        outcome,
    }
}

fn read_whole(options: Options, bytes: impl AsRef<[u8]>) -> Came {
    let pieces: Vec<&[u8]> = bytes.as_ref().chunks(READ_BYTES).collect();
    read(options, &pieces)
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn a_line_ends_with_a_line_feed_or_the_input() {
    let lines = |text: &str| read_whole(LINES, text).all();
    assert_eq!(lines(""), [""; 0]);
    assert_eq!(lines("\n"), [""]);
    assert_eq!(lines("a\nb\n"), ["a", "b"]);
    assert_eq!(lines("a\r\n\r\n\nb"), ["a", "", "", "b"]);
    assert_eq!(lines("a\rb\r\r\nc\r"), ["a\rb\r", "c\r"]);
}

#[test]
fn lines_do_not_wait_for_what_comes_after_them() {
    let came = read(LINES, &["a\nb\nc", "d\n", "e\r", "\n", "f"]);
    assert_eq!(came.all().concat(), "abcdef");
    let sizes: Vec<usize> = came.batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 1, 1, 1]);
}

#[test]
fn the_longest_line_is_a_message_and_a_longer_one_is_a_bad_row() {
    let longest = "x".repeat(MAX_FRAME_BODY);
    for end in ["", "\n", "\r\n"] {
        assert_eq!(
            read_whole(LINES, format!("{longest}{end}")).all(),
            [&*longest]
        );
    }
    for end in ["y", "y\n", "y\r\n", "\r", "\r\r\n", "yyyyyyyyyyyyyyyyy\n"] {
        let text = format!("first\n{longest}{end}");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
        let came = read(LINES, &pieces);
        assert_eq!(came.messages(), ["first"]);
        let error = came.error();
        let expected = "test: line 2 makes a message of more than 1048576 bytes; --on-bad-row ";
        assert!(error.starts_with(expected), "{error}");
    }
    let skip = Options {
        on_bad_row: OnBadRow::Skip,
        ..LINES
    };
    let came = read_whole(skip, format!("a\n{longest}{longest}\r\nb\n{longest}y"));
    assert_eq!(came.all(), ["a", "b"]);
    assert_eq!(came.skipped.rows, 2);
}

#[test]
fn rows_do_not_wait_for_what_comes_after_them() {
    let pieces = [
        "\u{feff}id,say\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,",
        "\n",
        "\n3,\"\"",
    ];
    let came = read(CSV, &pieces);
    let rows = [
        r#"{"id":"1","say":"a, \"b\"\nc"}"#,
        r#"{"id":"2","say":""}"#,
        r#"{"id":"3","say":""}"#,
    ];
    assert_eq!(came.all(), rows);
    assert_eq!(came.batches.len(), 3);
}

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
fn lines_in_utf_8_are_bytes() {
    let came = read_whole(LINES, b"caf\xe9\n\0\xff\n");
    assert_eq!(came.batches.concat(), [&b"caf\xe9"[..], b"\0\xff"]);
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

#[test]
fn another_delimiter_is_named_and_taken() {
    for (text, flag) in [
        ("a;b\n1;2\n", "--delimiter ';'"),
        ("a\tb\n1\t2\n", "--delimiter tab"),
        ("a|b\n1|2\n", "--delimiter '|'"),
    ] {
        let came = read_whole(CSV, text);
        assert_eq!(came.messages(), [""; 0]);
        assert!(came.error().contains(flag), "{}", came.error());
        let delimiter = Some(text.as_bytes()[1]);
        let named = Options { delimiter, ..CSV };
        assert_eq!(read_whole(named, text).all(), [r#"{"a":"1","b":"2"}"#]);
    }
    let comma = Options {
        delimiter: Some(b','),
        ..CSV
    };
    assert_eq!(read_whole(comma, "a;b\n1;2\n").all(), [r#"{"a;b":"1;2"}"#]);
    assert_eq!(read_whole(CSV, "\"a;b\"\n1\n").all(), [r#"{"a;b":"1"}"#]);
}

#[test]
fn a_ragged_row_is_named_by_the_line_that_an_editor_shows() {
    for (text, line) in [
        ("a,b\n1,2\n3,4,5\n6,7\n", 3),
        ("a,b\r\n1,2\r\n3\r\n6,7\r\n", 3),
        ("a,b\r1,2\r3\r6,7\r", 3),
        ("a,b\n\n\n1,2\n\n3\n6,7\n", 6),
        ("a,b\n1,\"2\n\n2\"\n3,\"\n\",5\n6,7", 5),
        ("\n\na,b\n1,2\n3", 5),
    ] {
        let came = read_whole(CSV, text);
        assert_eq!(came.messages().len(), 1, "{text:?}");
        let error = came.error();
        assert!(
            error.starts_with(&format!("test: line {line} has ")),
            "{error}"
        );
        let came = read_whole(CSV_SKIP, text);
        assert_eq!(came.skipped.rows, 1);
        assert_eq!(came.skipped.shown[0].line, line);
    }
    let came = read_whole(CSV_SKIP, "a,b\n1\n2,3\n4,5,6\n");
    assert_eq!(came.all(), [r#"{"a":"2","b":"3"}"#]);
    let shown: Vec<String> = came.skipped.shown.iter().map(ToString::to_string).collect();
    let expected = [
        "line 2 has 1 field where the first row has 2",
        "line 4 has 3 fields where the first row has 2",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn of_many_bad_rows_the_first_few_are_shown_and_all_are_counted() {
    let text = format!("a,b\n{}1,2\n", "1\n".repeat(1000));
    let came = read_whole(CSV_SKIP, text);
    assert_eq!(came.all().len(), 1);
    assert_eq!((came.skipped.rows, came.skipped.shown.len()), (1000, 5));
}

#[test]
fn a_quote_that_is_never_closed_is_an_error_with_its_line() {
    for (text, line, rows) in [
        ("a,b\n1,2\n3,\"4\n5,6\n", 3, 1),
        ("a,b\r\n1,2\r\n\"3\r\n\",\"4\r\n5,6", 4, 1),
        ("a,b\n1,\"2\"\n3,\"4\"\"", 3, 1),
        ("a,\"b\n1,2\n", 1, 0),
    ] {
        for options in [CSV, CSV_SKIP] {
            let came = read_whole(options, text);
            assert_eq!(came.messages().len(), rows, "{text:?}");
            let expected = format!("test: the quote that opens on line {line} is never closed");
            assert!(came.error().starts_with(&expected), "{}", came.error());
        }
    }
    assert_eq!(
        read_whole(CSV, "a,b\n1,\"2\"").all(),
        [r#"{"a":"1","b":"2"}"#]
    );
    assert_eq!(read_whole(CSV, "a,b\n1,").all(), [r#"{"a":"1","b":""}"#]);
    // All that follows is more than a message takes.
    let text = format!("a,b\n1,2\n\n3,\"{}", "4\n".repeat(MAX_FRAME_BODY));
    let came = read_whole(CSV, &text);
    let error = came.error();
    assert!(
        error.starts_with("test: line 4 makes a message of more"),
        "{error}"
    );
    assert!(
        error.contains("(a quote that opens on line 4 is not closed)"),
        "{error}"
    );
    let error = read_whole(CSV_SKIP, &text).error();
    assert!(error.contains("opens on line 4 is never closed"), "{error}");
}

#[test]
fn a_row_that_is_too_large_is_a_bad_row() {
    let long = "x".repeat(2 * MAX_FRAME_BODY);
    let quotes = "\"\"".repeat(MAX_FRAME_BODY / 2 + 1);
    let commas = ",".repeat(2 * MAX_FRAME_BODY);
    for bad in [&format!("{long},1"), &format!("\"{quotes}\",1"), &commas] {
        let text = format!("a,b\n1,2\n{bad}\n3,4\n");
        let came = read_whole(CSV, &text);
        assert_eq!(came.messages().len(), 1);
        let error = came.error();
        assert!(
            error.starts_with("test: line 3 makes a message of more"),
            "{error}"
        );
        let came = read_whole(CSV_SKIP, &text);
        assert_eq!(came.all().len(), 2);
        assert_eq!(came.skipped.rows, 1);
    }
    let error = read_whole(CSV_SKIP, format!("{long},b\n1,2\n")).error();
    assert!(
        error.starts_with("test: the header cannot be read: line 1 makes a message"),
        "{error}"
    );
}

#[test]
fn a_header_is_as_it_is_or_made_unique_or_none() {
    let text = "a,b,a\n1,2,3\n";
    let came = read_whole(CSV, text);
    let error = came.outcome.expect_err("two columns of one name");
    assert!(matches!(error, InputError::RepeatedColumn { ref column, .. } if column == "a"));
    let unique = Options {
        header: Header::MadeUnique,
        ..CSV
    };
    assert_eq!(
        read_whole(unique, text).all(),
        [r#"{"a":"1","b":"2","a_2":"3"}"#]
    );
    let none = Options {
        header: Header::None,
        ..CSV_SKIP
    };
    let came = read_whole(none, "a,b,a\n1,2,3\n4,5\n");
    assert_eq!(came.all(), [r#"["a","b","a"]"#, r#"["1","2","3"]"#]);
    assert_eq!(came.skipped.rows, 1);
}

#[test]
fn the_first_lines_can_be_left_out_and_are_counted() {
    let skip = |format, lines| Options {
        format,
        skip_lines: lines,
        ..LINES
    };
    for text in [
        "# \"x\n\na,b\n1,2\n3\n",
        "# \"x\r\n\r\na,b\r\n1,2\r\n3",
        "#\r\ra,b\r1,2\r3",
    ] {
        let came = read_whole(skip(InputFormat::Csv, 2), text);
        assert_eq!(came.messages(), [r#"{"a":"1","b":"2"}"#], "{text:?}");
        assert!(
            came.error().starts_with("test: line 5 has 1 field "),
            "{}",
            came.error()
        );
    }
    assert_eq!(
        read_whole(skip(InputFormat::Lines, 2), "a\r\nb\nc\nd").all(),
        ["c", "d"]
    );
    for format in [InputFormat::Lines, InputFormat::Csv] {
        assert_eq!(read_whole(skip(format, 9), "a\nb\nc").all(), [""; 0]);
    }
    // What is left out may be too long, or be in no encoding.
    let long = "é".repeat(MAX_FRAME_BODY);
    let came = read_whole(skip(InputFormat::Lines, 1), format!("{long}\nb\n"));
    assert_eq!(came.all(), ["b"]);
}

#[test]
fn an_input_may_be_empty_or_a_header_alone() {
    for options in [LINES, CSV, FRAMES] {
        assert_eq!(read_whole(options, "").all(), [""; 0]);
    }
    for text in ["a,b", "a,b\n", "\u{feff}a,b\r\n\r\n", "\n\n", "\u{feff}"] {
        assert_eq!(read_whole(CSV, text).all(), [""; 0]);
    }
}

#[test]
fn frames_are_passed_on_until_one_is_not_whole_or_too_large() {
    let came = read(FRAMES, &["\0\0\0\x01a\0\0\0\x02b", "c"]);
    assert_eq!(came.all(), ["a", "bc"]);
    assert_eq!(came.batches.len(), 2);
    for (end, source) in [
        (&b"\0\0\0\x02b"[..], ProtocolError::TruncatedFrame),
        (
            b"\0\x10\0\x01",
            ProtocolError::FrameTooLarge { length: 1_048_577 },
        ),
    ] {
        let came = read_whole(FRAMES, [&b"\0\0\0\x01a\0\0\0\0"[..], end].concat());
        assert_eq!(came.messages(), ["a", ""]);
        assert_eq!(
            came.error(),
            format!("test: after 2 whole frames: {source}")
        );
    }
}

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
