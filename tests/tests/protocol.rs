//! The examples of version 1 in `docs/PROTOCOL.md`, byte for byte, against the real binary.

use message_queue_tests::frames::{frames, read_bytes_to_end};
use message_queue_tests::process::Broker;
use message_queue_tests::specification::{bytes, code, rows};
use std::io::{Read, Write};
use std::net::Shutdown;

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
