//! Messages that come to a topic without any group.

use super::kit::Kit;
use super::{rule, stored, told, with_rules};
use message_queue_core::store::{Answer, Request};
use message_queue_core::{ConnId, Count, DropReason, Input, Storage, TopicRule};

/// A broker that keeps the topic `jobs` so, without a group; and a producer there.
fn without_groups(storage: Storage) -> (Kit, ConnId) {
    let jobs = TopicRule {
        storage: Some(storage),
        ..rule("jobs")
    };
    let mut kit = with_rules(vec![jobs], |_| {});
    kit.is_by_hand = storage.is_shared();
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    (kit, producer)
}

#[test]
fn in_memory_they_are_told_and_dropped() {
    let (mut kit, producer) = without_groups(Storage::Memory);
    kit.send(producer, &["a", "b"]);
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 2 unrouted"]);
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 2);
}

#[test]
fn in_a_store_they_are_told_and_kept() {
    let (mut kit, producer) = without_groups(Storage::Disk);
    kit.send(producer, &["a", "b"]);
    assert!(told(&mut kit, producer).is_empty(), "they are not stored");
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 2 unrouted"]);
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 0);
    // Whoever begins before them gets them, and from then on there is a group.
    let group = kit.connect("CONSUMER topic=jobs group=late from=first ack=1");
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, group), ["RUN 1 #1 @1000", "a", "b"]);
    kit.send(producer, &["c"]);
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 3, 2 unrouted"]);
}

#[test]
fn in_a_store_it_counts_which_groups_are_there_when_they_are_stored() {
    let (mut kit, producer) = without_groups(Storage::Disk);
    let listener = kit.connect("CONSUMER topic=jobs");
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    kit.send(producer, &["b"]);
    kit.input(listener, Input::PeerReset);
    kit.store_all("jobs");
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 1, 0 unrouted", "CONFIRMED 2, 1 unrouted"]
    );
}

#[test]
fn where_a_group_is_declared_there_are_none() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 1, 0 unrouted"]);
}

/// Groups may be with other brokers: what counts is what the engine says of the last piece that it answers.
#[test]
fn in_an_engine_that_is_shared_the_engine_knows() {
    let (mut kit, producer) = without_groups(Storage::RabbitMq);
    for text in ["a", "b", "c"] {
        kit.send(producer, &[text]);
        let asked = kit.asked.pop();
        assert!(matches!(asked, Some(Request::Append { .. })), "{asked:?}");
    }
    let unrouted = Count::new(1, 5);
    kit.answer("jobs", Answer::Appended { up_to: 2, unrouted });
    kit.answer("jobs", Answer::appended(3));
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 2, 1 unrouted", "CONFIRMED 3, 1 unrouted"]
    );
    let flow = &kit.broker.stats().flow;
    assert_eq!(flow.dropped[DropReason::NoConsumer.index()], unrouted);
    assert_eq!(flow.dropped_in_all(), unrouted);
}
