//! The orderly end of a broker.

use super::{SECOND, jobs, told, with_rules};
use message_queue_core::wire::control::Outcome;
use message_queue_core::{DeliveryMode, Input};

#[test]
fn everybody_is_asked_to_finish_and_what_waits_is_handed_out_before() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1");
    kit.send(producer, &["a", "b"]);
    kit.told(producer);
    kit.told(worker);
    kit.drain(SECOND * 10);
    assert_eq!(told(&mut kit, producer), ["GOAWAY 10000 ms left"]);
    // What was on its way is still taken in, and confirmed.
    kit.send(producer, &["c"]);
    kit.input(producer, Input::PeerClosed);
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 3, 0 unrouted", "closed: peer_closed"]
    );
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.settle(worker, Outcome::Done, 2, 2);
    assert_eq!(told(&mut kit, worker), ["b", "c", "GOAWAY 10000 ms left"]);
    kit.settle(worker, Outcome::Done, 3, 3);
    assert_eq!(told(&mut kit, worker), ["closed: drained"]);
    assert!(kit.broker.is_drained());
}

#[test]
fn who_was_asked_to_finish_and_has_settled_all_is_let_go_whatever_it_said() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a", "b"]);
    kit.input(producer, Input::PeerClosed);
    kit.told(worker);
    kit.drain(SECOND);
    assert_eq!(told(&mut kit, worker), ["GOAWAY 1000 ms left"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    assert_eq!(told(&mut kit, worker), [""; 0]);
    // What it gives back waits for others. It does not wait with it.
    kit.settle(worker, Outcome::Return, 2, 2);
    assert_eq!(told(&mut kit, worker), ["closed: drained"]);
    assert!(!kit.broker.is_drained());
    kit.pass(SECOND);
    assert!(kit.broker.is_drained());
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 1);
}

#[test]
fn who_asks_for_a_pattern_that_matches_nothing_keeps_nobody_waiting() {
    let mut kit = with_rules(Vec::new(), |config| {
        config.delivery = DeliveryMode::Queue;
    });
    let early = kit.connect("CONSUMER topic=none.>");
    let worker = kit.connect("CONSUMER topic=jobs ack=1");
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["a"]);
    kit.input(producer, Input::PeerClosed);
    kit.told(worker);
    kit.drain(SECOND);
    assert_eq!(told(&mut kit, early), ["closed: drained"]);
    // One that comes while something is still held finds nothing, either.
    let late = kit.connect("CONSUMER topic=none.>");
    assert_eq!(told(&mut kit, late), ["closed: drained"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.told(worker);
    assert!(kit.broker.is_drained());
}

#[test]
fn who_holds_nothing_is_there_for_what_others_give_back() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let line = "CONSUMER topic=jobs group=workers ack=1";
    let (first, second) = (kit.connect(line), kit.connect(line));
    kit.send(producer, &["a"]);
    kit.input(producer, Input::PeerClosed);
    kit.told(first);
    kit.told(second);
    kit.drain(SECOND * 10);
    // Only one of them has something to finish.
    assert_eq!(told(&mut kit, first), ["GOAWAY 10000 ms left"]);
    assert_eq!(told(&mut kit, second), [""; 0]);
    kit.input(first, Input::PeerReset);
    kit.pass(SECOND);
    let told_second = told(&mut kit, second);
    assert_eq!(told_second[1..], ["a", "GOAWAY 9990 ms left"]);
    kit.settle(second, Outcome::Done, 1, 1);
    assert_eq!(told(&mut kit, second), ["closed: drained"]);
    assert!(kit.broker.is_drained());
    assert!(kit.broker.stats().flow.dropped_in_all().is_zero());
}

#[test]
fn who_does_not_finish_in_time_is_told_so() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a"]);
    kit.input(producer, Input::PeerClosed);
    kit.told(worker);
    kit.drain(SECOND);
    assert_eq!(told(&mut kit, worker), ["GOAWAY 1000 ms left"]);
    kit.pass(SECOND);
    assert_eq!(
        told(&mut kit, worker),
        ["ERROR drain_timeout", "closed: drain_timeout"]
    );
    assert!(kit.broker.is_drained());
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 1);
}

#[test]
fn who_is_given_up_in_the_meantime_is_not_let_go_once_more() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs heartbeat=1");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 heartbeat=1");
    // It takes nothing more: a write to it stays in flight.
    kit.stop_reading(worker);
    kit.drain(SECOND * 3600);
    // Both are silent for as long. When the first is gone, nothing more comes, and its group may be let go.
    kit.pass(SECOND * 2);
    assert_eq!(
        told(&mut kit, producer).last().unwrap(),
        "closed: heartbeat_timeout"
    );
    assert_eq!(
        told(&mut kit, worker).last().unwrap(),
        "closed: heartbeat_timeout"
    );
    // Nobody looks after the write of a connection that is gone.
    assert!(kit.broker.is_drained());
    kit.pass(SECOND * 3600);
}
