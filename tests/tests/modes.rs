//! Both delivery modes, on the real binary.

use message_queue_tests::frames::{frames, read_message, read_messages, read_to_end};
use message_queue_tests::process::Broker;
use std::io::Write;
use std::net::Shutdown;

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| format!("message {n}").into_bytes())
        .collect()
}

#[test]
fn in_broadcast_every_consumer_receives_every_message_in_order() {
    let broker = Broker::start(&[]);
    let mut consumers = [broker.consumer(), broker.consumer(), broker.consumer()];
    let messages = numbered(1000);
    broker
        .producer()
        .write_all(&frames(&messages))
        .expect("the broker reads");
    for consumer in &mut consumers {
        assert_eq!(read_messages(consumer, 1000), messages);
    }
}

#[test]
fn in_broadcast_a_consumer_receives_what_is_published_after_it_came() {
    let broker = Broker::start(&[]);
    let mut first = broker.consumer();
    let mut producer = broker.producer();
    producer
        .write_all(&frames(["before"]))
        .expect("the broker reads");
    assert_eq!(read_messages(&mut first, 1), [b"before"]);
    let mut second = broker.consumer();
    producer
        .write_all(&frames(["after"]))
        .expect("the broker reads");
    assert_eq!(read_messages(&mut second, 1), [b"after"]);
}

#[test]
fn in_queue_mode_each_message_goes_to_one_consumer_and_the_work_is_shared() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let mut consumers = [
        broker.consumer(),
        broker.consumer(),
        broker.consumer(),
        broker.consumer(),
    ];
    broker
        .producer()
        .write_all(&frames(["a", "b", "c", "d"]))
        .expect("the broker reads");
    let mut received: Vec<Vec<u8>> = consumers
        .iter_mut()
        .map(|it| read_message(it).expect("one for each"))
        .collect();
    received.sort();
    assert_eq!(received, [b"a", b"b", b"c", b"d"]);
}

#[test]
fn in_queue_mode_messages_wait_for_a_consumer_first_in_first_out() {
    let broker = Broker::start(&[("DELIVERY_MODE", "QUEUE")]);
    let messages = numbered(500);
    let mut producer = broker.producer();
    producer
        .write_all(&frames(&messages))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    assert_eq!(broker.wait_for_close(&producer), "peer_closed");
    assert_eq!(read_messages(&mut broker.consumer(), 500), messages);
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_them() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "3")]);
    let mut producer = broker.producer();
    producer
        .write_all(&frames(["a", "b", "c", "d", "e"]))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    assert_eq!(broker.wait_for_close(&producer), "peer_closed");
    let warning = broker.wait_for_log(|line| line["message"] == "dropped");
    assert_eq!(warning["group"], "queue");
    assert_eq!(warning["messages"], 2);
    assert_eq!(warning["reasons"], "backlog_messages=2");
    assert_eq!(
        broker.metric(
            "message_queue_dropped_messages_total",
            "reason=\"backlog_messages\""
        ),
        2.0
    );
    assert_eq!(read_messages(&mut broker.consumer(), 3), [b"a", b"b", b"c"]);
}

#[test]
fn a_blocking_queue_loses_nothing_and_everything_else_goes_on() {
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("QUEUE_CAPACITY", "10"),
        ("OVERFLOW", "block"),
    ]);
    // More than the kernel's socket buffers take: the producer is held up.
    let messages: Vec<Vec<u8>> = (0..2000_u32)
        .map(|n| n.to_be_bytes().repeat(4096))
        .collect();
    let mut producer = broker.producer();
    let sending = std::thread::spawn({
        let bytes = frames(&messages);
        move || {
            producer
                .write_all(&bytes)
                .expect("the broker reads in the end")
        }
    });
    while broker.metric("message_queue_backlog_messages", "") < 10.0 {}
    assert_eq!(broker.get("/healthz").0, 200);
    assert_eq!(read_messages(&mut broker.consumer(), 2000), messages);
    sending.join().expect("everything was sent");
    assert_eq!(
        broker.metric("message_queue_dropped_messages_total", ""),
        0.0
    );
}

#[test]
fn a_consumer_that_does_not_read_costs_the_others_nothing() {
    let broker = Broker::start(&[("CONSUMER_CHANNEL_BUFFER_SIZE", "5")]);
    let stuck = broker.consumer();
    let mut reading = broker.consumer();
    let mut producer = broker.producer();
    let message = vec![7; 100_000];
    // Enough to fill the stuck one's socket buffers and its backlog many times over.
    for _ in 0..300 {
        producer
            .write_all(&frames([&message]))
            .expect("the broker reads");
        assert_eq!(read_message(&mut reading).as_ref(), Some(&message));
    }
    let (status, body) = broker.get("/consumers");
    assert_eq!(status, 200);
    let consumers: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let view = |stream: &std::net::TcpStream| {
        let own = stream.local_addr().expect("an address").to_string();
        let of = consumers.as_array().expect("a list").iter();
        of.clone()
            .find(|it| it["peer"] == own.as_str())
            .expect("it is listed")
            .clone()
    };
    assert_eq!(view(&stuck)["backlog"]["messages"], 5);
    assert!(view(&stuck)["dropped"]["backlog_messages"]["messages"].as_u64() > Some(0));
    assert_eq!(view(&reading)["dropped"], serde_json::json!({}));
    assert_eq!(view(&reading)["delivered"]["messages"], 300);
}

#[test]
fn what_a_leaving_consumer_was_not_handed_goes_to_the_others() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("SEND_BUFFER_BYTES", "4096")]);
    let leaving = broker.consumer();
    let messages: Vec<Vec<u8>> = (0..100_u32)
        .map(|n| n.to_be_bytes().repeat(5_000))
        .collect();
    let mut producer = broker.producer();
    producer
        .write_all(&frames(&messages))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    broker.wait_for_close(&producer);
    let sent_to = leaving.local_addr();
    drop(leaving);
    let mut next = broker.consumer();
    broker.signal("TERM");
    let received = read_to_end(&mut next);
    // The first went to the one that left; what follows is whole, in order, without a gap.
    let first = messages.len() - received.len();
    assert!(first < 100, "{sent_to:?} took everything");
    assert_eq!(received, messages[first..]);
}
