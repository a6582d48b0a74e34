//! What a producer is told.

use super::{SECOND, jobs, millis, overflowing, rule, told, with_rules};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{Input, Overflow};

#[test]
fn what_is_in_every_lasting_group_is_confirmed_once_a_batch() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b"]);
    kit.send(producer, &["c"]);
    kit.say(producer, &Control::Flush(7));
    assert_eq!(
        told(&mut kit, producer),
        [
            "CONFIRMED 2, 0 unrouted",
            "CONFIRMED 3, 0 unrouted",
            "FLUSHED 7"
        ]
    );
    // Nobody is there: it is told so.
    kit.say(producer, &Control::Topic("nowhere".into()));
    kit.send(producer, &["d"]);
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 4, 1 unrouted"]);
}

#[test]
fn newer_numbers_stand_for_older_ones_where_a_producer_does_not_read() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    kit.stop_reading(producer);
    for _ in 0..100 {
        kit.send(producer, &["a"]);
    }
    kit.pass(SECOND * 10);
    kit.read_again(producer);
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 1, 0 unrouted", "CONFIRMED 100, 0 unrouted"]
    );
}

#[test]
fn who_waits_for_room_is_told_after_a_while_what_is_full() {
    let mut kit = jobs(overflowing(Overflow::Drop, 2));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b", "c"]);
    kit.send(producer, &["d"]);
    kit.pass(millis(99));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 0 unrouted"]);
    kit.pass(millis(1));
    assert_eq!(
        told(&mut kit, producer),
        ["BLOCKED true topic jobs, group workers: full"]
    );
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    assert_eq!(told(&mut kit, worker).last().unwrap(), "d");
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 3, 0 unrouted", "CONFIRMED 4, 0 unrouted"]
    );
    kit.pass(millis(100));
    assert_eq!(told(&mut kit, producer), ["BLOCKED false "]);
}

#[test]
fn what_there_is_no_room_for_is_refused_where_the_topic_says_so() {
    let mut kit = jobs(overflowing(Overflow::Reject, 2));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b", "c", "d"]);
    assert_eq!(
        told(&mut kit, producer),
        ["REFUSED 3-4 full", "CONFIRMED 4, 0 unrouted"]
    );
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["e"]);
    assert_eq!(
        told(&mut kit, producer),
        ["REFUSED 5-5 full", "CONFIRMED 5, 0 unrouted"]
    );
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.send(producer, &["f", "g"]);
    assert_eq!(
        told(&mut kit, producer),
        ["REFUSED 7-7 full", "CONFIRMED 7, 0 unrouted"]
    );
    assert_eq!(kit.broker.stats().refused.messages, 4);
}

#[test]
fn who_does_not_read_that_it_is_refused_is_not_read_from() {
    let mut kit = with_rules(vec![rule("jobs")], |config| config.topics.creation = false);
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    kit.stop_reading(producer);
    for number in 0..200 {
        let topic = if number % 2 == 0 { "jobs" } else { "unknown" };
        kit.say(producer, &Control::Topic(topic.into()));
        kit.send(producer, &["a"]);
    }
    assert!(kit.broker.stats().refused.messages < 100);
    kit.read_again(producer);
    let told = told(&mut kit, producer);
    let refused = told.iter().filter(|it| it.ends_with("unknown_topic"));
    assert_eq!(refused.count(), 100);
    assert_eq!(told.last().unwrap(), "CONFIRMED 200, 100 unrouted");
}

#[test]
fn a_name_is_taken_over_and_goes_on_where_it_was() {
    let mut kit = jobs(overflowing(Overflow::Block, 2));
    let first = kit.connect("PRODUCER topic=jobs producer=p session=s");
    kit.send(first, &["1", "2", "3", "4"]);
    assert_eq!(told(&mut kit, first), ["CONFIRMED 2, 0 unrouted"]);
    let second = kit.connect("PRODUCER topic=jobs producer=p session=s at=1");
    assert_eq!(
        told(&mut kit, first),
        ["ERROR taken_over", "closed: taken_over"]
    );
    let answer = kit.told(second).join(" ");
    assert!(answer.ends_with("accepted=2 resumed=1"), "{answer}");
    // What the first had sent behind that is not taken in later.
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    kit.send(second, &["3"]);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "1", "2", "3"]);
    // Another life begins anew, at what it says.
    kit.input(second, Input::PeerReset);
    let third = kit.connect("PRODUCER topic=jobs producer=p session=t at=10");
    let answer = kit.told(third).join(" ");
    assert!(answer.ends_with("accepted=9 resumed=0"), "{answer}");
    kit.send(third, &["a"]);
    assert_eq!(told(&mut kit, third), ["CONFIRMED 10, 0 unrouted"]);
}

#[test]
fn a_producer_with_a_name_waits_for_the_answer() {
    let mut kit = jobs(|_| {});
    let hasty = kit.connect("PRODUCER topic=jobs producer=p\n\0\0\0\x01a");
    assert_eq!(
        told(&mut kit, hasty),
        ["ERROR bad_frame", "closed: bad_frame"]
    );
    assert_eq!(kit.broker.stats().received.messages, 0);
}

#[test]
fn names_are_forgotten_in_the_order_in_which_they_left_and_after_a_while() {
    let mut kit = with_rules(Vec::new(), |config| config.topics.max_producer_names = 2);
    let mut producers = Vec::new();
    for name in ["a", "b", "c"] {
        let producer = kit.connect(&format!("PRODUCER topic=jobs producer={name} heartbeat=0"));
        kit.send(producer, &["1"]);
        producers.push(producer);
    }
    for producer in producers {
        kit.input(producer, Input::PeerReset);
        kit.pass(millis(1));
    }
    let mut resumed = |name: &str| {
        let again = kit.connect(&format!("PRODUCER topic=jobs producer={name} heartbeat=0"));
        let answer = kit.told(again).join(" ");
        kit.input(again, Input::PeerReset);
        answer.ends_with("resumed=1")
    };
    assert_eq!(
        [resumed("c"), resumed("b"), resumed("a")],
        [true, true, false]
    );
    kit.pass(SECOND * 24 * 3600);
    let again = kit.connect("PRODUCER topic=jobs producer=b");
    assert!(kit.told(again).join(" ").ends_with("accepted=0 resumed=0"));
}

#[test]
fn an_end_comes_after_all_that_was_sent_is_confirmed() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    kit.stop_reading(producer);
    kit.send(producer, &["a"]);
    kit.send(producer, &["b"]);
    kit.input(producer, Input::PeerClosed);
    assert_eq!(told(&mut kit, producer), Vec::<String>::new());
    kit.read_again(producer);
    assert_eq!(
        told(&mut kit, producer),
        [
            "CONFIRMED 1, 0 unrouted",
            "CONFIRMED 2, 0 unrouted",
            "closed: peer_closed"
        ]
    );
}

#[test]
fn there_is_room_as_soon_as_who_settles_nothing_is_handed_something() {
    let mut kit = jobs(overflowing(Overflow::Drop, 2));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    let credit = |messages| Control::Credit {
        messages,
        bytes: 1000,
    };
    kit.say(worker, &credit(0));
    kit.send(producer, &["a", "b", "c"]);
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 0 unrouted"]);
    // Its socket takes nothing yet.
    kit.stop_reading(worker);
    kit.say(worker, &credit(10));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 3, 0 unrouted"]);
}
