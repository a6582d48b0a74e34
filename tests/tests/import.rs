//! Files through `produce`, on the real binary: what arrives, what is said, and the exit code.

use message_queue_tests::frames::read_messages;
use message_queue_tests::process::{Broker, command};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Output, Stdio};

/// A producer that reads its standard input.
fn producer(broker: &Broker, flags: &[&str]) -> Child {
    let mut producer = command([&["produce"], flags].concat());
    producer.args(["--addr", &broker.tcp().to_string()]);
    producer.stdin(Stdio::piped()).stderr(Stdio::piped());
    producer.spawn().expect("the binary starts")
}

fn produce(broker: &Broker, flags: &[&str], input: &[u8]) -> Output {
    let mut producer = producer(broker, flags);
    let mut stdin = producer.stdin.take().expect("it is piped");
    // A producer that ends before it has read all of it says so by its exit code.
    let _ = stdin.write_all(input);
    drop(stdin);
    producer.wait_with_output().expect("it ends")
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, says: &[&str]) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    for line in says {
        assert!(err.contains(line), "it does not say {line:?} but:\n{err}");
    }
}

#[test]
fn a_mark_that_comes_in_pieces_is_not_part_of_the_first_key() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let mut producer = producer(&broker, &["--format", "csv"]);
    let mut stdin = producer.stdin.take().expect("it is piped");
    for piece in [&b"\xef"[..], b"\xbb", b"\xbf", b"id,n\n1", b",2\n"] {
        stdin.write_all(piece).expect("it reads");
    }
    // The row does not wait for the end of the input.
    assert_eq!(read_messages(&mut consumer, 1), [br#"{"id":"1","n":"2"}"#]);
    drop(stdin);
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 0, &["produced 1 message"]);
}

#[test]
fn bad_rows_stop_the_import_or_are_skipped_and_counted() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let rows = b"a;b\r\n1;2\r\n\r\n3\r\n4;caf\xe9\r\n5;6";
    let csv = ["--format", "csv", "--delimiter", ";"];
    let output = produce(&broker, &csv, rows);
    let says = [
        "line 4 has 1 field where the first row has 2; --on-bad-row skip",
        "1 message",
    ];
    assert_ended(&output, 1, &says);
    let output = produce(
        &broker,
        &[&csv[..], &["--on-bad-row", "skip"]].concat(),
        rows,
    );
    let says = [
        "skipped: line 4 has 1 field where the first row has 2",
        "skipped: line 5 is not UTF-8",
        "bad rows skipped: 2",
        "produced 2 messages",
    ];
    assert_ended(&output, 0, &says);
    let first = br#"{"a":"1","b":"2"}"#;
    let last = br#"{"a":"5","b":"6"}"#;
    assert_eq!(read_messages(&mut consumer, 3), [first, first, last]);
}

#[test]
fn what_cannot_be_what_it_is_taken_for_ends_with_the_flag_to_use() {
    let broker = Broker::start(&[]);
    for (flags, input, code, says) in [
        (
            &["--format", "csv"][..],
            &b"a;b\n1;2\n"[..],
            1,
            "--delimiter ';'",
        ),
        (&[], b"\x1f\x8b\x08\0\0\0\0\0", 1, "gzip -dc"),
        (&[], b"a\0b\0\n\0", 1, "--encoding utf-16le"),
        (
            &["--format", "csv", "--on-bad-row", "skip"],
            b"a,b\n1,\"2\n3,4\n",
            1,
            "the quote that opens on line 2 is never closed",
        ),
        (&["--delimiter", ";"], b"", 2, "--format lines"),
        (&["--encoding", "utf-9"], b"", 2, "utf-16le"),
    ] {
        let output = produce(&broker, flags, input);
        assert_ended(&output, code, &[says]);
    }
    assert_eq!(
        broker.metric("message_queue_received_messages_total", ""),
        0.0
    );
}

#[test]
fn every_row_of_the_recorded_telemetry_arrives_as_an_object() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let recorded = root.join("../shared/data/dcgm_metrics.csv");
    let (path, rows) = if recorded.exists() {
        (recorded, 2470)
    } else {
        eprintln!("{} is not there: the sample is used", recorded.display());
        (root.join("examples/telemetry.csv"), 12)
    };
    let path = path.to_str().expect("a path in UTF-8");
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let header = text.lines().next().expect("a header");
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let output = produce(&broker, &[path], b"");
    assert_ended(&output, 0, &["produced"]);
    for message in read_messages(&mut consumer, rows) {
        let row: Value = serde_json::from_slice(&message).expect("JSON");
        let row = row.as_object().expect("an object");
        assert!(header.split(',').all(|column| row[column].is_string()));
        assert_eq!(row.len(), header.split(',').count());
    }
    assert_eq!(
        broker.metric("message_queue_received_messages_total", ""),
        rows as f64
    );
}
