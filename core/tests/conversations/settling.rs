//! What becomes of messages that a consumer holds.

use super::{SECOND, jobs, millis, overflowing, rule, told, with_rules};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::{Input, Overflow, TopicRule};

fn words(told: &[String]) -> Vec<&str> {
    let words = told.iter().map(String::as_str);
    words.filter(|it| it.len() <= 2).collect()
}

#[test]
fn what_is_returned_comes_back_at_once_and_in_order() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=4");
    kit.send(producer, &["a", "b", "c", "d", "e"]);
    assert_eq!(
        told(&mut kit, worker),
        ["RUN 1 #1 @1000", "a", "b", "c", "d"]
    );
    kit.settle(worker, Outcome::Return, 2, 3);
    assert_eq!(told(&mut kit, worker), ["RUN 2 #2 @1000", "b", "c"]);
    kit.settle(worker, Outcome::Done, 1, 4);
    assert_eq!(told(&mut kit, worker), ["RUN 5 #1 @1000", "e"]);
}

#[test]
fn what_is_returned_at_once_in_any_order_is_handed_on_in_the_order_it_had() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=3");
    kit.send(producer, &["a", "b"]);
    // The first comes again, behind the second.
    kit.settle(worker, Outcome::Return, 1, 1);
    let credit = Control::Credit {
        messages: 1,
        bytes: u32::MAX,
    };
    kit.say(worker, &credit);
    told(&mut kit, worker);
    kit.settle(worker, Outcome::Return, 2, 3);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #3 @1000", "a"]);
}

/// In each kind of group, and whoever sends it.
#[test]
fn what_members_hold_takes_room_however_much_they_have_asked_for() {
    for overflow in [Overflow::Drop, Overflow::DropOldest, Overflow::Reject] {
        for role in ["PRODUCER topic=jobs", "PRODUCER topic=jobs confirm=1"] {
            for group in ["group=workers", ""] {
                let mut kit = jobs(overflowing(overflow, 3));
                let producer = kit.connect(role);
                let line = format!("CONSUMER topic=jobs {group} ack=1 prefetch=100");
                let consumer = kit.connect(line.replace("  ", " ").trim());
                kit.send(producer, &["a", "b", "c", "d", "e"]);
                let held = kit.broker.stats().unsettled.messages;
                assert_eq!(held, 3, "{overflow:?}, {role}, {group}");
                assert_eq!(
                    words(&told(&mut kit, consumer)).len(),
                    3,
                    "{overflow:?}, {role}, {group}"
                );
            }
        }
    }
}

#[test]
fn what_failed_comes_again_after_a_wait_that_doubles_and_is_given_up_at_last() {
    let mut kit = jobs(|rule| rule.max_failures = Some(3));
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a"]);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a"]);
    kit.settle(worker, Outcome::Failed, 1, 1);
    kit.pass(millis(9));
    assert_eq!(told(&mut kit, worker), Vec::<String>::new());
    kit.pass(millis(1));
    assert_eq!(told(&mut kit, worker), ["RUN 1 #2 @1000", "a"]);
    kit.settle(worker, Outcome::Failed, 2, 2);
    kit.pass(millis(19));
    assert_eq!(told(&mut kit, worker), Vec::<String>::new());
    kit.pass(millis(1));
    assert_eq!(told(&mut kit, worker), ["RUN 1 #3 @1000", "a"]);
    kit.settle(worker, Outcome::Failed, 3, 3);
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, worker), Vec::<String>::new());
    let undertaker = kit.connect("CONSUMER topic=jobs.dead ack=1");
    assert_eq!(
        told(&mut kit, undertaker),
        [
            "RUN 1 #1 @1030",
            "ORIGIN jobs 1 of workers, 3 failures: failed",
            "a"
        ]
    );
}

#[test]
fn the_longer_of_two_waits_counts() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a"]);
    kit.told(worker);
    let settle = Control::Settle {
        outcome: Outcome::Failed,
        delay_ms: 500,
        ranges: vec![Range { from: 1, to: 1 }],
    };
    kit.say(worker, &settle);
    kit.pass(millis(499));
    assert_eq!(told(&mut kit, worker), Vec::<String>::new());
    kit.pass(millis(1));
    assert_eq!(told(&mut kit, worker), ["RUN 1 #2 @1000", "a"]);
}

#[test]
fn what_is_rejected_is_a_dead_letter_and_while_that_topic_is_full_its_group_keeps_it() {
    let dead = TopicRule {
        capacity: Some(1),
        ..rule("jobs.dead")
    };
    let workers = TopicRule {
        groups: Some(vec![super::name("workers")]),
        ..rule("jobs")
    };
    let mut kit = with_rules(vec![workers, dead], |_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a", "b", "c"]);
    kit.settle(worker, Outcome::Reject, 1, 3);
    let flow = kit.broker.stats().flow;
    assert_eq!((flow.dead.messages, flow.waiting.messages), (1, 3));
    let undertaker = kit.connect("CONSUMER topic=jobs.dead");
    assert_eq!(words(&told(&mut kit, undertaker)), ["a", "b", "c"]);
    let flow = kit.broker.stats().flow;
    assert_eq!((flow.dead.messages, flow.waiting.messages), (3, 0));
}

#[test]
fn a_dead_letter_that_is_rejected_is_lost_and_counted() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a"]);
    kit.settle(worker, Outcome::Reject, 1, 1);
    let undertaker = kit.connect("CONSUMER topic=jobs.dead ack=1");
    kit.settle(undertaker, Outcome::Reject, 1, 1);
    let given_up = message_queue_core::DropReason::GivenUp.index();
    assert_eq!(kit.broker.stats().flow.dropped[given_up].messages, 1);
}

#[test]
fn who_dies_has_failed_with_what_it_worked_on_and_who_leaves_has_not() {
    for (bye, second_try) in [(false, millis(10)), (true, millis(0))] {
        let mut kit = jobs(|rule| rule.max_failures = Some(2));
        let producer = kit.connect("PRODUCER topic=jobs");
        let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
        kit.send(producer, &["a", "b", "c"]);
        let other = kit.connect("CONSUMER topic=jobs group=workers ack=1");
        kit.told(other);
        if bye {
            kit.say(worker, &Control::Bye);
        } else {
            kit.input(worker, Input::PeerClosed);
        }
        let mut seen = told(&mut kit, other);
        kit.pass(second_try);
        seen.extend(told(&mut kit, other));
        if bye {
            assert_eq!(seen, ["RUN 1 #2 @1000", "a", "b", "c"]);
        } else {
            // What comes later is a later attempt, behind the others.
            assert_eq!(seen, ["RUN 2 #2 @1000", "b", "c", "RUN 1 #2 @1000", "a"]);
        }
    }
}

#[test]
fn from_its_third_failure_on_a_message_is_handed_out_alone() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=10");
    kit.send(producer, &["a"]);
    for position in 1..=3 {
        kit.settle(worker, Outcome::Failed, position, position);
        kit.pass(SECOND);
    }
    kit.told(worker);
    kit.send(producer, &["b"]);
    assert_eq!(
        told(&mut kit, worker),
        Vec::<String>::new(),
        "it works on one alone"
    );
    kit.settle(worker, Outcome::Done, 4, 4);
    assert_eq!(words(&told(&mut kit, worker)), ["b"]);
    // The other way round: it is not given to who holds something.
    kit.send(producer, &["c"]);
    for position in 6..=8 {
        kit.settle(worker, Outcome::Failed, position, position);
        kit.pass(SECOND);
    }
    assert_eq!(
        words(&told(&mut kit, worker)),
        ["c", "c", "c"],
        "'b' is still held"
    );
    kit.settle(worker, Outcome::Done, 5, 5);
    assert_eq!(words(&told(&mut kit, worker)), ["c"]);
}

#[test]
fn who_settles_nothing_for_too_long_loses_what_it_works_on_and_keeps_its_connection() {
    let mut kit = jobs(|rule| rule.ack_timeout = Some(SECOND));
    let producer = kit.connect("PRODUCER topic=jobs");
    let slow = kit.connect("CONSUMER topic=jobs group=workers ack=1 workers=2 prefetch=4");
    kit.send(producer, &["a", "b", "c", "d"]);
    kit.told(slow);
    kit.pass(millis(900));
    // Progress is life.
    kit.settle(slow, Outcome::Working, 1, 1);
    kit.pass(millis(900));
    assert_eq!(told(&mut kit, slow), Vec::<String>::new());
    kit.pass(millis(100));
    assert_eq!(told(&mut kit, slow), ["REVOKED 1-2 ack_timeout"]);
    // It may settle them still: that has no effect, and is counted.
    kit.settle(slow, Outcome::Done, 1, 3);
    assert_eq!(kit.broker.stats().settled_late, 2);
    kit.pass(millis(10));
    assert_eq!(told(&mut kit, slow), ["RUN 1 #2 @1000", "a", "b"]);
}

#[test]
fn settled_twice_in_any_order_is_settled_once() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.send(producer, &["a", "b", "c", "d", "e"]);
    kit.told(worker);
    kit.settle(worker, Outcome::Failed, 5, 5);
    kit.settle(worker, Outcome::Done, 3, 3);
    kit.settle(worker, Outcome::Done, 1, 5);
    let stats = kit.broker.stats();
    assert_eq!((stats.flow.delivered.messages, stats.settled_late), (4, 2));
    kit.pass(millis(10));
    assert_eq!(told(&mut kit, worker), ["RUN 5 #2 @1000", "e"]);
}

#[test]
fn one_member_at_a_time_gets_everything_where_that_was_asked_for() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let first = kit.connect("CONSUMER topic=jobs group=strict share=one ack=1 prefetch=2");
    let second = kit.connect("CONSUMER topic=jobs group=strict share=one ack=1");
    kit.told(second);
    kit.send(producer, &["a", "b", "c"]);
    assert_eq!(words(&told(&mut kit, first)), ["a", "b"]);
    kit.settle(first, Outcome::Done, 1, 1);
    assert_eq!(words(&told(&mut kit, first)), ["c"]);
    assert_eq!(told(&mut kit, second), Vec::<String>::new());
    kit.say(first, &Control::Bye);
    assert_eq!(told(&mut kit, second), ["RUN 2 #2 @1000", "b", "c"]);
}

#[test]
fn what_was_written_in_part_was_not_handed_out() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let stuck = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.told(stuck);
    kit.stop_reading(stuck);
    kit.send(producer, &["a"]);
    kit.input(stuck, Input::PeerReset);
    let other = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    assert_eq!(told(&mut kit, other), ["RUN 1 #1 @1000", "a"]);
}

#[test]
fn a_settlement_may_come_before_the_broker_has_heard_that_it_was_written() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let quick = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.told(quick);
    kit.stop_reading(quick);
    kit.send(producer, &["a"]);
    kit.settle(quick, Outcome::Done, 1, 1);
    kit.read_again(quick);
    assert_eq!(told(&mut kit, quick), ["RUN 1 #1 @1000", "a"]);
    assert_eq!(kit.broker.stats().flow.delivered.messages, 1);
}

#[test]
fn who_is_to_hold_nothing_before_it_is_given_a_message_alone_is_given_it_then() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=10");
    kit.send(producer, &["a", "b"]);
    for position in [1, 3, 4] {
        kit.settle(worker, Outcome::Failed, position, position);
        kit.pass(SECOND);
    }
    // 'a' waits for it to hold nothing. It is idle, and holds 'b'.
    assert_eq!(words(&told(&mut kit, worker)), ["a", "b", "a", "a"]);
    kit.settle(worker, Outcome::Working, 2, 2);
    kit.settle(worker, Outcome::Done, 2, 2);
    assert_eq!(words(&told(&mut kit, worker)), ["a"]);
}

/// One of them is kept free for it, and it goes to the one that holds nothing first. Then the other is handed more again.
#[test]
fn a_message_that_goes_alone_goes_to_whoever_holds_nothing_first() {
    for is_old_one in [true, false] {
        let mut kit = jobs(|_| {});
        let producer = kit.connect("PRODUCER topic=jobs");
        let worker = "CONSUMER topic=jobs group=workers ack=1 prefetch=10";
        let old = kit.connect(worker);
        kit.send(producer, &["a", "b"]);
        for position in [1, 3, 4] {
            kit.pass(SECOND);
            kit.settle(old, Outcome::Failed, position, position);
        }
        let new = kit.connect(worker);
        kit.send(producer, &["c"]);
        assert_eq!(words(&told(&mut kit, new)), ["c"]);
        kit.pass(SECOND);
        kit.told(old);
        let [(first, its), (other, _)] = if is_old_one {
            [(old, 2), (new, 1)]
        } else {
            [(new, 1), (old, 2)]
        };
        kit.settle(first, Outcome::Done, its, its);
        assert_eq!(words(&told(&mut kit, first)), ["a"], "{is_old_one}");
        kit.send(producer, &["d"]);
        assert_eq!(words(&told(&mut kit, other)), ["d"], "{is_old_one}");
    }
}

/// With one topic that is always the same; with a pattern the next may be due sooner, or have no limit.
#[test]
fn who_asks_for_a_pattern_has_the_ack_timeout_of_its_oldest_message() {
    let rules = [("t.slow", 60), ("t.quick", 5)].map(|(topic, seconds)| TopicRule {
        ack_timeout: Some(SECOND * seconds),
        ..rule(topic)
    });
    for before in ["t.slow", "t.unlimited"] {
        for is_there in [true, false] {
            let mut kit = with_rules(rules.to_vec(), |_| {});
            let worker = kit.connect("CONSUMER topic=t.* ack=1 heartbeat=0");
            let producer = kit.connect(&format!("PRODUCER topic={before} heartbeat=0"));
            let quick = kit.connect("PRODUCER topic=t.quick heartbeat=0");
            kit.send(producer, &["a"]);
            if is_there {
                kit.send(quick, &["b"]);
            }
            kit.pass(SECOND * 7);
            kit.settle(worker, Outcome::Done, 1, 1);
            if !is_there {
                kit.send(quick, &["b"]);
            }
            kit.told(worker);
            kit.pass(SECOND * 5 - millis(1));
            assert_eq!(told(&mut kit, worker), [""; 0], "{before}");
            kit.pass(millis(1));
            assert_eq!(told(&mut kit, worker), ["REVOKED 2-2 ack_timeout"]);
        }
    }
}
