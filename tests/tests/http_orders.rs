//! What an operator has done to the real binary over HTTP: connections ended, the queue emptied.

use message_queue_tests::frames::{frames, read_message};
use message_queue_tests::process::Broker;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

fn page(broker: &Broker, path: &str) -> Value {
    let (status, page) = broker.get(path);
    assert_eq!(status, 200, "{page}");
    serde_json::from_str(&page).expect("JSON")
}

/// The number of the only connection on this page.
fn only(broker: &Broker, path: &str) -> u64 {
    let page = page(broker, path);
    assert_eq!(page.as_array().map(Vec::len), Some(1), "{page}");
    page[0]["id"].as_u64().expect("a number")
}

fn end(broker: &Broker, conn: u64) -> (u16, String) {
    broker.request("DELETE", &format!("/connections/{conn}"))
}

/// That the broker has reset the connection.
fn assert_reset(stream: &mut TcpStream) {
    let read = stream.read_to_end(&mut Vec::new());
    let error = read.expect_err("not an orderly end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// That every message that was offered is delivered, waits or was dropped. Returns those counts.
fn flow(broker: &Broker) -> [f64; 4] {
    let metric = |name| broker.metric(&format!("message_queue_{name}"), "");
    let offered = metric("offered_messages_total");
    let rest = [
        metric("delivered_messages_total"),
        metric("waiting_messages"),
        metric("dropped_messages_total"),
    ];
    assert_eq!(offered, rest.iter().sum::<f64>(), "{rest:?}");
    [offered, rest[0], rest[1], rest[2]]
}

#[test]
fn a_consumer_and_a_producer_are_ended_and_the_others_go_on() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let mut consumer = broker.consumer();
    let mut producer = broker.producer();
    producer
        .write_all(&frames(["first"]))
        .expect("the broker reads");
    assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"first"[..]));

    let conn = only(&broker, "/consumers");
    let ended = format!("connection {conn} has been ended\n");
    assert_eq!(end(&broker, conn), (200, ended));
    assert_reset(&mut consumer);
    assert_eq!(page(&broker, "/consumers"), Value::Array(Vec::new()));
    let gone = (404, format!("there is no connection {conn}\n"));
    assert_eq!(end(&broker, conn), gone);

    producer
        .write_all(&frames(["second", "third"]))
        .expect("the broker reads");
    broker.wait_for_metric("message_queue_received_messages_total", 3.0);
    let conn = only(&broker, "/producers");
    assert_eq!(end(&broker, conn).0, 200);
    assert_reset(&mut producer);
    // What it had sent is kept.
    let mut other = broker.consumer();
    for wanted in ["second", "third"] {
        assert_eq!(read_message(&mut other).as_deref(), Some(wanted.as_bytes()));
    }

    let by_operator = "reason=\"ended_by_operator\"";
    let closed = broker.metric("message_queue_connections_closed_total", by_operator);
    assert_eq!(closed, 2.0);
    let line = broker.wait_for_log(|line| line["message"] == "connection ended by an operator");
    let operator = line["operator"].as_str().expect("an address");
    assert!(operator.starts_with("127.0.0.1:"), "{line}");
    let closed = broker.wait_for_log(|line| line["reason"] == "ended_by_operator");
    assert_eq!(closed["conn"], line["conn"]);
    assert_eq!(closed["level"], "INFO");
}

#[test]
fn a_queue_is_purged_while_producers_are_blocked_and_they_go_on() {
    const WAITING: u32 = 10_000;
    const SENT_EACH: u32 = 9_000;
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("QUEUE_CAPACITY", &WAITING.to_string()),
    ]);
    let all_sent = frames(vec![vec![7; 1000]; SENT_EACH as usize]);
    let left = f64::from(2 * SENT_EACH - WAITING);
    thread::scope(|scope| {
        for mut producer in [broker.producer(), broker.producer()] {
            let all_sent = &all_sent;
            scope.spawn(move || producer.write_all(all_sent).expect("the broker reads"));
        }
        broker.wait_for_metric("message_queue_waiting_messages", WAITING.into());
        while broker.metric("message_queue_parked_messages", "") == 0.0 {}
        let (status, purged) = broker.request("POST", "/queue/purge");
        assert_eq!(status, 200, "{purged}");
        let purged: Value = serde_json::from_str(&purged).expect("JSON");
        assert_eq!(purged["messages"], WAITING);
        assert_eq!(purged["bytes"], WAITING * 1004);
    });
    broker.wait_for_metric(
        "message_queue_received_messages_total",
        f64::from(2 * SENT_EACH),
    );
    let (offered, purged) = (f64::from(2 * SENT_EACH), f64::from(WAITING));
    assert_eq!(flow(&broker), [offered, 0.0, left, purged]);
    let dropped = broker.metric("message_queue_dropped_messages_total", "reason=\"purged\"");
    assert_eq!(dropped, purged);

    let mut consumer = broker.consumer();
    for _ in 0..left as u32 {
        assert_eq!(read_message(&mut consumer).map(|it| it.len()), Some(1000));
    }
    broker.wait_for_metric("message_queue_delivered_messages_total", left);
    assert_eq!(flow(&broker), [offered, left, 0.0, purged]);
    let line = broker.wait_for_log(|line| line["message"] == "queue purged by an operator");
    assert_eq!(line["messages"], WAITING);
    // Again there is nothing to drop.
    let nothing = r#"{"messages":0,"bytes":0}"#;
    assert_eq!(
        broker.request("POST", "/queue/purge"),
        (200, nothing.to_owned())
    );
}

#[test]
fn what_cannot_be_done_is_refused() {
    let broker = Broker::start(&[]);
    let (status, text) = broker.request("POST", "/queue/purge");
    assert_eq!(status, 409);
    assert!(text.contains("no queue in broadcast mode"), "{text}");
    assert_eq!(
        end(&broker, 7),
        (404, "there is no connection 7\n".to_owned())
    );
    assert_eq!(broker.request("GET", "/queue/purge").0, 405);
    assert_eq!(broker.request("POST", "/connections/7").0, 405);
}
