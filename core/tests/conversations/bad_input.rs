//! What somebody sends who does not keep to the protocol, or goes to its edges: an error that says so or nothing
//! at all, and somebody else who notices none of it.

use super::{SECOND, jobs, millis, rule, told, with_rules};
use crate::kit::Kit;
use message_queue_core::wire::control::table::{KINDS, Kind};
use message_queue_core::wire::control::{Control, Field, Link, Outcome};
use message_queue_core::{ConnId, Input, TopicRule};

/// Two who speak to each other in a topic of their own meanwhile.
struct Others {
    producer: ConnId,
    consumer: ConnId,
    sent: u64,
}

impl Others {
    fn new(kit: &mut Kit) -> Self {
        let others = Self {
            producer: kit.connect("PRODUCER topic=others confirm=1 heartbeat=0"),
            consumer: kit.connect("CONSUMER topic=others ack=1 prefetch=1 heartbeat=0"),
            sent: 0,
        };
        kit.told(others.producer);
        kit.told(others.consumer);
        others
    }

    fn notice_nothing(&mut self, kit: &mut Kit) {
        self.sent += 1;
        let now = self.sent;
        kit.send(self.producer, &["hello"]);
        kit.settle(self.consumer, Outcome::Done, now, now);
        assert_eq!(
            kit.told(self.producer),
            [format!("CONFIRMED {now}, 0 unrouted")]
        );
        let told = kit.told(self.consumer);
        assert_eq!(told.last().map(String::as_str), Some("hello"), "{told:?}");
    }
}

/// A frame of this kind, as this link has it, whose numbers are all 1.
fn example(kind: &Kind, link: Link) -> Vec<u8> {
    let mut body = vec![kind.code];
    let more = kind.more.filter(|(more, _)| *more == link);
    let fields = kind
        .fields
        .iter()
        .chain(more.into_iter().flat_map(|it| it.1));
    for (_, field) in fields {
        match field {
            Field::U8 => body.push(1),
            Field::U32 => body.extend(1_u32.to_be_bytes()),
            Field::U64 => body.extend(1_u64.to_be_bytes()),
            Field::Text8 => body.extend(b"\x01a"),
            Field::Text16 => body.extend(b"\0\x01a"),
            Field::Rest => body.extend(b"a"),
            Field::Ranges => body.extend([1_u64.to_be_bytes(), 1_u64.to_be_bytes()].concat()),
            Field::Marks => {}
        }
    }
    let header = 1 << 31 | u32::try_from(body.len()).expect("a short frame");
    [header.to_be_bytes().to_vec(), body].concat()
}

#[test]
fn a_frame_that_is_cut_anywhere_ends_its_connection_and_no_other() {
    let roles = [
        ("PRODUCER topic=jobs confirm=1", Link::FromProducer),
        (
            "CONSUMER topic=jobs group=workers ack=1",
            Link::FromConsumer,
        ),
    ];
    let mut kit = jobs(|_| {});
    let mut others = Others::new(&mut kit);
    for (role, link) in roles {
        for kind in &KINDS {
            let frame = example(kind, link);
            for cut in 1..frame.len() {
                let conn = kit.connect(role);
                kit.bytes(conn, &frame[..cut]);
                kit.end(conn);
                let told = told(&mut kit, conn);
                let end = told.last().map(String::as_str);
                // What goes the wrong way is seen at its kind.
                let ends = ["closed: truncated_frame", "closed: bad_frame"];
                assert!(
                    end.is_some_and(|it| ends.contains(&it)),
                    "{role}: {} cut at {cut}: {told:?}",
                    kind.name
                );
            }
            others.notice_nothing(&mut kit);
        }
    }
    assert_eq!(kit.broker.stats().connections, 2);
}

#[test]
fn a_frame_whose_fields_are_cut_is_a_bad_one() {
    let mut kit = jobs(|_| {});
    let mut others = Others::new(&mut kit);
    for (role, link) in [
        ("PRODUCER topic=jobs confirm=1", Link::FromProducer),
        (
            "CONSUMER topic=jobs group=workers ack=1",
            Link::FromConsumer,
        ),
    ] {
        for kind in KINDS.iter().filter(|it| it.links.contains(&link)) {
            let frame = example(kind, link);
            let whole = frame.len() - 4;
            for length in 1..whole {
                let conn = kit.connect(role);
                kit.told(conn);
                let header = 1 << 31 | u32::try_from(length).expect("a short frame");
                kit.bytes(conn, &header.to_be_bytes());
                kit.bytes(conn, &frame[4..4 + length]);
                assert_eq!(
                    told(&mut kit, conn).last().map(String::as_str),
                    Some("closed: bad_frame"),
                    "{role}: {} of {length} bytes instead of {whole}",
                    kind.name
                );
            }
        }
        others.notice_nothing(&mut kit);
    }
}

#[test]
fn names_with_any_byte_are_names_or_name_their_option() {
    let mut kit = with_rules(Vec::new(), |config| config.topics.max_topics = 1000);
    let mut others = Others::new(&mut kit);
    // A line feed ends the line, and a space an option.
    for byte in (0..=u8::MAX).filter(|it| !b"\n ".contains(it)) {
        for option in ["topic", "producer", "client"] {
            let conn = kit.connect_with(
                &[
                    format!("PRODUCER v=2 {option}=a").as_bytes(),
                    &[byte],
                    b"b\n",
                ]
                .concat(),
            );
            let answer = kit.told(conn).join(" | ");
            let is_allowed = byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            let expected = if is_allowed {
                "OK "
            } else if byte.is_ascii_graphic() {
                &format!("ERROR bad_option {option}: ")
            } else {
                // No role line has such a byte: nobody is answered who may not speak this protocol at all.
                "ERROR "
            };
            assert!(
                answer.starts_with(expected),
                "{byte:#x} in {option}: {answer}"
            );
            if is_allowed {
                kit.input(conn, Input::PeerReset);
            }
        }
    }
    others.notice_nothing(&mut kit);
}

#[test]
fn a_pattern_is_one_where_its_wildcards_are_whole_tokens() {
    let mut kit = with_rules(Vec::new(), |_| {});
    for good in [
        "*", ">", "a.*", "a.>", "*.a", "*.*", "*.>", "a.*.b.>", "%2A",
    ] {
        let conn = kit.connect(&format!("CONSUMER topic={good}"));
        let answer = kit.told(conn).join(" | ");
        assert!(answer.starts_with("OK "), "{good}: {answer}");
    }
    for bad in [
        "", ".", "..", "a.", ".a", "a..b", "a*", "*a", "**", ">>", ">.a", "a.>.b", "a>", ">a",
        "*.>a", "a?", "a#", "a[b]", "a{b}", "a|b", "a^", "$a", "(a)", "a+", "a/b", "a\\*", "%2",
        "%zz", "*;", "a,b", "~", "!a", "@1", "'a'",
    ] {
        let conn = kit.connect(&format!("CONSUMER topic={bad}"));
        let answer = kit.told(conn).join(" | ");
        assert!(
            answer.starts_with("ERROR bad_option topic: "),
            "{bad}: {answer}"
        );
    }
    // A producer sends to one topic.
    for pattern in ["*", "a.>"] {
        let conn = kit.connect(&format!("PRODUCER topic={pattern}"));
        let answer = kit.told(conn).join(" | ");
        assert!(answer.starts_with("ERROR bad_option topic: "), "{answer}");
    }
    assert_eq!(kit.broker.stats().topics, 1);
}

#[test]
fn no_more_topics_are_made_than_there_may_be_whoever_asks_for_them() {
    const TOPICS: usize = 20;
    let mut kit = with_rules(Vec::new(), |config| config.topics.max_topics = TOPICS);
    let mut others = Others::new(&mut kit);
    let producer = kit.connect("PRODUCER confirm=1 heartbeat=0");
    kit.told(producer);
    let mut refused = 0;
    for number in 0..10_000 {
        kit.say(producer, &Control::Topic(format!("t{number}")));
        kit.send(producer, &["a"]);
        let told = told(&mut kit, producer);
        refused += usize::from(told.iter().any(|it| it.ends_with(" too_many_topics")));
    }
    // The topic of who names none, and that of the others.
    assert_eq!(refused, 10_000 - (TOPICS - 2));
    for number in 0..10_000 {
        let conn = kit.connect(&format!("CONSUMER topic=u{number}"));
        let answer = kit.told(conn).join(" | ");
        assert!(answer.starts_with("ERROR too_many_topics "), "{answer}");
    }
    assert_eq!(kit.broker.stats().topics, TOPICS);
    others.notice_nothing(&mut kit);
}

#[test]
fn a_hundred_thousand_tiny_credits_hand_out_what_the_last_one_allows() {
    let mut kit = jobs(|_| {});
    let mut others = Others::new(&mut kit);
    let producer = kit.connect("PRODUCER topic=jobs heartbeat=0");
    kit.send(producer, &["a", "b", "c"]);
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1 heartbeat=0");
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a"]);
    for number in 0..100_000 {
        let (messages, bytes) = (number % 2, 1);
        kit.say(worker, &Control::Credit { messages, bytes });
    }
    assert_eq!(told(&mut kit, worker), Vec::<String>::new());
    let stats = kit.broker.stats();
    assert_eq!((stats.unsettled.messages, stats.saying), (1, 0));
    let (messages, bytes) = (2, u32::MAX);
    kit.say(worker, &Control::Credit { messages, bytes });
    assert_eq!(told(&mut kit, worker), ["b"]);
    others.notice_nothing(&mut kit);
}

#[test]
fn positions_that_were_never_sent_end_it_and_no_number_is_too_large() {
    let mut kit = jobs(|_| {});
    let mut others = Others::new(&mut kit);
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["a", "b"]);
    for (from, to, end) in [
        (0, 0, "bad_position"),
        (0, 1, "bad_position"),
        (2, 1, "bad_frame"),
        (u64::MAX, 1, "bad_frame"),
        (1, 3, "bad_position"),
        (3, 3, "bad_position"),
        (1, u64::MAX, "bad_position"),
        (u64::MAX, u64::MAX, "bad_position"),
    ] {
        let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
        kit.settle(worker, Outcome::Done, from, to);
        let told = told(&mut kit, worker);
        assert_eq!(
            told.last(),
            Some(&format!("closed: {end}")),
            "{from} to {to}"
        );
    }
    // None of them has settled anything. Each has failed with what it held, which waits for that.
    kit.pass(SECOND);
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 heartbeat=0");
    let told = told(&mut kit, worker);
    assert!(told.iter().any(|it| it == "a"), "{told:?}");
    others.notice_nothing(&mut kit);
}

#[test]
fn a_storm_of_failures_is_as_slow_as_the_backoff() {
    let mut kit = jobs(|rule| rule.max_failures = Some(0));
    let mut others = Others::new(&mut kit);
    let producer = kit.connect("PRODUCER topic=jobs heartbeat=0");
    kit.send(producer, &["a"]);
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 heartbeat=0");
    let mut attempts = 0;
    for _ in 0..10_000 {
        for message in told(&mut kit, worker) {
            if message == "a" {
                attempts += 1;
                kit.settle(worker, Outcome::Failed, attempts, attempts);
            }
        }
        kit.pass(millis(1));
    }
    // After 10, 20, 40 … 640 ms, 1.27 s in all, once a second.
    assert_eq!(attempts, 1 + 7 + 8);
    others.notice_nothing(&mut kit);
}

#[test]
fn two_who_fight_for_a_name_bring_in_each_message_once() {
    const ROUNDS: u64 = 500;
    let mut kit = jobs(|rule| rule.capacity = Some(10_000));
    let mut others = Others::new(&mut kit);
    let mut last = None;
    for round in 0..ROUNDS {
        let next = kit.connect("PRODUCER topic=jobs producer=p session=s at=1 heartbeat=0");
        if let Some(last) = last.replace(next) {
            let told = told(&mut kit, last);
            assert_eq!(told.last().map(String::as_str), Some("closed: taken_over"));
        }
        let answer = kit.told(next).join(" | ");
        assert!(answer.contains(&format!(" accepted={round} ")), "{answer}");
        kit.send(next, &[format!("m{round}")]);
    }
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    let messages: Vec<String> = told(&mut kit, worker)
        .into_iter()
        .filter(|it| it.starts_with('m'))
        .collect();
    let all: Vec<String> = (0..ROUNDS).map(|it| format!("m{it}")).collect();
    assert_eq!(messages, all);
    others.notice_nothing(&mut kit);
}

#[test]
fn a_dead_letter_topic_has_none_of_its_own() {
    let mut kit = jobs(|_| {});
    let mut others = Others::new(&mut kit);
    let conn = kit.connect("CONSUMER topic=jobs.dead ack=1 heartbeat=0");
    let producer = kit.connect("PRODUCER topic=jobs.dead heartbeat=0");
    kit.send(producer, &["a"]);
    assert!(told(&mut kit, conn).iter().any(|it| it == "a"));
    kit.settle(conn, Outcome::Reject, 1, 1);
    kit.pass(SECOND);
    let dead = kit.connect("CONSUMER topic=jobs.dead.dead ack=1 heartbeat=0");
    assert_eq!(told(&mut kit, dead), Vec::<String>::new());
    let topic = kit.topic("jobs.dead");
    let lost: u64 = kit
        .broker
        .groups_of(topic, None)
        .map(|it| it.flow.dropped_in_all().messages)
        .sum();
    assert_eq!(lost, 1);
    others.notice_nothing(&mut kit);
}

#[test]
fn options_at_their_edges_and_past_them() {
    let mut kit = with_rules(vec![TopicRule { ..rule("jobs") }], |_| {});
    let mut others = Others::new(&mut kit);
    let long = "n".repeat(200);
    let longer = "n".repeat(201);
    for good in [
        format!("PRODUCER topic={long}"),
        format!("PRODUCER producer={long} at=9223372036854775808"),
        "PRODUCER heartbeat=3600".to_owned(),
        format!("CONSUMER group={long} ack=1 prefetch=1"),
        "CONSUMER ack=1 prefetch=1 prefetch_bytes=1 workers=1".to_owned(),
    ] {
        let conn = kit.connect(&good);
        let answer = kit.told(conn).join(" | ");
        assert!(answer.starts_with("OK "), "{good}: {answer}");
    }
    for (bad, option) in [
        (format!("PRODUCER topic={longer}"), "topic"),
        (format!("PRODUCER producer={longer}"), "producer"),
        ("PRODUCER producer=p at=0".to_owned(), "at"),
        (
            "PRODUCER producer=p at=9223372036854775809".to_owned(),
            "at",
        ),
        ("PRODUCER heartbeat=-1".to_owned(), "heartbeat"),
        ("PRODUCER heartbeat=3601".to_owned(), "heartbeat"),
        ("PRODUCER heartbeat=1.5".to_owned(), "heartbeat"),
        ("PRODUCER confirm=2".to_owned(), "confirm"),
        ("PRODUCER confirm=".to_owned(), "confirm"),
        ("CONSUMER ack=yes".to_owned(), "ack"),
        ("CONSUMER ack=1 prefetch=0".to_owned(), "prefetch"),
        ("CONSUMER ack=1 prefetch=4294967296".to_owned(), "prefetch"),
        ("CONSUMER ack=1 workers=0".to_owned(), "workers"),
        ("CONSUMER share=two".to_owned(), "share"),
        ("CONSUMER from=".to_owned(), "from"),
        ("CONSUMER from=@".to_owned(), "from"),
        ("CONSUMER from=18446744073709551616".to_owned(), "from"),
        ("CONSUMER topic=jobs topic=jobs".to_owned(), "topic"),
    ] {
        let conn = kit.connect(&bad);
        let answer = kit.told(conn).join(" | ");
        let expected = format!("ERROR bad_option {option}: ");
        assert!(answer.starts_with(&expected), "{bad}: {answer}");
    }
    others.notice_nothing(&mut kit);
    // None of those who were refused has left anything behind.
    assert_eq!(kit.broker.stats().producer_names, 1);
}
