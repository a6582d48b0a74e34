//! What section 17 of the specification decides, row by row.

use message_queue_core::names::{Name, Pattern};
use message_queue_core::wire::control::{Control, Outcome, Range, Reason};
use message_queue_core::wire::handshake::Answer;
use message_queue_core::{Config, ConnId, DeliveryMode, Overflow, TopicRule, TopicsConfig};
use message_queue_tests::frames::frames;
use message_queue_tests::world::{Said, World};
use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn queue() -> Config {
    Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    }
}

/// A queue in which one message fills a group.
fn narrow() -> Config {
    Config {
        queue_capacity: 1,
        ..queue()
    }
}

pub(crate) fn settle(outcome: Outcome, delay_ms: u32, from: u64, to: u64) -> Control {
    Control::Settle {
        outcome,
        delay_ms,
        ranges: vec![Range { from, to }],
    }
}

pub(crate) const fn confirmed(position: u64) -> Control {
    Control::Confirmed {
        position,
        unrouted: 0,
    }
}

pub(crate) fn message(text: &str) -> Said {
    Said::Message(text.into())
}

pub(crate) const fn run(first: u64, attempt: u32) -> Said {
    Said::Control(Control::Run {
        first,
        published: 0,
        attempt,
    })
}

fn topic(name: &str) -> Said {
    Said::Control(Control::Topic(name.into()))
}

/// A connection whose role line was accepted.
pub(crate) fn accepted(world: &mut World, line: &str) -> ConnId {
    let conn = world.connect(format!("{line}\n"));
    let answer = world.answer(conn);
    assert!(answer.starts_with("OK "), "{line}: {answer}");
    conn
}

/// What the answer says that a role line gets.
pub(crate) fn error(world: &mut World, line: &str) -> String {
    let conn = world.connect(format!("{line}\n"));
    match Answer::parse(world.answer(conn).trim_end().as_bytes()) {
        Ok(Answer::Error { code, .. }) => code,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_row_has_its_test_here() {
    let text = include_str!("../../../docs/PROTOCOL.md");
    let (_, section) = text.split_once("\n## 17. Decisions\n").expect("there");
    let (section, _) = section.split_once("\n## ").expect("another follows");
    let questions = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .count();
    assert_eq!(questions, 1 + 25, "a decision more needs a test more");
}

#[test]
fn a_pattern_and_from() {
    let mut world = World::new(queue());
    accepted(&mut world, "PRODUCER topic=a.1");
    assert_eq!(
        error(&mut world, "CONSUMER topic=a.* group=g from=2"),
        "no_history"
    );
    let consumer = accepted(&mut world, "CONSUMER topic=a.* group=g from=1");
    let producer = accepted(&mut world, "PRODUCER topic=a.2");
    world.send(producer, frames(["first"]));
    assert_eq!(
        world.consumer_reads(consumer),
        [topic("a.2"), run(1, 1), message("first")]
    );
}

#[test]
fn a_pattern_and_ack_timeout() {
    let limits = [("a.slow", 60), ("a.quick", 5)];
    let rules = limits.map(|(topic, seconds)| TopicRule {
        ack_timeout: Some(SECOND * seconds),
        ..TopicRule::new(Pattern::new(topic).expect("a topic"))
    });
    let mut world = World::new(Config {
        topics: TopicsConfig {
            rules: rules.into(),
            ..TopicsConfig::default()
        },
        ..Config::default()
    });
    let line = "CONSUMER topic=a.* ack=1 workers=1 heartbeat=0";
    let consumer = accepted(&mut world, line);
    for topic in ["a.unlimited", "a.slow", "a.quick", "a.slow"] {
        let line = format!("PRODUCER topic={topic} heartbeat=0");
        let producer = accepted(&mut world, &line);
        world.send(producer, frames([topic]));
    }
    let revoked = |world: &mut World| -> Vec<Range> {
        let said = world.consumer_reads(consumer).into_iter();
        said.filter_map(|it| match it {
            Said::Control(Control::Revoked { ranges, .. }) => Some(ranges),
            Said::Control(_) | Said::Message(_) | Said::Line(_) => None,
        })
        .flatten()
        .collect()
    };
    world.pass(SECOND * 100);
    assert_eq!(revoked(&mut world), []);
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    for (seconds, position) in [(60, 2), (5, 3)] {
        world.pass(SECOND * seconds - Duration::from_millis(1));
        assert_eq!(revoked(&mut world), []);
        world.pass(Duration::from_millis(1));
        let expected = Range {
            from: position,
            to: position,
        };
        assert_eq!(revoked(&mut world), [expected]);
    }
}

#[test]
fn a_topic_that_is_made_after_the_consumer_of_its_pattern_joined() {
    let mut world = World::new(Config::default());
    let own = accepted(&mut world, "CONSUMER topic=a.>");
    let named = accepted(&mut world, "CONSUMER topic=a.> group=g ack=1");
    let producer = accepted(&mut world, "PRODUCER topic=a.b.c confirm=1");
    world.send(producer, frames(["first"]));
    for consumer in [own, named] {
        assert_eq!(
            world.consumer_reads(consumer),
            [topic("a.b.c"), run(1, 1), message("first")]
        );
    }
    assert_eq!(world.producer_reads(producer), [confirmed(1)]);
}

#[test]
fn a_pattern_makes_no_topic_and_a_topic_makes_groups() {
    let limits = |max_topics, max_groups| Config {
        topics: TopicsConfig {
            max_topics,
            max_groups,
            ..TopicsConfig::default()
        },
        ..queue()
    };
    let mut world = World::new(limits(1, 10));
    accepted(&mut world, "CONSUMER topic=a.*");
    assert_eq!(error(&mut world, "PRODUCER topic=a.1"), "too_many_topics");

    let mut world = World::new(limits(10, 1));
    let consumer = accepted(&mut world, "CONSUMER topic=a.* group=g");
    accepted(&mut world, "PRODUCER topic=a.1");
    assert_eq!(world.closed(consumer), None);
    accepted(&mut world, "PRODUCER topic=a.2");
    assert_eq!(world.closed(consumer), Some("too_many_groups"));
}

#[test]
fn members_that_settle_and_members_that_do_not_share_a_group() {
    let mut world = World::new(queue());
    let settling = accepted(&mut world, "CONSUMER group=g ack=1 prefetch=1");
    let plain = accepted(&mut world, "CONSUMER group=g");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a", "b"]));
    let other = accepted(&mut world, "CONSUMER group=g");
    assert_eq!(world.messages(settling), ["a"]);
    assert_eq!(world.messages(plain), ["b"]);
    world.cut(plain);
    world.cut(settling);
    // What was taken by a member that does not settle is done; the other's has failed, and waits.
    world.pass(SECOND);
    assert_eq!(world.messages(other), ["a"]);
}

#[test]
fn version_1_in_the_default_topic_and_its_group() {
    let mut world = World::new(queue());
    let first = accepted(&mut world, "CONSUMER share=one");
    let second = world.connect("CONSUMER\n");
    let producer = world.connect([b"PRODUCER\n", &frames(["a", "b"])[..]].concat());
    assert_eq!(world.messages(first), ["a", "b"]);
    world.cut(first);
    world.send(producer, frames(["c"]));
    assert_eq!(world.bytes(second), frames(["c"]));
}

#[test]
fn what_is_unsettled_or_delayed_takes_room() {
    let mut world = World::new(narrow());
    let consumer = accepted(&mut world, "CONSUMER ack=1");
    let producer = accepted(&mut world, "PRODUCER confirm=1");
    world.send(producer, frames(["a", "b"]));
    assert_eq!(world.producer_reads(producer), [confirmed(1)]);
    world.say(consumer, &settle(Outcome::Failed, 5000, 1, 1));
    world.pass(SECOND);
    assert!(
        world
            .producer_reads(producer)
            .iter()
            .all(|it| *it != confirmed(2))
    );
    world.pass(4 * SECOND);
    assert_eq!(world.messages(consumer), ["a", "a"]);
    world.say(consumer, &settle(Outcome::Done, 0, 2, 2));
    assert_eq!(world.messages(consumer), ["b"]);
    assert_eq!(world.producer_reads(producer), [confirmed(2)]);
}

#[test]
fn a_message_larger_than_prefetch_bytes() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch_bytes=10");
    let producer = accepted(&mut world, "PRODUCER v=2");
    let large = "x".repeat(100);
    world.send(producer, frames(["s", &large, "t"]));
    assert_eq!(world.messages(consumer), ["s"]);
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    assert_eq!(world.messages(consumer), [large]);
    world.say(consumer, &settle(Outcome::Done, 0, 2, 2));
    assert_eq!(world.messages(consumer), ["t"]);
}

#[test]
fn credit_below_what_is_unsettled() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch=3");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a", "b", "c", "d"]));
    assert_eq!(world.messages(consumer), ["a", "b", "c"]);
    let credit = |messages| Control::Credit {
        messages,
        bytes: 1000,
    };
    world.say(consumer, &credit(1));
    world.say(consumer, &settle(Outcome::Done, 0, 1, 2));
    assert_eq!(world.messages(consumer), [""; 0]);
    world.say(consumer, &settle(Outcome::Done, 0, 3, 3));
    assert_eq!(world.messages(consumer), ["d"]);
    world.say(consumer, &credit(1_000_001));
    assert_eq!(world.closed(consumer), Some("bad_frame"));
}

#[test]
fn a_settle_before_the_broker_has_heard_that_its_message_was_written() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1");
    world.stop_reading(consumer);
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a"]));
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    assert_eq!(world.closed(consumer), None);
    assert!(world.broker.stats().flow.waiting.is_zero());
    world.say(consumer, &settle(Outcome::Done, 0, 2, 2));
    assert_eq!(world.closed(consumer), Some("bad_position"));
}

#[test]
fn a_settle_and_the_end_of_the_stream_in_one_segment() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a", "b"]));
    world.say(consumer, &settle(Outcome::Done, 0, 1, 2));
    world.end(consumer);
    assert_eq!(world.closed(consumer), Some("peer_closed"));
    assert_eq!(world.broker.stats().flow.delivered.messages, 2);
    assert!(world.broker.stats().flow.waiting.is_zero());
}

#[test]
fn a_settle_after_revoked() {
    let mut rule = TopicRule::new(Pattern::new("default").expect("a pattern"));
    rule.ack_timeout = Some(SECOND);
    let mut world = World::new(Config {
        topics: TopicsConfig {
            rules: vec![rule],
            ..TopicsConfig::default()
        },
        ..queue()
    });
    let consumer = accepted(&mut world, "CONSUMER ack=1 heartbeat=0 prefetch=2");
    let producer = accepted(&mut world, "PRODUCER heartbeat=0");
    world.send(producer, frames(["a", "b"]));
    assert_eq!(world.messages(consumer), ["a", "b"]);
    world.pass(SECOND);
    let revoked = Control::Revoked {
        code: "ack_timeout".into(),
        ranges: vec![Range { from: 1, to: 1 }],
    };
    assert_eq!(world.consumer_reads(consumer), [Said::Control(revoked)]);
    world.say(consumer, &settle(Outcome::Done, 0, 1, 2));
    assert_eq!(world.broker.stats().settled_late, 1);
    world.pass(SECOND / 10);
    assert_eq!(world.consumer_reads(consumer), [run(1, 2), message("a")]);
}

#[test]
fn a_message_that_was_written_in_part_has_not_failed() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 workers=10");
    world.stop_reading(consumer);
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a", "b"]));
    // A RUN and half a message.
    world.take(consumer, 25 + 3);
    world.cut(consumer);
    let other = accepted(&mut world, "CONSUMER ack=1");
    assert_eq!(
        world.consumer_reads(other),
        [run(1, 1), message("a"), message("b")]
    );
}

#[test]
fn a_run_goes_on_over_writes() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER v=2");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a"]));
    world.send(producer, frames(["b"]));
    assert_eq!(
        world.consumer_reads(consumer),
        [run(1, 1), message("a"), message("b")]
    );
}

#[test]
fn first_attempts_and_later_ones_have_runs_of_their_own() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch=2");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a", "b", "c"]));
    world.consumer_reads(consumer);
    world.say(consumer, &settle(Outcome::Return, 0, 1, 2));
    world.say(
        consumer,
        &Control::Credit {
            messages: 10,
            bytes: 1000,
        },
    );
    assert_eq!(
        world.consumer_reads(consumer),
        [
            run(1, 2),
            message("a"),
            message("b"),
            run(3, 1),
            message("c")
        ]
    );
}

#[test]
fn a_topic_that_a_producer_may_not_write() {
    let mut world = World::new(Config {
        topics: TopicsConfig {
            creation: false,
            ..TopicsConfig::default()
        },
        ..queue()
    });
    let producer = accepted(&mut world, "PRODUCER confirm=1");
    world.send(producer, frames(["a"]));
    world.say(producer, &Control::Topic("other".into()));
    world.send(producer, frames(["b", "c"]));
    world.say(producer, &Control::Topic("default".into()));
    world.send(producer, frames(["d"]));
    let said = world.producer_reads(producer);
    let [
        first,
        Control::Refused(range, Reason { code, .. }),
        refused,
        last,
    ] = &said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!(
        (range, code.as_str()),
        (&Range { from: 2, to: 3 }, "unknown_topic")
    );
    assert_eq!(
        [first, refused, last],
        [&confirmed(1), &confirmed(3), &confirmed(4)]
    );
    assert_eq!(world.closed(producer), None);
}

/// A producer that is blocked behind a message, and the consumer that can make room.
fn blocked(world: &mut World) -> (ConnId, ConnId) {
    let consumer = accepted(world, "CONSUMER ack=1 heartbeat=0 prefetch=1");
    let producer = accepted(world, "PRODUCER confirm=1 heartbeat=10");
    world.send(producer, frames(["a", "b"]));
    assert_eq!(world.producer_reads(producer), [confirmed(1)]);
    (consumer, producer)
}

#[test]
fn flush_and_ping_while_blocked() {
    let mut world = World::new(narrow());
    let (consumer, producer) = blocked(&mut world);
    world.say(producer, &Control::Ping(1));
    world.say(producer, &Control::Flush(2));
    world.pass(SECOND);
    let said = world.producer_reads(producer);
    assert!(
        matches!(&said[..], [Control::Blocked { blocked: true, .. }]),
        "{said:?}"
    );
    world.pass(100 * SECOND);
    assert_eq!(world.closed(producer), None);
    world.producer_reads(producer);
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    let said = world.producer_reads(producer);
    for expected in [Control::Pong(1, None), confirmed(2), Control::Flushed(2)] {
        assert!(said.contains(&expected), "{said:?}");
    }
}

#[test]
fn goaway_while_blocked() {
    let mut world = World::new(narrow());
    let (consumer, producer) = blocked(&mut world);
    world.drain(30 * SECOND);
    let said = world.producer_reads(producer);
    assert!(
        matches!(
            said[..],
            [Control::GoAway {
                left_ms: 30_000,
                ..
            }]
        ),
        "{said:?}"
    );
    world.say(consumer, &settle(Outcome::Done, 0, 1, 1));
    assert_eq!(world.producer_reads(producer), [confirmed(2)]);
    world.is_silent(producer);
    assert_eq!(world.closed(producer), Some("drained"));
    assert_eq!(world.messages(consumer), ["a", "b"]);
}

#[test]
fn goaway_and_no_room_until_the_end() {
    let mut world = World::new(narrow());
    let (consumer, producer) = blocked(&mut world);
    world.drain(SECOND);
    world.pass(SECOND);
    assert_eq!(world.closed(producer), Some("drain_timeout"));
    assert_eq!(world.closed(consumer), Some("drain_timeout"));
    assert!(!world.producer_reads(producer).contains(&confirmed(2)));
}

#[test]
fn a_takeover_while_draining() {
    let mut world = World::new(queue());
    let first = accepted(&mut world, "PRODUCER producer=p");
    let second = world.connect("PRODUCER producer=");
    world.drain(SECOND);
    world.send(second, "p\n");
    assert_eq!(world.closed(first), Some("taken_over"));
    let answer = world.answer(second);
    assert!(answer.contains(" accepted=0 resumed=1"), "{answer}");
    let said = world.producer_reads(second);
    assert!(
        matches!(said[..], [Control::GoAway { left_ms: 1_000, .. }]),
        "it is asked to finish at once: {said:?}"
    );
    world.send(second, frames(["a"]));
    world.is_silent(second);
    assert_eq!(world.producer_reads(second), [confirmed(1)]);
    assert_eq!(world.closed(second), Some("drained"));
}

#[test]
fn a_delay_beyond_the_end_of_a_drain() {
    let mut world = World::new(queue());
    let consumer = accepted(&mut world, "CONSUMER ack=1 heartbeat=0");
    let producer = accepted(&mut world, "PRODUCER v=2");
    world.send(producer, frames(["a"]));
    world.end(producer);
    world.say(consumer, &settle(Outcome::Failed, 60_000, 1, 1));
    world.consumer_reads(consumer);
    world.drain(10 * SECOND);
    world.pass(9 * SECOND);
    assert_eq!(
        (world.closed(consumer), world.consumer_reads(consumer)),
        (None, vec![])
    );
    world.pass(SECOND);
    assert_eq!(world.closed(consumer), Some("drain_timeout"));
    assert!(world.broker.is_drained());
}

#[test]
fn two_producers_race_for_a_name() {
    let mut world = World::new(narrow());
    let first = accepted(&mut world, "PRODUCER producer=p");
    // The second of these waits for room.
    world.send(first, frames(["a", "b"]));
    let second = world.connect("PRODUCER producer=p at=1\n");
    assert_eq!(world.closed(first), Some("taken_over"));
    let answer = world.answer(second);
    assert!(answer.contains(" accepted=1 resumed=1"), "{answer}");
    world.send(first, frames(["late"]));
    let consumer = accepted(&mut world, "CONSUMER v=2");
    world.send(second, frames(["b"]));
    assert_eq!(world.messages(consumer), ["a", "b"]);
    let third = accepted(&mut world, "PRODUCER producer=p session=2");
    assert_eq!(world.closed(second), Some("taken_over"));
    assert_eq!(world.closed(third), None);
}

#[test]
fn a_role_line_that_the_broker_reads_late() {
    let mut world = World::new(queue());
    let late = world.connect("PRODUCER producer=p session=1");
    let newer = accepted(&mut world, "PRODUCER producer=p session=2");
    world.send(newer, frames(["a"]));
    world.send(late, "\n");
    assert_eq!(world.closed(late), Some("taken_over"));
    assert!(world.answer(late).starts_with("ERROR taken_over "));
    assert_eq!(world.closed(newer), None);
    // Not even when the newer one has gone: what is known of its life would be forgotten.
    let late = world.connect("PRODUCER producer=p session=1");
    let newest = accepted(&mut world, "PRODUCER producer=p session=2");
    world.cut(newest);
    world.send(late, "\n");
    assert_eq!(world.closed(late), Some("taken_over"));
    let next = world.connect("PRODUCER producer=p session=2\n");
    let answer = world.answer(next);
    assert!(answer.contains(" accepted=1 resumed=1"), "{answer}");
}

#[test]
fn a_position_above_the_highest() {
    let mut world = World::new(queue());
    let line = |at: u64| format!("PRODUCER producer=p at={at}");
    assert_eq!(error(&mut world, &line((1 << 63) + 1)), "bad_option");
    let conn = world.connect(format!("{}\n", line(1 << 63)));
    let answer = world.answer(conn);
    assert!(
        answer.contains(&format!(" accepted={} ", (1_u64 << 63) - 1)),
        "{answer}"
    );
}

/// What a broker of version 1 does with a space is what this one does with nothing behind it.
#[test]
fn a_role_line_with_a_space_and_no_option() {
    let mut world = World::new(queue());
    let conn = world.connect("PRODUCER \n");
    assert_eq!(world.closed(conn), Some("unknown_role"));
    assert_eq!(world.bytes(conn), b"");
}

#[test]
fn frames_behind_the_role_line_of_a_producer_with_a_name() {
    let mut world = World::new(queue());
    let line = b"PRODUCER producer=p\n";
    let conn = world.connect([line, &frames(["too early"])[..]].concat());
    assert_eq!(world.closed(conn), Some("bad_frame"));
    assert!(world.broker.stats().received.is_zero());
}

#[test]
fn overflow_and_confirms() {
    let overflow = |overflow| Config {
        overflow,
        ..narrow()
    };
    for waits in [Overflow::Block, Overflow::Drop, Overflow::DropOldest] {
        let mut world = World::new(overflow(waits));
        let producer = accepted(&mut world, "PRODUCER confirm=1");
        world.send(producer, frames(["a", "b"]));
        assert_eq!(world.producer_reads(producer), [confirmed(1)], "{waits:?}");
    }
    let mut world = World::new(overflow(Overflow::Reject));
    let producer = accepted(&mut world, "PRODUCER confirm=1");
    world.send(producer, frames(["a", "b"]));
    let said = world.producer_reads(producer);
    let [Control::Refused(Range { from: 2, to: 2 }, reason), last] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((reason.code.as_str(), last), ("full", &confirmed(2)));
}

#[test]
fn a_declared_group_and_the_unrouted() {
    let mut rule = TopicRule::new(Pattern::new("jobs").expect("a pattern"));
    rule.groups = Name::new("store").ok().map(|name| vec![name]);
    let mut world = World::new(Config {
        topics: TopicsConfig {
            rules: vec![rule],
            ..TopicsConfig::default()
        },
        ..Config::default()
    });
    let producer = accepted(&mut world, "PRODUCER confirm=1 topic=jobs");
    world.send(producer, frames(["a"]));
    world.say(producer, &Control::Topic("other".into()));
    world.send(producer, frames(["b"]));
    let unrouted = Control::Confirmed {
        position: 2,
        unrouted: 1,
    };
    assert_eq!(world.producer_reads(producer), [confirmed(1), unrouted]);
    let consumer = accepted(&mut world, "CONSUMER topic=jobs group=store");
    assert_eq!(world.messages(consumer), ["a"]);
}

#[test]
fn members_of_a_group_with_sums_and_without() {
    let mut world = World::new(queue());
    let plain = accepted(&mut world, "CONSUMER topic=jobs ack=1 prefetch=1");
    let checked = accepted(&mut world, "CONSUMER topic=jobs ack=1 prefetch=1 check=1");
    let producer = accepted(&mut world, "PRODUCER topic=jobs");
    world.send(producer, frames(["first", "second"]));
    assert_eq!(world.consumer_reads(plain), [run(1, 1), message("first")]);
    let told = world.consumer_reads(checked);
    assert!(matches!(
        told[0],
        Said::Control(Control::Check { safe: 2, .. })
    ));
    assert_eq!(told[1..], [topic("jobs"), run(2, 1), message("second")]);
}
