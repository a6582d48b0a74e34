//! Deadlines, on the real binary: slow is not stuck, and what the broker missed while it did not run is
//! not charged to its peers.

use message_queue_tests::frames::{frames, read_messages};
use message_queue_tests::process::Broker;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// More than the kernel's buffers of a connection hold.
const MESSAGES: usize = 400;
const SIZE: usize = 100_000;

/// Publishes so much that a consumer that does not read has a write in flight.
fn flood(broker: &Broker) -> JoinHandle<()> {
    let mut producer = broker.producer();
    spawn(move || {
        let message = [b"x".repeat(SIZE)];
        let frame = frames(&message);
        for _ in 0..MESSAGES {
            if producer.write_all(&frame).is_err() {
                return;
            }
        }
    })
}

/// Reads 20 KB ten times a second, so often. Returns whether the connection ended before.
fn drip(consumer: &mut TcpStream, read: &mut Vec<u8>, times: usize) -> bool {
    let (_never, pause) = channel::<()>();
    let mut buffer = [0; 20_000];
    for _ in 0..times {
        // The pace is what is tested: nothing happens that could be waited for.
        assert!(pause.recv_timeout(Duration::from_millis(100)).is_err());
        match consumer.read(&mut buffer) {
            Ok(0) | Err(_) => return true,
            Ok(bytes) => read.extend(&buffer[..bytes]),
        }
    }
    false
}

#[test]
fn a_consumer_that_reads_slowly_without_a_pause_is_not_cut() {
    let broker = Broker::start(&[
        ("OVERFLOW", "block"),
        ("WRITE_TIMEOUT_MS", "1s"),
        ("MIN_CONSUMER_RATE", "0"),
    ]);
    let mut consumer = broker.consumer();
    let sending = flood(&broker);
    // Five times as long as it may take nothing; the kernel calls its socket writable after ten.
    let mut read = Vec::new();
    assert!(!drip(&mut consumer, &mut read, 50));
    let rest = read_messages(&mut read.as_slice().chain(consumer), MESSAGES);
    assert!(rest.iter().all(|message| message.len() == SIZE));
    sending.join().expect("it sends");
}

#[test]
fn a_consumer_below_the_least_rate_is_cut() {
    let broker = Broker::start(&[
        ("OVERFLOW", "block"),
        ("WRITE_TIMEOUT_MS", "1s"),
        ("MIN_CONSUMER_RATE", "1MiB"),
    ]);
    let mut consumer = broker.consumer();
    let sending = flood(&broker);
    drip(&mut consumer, &mut Vec::new(), 50);
    assert_eq!(broker.wait_for_close(&consumer), "write_timeout");
    sending.join().expect("it sends");
}

/// Reads all that comes until nothing has for so long.
fn read_until_silent(stream: &mut TcpStream, silence: Duration) -> Vec<u8> {
    let patience = stream.read_timeout().expect("it has one");
    stream.set_read_timeout(Some(silence)).expect("a timeout");
    let mut read = Vec::new();
    let error = stream.read_to_end(&mut read).expect_err("it goes on");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(patience).expect("a timeout");
    read
}

#[test]
fn while_the_broker_is_stopped_no_consumer_is_late() {
    let broker = Broker::start(&[("OVERFLOW", "block"), ("WRITE_TIMEOUT_MS", "2s")]);
    let mut consumer = broker.consumer();
    let sending = flood(&broker);
    broker.wait_for_metric("message_queue_producers", 1.0);
    // It reads all that there is, and then hears nothing for longer than it may take nothing.
    let mut read = vec![0; SIZE];
    consumer.read_exact(&mut read).expect("messages come");
    broker.signal("STOP");
    read.extend(read_until_silent(&mut consumer, Duration::from_secs(3)));
    broker.signal("CONT");
    let all = read_messages(&mut read.as_slice().chain(consumer), MESSAGES);
    assert!(all.iter().all(|message| message.len() == SIZE));
    sending.join().expect("it sends");
}

#[test]
fn a_role_line_that_came_while_the_broker_was_stopped_came_in_time() {
    let broker = Broker::start(&[("ROLE_TIMEOUT_MS", "2s")]);
    let mut stream = broker.connect();
    broker.wait_for_metric("message_queue_connections", 1.0);
    broker.signal("STOP");
    stream
        .write_all(b"CONSUMER\n")
        .expect("the kernel takes it");
    assert_eq!(
        read_until_silent(&mut stream, Duration::from_secs(3)),
        b"",
        "nobody publishes"
    );
    broker.signal("CONT");
    let own = stream.local_addr().expect("an address").to_string();
    let line = broker.wait_for_log(|line| {
        line["peer"] == own.as_str()
            && (line["message"] == "registered" || line.get("reason").is_some())
    });
    assert_eq!(line["message"], "registered", "{line}");
}
