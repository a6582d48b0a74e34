//! What a consumer is given, beside what it settles.

use super::{SECOND, jobs, millis, overflowing, rule, told, with_rules};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{Input, Overflow, TopicRule};

#[test]
fn a_run_is_said_where_something_is_news() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    kit.send(producer, &["a", "b"]);
    kit.send(producer, &["c"]);
    kit.pass(millis(5));
    kit.send(producer, &["d"]);
    assert_eq!(
        told(&mut kit, worker),
        ["RUN 1 #1 @1000", "a", "b", "c", "RUN 4 #1 @1005", "d"]
    );
}

#[test]
fn who_misses_something_alone_is_told_where() {
    for (overflow, expected) in [
        (
            Overflow::Drop,
            ["b", "c", "GAP 4-5 dropped", "RUN 6 #1 @1000", "f"],
        ),
        (
            Overflow::DropOldest,
            ["GAP 2-3 dropped", "RUN 4 #1 @1000", "d", "e", "f"],
        ),
    ] {
        let mut kit = jobs(overflowing(overflow, 2));
        let producer = kit.connect("PRODUCER topic=jobs");
        let listener = kit.connect("CONSUMER topic=jobs");
        kit.told(listener);
        kit.stop_reading(listener);
        for message in ["a", "b", "c", "d", "e"] {
            kit.send(producer, &[message]);
        }
        kit.read_again(listener);
        kit.send(producer, &["f"]);
        let told = told(&mut kit, listener);
        assert_eq!(told[..2], ["RUN 1 #1 @1000", "a"]);
        assert_eq!(told[2..], expected, "{overflow:?}");
    }
}

#[test]
fn one_stalled_listener_stops_no_confirming_producer() {
    let mut kit = jobs(overflowing(Overflow::Drop, 2));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let listener = kit.connect("CONSUMER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    kit.stop_reading(listener);
    for _ in 0..10 {
        kit.send(producer, &["a"]);
    }
    assert_eq!(
        told(&mut kit, producer).last().unwrap(),
        "CONFIRMED 10, 0 unrouted"
    );
    assert_eq!(
        told(&mut kit, worker)
            .iter()
            .filter(|it| *it == "a")
            .count(),
        10
    );
}

#[test]
fn the_consumer_of_a_pattern_is_told_the_topic_before_each_change() {
    let mut kit = with_rules(Vec::new(), |_| {});
    let _a = kit.connect("PRODUCER topic=gpu.0.temp");
    let all = kit.connect("CONSUMER topic=gpu.>");
    let producer = kit.connect("PRODUCER topic=gpu.0.temp");
    kit.send(producer, &["1"]);
    // A topic that is made later belongs to it from its first message on.
    kit.say(producer, &Control::Topic("gpu.1.temp".into()));
    kit.send(producer, &["2"]);
    kit.send(producer, &["3"]);
    kit.say(producer, &Control::Topic("gpu.0.temp".into()));
    kit.send(producer, &["4"]);
    kit.say(producer, &Control::Topic("gpu.dead".into()));
    kit.send(producer, &["5"]);
    assert_eq!(
        told(&mut kit, all),
        [
            "TOPIC gpu.0.temp",
            "RUN 1 #1 @1000",
            "1",
            "TOPIC gpu.1.temp",
            "RUN 1 #1 @1000",
            "2",
            "3",
            "TOPIC gpu.0.temp",
            "RUN 2 #1 @1000",
            "4",
        ]
    );
}

#[test]
fn a_group_outlives_its_members_and_ends_when_nobody_comes() {
    let mut kit = with_rules(Vec::new(), |config| {
        config.topics.group_idle = Some(SECOND * 60);
    });
    let producer = kit.connect("PRODUCER topic=jobs heartbeat=0");
    let worker = kit.connect("CONSUMER topic=jobs group=late");
    kit.input(worker, Input::PeerClosed);
    kit.send(producer, &["a"]);
    kit.pass(SECOND * 59);
    let worker = kit.connect("CONSUMER topic=jobs group=late");
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a"]);
    kit.input(worker, Input::PeerClosed);
    kit.send(producer, &["b"]);
    kit.pass(SECOND * 60);
    let flow = kit.broker.stats().flow;
    assert_eq!(flow.dropped_in_all().messages, 1);
    assert!(flow.waiting.is_zero());
    let worker = kit.connect("CONSUMER topic=jobs group=late");
    assert!(kit.told(worker).join(" ").ends_with("created=1"));
}

#[test]
fn work_goes_to_who_holds_least() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let busy = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=100");
    kit.send(producer, &vec!["a"; 50]);
    let free = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=100");
    kit.told(busy);
    kit.told(free);
    kit.send(producer, &["b"]);
    kit.send(producer, &["c"]);
    assert_eq!(told(&mut kit, busy), Vec::<String>::new());
    assert_eq!(
        told(&mut kit, free)
            .iter()
            .filter(|it| it.len() == 1)
            .count(),
        2
    );
}

#[test]
fn credit_pauses_and_goes_on() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    for options in ["", " ack=1"] {
        let worker = kit.connect(&format!("CONSUMER topic=jobs group=workers{options}"));
        let credit = |messages| Control::Credit {
            messages,
            bytes: 100,
        };
        kit.say(worker, &credit(0));
        kit.send(producer, &["a", "b"]);
        assert_eq!(told(&mut kit, worker), Vec::<String>::new());
        kit.say(worker, &credit(5));
        assert_eq!(told(&mut kit, worker).len(), 3, "{options}");
        kit.settle(worker, Outcome::Done, 1, 2);
        kit.input(worker, Input::PeerReset);
    }
    let greedy = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.say(
        greedy,
        &Control::Credit {
            messages: 1_000_001,
            bytes: 1,
        },
    );
    assert_eq!(
        told(&mut kit, greedy),
        ["ERROR bad_frame", "closed: bad_frame"]
    );
}

#[test]
fn prefetch_is_strict_in_messages_and_in_bytes_but_for_one_message() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["aaaaaa", "b", "c", "dddddddddd", "e"]);
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=2 prefetch_bytes=9");
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "aaaaaa"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    assert_eq!(told(&mut kit, worker), ["b"]);
    kit.settle(worker, Outcome::Done, 2, 2);
    assert_eq!(told(&mut kit, worker), ["c"]);
    kit.settle(worker, Outcome::Done, 3, 3);
    assert_eq!(told(&mut kit, worker), ["dddddddddd"]);
}

#[test]
fn a_ping_is_answered_with_what_waits() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1");
    kit.send(producer, &["a", "b", "c"]);
    kit.told(worker);
    kit.pass(millis(250));
    kit.say(worker, &Control::Ping(3));
    kit.say(producer, &Control::Ping(4));
    assert_eq!(told(&mut kit, worker), ["PONG 3, 3 wait, 250 ms"]);
    assert_eq!(told(&mut kit, producer), ["PONG 4"]);
}

#[test]
fn who_is_silent_is_asked_and_then_given_up() {
    let mut kit = jobs(|_| {});
    let worker = kit.connect("CONSUMER topic=jobs group=workers heartbeat=2");
    kit.told(worker);
    kit.pass(SECOND * 2);
    assert_eq!(told(&mut kit, worker), ["PING 2000"]);
    kit.say(worker, &Control::Pong(2000, None));
    kit.pass(SECOND * 3);
    assert_eq!(told(&mut kit, worker), ["PING 4000"]);
    kit.pass(SECOND);
    assert_eq!(
        told(&mut kit, worker),
        ["ERROR heartbeat_timeout", "closed: heartbeat_timeout"]
    );
}

#[test]
fn what_goes_the_wrong_way_or_was_never_sent_ends_it() {
    let mut kit = jobs(|_| {});
    let mut end = |role: &str, bytes: &[u8]| {
        let conn = kit.connect(&format!("{role} topic=jobs"));
        kit.told(conn);
        kit.bytes(conn, bytes);
        told(&mut kit, conn)
    };
    let settle = b"\x80\0\0\x16\x30\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01";
    assert_eq!(
        end("CONSUMER", b"\0\0\0\0"),
        ["ERROR unexpected_data", "closed: unexpected_data"]
    );
    assert_eq!(
        end("CONSUMER", b"\x80\0\0\x01\x10"),
        ["ERROR bad_frame", "closed: bad_frame"]
    );
    assert_eq!(
        end("PRODUCER", settle),
        ["ERROR bad_frame", "closed: bad_frame"]
    );
    assert_eq!(
        end("CONSUMER", settle),
        ["ERROR bad_frame", "closed: bad_frame"]
    );
    // With acknowledgements it is allowed, but there is nothing to settle.
    let worker = kit.connect("CONSUMER topic=jobs ack=1");
    kit.bytes(worker, settle);
    assert_eq!(
        told(&mut kit, worker),
        ["ERROR bad_position", "closed: bad_position"]
    );
}

#[test]
fn an_operator_ends_a_group_with_what_it_holds() {
    let mut kit = with_rules(vec![TopicRule { ..rule("jobs") }], |_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=g ack=1 prefetch=1");
    kit.send(producer, &["a", "b"]);
    kit.told(worker);
    let group = kit.broker.groups().map(|it| it.id).last().unwrap();
    let topic = message_queue_core::names::TopicName::new("jobs").unwrap();
    assert!(kit.do_to_broker(|broker, now| broker.delete_group(&topic, group, now)));
    assert_eq!(
        told(&mut kit, worker),
        ["ERROR ended_by_operator", "closed: ended_by_operator"]
    );
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 2);
    assert!(!kit.do_to_broker(|broker, now| broker.delete_group(&topic, group, now)));
}
