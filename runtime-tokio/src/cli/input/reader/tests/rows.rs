//! A row of CSV, one message.

use super::*;

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
