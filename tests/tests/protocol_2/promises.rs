//! What sections 11 to 14 of the specification promise and no other test here shows.

use crate::decisions::{SECOND, accepted, confirmed, error, message, queue, run, settle};
use message_queue_core::names::Pattern;
use message_queue_core::wire::control::{Control, Origin, Outcome, Range, Reason};
use message_queue_core::{Config, ConnId, Overflow, TopicRule, TopicsConfig};
use message_queue_tests::frames::frames;
use message_queue_tests::world::{Said, World};

fn rule(topics: &str) -> TopicRule {
    TopicRule::new(Pattern::new(topics).expect("a pattern"))
}

fn with_rule(rule: TopicRule) -> Config {
    Config {
        topics: TopicsConfig {
            rules: vec![rule],
            ..TopicsConfig::default()
        },
        ..queue()
    }
}

/// A consumer that may hold one message, and a producer.
fn pair(world: &mut World) -> (ConnId, ConnId) {
    let consumer = accepted(world, "CONSUMER ack=1 prefetch=1 heartbeat=0");
    let producer = accepted(world, "PRODUCER confirm=1 heartbeat=0");
    (consumer, producer)
}

#[test]
fn a_gap_stands_where_messages_of_ones_own_group_were_dropped() {
    for overflow in [Overflow::Drop, Overflow::DropOldest] {
        let mut world = World::new(Config {
            overflow,
            consumer_backlog: 1,
            ..Config::default()
        });
        let (consumer, producer) = pair(&mut world);
        for text in ["1", "2", "3"] {
            world.send(producer, frames([text]));
        }
        // It is unsettled and takes the only place.
        assert_eq!(world.consumer_reads(consumer), [run(1, 1), message("1")]);
        world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
        world.send(producer, frames(["4"]));
        let said = world.consumer_reads(consumer);
        let gap = Said::Control(Control::Gap(
            Range { from: 2, to: 3 },
            Reason {
                code: "dropped".into(),
                text: String::new(),
            },
        ));
        assert_eq!(said, [gap, run(4, 1), message("4")], "{overflow:?}");
    }
}

#[test]
fn failures_wait_longer_each_time_and_lead_to_the_dead_letter_topic() {
    let mut world = World::new(with_rule(TopicRule {
        max_failures: Some(3),
        ..rule("default")
    }));
    let (consumer, producer) = pair(&mut world);
    world.send(producer, frames(["bad"]));
    for (attempt, wait) in [(1, 10), (2, 20)] {
        assert_eq!(
            world.consumer_reads(consumer),
            [run(1, attempt), message("bad")]
        );
        world.say(
            consumer,
            &settle(Outcome::Failed, 0, attempt.into(), attempt.into()),
        );
        world.pass(SECOND / 1000 * (wait - 1));
        assert_eq!(world.consumer_reads(consumer), []);
        world.pass(SECOND / 1000);
    }
    assert_eq!(world.messages(consumer), ["bad"]);
    world.say(consumer, &settle(Outcome::Failed, 0, 3, 3));
    let dead = accepted(&mut world, "CONSUMER topic=default.dead ack=1");
    let said = world.consumer_reads(dead);
    let [Said::Control(Control::Run { first: 1, .. }), origin, body] = &said[..] else {
        panic!("{said:?}");
    };
    let expected = Origin {
        sequence: 1,
        failures: 3,
        published: 0,
        topic: "default".into(),
        group: "queue".into(),
        reason: "failed".into(),
    };
    assert_eq!(
        (origin, body),
        (&Said::Control(Control::Origin(expected)), &message("bad"))
    );
    // What is rejected there is dropped.
    world.say(dead, &settle(Outcome::Reject, 0, 1, 1));
    assert!(world.broker.stats().flow.waiting.is_zero());
}

#[test]
fn from_its_third_failure_on_a_message_is_handed_out_alone() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch=10 heartbeat=0");
    let producer = accepted(&mut world, "PRODUCER heartbeat=0");
    world.send(producer, frames(["bad"]));
    for position in 1..=3 {
        world.say(consumer, &settle(Outcome::Failed, 0, position, position));
        if position < 3 {
            world.pass(SECOND);
        }
    }
    world.messages(consumer);
    world.send(producer, frames(["good"]));
    assert_eq!(world.messages(consumer), ["good"]);
    world.pass(SECOND);
    world.send(producer, frames(["more"]));
    // It still holds the good one.
    assert_eq!(world.messages(consumer), [""; 0]);
    world.say(consumer, &settle(Outcome::Done, 0, 4, 4));
    assert_eq!(world.messages(consumer), ["bad"]);
    world.say(consumer, &settle(Outcome::Done, 0, 5, 5));
    assert_eq!(world.messages(consumer), ["more"]);
}

#[test]
fn who_says_bye_has_failed_at_nothing() {
    for (bye, first) in [(true, "1"), (false, "3")] {
        let mut world = World::new(queue());
        let consumer = accepted(&mut world, "CONSUMER ack=1 workers=2");
        let producer = accepted(&mut world, "PRODUCER v=2");
        world.send(producer, frames(["1", "2", "3"]));
        if bye {
            world.say(consumer, &Control::Bye);
        } else {
            world.end(consumer);
        }
        assert_eq!(world.closed(consumer), Some("peer_closed"));
        let other = accepted(&mut world, "CONSUMER ack=1");
        assert_eq!(world.messages(other)[0], first, "BYE: {bye}");
    }
}

#[test]
fn one_member_gets_everything_and_the_next_takes_its_place() {
    let mut world = World::new(queue());
    let first = accepted(&mut world, "CONSUMER group=g share=one ack=1 prefetch=1");
    let second = accepted(&mut world, "CONSUMER group=g share=one ack=1");
    assert_eq!(error(&mut world, "CONSUMER group=g"), "group_mismatch");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["1", "2"]));
    assert_eq!(world.messages(first), ["1"]);
    assert_eq!(world.messages(second), [""; 0]);
    world.say(first, &Control::Bye);
    assert_eq!(world.messages(second), ["1", "2"]);
}

#[test]
fn silence_is_asked_about_and_then_the_end() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER heartbeat=10");
    world.pass(10 * SECOND);
    let said = world.consumer_reads(consumer);
    assert!(
        matches!(said[..], [Said::Control(Control::Ping(_))]),
        "{said:?}"
    );
    // Any byte is a sign of life, be it half a frame.
    world.pass(9 * SECOND);
    world.say(consumer, &Control::Ping(1));
    world.pass(19 * SECOND);
    assert_eq!(world.closed(consumer), None);
    world.pass(SECOND);
    assert_eq!(world.closed(consumer), Some("heartbeat_timeout"));
    let said = world.consumer_reads(consumer);
    let Some(Said::Control(Control::Error(reason))) = said.last() else {
        panic!("{said:?}");
    };
    assert_eq!(reason.code, "heartbeat_timeout");
}

#[test]
fn a_producer_that_does_not_read_its_refusals_is_not_read_from() {
    let mut world = World::new(Config {
        topics: TopicsConfig {
            creation: false,
            ..TopicsConfig::default()
        },
        ..queue()
    });
    let producer = accepted(&mut world, "PRODUCER confirm=1");
    world.stop_reading(producer);
    // The first write of it is on its way, and nothing more is said until that is taken.
    world.send(producer, frames(["0"]));
    for _ in 0..100 {
        world.say(producer, &Control::Topic("other".into()));
        world.send(producer, frames(["refused"]));
        world.say(producer, &Control::Topic("default".into()));
        world.send(producer, frames(["taken"]));
    }
    let taken = world.broker.stats().flow.waiting.messages;
    assert_eq!(taken, 1 + 63, "it is read from as long as 64 are not read");
    world.read_again(producer);
    let said = world.producer_reads(producer);
    let refusals = said
        .iter()
        .filter(|it| matches!(it, Control::Refused(..)))
        .count();
    assert_eq!((refusals, said.last()), (100, Some(&confirmed(201))));
}

#[test]
fn a_pong_answers_all_pings_before_it() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch=1");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["1", "2"]));
    world.messages(consumer);
    world.stop_reading(consumer);
    for number in 1..=3 {
        world.say(consumer, &Control::Ping(number));
    }
    world.read_again(consumer);
    let said = world.consumer_reads(consumer);
    let numbers: Vec<u64> = said
        .iter()
        .map(|it| match it {
            Said::Control(Control::Pong(number, Some(lag))) if lag.messages == 2 => *number,
            Said::Line(_) | Said::Message(_) | Said::Control(_) => panic!("{said:?}"),
        })
        .collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn a_consumer_is_asked_to_settle_what_it_holds_when_nothing_more_comes() {
    let mut world = World::new(queue());
    let (consumer, producer) = pair(&mut world);
    let idle = accepted(&mut world, "CONSUMER group=g");
    world.send(producer, frames(["1", "2"]));
    world.end(producer);
    assert_eq!(world.messages(consumer), ["1"]);
    assert_eq!(world.messages(idle), ["1", "2"]);
    world.drain(30 * SECOND);
    assert_eq!(world.closed(idle), Some("drained"));
    assert_eq!(world.consumer_reads(consumer), []);
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    let said = world.consumer_reads(consumer);
    let [
        ..,
        Said::Message(last),
        Said::Control(Control::GoAway {
            left_ms: 30_000, ..
        }),
    ] = &said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!((last.as_str(), world.closed(consumer)), ("2", None));
    world.say(consumer, &settle(Outcome::Done, 0, 2, 2));
    assert_eq!(world.closed(consumer), Some("drained"));
    assert!(world.broker.is_drained());
}

/// A broker in which one message fills a group, and what finds no room is refused.
fn rejecting() -> World {
    World::new(Config {
        queue_capacity: 1,
        overflow: Overflow::Reject,
        ..queue()
    })
}

fn refused(from: u64, to: u64, code: &str) -> (Range, String) {
    (Range { from, to }, code.to_owned())
}

/// What a producer is told was refused, right behind its answer.
fn refusals(said: &[Control]) -> Vec<(Range, String)> {
    let refusals = said.iter().map(|it| {
        let Control::Refused(range, reason) = it else {
            panic!("{it:?}");
        };
        (*range, reason.code.clone())
    });
    refusals.collect()
}

#[test]
fn a_producer_that_comes_back_under_its_name_is_told_again_what_was_refused() {
    let mut world = rejecting();
    let first = accepted(&mut world, "PRODUCER producer=p");
    world.stop_reading(first);
    world.send(first, frames(["a", "b", "c"]));
    world.say(first, &Control::Topic("a..b".into()));
    assert_eq!(world.closed(first), Some("bad_frame"));

    for (line, expected) in [
        ("at=1", &[refused(2, 3, "full")][..]),
        // It has seen that the second was refused.
        ("at=3", &[refused(3, 3, "full")]),
        ("at=4", &[]),
        // It may have forgotten again.
        ("at=1", &[refused(2, 3, "full")]),
    ] {
        let next = world.connect(format!("PRODUCER producer=p {line}\n"));
        let answer = world.answer(next);
        assert!(answer.contains(" accepted=3 resumed=1"), "{answer}");
        let announced = match expected.len() {
            0 => !answer.contains("refused="),
            some => answer.contains(&format!(" refused={some}\n")),
        };
        assert!(announced, "{line}: {answer}");
        assert_eq!(refusals(&world.producer_reads(next)), expected, "{line}");
        assert_eq!(world.closed(next), None);
    }
    assert_eq!(world.broker.stats().refused.messages, 2);

    // Another life and another producer have been refused nothing.
    for line in ["producer=p session=2", "producer=q"] {
        let other = world.connect(format!("PRODUCER {line}\n"));
        let answer = world.answer(other);
        assert!(answer.ends_with(" accepted=0 resumed=0\n"), "{answer}");
        assert_eq!(world.producer_reads(other), []);
    }
}

#[test]
fn what_was_refused_on_several_connections_is_told_on_the_next() {
    let mut world = rejecting();
    let first = accepted(&mut world, "PRODUCER producer=p");
    world.send(first, frames(["a", "b"]));
    world.say(first, &Control::Topic("other".into()));
    // It goes to another topic, where there is room.
    world.send(first, frames(["c"]));
    world.cut(first);
    let second = accepted(&mut world, "PRODUCER producer=p at=1");
    world.producer_reads(second);
    world.send(second, frames(["d", "e"]));
    world.cut(second);
    let third = accepted(&mut world, "PRODUCER producer=p at=1");
    assert_eq!(
        refusals(&world.producer_reads(third)),
        [refused(2, 2, "full"), refused(4, 5, "full")]
    );
}

#[test]
fn of_a_name_64_refusals_are_remembered_and_none_is_taken_for_safe() {
    let mut world = rejecting();
    let producer = accepted(&mut world, "PRODUCER producer=p");
    let topics = ["default", "other"];
    // Every second message is refused: each goes to a topic that the one before it has not filled.
    world.send(producer, frames(["1"]));
    let consumer = accepted(&mut world, "CONSUMER topic=other ack=1 prefetch=1");
    for position in 1..=100 {
        world.say(producer, &Control::Topic(topics[1].into()));
        world.send(producer, frames(["taken"]));
        world.say(consumer, &settle(Outcome::Done, 0, position, position));
        world.say(producer, &Control::Topic(topics[0].into()));
        world.send(producer, frames(["refused"]));
    }
    world.cut(producer);
    let next = accepted(&mut world, "PRODUCER producer=p at=1");
    let told = refusals(&world.producer_reads(next));
    let mut expected = vec![refused(3, 75, "uncertain")];
    expected.extend((38..=100).map(|number| refused(2 * number + 1, 2 * number + 1, "full")));
    assert_eq!(told, expected);
}
