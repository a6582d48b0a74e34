//! Rows of CSV that make no message.

use super::*;
use message_queue_core::wire::MAX_FRAME_BODY;

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
