//! The HTTP port of the real binary: it answers whatever clients and operators do, and neither port
//! starves the other.

use message_queue_tests::frames::{frames, read_message};
use message_queue_tests::process::{Broker, PATIENCE};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.http()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn connect_with(broker: &Broker, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(broker);
    stream.write_all(bytes).expect("it is connected");
    stream
}

/// Waits until the broker has ended the connection. Whatever comes before that is let go.
fn wait_for_end(mut stream: TcpStream) {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Asks on a connection that stays open, and reads the answer's head.
fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: broker\r\n\r\n")
        .expect("the request is read");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
}

fn closed(broker: &Broker, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    broker.metric("message_queue_http_connections_closed_total", &reason)
}

#[test]
fn operators_do_not_queue_behind_data() {
    const ASKED: usize = 41;
    let broker = Broker::start(&[]);
    let consumers: Vec<_> = (0..10).map(|_| broker.consumer()).collect();
    let batch = frames(vec![vec![7; 1000]; 1000]);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for mut consumer in consumers {
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while consumer.read(&mut buffer).expect("the broker writes") > 0 {}
            });
        }
        for _ in 0..4 {
            let (mut producer, batch, ended) = (broker.producer(), &batch, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    producer.write_all(batch).expect("the broker reads");
                }
            });
        }
        // They are at it.
        while broker.metric("message_queue_delivered_messages_total", "") < 1e6 {}
        for path in ["/healthz", "/metrics"] {
            let mut took: Vec<Duration> = (0..ASKED)
                .map(|_| {
                    let began = Instant::now();
                    assert_eq!(broker.get(path).0, 200);
                    began.elapsed()
                })
                .collect();
            took.sort_unstable();
            // In the median, as this machine may have other work.
            println!("{path}: {:?} to {:?}", took[ASKED / 2], took[ASKED - 1]);
            assert!(took[ASKED / 2] < Duration::from_millis(200), "{took:?}");
        }
        ended.store(true, Ordering::Relaxed);
        broker.signal("TERM");
    });
    assert!(broker.wait().0.success());
}

#[test]
fn whoever_keeps_a_place_without_asking_loses_it() {
    let broker = Broker::start(&[("HTTP_TIMEOUT_MS", "300")]);
    let silent = connect(&broker);
    let half = connect_with(&broker, b"GET /healthz HTTP/1.1\r\nhost: bro");
    let mut answered = connect(&broker);
    ask(&mut answered);
    for stream in [silent, half, answered] {
        wait_for_end(stream);
    }
    while closed(&broker, "timeout") < 3.0 {}
}

#[test]
fn a_request_that_drips_is_not_waited_for() {
    let broker = Broker::start(&[("HTTP_TIMEOUT_MS", "300")]);
    let mut stream = connect_with(&broker, b"GET /healthz HTTP/1.1\r\nx: ");
    let began = Instant::now();
    // The broker ends it; until then there is always one more byte.
    while stream.write_all(b"x").is_ok() {
        assert!(began.elapsed() < PATIENCE);
        thread::yield_now();
        stream.set_nonblocking(true).expect("a TCP socket");
        if matches!(stream.read(&mut [0; 1024]), Ok(0)) {
            break;
        }
        stream.set_nonblocking(false).expect("a TCP socket");
    }
}

#[test]
fn an_answer_that_is_not_taken_is_not_waited_for() {
    let broker = Broker::start(&[("HTTP_TIMEOUT_MS", "500")]);
    let requests = b"GET /metrics HTTP/1.1\r\nhost: broker\r\n\r\n".repeat(1000);
    let mut stream = connect(&broker);
    // Answers are not read, so requests are not either; then the broker ends it.
    while stream.write_all(&requests).is_ok() {}
    while closed(&broker, "timeout") < 1.0 {}
}

#[test]
fn the_oldest_that_only_wait_make_room_for_whoever_asks() {
    const WAITING: usize = 500;
    let broker = Broker::start(&[("HTTP_TIMEOUT_MS", "1h"), ("MAX_HTTP_CONNECTIONS", "8")]);
    let mut waiting: Vec<_> = (0..WAITING)
        .map(|_| connect_with(&broker, b"GET /metrics HTT"))
        .collect();
    assert_eq!(broker.get("/healthz").0, 200);
    wait_for_end(waiting.remove(0));
    // What asks for the metric is one of them.
    while closed(&broker, "displaced") < (WAITING - 8) as f64 {}
    assert!(broker.metric("message_queue_http_connections", "") <= 8.0);
    let opened = broker.metric("message_queue_http_connections_opened_total", "");
    assert!(opened >= WAITING as f64);
    broker.wait_for_log(|line| line["limit"] == 8 && line["connections"].as_u64() > Some(0));
}

#[test]
fn answered_connections_that_stay_open_leave_clients_their_descriptors() {
    let broker = Broker::start_with_descriptors(64, &[("HTTP_TIMEOUT_MS", "1h")]);
    let _idle: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = connect(&broker);
            ask(&mut stream);
            stream
        })
        .collect();
    // Many at once, too.
    let _burst: Vec<_> = (0..300).map(|_| connect(&broker)).collect();
    let (mut consumer, mut producer) = (broker.consumer(), broker.producer());
    producer
        .write_all(&frames(["served"]))
        .expect("the broker reads");
    assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"served"[..]));
    assert_eq!(
        broker.metric("message_queue_http_accept_failures_total", ""),
        0.0
    );
}

#[test]
fn what_waits_is_shown_while_nobody_consumes() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "2")]);
    let mut producer = broker.producer();
    producer
        .write_all(&frames(["a", "b", "lost"]))
        .expect("the broker reads");
    broker.wait_for_metric("message_queue_received_messages_total", 3.0);
    assert_eq!(broker.get("/consumers"), (200, "[]".to_owned()));
    let page = |path: &str| -> serde_json::Value {
        let (status, page) = broker.get(path);
        assert_eq!(status, 200, "{page}");
        serde_json::from_str(&page).expect("JSON")
    };
    let queue = page("/queue");
    assert_eq!(queue["delivery_mode"], "queue");
    assert_eq!(queue["waiting"]["messages"], 2);
    assert_eq!(queue["waiting"]["bytes"], 10);
    assert_eq!(queue["dropped"]["backlog_messages"]["messages"], 1);
    assert_eq!(queue["backlog_limit"]["messages"], 2);
    let producers = page("/producers");
    assert_eq!(producers[0]["received"]["messages"], 3, "{producers}");
    assert_eq!(producers[0]["waits_for_room"], false);
    // It is there in the form that was asked for, and to the millisecond.
    let connected = producers[0]["connected_seconds"].to_string();
    let decimals = connected.split_once('.').map_or(0, |(_, it)| it.len());
    assert!(decimals <= 3, "{connected}");
}

#[test]
fn many_consumers_are_all_listed_and_add_up() {
    const CONSUMERS: usize = 700;
    let broker = Broker::start(&[("MAX_CONSUMERS", "1000")]);
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|_| broker.connect_with(b"CONSUMER\n"))
        .collect();
    let mut producer = broker.producer();
    broker.wait_for_metric("message_queue_consumers", CONSUMERS as f64);
    broker.wait_for_metric("message_queue_producers", 1.0);
    producer
        .write_all(&frames(["all"]))
        .expect("the broker reads");
    for mut consumer in &consumers {
        assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"all"[..]));
    }
    let list = |path: &str| -> Vec<serde_json::Value> {
        let (status, page) = broker.get(path);
        assert_eq!(status, 200, "{page}");
        serde_json::from_str(&page).expect("a list in JSON")
    };
    let listed = list("/consumers");
    assert_eq!(listed.len(), CONSUMERS);
    let ids: Vec<_> = listed.iter().map(|it| it["id"].as_u64()).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|it| it[0] != it[1]));
    for consumer in &listed {
        assert_eq!(consumer["delivered"]["messages"], 1, "{consumer}");
    }
    assert_eq!(list("/producers").len(), 1);
    let (_, queue) = broker.get("/queue");
    let queue: serde_json::Value = serde_json::from_str(&queue).expect("JSON");
    assert_eq!(queue["consumers"], CONSUMERS);
    assert_eq!(queue["delivered"]["messages"], CONSUMERS);
}
