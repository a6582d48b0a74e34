//! What comes of an input. The tests of lines, rows and encodings are in files of their own; here
//! are the ones that concern every format.

mod bad_rows;
mod encodings;
mod lines;
mod properties;
mod rows;

use super::super::args::{Header, OnBadRow};
use super::super::error::Skipped;
use super::super::text::READ_BYTES;
use super::*;
use message_queue_core::ProtocolError;
use message_queue_core::wire::MAX_FRAME_BODY;
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
