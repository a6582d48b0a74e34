//! The examples in `docs/PROTOCOL.md`, byte for byte, against the real binary.

use message_queue_tests::frames::{frames, read_bytes_to_end};
use message_queue_tests::process::Broker;
use std::io::{Read, Write};
use std::net::Shutdown;

const SPECIFICATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md"));

/// The cells of the table rows in a section, the heading's number given; headings left out.
fn rows(section: &str) -> Vec<Vec<&'static str>> {
    let start = SPECIFICATION
        .find(&format!("\n## {section}. "))
        .expect("the section is there");
    let text = &SPECIFICATION[start + 1..];
    let end = text.find("\n## ").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| line.starts_with('|'));
    lines
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .filter(|cells| cells.iter().any(|cell| cell.starts_with('`')))
        .collect()
}

/// The first stretch of code in a cell.
fn code(cell: &str) -> &str {
    cell.split('`').nth(1).expect("the cell holds code")
}

/// The bytes that `47 45 54` stands for.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.split_whitespace();
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("two digits"))
        .collect()
}

#[test]
fn the_role_lines_are_answered_as_the_specification_says() {
    let rows = rows("2");
    assert_eq!(rows.len(), 9, "{rows:?}");
    for row in rows {
        let broker = Broker::start(&[]);
        let mut stream = broker.connect_with(&bytes(code(row[0])));
        if row[0].ends_with("the end of its stream") {
            stream.shutdown(Shutdown::Write).expect("it can");
        }
        match row[1].strip_prefix("closes: ") {
            Some(reason) => {
                assert_eq!(read_bytes_to_end(&mut stream), b"", "{row:?}");
                assert_eq!(broker.wait_for_close(&stream), code(reason), "{row:?}");
            }
            None => {
                let role = row[1]
                    .strip_prefix("takes it as a ")
                    .expect("what it is taken as");
                broker.wait_for_log(|line| line["message"] == "registered" && line["role"] == role);
            }
        }
    }
}

#[test]
fn the_frames_are_what_the_specification_says() {
    for (row, message) in rows("3").iter().zip([&b"hello"[..], b"", "é".as_bytes()]) {
        assert_eq!(frames([message]), bytes(code(row[1])), "{row:?}");
    }
    assert_eq!(rows("3").len(), 3);
}

#[test]
fn the_exchange_is_the_one_in_the_specification() {
    let rows = rows("4");
    let [consumer_sends, producer_sends, consumer_reads] = &rows[..] else {
        panic!("another exchange: {rows:?}");
    };
    let broker = Broker::start(&[]);
    let mut consumer = broker.connect_with(&bytes(code(consumer_sends[2])));
    broker.wait_for_log(|line| line["message"] == "registered");
    broker
        .connect()
        .write_all(&bytes(code(producer_sends[2])))
        .expect("the broker reads");
    let wanted = bytes(code(consumer_reads[2]));
    let mut read = vec![0; wanted.len()];
    consumer.read_exact(&mut read).expect("it comes");
    assert_eq!(read, wanted);
}

#[test]
fn the_reasons_are_all_there_and_no_others() {
    let documented: Vec<&str> = rows("6").iter().map(|row| code(row[0])).collect();
    let mut missing: Vec<&str> = message_queue_core::CloseReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(documented.len(), missing.len());
    missing.retain(|reason| !documented.contains(reason));
    assert!(missing.is_empty(), "{missing:?}");
}
