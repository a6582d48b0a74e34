//! Two brokers on one engine are one service behind HAProxy, with `packaging/haproxy/one-service.cfg`: producers and
//! consumers come and go through it while one broker is drained and the other one is killed, and both come back.

mod clients;
mod haproxy;
mod ledger;

use crate::engine::{Engine, Place, Running, is_wanted};
use clients::{Consumer, Producers};
use haproxy::{HaProxy, Ports};
use ledger::{Ledger, Repeated};
use std::collections::BTreeSet;
use std::fs;

/// What is to be consumed before something is done to a broker, and again after it.
const SOME: usize = 2_000;

/// A broker that is started again and again, on the same ports.
struct Front<'a> {
    place: &'a Place<'a>,
    ports: Ports,
    properties: String,
}

impl<'a> Front<'a> {
    fn new(place: &'a Place<'a>, ports: Ports) -> Self {
        // Kafka gives the partitions of a broker that was killed to others when it has not heard of it for so long.
        let properties = format!("{}/kafka.properties", place.folder());
        fs::write(&properties, "session.timeout.ms=3000\n").expect("a file");
        Self {
            place,
            ports,
            properties,
        }
    }

    fn start(&self) -> Running {
        let Ports { tcp, http } = self.ports;
        self.place.start_beside(&[
            ("TCP_PORT", &tcp.to_string()),
            ("HTTP_PORT", &http.to_string()),
            // Two checks of HAProxy's.
            ("DRAIN_DELAY_MS", "1000"),
            ("OVERFLOW", "block"),
            ("KAFKA_PARTITIONS", "4"),
            ("KAFKA_CONFIG_FILE", &self.properties),
        ])
    }
}

/// Waits until a broker has so many consumers.
fn has_consumers(broker: &Running, count: f64) {
    broker
        .broker
        .wait_for_metric("message_queue_consumers", count);
}

/// Waits until producers have come to a broker since it was started.
fn has_got_messages(broker: &Running) {
    let name = "message_queue_received_messages_total";
    broker.broker.wait_until(name, |it| it > 0.0);
}

/// How many consumers brokers have together.
fn consumers_of(brokers: &[&Running]) -> f64 {
    let each = brokers.iter();
    each.map(|it| it.broker.metric("message_queue_consumers", ""))
        .sum()
}

/// What came twice.
struct Outcome {
    /// Because a broker was drained, or started.
    drained: Vec<Repeated>,
    /// Because one was killed.
    killed: Vec<Repeated>,
    /// What producers had confirmed, and were gone, when it was killed.
    confirmed: BTreeSet<String>,
}

/// No message that was confirmed is lost. None where the tests are not to have this engine.
fn are_one_service(name: &str) -> Option<Outcome> {
    let engine = Engine::named(name);
    if !is_wanted(name) {
        return None;
    }
    let place = engine.place();
    let [at, one, other] = haproxy::ports();
    let haproxy = HaProxy::start(place.folder(), at, [one, other]);
    let (one, other) = (Front::new(&place, one), Front::new(&place, other));
    let (first, second) = (one.start(), other.start());
    haproxy.wait_for(2);
    let mut ledger = Ledger::new();
    let writer = ledger.writer();
    let consumer = || Consumer::start(&haproxy.addr(), writer.clone());
    let producers = |begin| Producers::start(place.folder(), &haproxy.addr(), begin);

    // Each broker is given one.
    let mut consumers = vec![consumer()];
    assert!((0..100_000).any(|_| consumers_of(&[&first, &second]) == 1.0));
    consumers.push(consumer());
    has_consumers(&first, 1.0);
    has_consumers(&second, 1.0);

    // One broker is drained under load: its consumer comes to the other. Then it is started again, and gets another.
    let drained = producers("drain");
    ledger.take(SOME);
    has_got_messages(&first);
    has_got_messages(&second);
    first.end();
    has_consumers(&second, 2.0);
    ledger.take(SOME);
    let first = one.start();
    haproxy.wait_for(2);
    has_got_messages(&first);
    consumers.push(consumer());
    has_consumers(&first, 1.0);
    ledger.take(SOME);
    ledger.take_all(&drained.end());

    // The other one, which has two consumers, is killed under load, and started again.
    let killed = producers("kill");
    ledger.take(SOME);
    has_got_messages(&second);
    let confirmed = killed.confirmed();
    second.kill();
    has_consumers(&first, 3.0);
    ledger.take(SOME);
    let second = other.start();
    haproxy.wait_for(2);
    has_got_messages(&second);
    ledger.take(SOME);
    ledger.take_all(&killed.end());

    for consumer in consumers {
        consumer.end();
    }
    ledger.take_rest();
    first.end();
    second.end();
    let [drained, killed] = ["drain-", "kill-"].map(|begin| ledger.repeated(begin));
    let (at_drain, at_kill) = (drained.len(), killed.len());
    println!("{name}: {at_drain} came twice by a drain and a start, {at_kill} by a kill");
    Some(Outcome {
        drained,
        killed,
        confirmed,
    })
}

/// Nothing comes twice but what was not settled, or not confirmed, when a broker was killed.
#[test]
fn brokers_on_one_rabbitmq_are_one_service_behind_haproxy() {
    let Some(outcome) = are_one_service("rabbitmq") else {
        return;
    };
    assert_eq!(outcome.drained, []);
    for it in outcome.killed {
        let is_handed_out_again = it.attempts.iter().any(|attempt| *attempt > 1);
        let is_published_once = outcome.confirmed.contains(&it.text);
        assert!(is_handed_out_again || !is_published_once, "{it:?}");
    }
}

/// What was settled when partitions changed hands, and was not committed, comes twice. It is not much.
#[test]
fn brokers_on_one_kafka_are_one_service_behind_haproxy() {
    let Some(outcome) = are_one_service("kafka") else {
        return;
    };
    for repeated in [outcome.drained, outcome.killed] {
        assert!(repeated.len() < SOME, "{repeated:?}");
    }
}
