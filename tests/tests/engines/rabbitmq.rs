//! RabbitMQ is killed, is out of reach, refuses, and serves two brokers. Tests that kill it have one of their own, one at
//! a time (tests/engines/up); the others share the one that the suite has.

use crate::engine::{Engine, Place, Running, is_confirmed, is_wanted, publish_in_vain};
use crate::server::Server;
use bytes::BytesMut;
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_tests::conversation::Told;
use message_queue_tests::frames::frames;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;

/// A RabbitMQ of a test's own.
struct RabbitMq(Server);

impl RabbitMq {
    /// One that does not run yet; none where the tests are not to have one.
    fn new() -> Option<Self> {
        Server::new("rabbitmq").map(Self)
    }

    fn run(&mut self) {
        self.0.run();
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    /// Has its own tool do something with it.
    fn ctl(&self, args: &[&str]) {
        let output = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
            .args(["--node", &format!("mq{}@localhost", self.0.port)])
            .args(args)
            .env("HOME", self.0.folder.path())
            .env("ERL_EPMD_PORT", (self.0.port + 2).to_string())
            .output()
            .expect("it is there");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.0.port)
    }
}

fn engine() -> &'static Engine {
    Engine::named("rabbitmq")
}

fn broker(place: &Place<'_>, rabbit: &RabbitMq) -> Running {
    place.start_with(&[("RABBITMQ_URL", &rabbit.url())])
}

/// What the broker has said of RabbitMQ in its log.
fn said(broker: &Running) -> Vec<String> {
    let lines = broker.broker.log();
    let texts = lines.iter().filter_map(|it| it["message"].as_str());
    let of_it = texts.filter(|it| it.to_lowercase().contains("rabbitmq"));
    of_it.map(str::to_owned).collect()
}

/// What was confirmed is there, whatever becomes of RabbitMQ, and nothing is confirmed while it is away.
#[test]
fn rabbitmq_is_killed_and_nothing_that_was_confirmed_is_lost() {
    let Some(mut rabbit) = RabbitMq::new() else {
        return;
    };
    rabbit.run();
    let place = engine().place();
    let broker = broker(&place, &rabbit);
    let mut consumer = broker.consumer("topic=jobs group=workers prefetch=5");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish((0..10).map(|it| it.to_string()));
    assert!(is_confirmed(&mut producer, 10));
    assert_eq!(consumer.texts(5), ["0", "1", "2", "3", "4"]);
    consumer.settle(Outcome::Done, 1);
    consumer.flush();
    // What is in a queue RabbitMQ has on its disk when it confirms; that the queue is there, a little later.
    rabbit.ctl(&["eval", "[dets:sync(It) || It <- dets:all()]."]);
    rabbit.kill();
    // It is taken back what the consumer has not settled, and the broker says that it is not ready.
    loop {
        match consumer.next() {
            Err(Told::Control(Control::Revoked { code, .. })) => {
                assert_eq!(code, "engine_lost");
                break;
            }
            Ok(_) | Err(Told::Control(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    broker.wait_for_ready(503, "rabbitmq out of reach\n");
    broker
        .broker
        .wait_for_metric("message_queue_engine_up", 0.0);
    publish_in_vain(&mut producer, 10, 10..20);
    rabbit.run();
    assert!(is_confirmed(&mut producer, 20));
    broker
        .broker
        .wait_for_metric("message_queue_engine_up", 1.0);
    let mut left: Vec<u64> = (1..20).collect();
    while !left.is_empty() {
        let number: u64 = consumer.work().text.parse().expect("a number");
        assert_ne!(number, 0, "it was settled and flushed");
        left.retain(|it| *it != number);
    }
    let log = broker.broker.log();
    let is_lapins = |line: &&serde_json::Value| {
        let target = line["target"].as_str().unwrap_or_default();
        target.starts_with("lapin")
    };
    assert_eq!(log.iter().find(is_lapins), None);
    broker.end();
}

/// A broker whose RabbitMQ is not there yet serves, and producers wait.
#[test]
fn who_is_early_waits_for_rabbitmq() {
    let Some(mut rabbit) = RabbitMq::new() else {
        return;
    };
    let place = engine().place();
    let broker = place.start_unready(&[("RABBITMQ_URL", &rabbit.url())]);
    broker.wait_for_ready(503, "rabbitmq out of reach\n");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish(["early"]);
    rabbit.run();
    assert!(is_confirmed(&mut producer, 1));
    broker.wait_for_ready(200, "ready\n");
    let said = said(&broker);
    let first = "RabbitMQ is out of reach; the broker goes on trying";
    assert_eq!(said.first().map(String::as_str), Some(first));
    broker.end();
}

/// A broker that is told to end while RabbitMQ is away, and has a producer that is never silent, waits for as long as it
/// may, and no longer.
#[test]
fn who_waits_for_rabbitmq_ends_in_time() {
    if !is_wanted("rabbitmq") {
        return;
    }
    let place = engine().place();
    let broker = place.start_unready(&[
        // Nobody listens there.
        ("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:1/%2f"),
        ("DRAIN_TIMEOUT_MS", "3000"),
        // Who keeps it to himself keeps it from all.
        ("WORKER_THREADS", "1"),
    ]);
    broker.wait_for_ready(503, "rabbitmq out of reach\n");
    let line = b"PRODUCER topic=jobs confirm=1 heartbeat=0\n";
    let mut producer = broker.broker.connect_with(line);
    producer.write_all(&frames(["waits"])).expect("it reads");
    let received = "message_queue_received_messages_total";
    broker.broker.wait_for_metric(received, 1.0);
    let pinging = thread::spawn(move || {
        let mut ping = BytesMut::new();
        Control::Ping(7).encode(&mut ping);
        // Until it is let go.
        while producer.write_all(&ping).is_ok()
            && producer.read(&mut [0; 1024]).is_ok_and(|read| read > 0)
        {}
    });
    broker.broker.signal("TERM");
    broker
        .broker
        .wait_for_log(|line| line["reason"] == "drain_timeout");
    assert!(broker.broker.wait().0.success());
    pinging.join().expect("no panic");
}

/// Producers are on one broker, consumers on the other; then one of the two is killed.
#[test]
fn two_brokers_are_one_service() {
    if !is_wanted("rabbitmq") {
        return;
    }
    let place = engine().place();
    // A broker takes that much ahead at the most: the one that RabbitMQ delivers to first leaves some to the other.
    let ahead = [("QUEUE_CAPACITY", "10")];
    let (one, other) = (place.start_beside(&ahead), place.start_beside(&ahead));
    let mut here = one.consumer("topic=jobs group=workers prefetch=4");
    let mut there = other.consumer("topic=jobs group=workers prefetch=4");
    // What is published anywhere after it was told OK comes to it.
    let mut listener = other.consumer("topic=jobs");
    one.publish("jobs", 0, 100);
    let mut all: Vec<u64> = (0..100).collect();
    for expected in 0..100 {
        assert_eq!(listener.work().text, expected.to_string());
    }
    let mut seen = 0;
    for _ in 0..5 {
        for consumer in [&mut here, &mut there] {
            let number: u64 = consumer.work().text.parse().expect("a number");
            all.retain(|it| *it != number);
            seen += 1;
        }
    }
    here.flush();
    assert_eq!(all.len(), 100 - seen, "nobody has had the same");
    for given in there.flush() {
        let number: u64 = given.text.parse().expect("a number");
        all.retain(|it| *it != number);
        there.settle(Outcome::Done, given.position);
    }
    one.kill();
    while !all.is_empty() {
        let number: u64 = there.work().text.parse().expect("a number");
        all.retain(|it| *it != number);
    }
    other.end();
}

/// A message that there was no group for is confirmed; its producer is told, and it is counted.
#[test]
fn what_nobody_gets_is_told_and_counted() {
    if !is_wanted("rabbitmq") {
        return;
    }
    let place = engine().place();
    let broker = place.start();
    let (mut producer, _) = broker.producer("topic=nobody confirm=1");
    producer.publish(["a", "b", "c"]);
    producer.until(|told| {
        let Told::Control(Control::Confirmed { position, unrouted }) = told else {
            return false;
        };
        assert_eq!(position, unrouted);
        *position == 3
    });
    let name = "message_queue_dropped_messages_total{reason=\"no_consumer\"}";
    broker.broker.wait_for_metric(name, 3.0);
    // From now on there is one.
    let mut consumer = broker.consumer("topic=nobody group=workers");
    producer.publish(["d"]);
    producer.until(|told| {
        let confirmed = Control::Confirmed {
            position: 4,
            unrouted: 3,
        };
        *told == Told::Control(confirmed)
    });
    assert_eq!(consumer.work().text, "d");
    broker.end();
}

/// A queue of another type is in the way: that is said, and what is published waits until it is gone.
#[test]
fn a_queue_of_another_type_is_said_and_tried_again() {
    let Some(mut rabbit) = RabbitMq::new() else {
        return;
    };
    rabbit.run();
    rabbit.ctl(&[
        "eval",
        "{new, _} = rabbit_amqqueue:declare(rabbit_misc:r(<<\"/\">>, queue, <<\"mq.jobs/workers\">>), \
         true, false, [], none, <<\"test\">>).",
    ]);
    let place = engine().place();
    let broker = broker(&place, &rabbit);
    let mut consumer = broker.consumer("topic=jobs group=workers");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish(["waits"]);
    broker.broker.wait_for_log(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.starts_with("topic jobs: RabbitMQ refuses what is tried again each second: ")
            && text.contains("PRECONDITION_FAILED")
    });
    // Other topics are none the worse for it.
    broker.publish("others", 0, 1);
    broker.wait_for_ready(200, "ready\n");
    rabbit.ctl(&["delete_queue", "mq.jobs/workers"]);
    assert!(is_confirmed(&mut producer, 1));
    assert_eq!(consumer.work().text, "waits");
    broker.end();
}
