//! The log must not hold up what it tells of.

use message_queue_tests::frames::{frames, read_message};
use message_queue_tests::process::{Broker, PATIENCE, command, get};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (tcp, http) = (free_address(), free_address());
    let mut broker = command(["serve"]);
    broker.env("BIND_ADDRESS", "127.0.0.1");
    broker.env("TCP_PORT", tcp.port().to_string());
    broker.env("HTTP_PORT", http.port().to_string());
    broker.env("LOG_LEVEL", "debug");
    let mut broker = broker.stderr(Stdio::piped()).spawn().expect("it starts");
    // Its first line says that it listens. After that the pipe fills up.
    let mut log = BufReader::with_capacity(1, broker.stderr.take().expect("it is piped"));
    log.read_line(&mut String::new()).expect("a line");

    let mut consumer = TcpStream::connect(tcp).expect("it listens");
    consumer
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    consumer.write_all(b"CONSUMER\n").expect("it reads");
    while !get(http, "/metrics")
        .1
        .contains("message_queue_consumers 1")
    {}
    // Each is two lines of more than 100 bytes, and a pipe takes 64 KiB.
    for n in 0..1000_u32 {
        let mut producer = TcpStream::connect(tcp).expect("it listens");
        producer.write_all(b"PRODUCER\n").expect("it reads");
        producer
            .write_all(&frames([n.to_be_bytes()]))
            .expect("it reads");
        assert_eq!(read_message(&mut consumer), Some(n.to_be_bytes().to_vec()));
    }
    assert_eq!(get(http, "/healthz").0, 200);
    broker.kill().expect("it was running");
    broker.wait().expect("it was started");
}

#[test]
fn a_flood_of_connections_is_a_few_lines_and_each_end_tells_what_was_moved() {
    let broker = Broker::start(&[("LOG_LEVEL", "info"), ("MAX_CONSUMERS", "1")]);
    let mut consumer = broker.consumer();
    for n in 0..200_u32 {
        let mut producer = broker.producer();
        producer
            .write_all(&frames([n.to_be_bytes()]))
            .expect("it reads");
        assert_eq!(read_message(&mut consumer), Some(n.to_be_bytes().to_vec()));
    }
    drop(consumer);
    let line =
        broker.wait_for_log(|line| line["message"] == "closed" && line["role"] == "consumer");
    assert_eq!(line["messages"], 200);
    assert_eq!(line["bytes"], 200 * 8);
    assert!(
        line["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    broker.wait_for_log(|line| line["message"] == "closed, without a line for each");
    let log = broker.log();
    let producers = log.iter().filter(|line| line["role"] == "producer");
    // 400 lines if each had its own. They may come over several seconds.
    assert!(producers.count() < 200, "{log:#?}");
    let one = log
        .iter()
        .find(|line| line["message"] == "closed" && line["role"] == "producer")
        .expect("the first few have lines");
    assert_eq!((&one["messages"], &one["bytes"]), (&1.into(), &8.into()));
}
