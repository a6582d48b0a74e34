//! What the real binary tells operators of topics and groups: it adds up to the message, says who waits for
//! whom, and a group can be ended.

use message_queue_tests::frames::frames;
use message_queue_tests::process::Broker;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

const DONE: u8 = 1;
const FAILED: u8 = 3;
const REJECTED: u8 = 4;

/// A client of version 2 that has been answered OK.
fn client(broker: &Broker, line: &str) -> TcpStream {
    let stream = broker.connect_with(line.as_bytes());
    let mut answer = String::new();
    let copy = stream.try_clone().expect("a socket");
    BufReader::new(copy)
        .read_line(&mut answer)
        .expect("an answer");
    assert!(answer.starts_with("OK "), "{answer}");
    stream
}

/// A frame SETTLE for one position.
fn settle(outcome: u8, delay_ms: u32, position: u64) -> Vec<u8> {
    let mut body = vec![0x30, outcome];
    body.extend(delay_ms.to_be_bytes());
    body.extend(position.to_be_bytes());
    body.extend(position.to_be_bytes());
    let mut frame = (0x8000_0000 | body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn messages(page: &Value) -> u64 {
    page["messages"].as_u64().expect("a number")
}

/// That every message offered is accounted for, in a topic or a group.
fn assert_adds_up(page: &Value) {
    for unit in ["messages", "bytes"] {
        let count = |it: &Value| it[unit].as_u64().expect("a number");
        let dropped = page["dropped"].as_object().expect("an object");
        let parts = ["delivered", "waiting", "dead"].map(|it| count(&page[it]));
        let sum = parts.iter().sum::<u64>() + dropped.values().map(count).sum::<u64>();
        assert_eq!(count(&page["offered"]), sum, "{page}");
    }
}

/// The page of a topic once this holds for it. Whatever is seen on the way adds up, too.
fn topic(broker: &Broker, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    const TRIES: usize = 10_000;
    for _ in 0..TRIES {
        let (status, page) = broker.get(&format!("/topics/{name}"));
        if status != 200 {
            continue;
        }
        let page: Value = serde_json::from_str(&page).expect("JSON");
        assert_adds_up(&page);
        page["groups"]
            .as_array()
            .expect("a list")
            .iter()
            .for_each(assert_adds_up);
        if wanted(&page) {
            return page;
        }
    }
    panic!("{name}: {}", broker.get(&format!("/topics/{name}")).1);
}

/// That each metric of topics, summed over its label, is the broker's own.
fn assert_topics_add_up(broker: &Broker) {
    for name in [
        "received_messages_total",
        "offered_messages_total",
        "delivered_messages_total",
        "dead_messages_total",
        "dropped_messages_total",
        "waiting_messages",
    ] {
        let all = broker.metric(&format!("message_queue_{name}"), "");
        let by_topic = broker.metric(&format!("message_queue_topic_{name}"), "topic=");
        assert_eq!(all, by_topic, "{name}");
    }
}

#[test]
fn every_message_is_accounted_for_by_topic_and_group_and_who_waits_is_told() {
    let broker = Broker::start(&[("QUEUE_CAPACITY", "4")]);
    let line = "CONSUMER topic=jobs group=workers ack=1 prefetch=3 client=gpu-7\n";
    let mut consumer = client(&broker, line);
    let mut producer = client(&broker, "PRODUCER topic=jobs confirm=1\n");
    producer
        .write_all(&frames(["1", "2", "3", "4", "5", "6"]))
        .expect("it reads");

    let page = topic(&broker, "jobs", |page| !page["blocked"].is_null());
    assert_eq!(page["blocked"]["producers"], 1);
    assert_eq!(page["blocked"]["group"], "workers");
    let group = &page["groups"][0];
    assert_eq!(group["group"], "workers");
    assert_eq!(group["members"][0]["client"], "gpu-7");
    assert_eq!(
        (messages(&group["unsettled"]), messages(&group["backlog"])),
        (3, 1)
    );
    let blocked = broker.metric("message_queue_topic_blocked_producers", "topic=\"jobs\"");
    assert_eq!(blocked, 1.0);
    assert_eq!(broker.metric("message_queue_confirming_producers", ""), 1.0);

    for frame in [
        settle(DONE, 0, 1),
        settle(FAILED, 600_000, 2),
        settle(REJECTED, 0, 3),
    ] {
        consumer.write_all(&frame).expect("it reads");
    }
    let page = topic(&broker, "jobs", |page| {
        let group = &page["groups"][0];
        page["received"] == 6 && messages(&group["unsettled"]) == 3
    });
    assert!(page["blocked"].is_null(), "{page}");
    let group = &page["groups"][0];
    let counts = ["delivered", "dead", "waiting", "delayed"].map(|it| messages(&group[it]));
    assert_eq!(counts, [1, 1, 4, 1], "{page}");
    let dead = topic(&broker, "jobs.dead", |_| true);
    assert_eq!(messages(&dead["groups"][0]["backlog"]), 1);
    assert_topics_add_up(&broker);

    let path = "/topics/jobs/groups/workers";
    let ended = "group workers of topic jobs has been ended\n".to_owned();
    assert_eq!(broker.request("DELETE", path), (200, ended));
    let page = topic(&broker, "jobs", |page| {
        page["groups"] == Value::Array(Vec::new())
    });
    assert_eq!(messages(&page["dropped"]["group_ended"]), 4);
    assert_eq!(broker.wait_for_close(&consumer), "ended_by_operator");
    assert_topics_add_up(&broker);
    for missing in [
        path,
        "/topics/none/groups/g",
        "/topics/a..b/groups/g",
        "/topics/jobs/groups/queue",
    ] {
        assert_eq!(broker.request("DELETE", missing).0, 404, "{missing}");
    }
    assert_eq!(broker.get("/topics/none").0, 404);
    let (_, topics) = broker.get("/topics");
    let topics: Value = serde_json::from_str(&topics).expect("JSON");
    let topics = topics.as_array().expect("a list");
    let names: Vec<_> = topics.iter().map(|it| it["topic"].as_str()).collect();
    assert_eq!(names, [Some("default"), Some("jobs"), Some("jobs.dead")]);
    topics.iter().for_each(assert_adds_up);
}
