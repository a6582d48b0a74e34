//! What waits for too long.

use super::{SECOND, jobs, millis, told};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{DropReason, Input, Overflow, TopicRule};

fn aging(change: impl FnOnce(&mut TopicRule)) -> super::Kit {
    jobs(|rule| {
        rule.max_age = Some(SECOND);
        change(rule);
    })
}

fn expired(kit: &super::Kit) -> u64 {
    kit.broker.stats().flow.dropped[DropReason::Expired.index()].messages
}

#[test]
fn what_nobody_takes_is_dropped_when_it_is_too_old_and_what_came_later_stays() {
    let mut kit = aging(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["a", "b"]);
    kit.pass(millis(600));
    kit.send(producer, &["c"]);
    kit.pass(millis(399));
    assert_eq!(expired(&kit), 0);
    kit.pass(millis(1));
    assert_eq!(expired(&kit), 2);
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    assert_eq!(told(&mut kit, worker), ["RUN 3 #1 @1600", "c"]);
    // What has been delivered is not looked at again.
    kit.pass(SECOND);
    assert_eq!(expired(&kit), 2);
    assert_eq!(kit.broker.stats().flow.waiting.messages, 0);
}

#[test]
fn in_a_group_of_ones_own_it_is_a_gap_before_what_was_dropped() {
    let mut kit = aging(|rule| {
        rule.capacity = Some(2);
        rule.overflow = Some(Overflow::Drop);
    });
    let producer = kit.connect("PRODUCER topic=jobs");
    let listener = kit.connect("CONSUMER topic=jobs");
    kit.stop_reading(listener);
    for message in ["a", "b", "c", "d"] {
        kit.send(producer, &[message]);
    }
    kit.pass(SECOND);
    kit.read_again(listener);
    kit.send(producer, &["e"]);
    assert_eq!(
        told(&mut kit, listener),
        [
            "RUN 1 #1 @1000",
            "a",
            "GAP 2-3 expired",
            "GAP 4-4 dropped",
            "RUN 5 #1 @2000",
            "e"
        ]
    );
}

#[test]
fn what_has_expired_is_told_as_that_though_something_older_comes_back_and_expires_later() {
    let mut kit = aging(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let listener = kit.connect("CONSUMER topic=jobs ack=1");
    kit.stop_reading(listener);
    kit.send(producer, &["a"]);
    kit.send(producer, &["b", "c"]);
    kit.pass(SECOND);
    kit.settle(listener, Outcome::Failed, 1, 1);
    kit.pass(millis(10));
    kit.read_again(listener);
    kit.send(producer, &["d"]);
    assert_eq!(
        told(&mut kit, listener),
        [
            "RUN 1 #1 @1000",
            "a",
            "GAP 2-3 expired",
            "RUN 4 #1 @2010",
            "d"
        ]
    );
}

#[test]
fn what_a_consumer_has_is_its_own_however_old_and_comes_back_to_who_is_there() {
    let mut kit = aging(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=2");
    kit.send(producer, &["a", "b"]);
    kit.pass(SECOND + SECOND);
    assert_eq!(expired(&kit), 0);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a", "b"]);
    kit.settle(worker, Outcome::Return, 1, 1);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #2 @1000", "a"]);
    // Nobody is there for it: it does not wait.
    kit.say(worker, &Control::Bye);
    kit.input(worker, Input::PeerClosed);
    kit.pass(millis(0));
    assert_eq!(expired(&kit), 2);
    assert_eq!(kit.broker.stats().flow.waiting.messages, 0);
}

#[test]
fn what_has_failed_is_not_dropped_while_it_is_delayed() {
    let mut kit = aging(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a"]);
    kit.told(worker);
    let later = Control::Settle {
        outcome: Outcome::Failed,
        delay_ms: 3000,
        ranges: vec![message_queue_core::wire::control::Range { from: 1, to: 1 }],
    };
    kit.say(worker, &later);
    kit.pass(SECOND + SECOND);
    assert_eq!(expired(&kit), 0);
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #2 @1000", "a"]);
}

#[test]
fn who_waited_for_its_room_goes_on() {
    let mut kit = aging(|rule| {
        rule.capacity = Some(1);
        rule.overflow = Some(Overflow::Block);
    });
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b"]);
    assert_eq!(kit.broker.stats().parked.messages, 1);
    kit.pass(SECOND);
    assert_eq!(expired(&kit), 1);
    assert_eq!(kit.broker.stats().parked.messages, 0);
    kit.pass(SECOND);
    assert_eq!(expired(&kit), 2, "it was published when it was let in");
}

/// A message that goes alone keeps a member free. When it has expired, that member is served again.
#[test]
fn who_was_kept_free_for_it_is_served_again() {
    let mut kit = aging(|rule| rule.max_failures = Some(0));
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=2");
    kit.send(producer, &["a"]);
    for (position, wait) in [(1, 10), (2, 20)] {
        kit.settle(worker, Outcome::Failed, position, position);
        kit.pass(millis(wait));
    }
    kit.settle(worker, Outcome::Failed, 3, 3);
    kit.send(producer, &["b"]);
    kit.pass(millis(40));
    kit.send(producer, &["c"]);
    kit.told(worker);
    // a waits for the worker to hold nothing, and the worker holds b.
    kit.pass(SECOND);
    assert_eq!(expired(&kit), 1, "a");
    // It holds b still, and there is room for one more: it need not settle anything to be handed that.
    assert_eq!(told(&mut kit, worker)[1..], ["c"]);
    kit.send(producer, &["d", "e"]);
    kit.settle(worker, Outcome::Done, 4, 5);
    assert_eq!(told(&mut kit, worker)[1..], ["d", "e"]);
}
