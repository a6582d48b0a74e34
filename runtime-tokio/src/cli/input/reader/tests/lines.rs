//! One line, one message.

use super::*;
use message_queue_core::wire::MAX_FRAME_BODY;

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
fn lines_in_utf_8_are_bytes() {
    let came = read_whole(LINES, b"caf\xe9\n\0\xff\n");
    assert_eq!(came.batches.concat(), [&b"caf\xe9"[..], b"\0\xff"]);
}
