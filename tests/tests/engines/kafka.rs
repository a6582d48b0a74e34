//! Kafka is killed, is out of reach, and serves two brokers. Each test has a Kafka of its own (tests/engines/up).

use crate::engine::{
    Consumer, Engine, KAFKA, Place, Running, is_confirmed, is_wanted, publish_in_vain,
};
use crate::server::Server;
use message_queue_core::wire::control::Outcome;
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::process::Command;
use std::time::SystemTime;

fn engine() -> &'static Engine {
    Engine::named("kafka")
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A broker whose groups Kafka gives to others soon after it is killed.
fn broker(place: &Place<'_>, kafka: &Server, more: &[(&str, &str)]) -> Running {
    let properties = format!("{}/kafka.properties", place.folder());
    fs::write(&properties, "session.timeout.ms=3000\n").expect("a file");
    let address = address(kafka.port);
    let own = [
        ("KAFKA_BROKERS", address.as_str()),
        ("KAFKA_CONFIG_FILE", &properties),
    ];
    place.start_with(&[&own[..], more].concat())
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Takes messages, and settles them, until none of these is left.
fn take_all(consumer: &mut Consumer, left: &mut BTreeSet<u64>) {
    while !left.is_empty() {
        left.remove(&number(&consumer.work().text));
    }
}

/// What was confirmed is there, whatever becomes of Kafka, and nothing is confirmed while it is away.
#[test]
fn kafka_is_killed_and_nothing_that_was_confirmed_is_lost() {
    let Some(mut kafka) = Server::new("kafka") else {
        return;
    };
    kafka.run();
    for record in ["message", "batch"] {
        let place = engine().place();
        let prefix = format!("{record}.");
        let own = [("KAFKA_RECORD", record), ("KAFKA_TOPIC_PREFIX", &prefix)];
        let broker = broker(&place, &kafka, &own);
        let mut consumer = broker.consumer("topic=jobs group=workers prefetch=5");
        let (mut producer, _) = broker.producer("topic=jobs confirm=1");
        producer.publish((0..10).map(|it| it.to_string()));
        assert!(is_confirmed(&mut producer, 10));
        assert_eq!(consumer.texts(5), ["0", "1", "2", "3", "4"]);
        consumer.settle(Outcome::Done, 1);
        consumer.flush();
        kafka.kill();
        assert!((0..1_000_000).any(|_| broker.broker.get("/ready").0 == 503));
        publish_in_vain(&mut producer, 10, 10..20);
        kafka.run();
        assert!(is_confirmed(&mut producer, 20), "{record}");
        assert!((0..1_000_000).any(|_| broker.broker.get("/ready").0 == 200));
        // What the consumer held it holds still, or it was revoked and comes again.
        consumer.settle_all(Outcome::Done);
        let mut left: BTreeSet<_> = (5..20).collect();
        take_all(&mut consumer, &mut left);
        consumer.flush();
        broker.end();
    }
}

/// Kafka is killed in the middle of a stream: all that was confirmed comes to the group, in records of both kinds.
#[test]
fn a_stream_goes_on_when_kafka_is_back() {
    const ALL: u64 = 20_000;
    let Some(mut kafka) = Server::new("kafka") else {
        return;
    };
    kafka.run();
    let place = engine().place();
    let broker = broker(&place, &kafka, &[("KAFKA_RECORD", "batch")]);
    let mut consumer = broker.consumer("topic=jobs group=workers prefetch=100");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish((0..ALL / 2).map(|it| it.to_string()));
    consumer.work();
    kafka.kill();
    producer.publish((ALL / 2..ALL).map(|it| it.to_string()));
    kafka.run();
    let mut left: BTreeSet<_> = (1..ALL).collect();
    take_all(&mut consumer, &mut left);
    assert!(is_confirmed(&mut producer, ALL));
    broker.end();
}

/// Producers are on one broker, consumers on both; then one of the two is killed. What it had not settled comes to the other.
#[test]
fn two_brokers_are_one_service() {
    let Some(mut kafka) = Server::new("kafka") else {
        return;
    };
    kafka.run();
    let place = engine().place();
    let partitions = [("KAFKA_PARTITIONS", "4")];
    let one = broker(&place, &kafka, &partitions);
    let other = broker(&place, &kafka, &partitions);
    let mut here = one.consumer("topic=jobs group=workers prefetch=4");
    let mut listener = other.consumer("topic=jobs");
    one.publish("jobs", 0, 100);
    let mut all: BTreeSet<u64> = (0..200).collect();
    let mut heard: BTreeSet<u64> = all.clone();
    for _ in 0..50 {
        assert!(all.remove(&number(&here.work().text)), "it came twice");
    }
    here.flush();
    // The group is shared anew, and each broker gets partitions. What is settled does not come again.
    let mut there = other.consumer("topic=jobs group=workers prefetch=4");
    for number in 100..200 {
        // To any of the partitions.
        one.publish("jobs", number, number + 1);
    }
    take_all(&mut listener, &mut heard);
    let given = there.work();
    assert!(
        all.remove(&number(&given.text)),
        "it came twice: {}",
        given.text
    );
    one.broker
        .wait_until("message_queue_engine_rebalances_total", |it| it >= 1.0);
    one.kill();
    while !all.is_empty() {
        all.remove(&number(&there.work().text));
    }
    other.end();
}

/// A group that is new in Kafka begins where it asks to; one that Kafka knows goes on, whichever broker asks for it.
#[test]
fn a_new_group_begins_in_the_history_and_goes_on_on_another_broker() {
    if !is_wanted("kafka") {
        return;
    }
    for record in ["message", "batch"] {
        let place = engine().place();
        let own = [("KAFKA_RECORD", record), ("KAFKA_PARTITIONS", "3")];
        let (one, other) = (place.start_beside(&own), place.start_beside(&own));
        for (topic, begins) in [("first", 0), ("later", 10), ("earlier", 0), ("future", 20)] {
            one.publish(topic, 0, 10);
            let between = since_1970() + 1;
            // A broker's clock began to run when that was read, which may be a little later.
            let margin = if topic == "later" { MARGIN_MS } else { 0 };
            while since_1970() < between + margin {}
            one.publish(topic, 10, 20);
            let from = match topic {
                "first" => "first".to_owned(),
                "later" => format!("@{between}"),
                "earlier" => "@1".to_owned(),
                _ => "@99999999999999".to_owned(),
            };
            let options = format!("topic={topic} from={from}");
            let mut consumer = one.consumer(&format!("{options} group=g"));
            let mut alone = other.consumer(&options);
            for consumer in [&mut consumer, &mut alone] {
                take_exactly(consumer, begins..20);
            }
            consumer.flush();
            consumer.leave();
            // It is not new, so it has what comes next, and that alone.
            let mut again = other.consumer(&format!("{options} group=g"));
            one.publish(topic, 20, 30);
            take_exactly(&mut again, 20..30);
            take_exactly(&mut alone, 20..30);
        }
        let refused = one.try_consumer("topic=first group=h from=7").err();
        let refused = refused.expect("a sequence means nothing to Kafka");
        let says = "ERROR no_history from: a sequence ";
        assert!(refused.starts_with(says), "{refused}");
        one.end();
        other.end();
    }
}

/// With `KAFKA_KEY_PATTERN` another client of Kafka sees keys, and all of a topic is in one partition, so it is in order.
#[test]
fn the_key_is_what_wildcards_stand_for_and_all_of_a_topic_is_in_one_partition() {
    if !is_wanted("kafka") {
        return;
    }
    for record in ["message", "batch"] {
        let place = engine().place();
        let prefix = format!("keys-{}-{record}.", std::process::id());
        let broker = place.start_beside(&[
            ("KAFKA_RECORD", record),
            ("KAFKA_TOPIC_PREFIX", &prefix),
            ("KAFKA_PARTITIONS", "8"),
            ("KAFKA_KEY_PATTERN", "gpu.*.>"),
        ]);
        for (topic, key) in [("gpu.7.temp.in", "7.temp.in"), ("gpu.7", "null")] {
            // One record each.
            for number in 0..10 {
                broker.publish(topic, number, number + 1);
            }
            let seen = seen_by_another_client(&format!("{prefix}{topic}"), 10);
            assert!(seen.iter().all(|(_, it)| it == key), "{seen:?}");
            let partitions: BTreeSet<_> = seen.iter().map(|(it, _)| it).collect();
            assert!(key == "null" || partitions.len() == 1, "{seen:?}");
        }
        broker.end();
    }
}

/// Where Kafka's own clients are, as in tests/engines/kafka.
fn jars() -> String {
    std::env::var("MESSAGE_QUEUE_KAFKA_JARS").unwrap_or_else(|_| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/kafka");
        let out = Command::new(script).output().expect("it runs");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    })
}

/// The partitions and the keys of so many records, as Kafka's own consumer prints them.
fn seen_by_another_client(topic: &str, records: usize) -> Vec<(String, String)> {
    let server = std::env::var(KAFKA).expect("HOST:PORT");
    let most = records.to_string();
    let out = Command::new("java")
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/*", jars()))
        .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
        .args(["--bootstrap-server", &server, "--topic", topic])
        .args(["--from-beginning", "--max-messages", &most])
        .args(["--timeout-ms", "60000"])
        .args(["--property", "print.partition=true"])
        .args(["--property", "print.key=true"])
        .args(["--property", "print.value=false"])
        .output()
        .expect("java");
    let text = String::from_utf8_lossy(&out.stdout);
    let seen: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Partition:")?.split_once('\t'))
        .map(|(partition, key)| (partition.to_owned(), key.to_owned()))
        .collect();
    assert_eq!(seen.len(), records, "{text}");
    seen
}

/// How late the clock of a broker may be, in milliseconds.
const MARGIN_MS: u64 = 250;

/// Takes so many messages, which are these in any order, and settles them.
fn take_exactly(consumer: &mut Consumer, numbers: Range<u64>) {
    let mut left: BTreeSet<u64> = numbers.clone().collect();
    for _ in numbers {
        let text = consumer.work().text;
        assert!(left.remove(&number(&text)), "{text}, and not {left:?}");
    }
}

/// Milliseconds since 1970.
fn since_1970() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
    u64::try_from(since.as_millis()).expect("not so late")
}

/// Properties of who says that it is a user of the Kafka of a test.
pub(crate) fn sasl(password: &str) -> String {
    format!(
        "security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN\nsasl.username=mq\nsasl.password={password}\n"
    )
}

/// A Kafka that is not there is waited for, and shown who comes.
#[test]
fn who_is_early_waits() {
    let Some(mut kafka) = Server::new("kafka") else {
        return;
    };
    let place = engine().place();
    let properties = format!("{}/kafka.properties", place.folder());
    fs::write(&properties, sasl("secret")).expect("a file");
    let address = address(kafka.port + 2);
    let early = place.start_unready(&[
        ("KAFKA_BROKERS", &address),
        ("KAFKA_CONFIG_FILE", &properties),
    ]);
    assert_eq!(early.broker.get("/ready").0, 503);
    let (mut producer, _) = early.producer("topic=jobs confirm=1");
    producer.publish(["early"]);
    kafka.run();
    assert!(is_confirmed(&mut producer, 1));
    early.end();
}
