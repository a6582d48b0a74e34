//! It adds up, always: received = delivered + waiting + dropped by reason.

use message_queue_tests::frames::{frames, read_messages};
use message_queue_tests::process::Broker;
use serde_json::Value;
use std::io::Write;
use std::net::{Shutdown, TcpStream};

/// One scrape of the metrics, as the sums that must be equal. Both of messages and of bytes.
fn assert_adds_up(broker: &Broker, in_queue_mode: bool) {
    let (_, page) = broker.get("/metrics");
    for unit in ["messages", "bytes"] {
        let sum = |name: &str| -> u64 {
            let name = format!("message_queue_{name}_{unit}");
            let of_metric = page.lines().filter_map(|line| {
                let rest = line.strip_prefix(&name)?;
                let rest = rest.strip_prefix("_total").unwrap_or(rest);
                let (labels, value) = rest.rsplit_once(' ')?;
                (labels.is_empty() || labels.starts_with('{'))
                    .then(|| value.parse::<u64>().expect("a whole number"))
            });
            let values: Vec<u64> = of_metric.collect();
            assert!(!values.is_empty(), "no {name} in\n{page}");
            values.iter().sum()
        };
        let offered = sum("offered");
        assert_eq!(
            offered,
            sum("delivered") + sum("waiting") + sum("dropped"),
            "{unit}\n{page}"
        );
        if in_queue_mode {
            assert_eq!(offered, sum("received"), "{unit}\n{page}");
        }
    }
}

fn publish(broker: &Broker, count: usize, size: usize) {
    let mut producer = broker.producer();
    producer
        .write_all(&frames(vec![vec![1; size]; count]))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    broker.wait_for_close(&producer);
}

#[test]
fn in_queue_mode() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "50")]);
    assert_adds_up(&broker, true);
    publish(&broker, 70, 10);
    assert_adds_up(&broker, true);
    assert_eq!(broker.metric("message_queue_waiting_messages", ""), 50.0);
    let mut consumer = broker.consumer();
    read_messages(&mut consumer, 50);
    assert_adds_up(&broker, true);
    publish(&broker, 20, 1 << 20);
    assert_adds_up(&broker, true);
    drop(consumer);
    broker.wait_for_log(|line| line["reason"].is_string() && line["reason"] != "peer_closed");
    assert_adds_up(&broker, true);
}

#[test]
fn in_broadcast_for_each_consumer() {
    let broker = Broker::start(&[("CONSUMER_CHANNEL_BUFFER_SIZE", "3")]);
    publish(&broker, 5, 10);
    assert_eq!(
        broker.metric(
            "message_queue_dropped_messages_total",
            "reason=\"no_consumer\""
        ),
        5.0
    );
    let stuck = broker.consumer();
    let mut reading = broker.consumer();
    let mut producer = broker.producer();
    for _ in 0..50 {
        producer
            .write_all(&frames([vec![1; 1 << 20]]))
            .expect("the broker reads");
        read_messages(&mut reading, 1);
    }
    assert_adds_up(&broker, false);

    let (_, page) = broker.get("/consumers");
    let consumers: Value = serde_json::from_str(&page).expect("JSON");
    let of = |stream: &TcpStream| {
        let own = stream.local_addr().expect("an address").to_string();
        let mut views = consumers.as_array().expect("a list").iter();
        let view = views
            .find(|view| view["peer"] == own.as_str())
            .expect("it is listed");
        let messages = |value: &Value| value["messages"].as_u64().expect("a number");
        let dropped = view["dropped"].as_object().expect("by reason").values();
        messages(&view["delivered"])
            + messages(&view["backlog"])
            + messages(&view["in_flight"])
            + dropped.map(messages).sum::<u64>()
    };
    assert_eq!((of(&stuck), of(&reading)), (50, 50), "{page}");
    drop((stuck, reading));
    while broker.metric("message_queue_consumers", "") > 0.0 {}
    assert_adds_up(&broker, false);
}
