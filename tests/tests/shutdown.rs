//! The orderly end, on the real binary.

use message_queue_tests::frames::{frames, read_message, read_to_end};
use message_queue_tests::process::{Broker, command, get, send_signal};
use std::fs::File;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

#[test]
fn what_was_received_is_delivered_before_the_end() {
    for (mode, signal) in [("broadcast", "TERM"), ("queue", "INT")] {
        let broker = Broker::start(&[("DELIVERY_MODE", mode)]);
        let mut consumer = broker.consumer();
        let messages: Vec<Vec<u8>> = (0..200_u32).map(|n| n.to_be_bytes().repeat(9999)).collect();
        let mut producer = broker.producer();
        producer
            .write_all(&frames(&messages))
            .expect("the broker reads");
        producer.shutdown(Shutdown::Write).expect("an orderly end");
        broker.wait_for_close(&producer);
        broker.signal(signal);
        assert_eq!(read_to_end(&mut consumer), messages, "{mode}");
        let (status, _) = broker.wait();
        assert_eq!(status.code(), Some(0), "{mode}");
    }
}

/// Whoever starts a broker may end it at once, as an orchestrator that has changed its mind does.
#[test]
fn a_signal_right_after_the_start_is_an_orderly_end_too() {
    for _ in 0..8 {
        let broker = Broker::start(&[]);
        broker.signal("TERM");
        assert_eq!(broker.wait().0.code(), Some(0));
    }
}

#[test]
fn while_it_ends_it_is_alive_and_not_ready_and_takes_no_connections() {
    let broker = Broker::start(&[]);
    // It listens a moment before it serves.
    let is_ready = (0..100_000).any(|_| broker.get("/ready").0 == 200);
    assert!(is_ready);
    let mut stuck = broker.consumer();
    let messages = vec![vec![0; 1 << 20]; 20];
    broker
        .producer()
        .write_all(&frames(&messages))
        .expect("the broker reads");
    // More than the socket buffers take is on its way: the end cannot come before it is read.
    let first = read_message(&mut stuck).expect("the broker writes");
    assert_eq!(first, messages[0]);
    broker.signal("TERM");
    broker.wait_for_log(|line| line["message"] == "draining");
    assert_eq!(broker.get("/ready").0, 503);
    assert_eq!(broker.get("/healthz").0, 200);
    broker.wait_for_log(|line| line["message"] == "no longer listening");
    assert!(TcpStream::connect(broker.tcp()).is_err());
    assert_eq!(read_to_end(&mut stuck), messages[1..]);
    let http = broker.http();
    assert_eq!(broker.wait().0.code(), Some(0));
    assert!(std::panic::catch_unwind(|| get(http, "/healthz")).is_err());
}

/// A queue that is full waits for a consumer while the broker ends; meanwhile producers that are
/// held back are not all read from at once.
#[test]
fn a_consumer_may_come_while_a_full_queue_is_drained() {
    const READ: usize = 16 << 10;
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("QUEUE_CAPACITY", "1"),
        ("READ_BYTES", "16384"),
        ("DRAIN_TIMEOUT_MS", "600000"),
    ]);
    let messages = vec![[7; 1020]; READ / 1024];
    let mut producers: Vec<TcpStream> = (0..100).map(|_| broker.producer()).collect();
    broker.wait_for_metric("message_queue_producers", producers.len() as f64);
    for producer in &mut producers {
        producer
            .write_all(&frames(&messages))
            .expect("the socket takes it");
    }
    broker.signal("TERM");
    broker.wait_for_log(|line| line["message"] == "draining");
    for _ in 0..20 {
        let parked = broker.metric("message_queue_parked_bytes", "");
        assert!(parked <= 2.0 * READ as f64, "{parked} bytes are parked");
    }
    let mut consumer = broker.consumer();
    // At least one read of each.
    let received = read_to_end(&mut consumer);
    assert!(received.len() >= producers.len(), "{}", received.len());
    let (status, log) = broker.wait();
    assert_eq!(status.code(), Some(0));
    let dropped = log.iter().find(|line| line["message"] == "dropped");
    assert_eq!(dropped, None);
}

#[test]
fn what_cannot_be_delivered_in_time_is_counted_and_a_second_signal_ends_it_now() {
    let broker = Broker::start(&[("DRAIN_TIMEOUT_MS", "3600000")]);
    let _stuck = broker.consumer();
    let messages = vec![vec![0; 1 << 20]; 30];
    let mut producer = broker.producer();
    producer
        .write_all(&frames(&messages))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    broker.wait_for_close(&producer);
    broker.signal("TERM");
    broker.wait_for_log(|line| line["message"] == "draining");
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert_eq!(status.code(), Some(0));
    let dropped = log
        .iter()
        .find(|line| line["message"] == "dropped")
        .expect("it is counted");
    assert!(
        dropped["reasons"]
            .as_str()
            .is_some_and(|it| it.starts_with("consumer_left=") || it.starts_with("shutdown=")),
        "{dropped}"
    );
}

/// The first moments of a container's first process: its handlers are there before it reads a file.
#[test]
fn a_signal_before_the_start_is_not_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let dotenv = directory.path().join(".env");
    let made = Command::new("mkfifo").arg(&dotenv).status();
    assert!(made.expect("mkfifo runs").success());
    let mut broker = command(["serve"])
        .current_dir(&directory)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // Opens as soon as the broker opens the other end, and then reads what is written here.
    let mut settings = File::options().write(true).open(&dotenv).expect("a pipe");
    send_signal(broker.id(), "TERM");
    settings
        .write_all(b"BIND_ADDRESS=127.0.0.1\nTCP_PORT=0\nHTTP_PORT=0\n")
        .expect("the broker reads");
    drop(settings);
    assert_eq!(broker.wait().expect("it ends").code(), Some(0));
}

#[test]
fn signals_that_mean_nothing_to_it_do_not_end_it() {
    let broker = Broker::start(&[]);
    for name in ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "XFSZ", "IO"] {
        broker.signal(name);
        let logged = format!("SIG{name}");
        broker.wait_for_log(|line| {
            line["message"] == "signal ignored" && line["signal"] == logged.as_str()
        });
    }
    broker.signal("PIPE");
    assert_eq!(broker.get("/healthz").0, 200);
    broker.signal("TERM");
    assert_eq!(broker.wait().0.code(), Some(0));
}
