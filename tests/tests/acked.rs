//! The clients that confirm and acknowledge, on a real server: over connections that are cut, ended and refused.

#[path = "acked/world.rs"]
mod world;

use message_queue_core::names::Pattern;
use message_queue_core::{Config, Overflow, TopicRule, TopicsConfig};
use message_queue_tokio::client::acked::{
    Acks, Change, Consumer, Gone, Producer, Retry, SendError, StartError, Unconfirmed, Window,
};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use world::{Broker, Proxy};

/// A broker on which all topics have this rule.
async fn broker_with(change: impl FnOnce(&mut TopicRule)) -> Broker {
    let mut rule = TopicRule::new(Pattern::new(">").expect("a pattern"));
    change(&mut rule);
    let topics = TopicsConfig {
        rules: vec![rule],
        ..TopicsConfig::default()
    };
    let config = Config {
        topics,
        ..Config::default()
    };
    Broker::start(config).await
}

async fn broker() -> Broker {
    Broker::start(Config::default()).await
}

/// A member of the group `g` of the topic `t`.
async fn member(address: &str) -> Consumer {
    let builder = Consumer::builder().topic("t").group("g");
    builder.connect(address).await.expect("the broker is there")
}

async fn producer(address: &str) -> Producer {
    let builder = Producer::builder().topic("t");
    builder.connect(address).await.expect("the broker is there")
}

/// Sends messages; they are safe.
async fn publish(broker: &Broker, messages: &[&str]) {
    let producer = producer(&broker.address).await;
    for message in messages {
        producer.send(message).await.expect("there is room");
    }
    producer.close().await.expect("they are safe");
}

/// What comes next, with its attempt, and says that it is done.
async fn take(consumer: &mut Consumer) -> (String, u32) {
    let message = consumer.next().await.expect("a message");
    assert!(message.ack());
    (text(&message.body), message.meta.attempt)
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).expect("text")
}

/// Polls once, as a caller does that then gives up.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Cuts in both directions, at bytes that are in the middle of lines, frames and answers.
const CUTS: [(usize, usize); 4] = [(30, 1 << 20), (400, 20), (1 << 20, 150), (3_001, 1 << 20)];

async fn send_over_cuts(broker: &Broker, name: Option<&str>) -> Vec<String> {
    let mut consumer = member(&broker.address).await;
    let proxy = Proxy::start(&broker.address, &CUTS).await;
    let mut builder = Producer::builder().topic("t").retry(Retry::Always);
    if let Some(name) = name {
        builder = builder.name(name);
    }
    let window = Window {
        messages: 50,
        bytes: 10_000,
    };
    let builder = builder.window(window);
    let producer = builder.connect(&proxy.address).await.expect("at last");
    let mut confirms = Vec::new();
    for number in 0..500 {
        let sent = producer.send(number.to_string()).await;
        confirms.push(sent.expect("it goes on"));
    }
    for confirm in confirms {
        confirm.await.expect("it is safe");
    }
    producer.close().await.expect("they are safe");
    assert_eq!(proxy.cuts_left(), 0, "a connection outlived its cut");
    // A last one, so that it is known that no more comes.
    publish(broker, &["end"]).await;
    let mut came = Vec::new();
    loop {
        let (message, attempt) = take(&mut consumer).await;
        assert_eq!(attempt, 1);
        if message == "end" {
            return came;
        }
        came.push(message);
    }
}

#[tokio::test]
async fn with_a_name_each_message_enters_once_over_connections_that_are_cut() {
    let came = send_over_cuts(&broker().await, Some("p")).await;
    let sent: Vec<String> = (0..500).map(|it| it.to_string()).collect();
    assert_eq!(came, sent);
}

#[tokio::test]
async fn without_a_name_none_is_lost_over_connections_that_are_cut() {
    let mut came = send_over_cuts(&broker().await, None).await;
    assert!(came.len() >= 500);
    came.sort();
    came.dedup();
    assert_eq!(came.len(), 500);
}

#[tokio::test]
async fn each_message_enters_the_topic_it_is_meant_for_once_over_connections_that_are_cut() {
    const TOPICS: [Option<&str>; 4] = [None, Some("t.a"), Some("t.b"), Some("t")];
    let broker = broker().await;
    let mut consumers = Vec::new();
    for topic in ["t", "t.a", "t.b"] {
        let builder = Consumer::builder().topic(topic).group("g");
        consumers.push(builder.connect(&broker.address).await.expect("a broker"));
    }
    let proxy = Proxy::start(&broker.address, &CUTS).await;
    let builder = Producer::builder().topic("t").name("p");
    let builder = builder.retry(Retry::Always);
    let producer = builder.connect(&proxy.address).await.expect("at last");
    let mut sent = [Vec::new(), Vec::new(), Vec::new()];
    let mut confirms = Vec::new();
    for number in 0..500 {
        let message = number.to_string();
        // Runs of one to three messages to a topic.
        let topic = TOPICS[(number + number / 3) / 2 % TOPICS.len()];
        confirms.push(match topic {
            None => producer.send(&message).await.expect("it goes on"),
            Some(topic) => producer.send_to(topic, &message).await.expect("it goes on"),
        });
        let place = ["t", "t.a", "t.b"]
            .iter()
            .position(|it| *it == topic.unwrap_or("t"));
        sent[place.expect("one of them")].push(message);
    }
    for confirm in confirms {
        confirm.await.expect("it is safe");
    }
    let batch = message_queue_core::wire::FrameBatch::encode(["end"]).expect("small");
    for topic in ["t", "t.a", "t.b"] {
        let confirm = producer.send_batch_to(topic, batch.clone()).await;
        confirm.expect("room").await.expect("it is safe");
    }
    let error = producer.send_to("t..a", "x").await.expect_err("no name");
    assert!(error.to_string().contains("topic: \"t..a\""), "{error}");
    producer.close().await.expect("they are safe");
    assert_eq!(proxy.cuts_left(), 0, "a connection outlived its cut");
    for (mut consumer, sent) in consumers.into_iter().zip(sent) {
        for message in sent.into_iter().chain(["end".to_owned()]) {
            assert_eq!(take(&mut consumer).await, (message, 1));
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_not_to_be_sent_to_is_refused_and_the_others_go_on() {
    let broker = Broker::start(Config {
        topics: TopicsConfig {
            creation: false,
            ..TopicsConfig::default()
        },
        ..Config::default()
    })
    .await;
    let producer = Producer::builder().connect(&broker.address).await;
    let producer = producer.expect("the default topic is there");
    let first = producer.send("a").await.expect("room");
    let other = producer.send_to("none", "b").await.expect("room");
    let last = producer.send("c").await.expect("room");
    first.await.expect("it is safe");
    let error = other.await.expect_err("there is no such topic");
    let Unconfirmed::Refused(refused) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (refused.messages, &*refused.reason.code),
        (1, "unknown_topic")
    );
    last.await.expect("it is safe");
}

#[tokio::test]
async fn a_program_that_begins_again_under_its_name_sends_what_the_broker_has_not() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    let all = ["a", "b", "c", "d"];
    for (until, resumed) in [(2, 0), (4, 2)] {
        let builder = Producer::builder().topic("t").name("p");
        let producer = builder.connect(&broker.address).await.expect("a broker");
        assert_eq!(producer.resumed_at(), resumed);
        for message in &all[..until] {
            producer.send(message).await.expect("room");
        }
        producer.close().await.expect("they are safe");
    }
    for message in all {
        assert_eq!(take(&mut consumer).await, (message.to_owned(), 1));
    }
}

#[tokio::test]
async fn a_connection_that_an_operator_ends_is_made_again() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    let (changes, changed) = mpsc::channel();
    let builder = Producer::builder().topic("t").name("p");
    let builder = builder.on_change(move |change| {
        let _ = changes.send(change.clone());
    });
    let producer = builder.connect(&broker.address).await.expect("a broker");
    for message in ["a", "b"] {
        producer.send(message).await.expect("room");
        producer.flush().await.expect("it is safe");
        broker.end_producers().await;
    }
    producer.send("c").await.expect("room");
    producer.close().await.expect("it is safe");
    for message in ["a", "b", "c"] {
        assert_eq!(take(&mut consumer).await, (message.to_owned(), 1));
    }
    let told: Vec<bool> = changed
        .iter()
        .map(|change| matches!(change, Change::Connected(_)))
        .collect();
    assert!(
        told.len() >= 3 && told[0] && !told[1] && told[2],
        "{told:?}"
    );
}

#[tokio::test]
async fn what_a_dead_consumer_held_is_with_another_at_once() {
    let broker = broker().await;
    let proxy = Proxy::start(&broker.address, &[]).await;
    let mut first = member(&proxy.address).await;
    publish(&broker, &["a", "b"]).await;
    let held = first.next().await.expect("a message");
    let mut second = member(&broker.address).await;
    proxy.cut();
    // `a` is the suspect: it waits for a moment.
    assert_eq!(take(&mut second).await, ("b".to_owned(), 2));
    assert_eq!(take(&mut second).await, ("a".to_owned(), 2));
    // It has heard of its end by the time that it is back.
    publish(&broker, &["c"]).await;
    assert_eq!(take(&mut second).await, ("c".to_owned(), 1));
    while held.still_working() {
        tokio::task::yield_now().await;
    }
    assert!(!held.ack(), "it is no longer its own");
    drop(second);
    publish(&broker, &["d"]).await;
    assert_eq!(take(&mut first).await.0, "d");
}

#[tokio::test]
async fn what_is_settled_does_not_come_again_and_the_rest_does() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    publish(&broker, &["a", "b", "c", "d", "e"]).await;
    let mut messages = Vec::new();
    for _ in 0..5 {
        messages.push(consumer.next().await.expect("a message"));
    }
    assert_eq!(messages[4].meta.sequence, 5);
    assert_eq!(&*messages[4].meta.topic, "t");
    assert!(messages[1].ack_up_to() && messages[3].ack());
    assert!(messages[2].release());
    assert_eq!(take(&mut consumer).await, ("c".to_owned(), 2));
    consumer.close().await;
    assert!(!messages[4].ack(), "it has left");
    let mut consumer = member(&broker.address).await;
    assert_eq!(take(&mut consumer).await, ("e".to_owned(), 2));
    publish(&broker, &["f"]).await;
    assert_eq!(take(&mut consumer).await, ("f".to_owned(), 1));
}

#[tokio::test]
async fn what_failed_comes_again_after_the_delay() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    publish(&broker, &["a", "b"]).await;
    let message = consumer.next().await.expect("a message");
    let failed = Instant::now();
    assert!(message.fail(Duration::from_millis(120)));
    assert_eq!(take(&mut consumer).await, ("b".to_owned(), 1));
    assert_eq!(take(&mut consumer).await, ("a".to_owned(), 2));
    let waited = failed.elapsed();
    assert!(waited >= Duration::from_millis(119), "{waited:?}");
}

#[tokio::test]
async fn what_is_rejected_is_a_dead_letter_with_its_origin() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    publish(&broker, &["a", "b"]).await;
    assert_eq!(take(&mut consumer).await.0, "a");
    assert!(consumer.next().await.expect("a message").reject());
    let dead = Consumer::builder().topic("t.dead");
    let mut dead = dead.connect(&broker.address).await.expect("a broker");
    let message = dead.next().await.expect("a dead letter");
    assert_eq!(text(&message.body), "b");
    let origin = message.meta.origin.clone().expect("an origin");
    assert_eq!((&*origin.topic, &*origin.group), ("t", "g"));
    assert_eq!((origin.sequence, &*origin.reason), (2, "rejected"));
    assert!(message.ack());
}

#[tokio::test]
async fn no_more_is_handed_out_than_the_prefetch() {
    let broker = broker().await;
    let builder = Consumer::builder().topic("t").group("g").prefetch(3);
    let mut first = builder.connect(&broker.address).await.expect("a broker");
    let ten: Vec<String> = (0..10).map(|it| it.to_string()).collect();
    publish(&broker, &ten.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(first.next().await.expect("a message"));
    }
    // All the others go elsewhere.
    let mut second = member(&broker.address).await;
    for expected in &ten[3..] {
        assert_eq!(take(&mut second).await, (expected.clone(), 1));
    }
    assert!(poll_once(first.next()).await.is_none());
    // Paused, it gets no more although it has room.
    first.set_prefetch(0).expect("allowed");
    assert!(held.iter().all(|message| message.ack()));
    publish(&broker, &["x"]).await;
    assert_eq!(take(&mut second).await, ("x".to_owned(), 1));
    drop(second);
    first.set_prefetch(1).expect("allowed");
    publish(&broker, &["y"]).await;
    assert_eq!(take(&mut first).await, ("y".to_owned(), 1));
}

#[tokio::test]
async fn with_automatic_acks_a_message_is_done_when_the_next_is_asked_for() {
    let broker = broker().await;
    let builder = Consumer::builder().topic("t").group("g");
    let builder = builder.acks(Acks::Automatic);
    let mut consumer = builder.connect(&broker.address).await.expect("a broker");
    publish(&broker, &["a", "b", "c", "d"]).await;
    for expected in ["a", "b"] {
        let message = consumer.next().await.expect("a message");
        assert_eq!(text(&message.body), expected);
    }
    let failed = consumer.next().await.expect("a message");
    // What is said by hand comes first.
    assert!(failed.reject());
    consumer.close().await;
    let mut consumer = member(&broker.address).await;
    assert_eq!(take(&mut consumer).await, ("d".to_owned(), 2));
    let dead = Consumer::builder().topic("t.dead");
    let mut dead = dead.connect(&broker.address).await.expect("a broker");
    assert_eq!(take(&mut dead).await.0, "c");
}

#[tokio::test]
async fn what_is_refused_is_told_and_the_producer_goes_on() {
    let broker = broker_with(|rule| {
        rule.overflow = Some(Overflow::Reject);
        rule.capacity = Some(2);
    })
    .await;
    let builder = Consumer::builder().topic("t").group("g").prefetch(1);
    let mut consumer = builder.connect(&broker.address).await.expect("a broker");
    consumer.set_prefetch(0).expect("allowed");
    let producer = producer(&broker.address).await;
    let mut outcomes = Vec::new();
    for message in ["a", "b", "c", "d"] {
        let confirm = producer.send(message).await.expect("room");
        outcomes.push(confirm.await);
    }
    let refused = |outcome: &Result<(), Unconfirmed>| match outcome {
        Ok(()) => None,
        Err(Unconfirmed::Refused(refused)) => Some((refused.messages, refused.reason.code.clone())),
        Err(other) => panic!("{other}"),
    };
    let full = Some((1, "full".to_owned()));
    let told: Vec<_> = outcomes.iter().map(refused).collect();
    // A message may be with the consumer before it pauses.
    assert!(told[..2].iter().all(Option::is_none), "{told:?}");
    assert_eq!(told[3], full, "{told:?}");
    let flushed = refused(&producer.flush().await).expect("it is told again");
    assert_eq!(flushed.1, "full");
    assert_eq!(refused(&producer.flush().await), None, "and only once");
    consumer.set_prefetch(10).expect("allowed");
    assert_eq!(take(&mut consumer).await, ("a".to_owned(), 1));
    assert_eq!(take(&mut consumer).await, ("b".to_owned(), 1));
    let batch = message_queue_core::wire::FrameBatch::encode(["e", "f"]).expect("small");
    let confirm = producer.send_batch(batch).await.expect("room");
    confirm.await.expect("there is room again");
    producer.close().await.expect("nothing new was refused");
}

/// Sends 100 messages under one name. Returns which of them are safe; the others were refused.
async fn send_what_may_be_refused(address: &str) -> Vec<String> {
    let named = Producer::builder().topic("t").name("p");
    let builder = named.retry(Retry::Always);
    let producer = builder.connect(address).await.expect("at last");
    let mut confirms = Vec::new();
    for number in 0..100 {
        let message = number.to_string();
        let confirm = producer.send(&message).await.expect("it goes on");
        confirms.push((message, confirm));
    }
    let mut safe = Vec::new();
    for (message, confirm) in confirms {
        match confirm.await {
            Ok(()) => safe.push(message),
            Err(Unconfirmed::Refused(refused)) => assert_eq!(refused.reason.code, "full"),
            Err(other) => panic!("{other}"),
        }
    }
    safe
}

#[tokio::test]
async fn under_a_name_exactly_what_was_not_refused_is_safe_over_connections_that_are_cut() {
    let broker = broker_with(|rule| {
        rule.overflow = Some(Overflow::Reject);
        rule.capacity = Some(3);
    })
    .await;
    let mut consumer = member(&broker.address).await;
    consumer.set_prefetch(1).expect("allowed");
    // In the middle of what is said of refused messages.
    let cuts = [230, 250, 330, 1_000].map(|from_broker| (1 << 20, from_broker));
    let proxy = Proxy::start(&broker.address, &cuts).await;
    let safe = send_what_may_be_refused(&proxy.address).await;
    assert!(proxy.cuts_left() < cuts.len(), "nothing was cut");
    // A program that starts again is told the same of each.
    assert_eq!(send_what_may_be_refused(&broker.address).await, safe);
    let mut came = Vec::new();
    for _ in &safe {
        came.push(take(&mut consumer).await.0);
    }
    assert_eq!(came, safe);
    publish(&broker, &["end"]).await;
    assert_eq!(take(&mut consumer).await.0, "end");
}

#[tokio::test]
async fn a_producer_whose_name_is_taken_over_does_not_come_back() {
    let broker = broker().await;
    let named = || {
        Producer::builder()
            .topic("t")
            .name("p")
            .retry(Retry::Always)
    };
    let first = named().connect(&broker.address).await.expect("a broker");
    let second = named().connect(&broker.address).await.expect("a broker");
    let gone = first.ended().await;
    assert_eq!(gone.code(), Some("taken_over"));
    assert!(!gone.may_try_again());
    let error = first.send("late").await.expect_err("it has ended");
    assert!(matches!(error, SendError::Gone(_)), "{error}");
    second.send("a").await.expect("room");
    second.close().await.expect("it is safe");
}

#[tokio::test]
async fn what_is_not_allowed_is_said_at_once_and_names_the_option() {
    let broker = Broker::start(Config {
        topics: TopicsConfig {
            creation: false,
            ..TopicsConfig::default()
        },
        ..Config::default()
    })
    .await;
    let named = |name: &str| Producer::builder().name(name).connect(&broker.address);
    let error = named("no spaces").await.expect_err("not a name");
    assert!(error.to_string().starts_with("name: "), "{error}");
    assert!(!error.may_try_again());
    let consumer = Consumer::builder().prefetch(0).connect(&broker.address);
    let error = consumer.await.expect_err("not a prefetch").to_string();
    assert!(
        error.contains("prefetch: 0; allowed: 1 to 1000000"),
        "{error}"
    );
    let producer = Producer::builder().topic("t").retry(Retry::Always);
    let error = producer.connect(&broker.address).await;
    let StartError::Gone(gone) = error.expect_err("no such topic") else {
        panic!("the broker says it");
    };
    assert_eq!(gone.code(), Some("unknown_topic"));
    assert!(!gone.may_try_again());
}

#[tokio::test]
async fn the_first_connection_must_come_about_unless_it_is_waited_for() {
    let proxy = Proxy::start("127.0.0.1:1", &[]).await;
    let error = Producer::builder().connect(&proxy.address).await;
    let error = error.expect_err("no broker behind it");
    assert!(
        matches!(error, StartError::Gone(Gone::Unanswered { .. })),
        "{error}"
    );
    assert!(error.may_try_again());
    let waiting = Producer::builder().retry(Retry::Always);
    let connecting = waiting.connect(&proxy.address);
    let late = async {
        let broker = broker().await;
        proxy.lead_to(&broker.address);
        broker
    };
    let (connected, _broker) = tokio::join!(connecting, late);
    connected.expect("the broker has come");
}

#[tokio::test]
async fn a_send_that_was_given_up_has_sent_nothing() {
    let broker = broker().await;
    let mut consumer = member(&broker.address).await;
    let window = Window {
        messages: 1,
        bytes: 1_000,
    };
    let builder = Producer::builder().topic("t").window(window);
    let producer = builder.connect(&broker.address).await.expect("a broker");
    producer.send("a").await.expect("room");
    assert!(poll_once(producer.send("given up")).await.is_none());
    assert_eq!(producer.unconfirmed(), 1);
    // Whoever stands in line is served.
    producer.send("b").await.expect("room");
    producer.close().await.expect("they are safe");
    for message in ["a", "b"] {
        assert_eq!(take(&mut consumer).await.0, message);
    }
}

#[tokio::test]
async fn a_broker_that_goes_away_is_left_and_the_next_is_found() {
    let first = broker().await;
    let second = broker().await;
    let mut consumer = member(&second.address).await;
    let proxy = Proxy::start(&first.address, &[]).await;
    let producer = producer(&proxy.address).await;
    producer.send("a").await.expect("room");
    producer.flush().await.expect("it is safe");
    proxy.lead_to(&second.address);
    first.drain().await;
    producer.send("b").await.expect("room");
    producer.close().await.expect("it is safe");
    assert_eq!(take(&mut consumer).await, ("b".to_owned(), 1));
}

#[tokio::test]
async fn who_leaves_in_an_orderly_way_fails_nothing_and_who_dies_or_panics_does() {
    let broker = broker_with(|rule| rule.max_failures = Some(1)).await;
    let dead = Consumer::builder().topic("t.dead");
    let mut dead = dead.connect(&broker.address).await.expect("a broker");
    let proxy = Proxy::start(&broker.address, &[]).await;
    let mut consumer = member(&proxy.address).await;
    publish(&broker, &["a"]).await;
    let held = consumer.next().await.expect("a message");
    drop(consumer);
    let mut consumer = member(&proxy.address).await;
    let again = consumer.next().await.expect("a message");
    assert_eq!((&again.body, again.meta.attempt), (&held.body, 2));
    proxy.cut();
    let letter = dead.next().await.expect("a dead letter");
    let reason = letter.meta.origin.clone().expect("an origin").reason;
    assert_eq!(reason, "connection_lost");
    assert!(letter.ack());
    drop(consumer);

    let mut consumer = member(&broker.address).await;
    publish(&broker, &["b"]).await;
    let panicking = tokio::spawn(async move {
        let _held = consumer.next().await.expect("a message");
        panic!("this is the test: a poisonous message");
    });
    assert!(panicking.await.is_err());
    assert_eq!(take(&mut dead).await.0, "b");
}
