//! Topics that are stored.

use super::kit::Kit;
use super::{SECOND, millis, name, rule, stored, told, with_rules};
use message_queue_core::names::TopicName;
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{
    Broker, ConnId, GroupId, Input, Now, Overflow, Storage, StoredTopic, TopicRule,
};

const WORKER: &str = "CONSUMER topic=jobs group=workers ack=1";

/// What a consumer was handed, without what is said of it.
fn handed(kit: &mut Kit, conn: ConnId) -> Vec<String> {
    let mut told = told(kit, conn);
    told.retain(|it| !it.starts_with("RUN "));
    told
}

#[test]
fn nothing_is_confirmed_or_handed_out_before_it_is_appended() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    let listener = kit.connect("CONSUMER topic=jobs");
    assert!(kit.told(producer)[0].contains(" safe=disk "));
    kit.send(producer, &["a", "b"]);
    kit.send(producer, &["c"]);
    for conn in [producer, worker, listener] {
        assert!(told(&mut kit, conn).is_empty());
    }
    kit.store("jobs", |it| it.append(1));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 0 unrouted"]);
    assert_eq!(handed(&mut kit, worker), ["a", "b"]);
    kit.store("jobs", |it| it.append(1));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 3, 0 unrouted"]);
    assert_eq!(handed(&mut kit, worker), ["c"]);
    assert_eq!(handed(&mut kit, listener), ["a", "b", "c"]);
}

#[test]
fn what_is_confirmed_is_there_after_a_crash_and_what_is_settled_does_not_come_again() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    kit.send(producer, &["a", "b", "c", "d"]);
    kit.store_all("jobs");
    kit.told(worker);
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.settle(worker, Outcome::Done, 3, 3);
    kit.store_all("jobs");
    kit.send(producer, &["never confirmed"]);
    kit.crash(0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(
        told(&mut kit, worker),
        ["RUN 2 #2 @1000", "b", "RUN 4 #1 @1000", "d"]
    );
    // Sequences go on.
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["e"]);
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, worker), ["e"]);
}

#[test]
fn dead_letters_that_are_found_without_a_group_wait_in_their_queue() {
    let config = stored(|_| {}).broker.config().clone();
    let found = |name: &str| StoredTopic {
        name: TopicName::new(name).expect("a name"),
        epoch: 1,
        first: 2,
        next: 5,
        published: 0,
        groups: Vec::new(),
        producers: Vec::new(),
    };
    let found = ["jobs", "jobs.dead"].map(found).into();
    let broker = Broker::with_stored(config, found, Now::START);
    let behind = |name: &str, group: GroupId| {
        let topic = TopicName::new(name).expect("a name");
        let topic = broker.topic_named(&topic).expect("it was found");
        broker.group_view(topic, group).expect("it is there").behind
    };
    assert_eq!(behind("jobs.dead", GroupId::Shared), 3);
    // Others begin at what is new.
    let jobs = TopicName::new("jobs").expect("a name");
    let jobs = broker.topic_named(&jobs).expect("it was found");
    let workers = broker.group_named(jobs, &name("workers"));
    assert_eq!(behind("jobs", workers.expect("it is declared")), 0);
}

#[test]
fn progress_that_was_not_saved_is_made_again() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    kit.send(producer, &["a", "b"]);
    kit.store_all("jobs");
    kit.told(worker);
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.say(worker, &Control::Flush(7));
    assert!(told(&mut kit, worker).is_empty(), "it is not saved");
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, worker), ["FLUSHED 7"]);
    kit.settle(worker, Outcome::Done, 2, 2);
    kit.crash(0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["b"]);
}

#[test]
fn a_group_that_is_behind_loses_nothing_and_holds_nobody() {
    let mut kit = stored(|rule| rule.capacity = Some(4));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let slow = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=2");
    let fast = kit.connect("CONSUMER topic=jobs group=fast");
    kit.store_all("jobs");
    let all: Vec<String> = (0..50).map(|it| format!("m{it}")).collect();
    for message in &all {
        kit.send(producer, &[message]);
        kit.store_all("jobs");
    }
    assert_eq!(handed(&mut kit, fast), all);
    let group = kit
        .broker
        .group_named(kit.topic("jobs"), &name("workers"))
        .unwrap();
    let view = kit.broker.group_view(kit.topic("jobs"), group).unwrap();
    assert!(
        view.behind > 40 && view.flow.waiting.messages <= 4,
        "{view:?}"
    );
    let mut got = handed(&mut kit, slow);
    for position in 1..=50 {
        kit.settle(slow, Outcome::Done, position, position);
        kit.store_all("jobs");
        got.extend(handed(&mut kit, slow));
    }
    assert_eq!(got, all);
}

#[test]
fn a_group_without_members_takes_no_memory_and_is_owed_everything() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b", "c"]);
    kit.store_all("jobs");
    assert_eq!(kit.broker.held_bytes(), 0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["a", "b", "c"]);
    kit.settle(worker, Outcome::Done, 2, 2);
    kit.input(worker, Input::PeerReset);
    assert_eq!(kit.broker.held_bytes(), 0);
    assert_eq!(kit.broker.stats().flow.kept.messages, 2);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    kit.pass(SECOND);
    let mut got = handed(&mut kit, worker);
    got.sort();
    assert_eq!(got, ["a", "c"]);
}

#[test]
fn a_new_group_begins_where_it_asks_to() {
    let begin = || {
        let mut kit = stored(|_| {});
        let producer = kit.connect("PRODUCER topic=jobs confirm=1");
        for message in ["a", "b", "c"] {
            kit.send(producer, &[message]);
            kit.store_all("jobs");
            kit.pass(SECOND);
        }
        // It is published and not appended when the groups come.
        kit.send(producer, &["d"]);
        (kit, producer)
    };
    for (from, expected) in [
        ("new", &["e"][..]),
        ("first", &["a", "b", "c", "d", "e"]),
        ("last", &["c", "d", "e"]),
        ("2", &["b", "c", "d", "e"]),
        ("5", &["e"]),
        ("@0", &["a", "b", "c", "d", "e"]),
        ("@2000", &["b", "c", "d", "e"]),
        ("@2001", &["c", "d", "e"]),
        ("@9999999", &["e"]),
    ] {
        for group in ["", " group=g"] {
            let (mut kit, producer) = begin();
            let consumer = kit.connect(&format!("CONSUMER topic=jobs from={from}{group}"));
            kit.send(producer, &["e"]);
            kit.store_all("jobs");
            let got = handed(&mut kit, consumer);
            assert_eq!(got, expected, "from {from}{group}");
        }
    }
    let (mut kit, _) = begin();
    for from in ["0", "6", "99"] {
        let consumer = kit.connect(&format!("CONSUMER topic=jobs from={from}"));
        let told = kit.told(consumer);
        assert!(told[0].starts_with("ERROR "), "{from}: {told:?}");
    }
}

#[test]
fn while_it_is_not_known_where_a_group_begins_all_that_is_kept_waits() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    for message in ["a", "b", "c"] {
        kit.send(producer, &[message]);
        kit.store_all("jobs");
        kit.pass(SECOND);
    }
    let worker = kit.connect("CONSUMER topic=jobs group=g from=@2001 ack=1");
    kit.told(worker);
    kit.say(worker, &Control::Ping(1));
    assert_eq!(told(&mut kit, worker), ["PONG 1, 3 wait, 0 ms"]);
    kit.store_all("jobs");
    kit.say(worker, &Control::Ping(2));
    assert_eq!(
        told(&mut kit, worker),
        ["RUN 3 #1 @3000", "c", "PONG 2, 1 wait, 0 ms"]
    );
    kit.settle(worker, Outcome::Done, 1, 1);
    kit.say(worker, &Control::Ping(3));
    assert_eq!(told(&mut kit, worker), ["PONG 3, 0 wait, 0 ms"]);
}

#[test]
fn a_time_at_which_something_was_published_is_not_to_come_though_the_clock_was_set_back() {
    let mut kit = stored(|_| {});
    kit.pass(SECOND);
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    kit.set_clock_back();
    kit.crash(0);
    kit.store_all("jobs");
    let consumer = kit.connect("CONSUMER topic=jobs from=@2000");
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, consumer), ["a"]);
}

#[test]
fn nothing_is_appended_while_a_new_group_may_be_forgotten() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    kit.connect("CONSUMER topic=jobs group=new ack=1");
    kit.send(producer, &["a"]);
    assert!(!kit.store("jobs", |it| it.append(1)));
    kit.store("jobs", |it| it.save(1));
    kit.store("jobs", |it| it.append(1));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 1, 0 unrouted"]);
    // And so it is where the group has yet to learn where it begins.
    kit.connect("CONSUMER topic=jobs group=newer ack=1 from=@0");
    kit.send(producer, &["b"]);
    assert!(!kit.store("jobs", |it| it.append(1)));
    kit.store_all("jobs");
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 2, 0 unrouted"]);
}

#[test]
fn a_listener_that_leaves_before_it_knows_where_it_begins_holds_nobody() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.told(producer);
    for text in ["a", "b"] {
        let listener = kit.connect("CONSUMER topic=jobs from=@0");
        // It holds nobody while it waits, either.
        kit.send(producer, &[text]);
        assert!(kit.store("jobs", |it| it.append(1)));
        kit.input(listener, Input::PeerReset);
    }
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 1, 0 unrouted", "CONFIRMED 2, 0 unrouted"]
    );
    kit.store_all("jobs");
}

#[test]
fn a_named_producer_goes_on_where_the_store_got_to() {
    let mut kit = stored(|_| {});
    let line = "PRODUCER topic=jobs producer=p session=s";
    let producer = kit.connect(line);
    kit.send(producer, &["a", "b"]);
    kit.send(producer, &["c"]);
    kit.store("jobs", |it| it.append(1));
    // It comes back before all is stored: what that comes to, nobody knows yet.
    let again = kit.connect(line);
    assert_eq!(
        told(&mut kit, producer),
        [
            "CONFIRMED 2, 0 unrouted",
            "ERROR taken_over",
            "closed: taken_over"
        ]
    );
    assert!(kit.told(again).is_empty());
    kit.store_all("jobs");
    let answer = kit.told(again);
    assert!(answer[0].contains(" accepted=3 resumed=1"), "{answer:?}");
    // The same over a crash.
    kit.send(again, &["d"]);
    kit.crash(1);
    let again = kit.connect(line);
    let answer = kit.told(again);
    assert!(answer[0].contains(" accepted=4 resumed=1"), "{answer:?}");
}

#[test]
fn a_named_producer_of_several_topics_is_confirmed_and_remembered_in_order() {
    let stores = |topics| TopicRule {
        storage: Some(Storage::Disk),
        ..rule(topics)
    };
    let mut kit = with_rules(vec![stores("one"), stores("two")], |_| {});
    let line = "PRODUCER topic=one producer=p session=s";
    let producer = kit.connect(line);
    kit.told(producer);
    kit.send(producer, &["a"]);
    kit.say(producer, &Control::Topic("two".into()));
    kit.send(producer, &["b"]);
    assert_eq!(kit.stores[&kit.topic("two")].appends(), 0, "it waits");
    kit.store_all("one");
    assert_eq!(kit.stores[&kit.topic("two")].appends(), 1);
    kit.store_all("two");
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 1, 1 unrouted", "CONFIRMED 2, 2 unrouted"]
    );
    kit.crash(0);
    let producer = kit.connect(line);
    let answer = kit.told(producer);
    assert!(answer[0].contains(" accepted=2 resumed=1"), "{answer:?}");
}

#[test]
fn confirms_of_several_topics_come_in_order() {
    let stores = |topics| TopicRule {
        storage: Some(Storage::Disk),
        ..rule(topics)
    };
    let mut kit = with_rules(vec![stores("one"), stores("two"), rule("three")], |_| {});
    let producer = kit.connect("PRODUCER topic=one confirm=1");
    kit.told(producer);
    for (topic, message) in [("one", "a"), ("two", "b"), ("three", "c"), ("one", "d")] {
        kit.say(producer, &Control::Topic(topic.into()));
        kit.send(producer, &[message]);
    }
    kit.say(producer, &Control::Flush(3));
    kit.store_all("two");
    assert!(told(&mut kit, producer).is_empty());
    kit.store("one", |it| it.append(1));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 3, 3 unrouted",]);
    kit.store_all("one");
    assert_eq!(
        told(&mut kit, producer),
        ["CONFIRMED 4, 4 unrouted", "FLUSHED 3"]
    );
}

#[test]
fn producers_wait_for_the_store_or_are_refused() {
    // A store that does nothing takes as many bytes as a group may hold.
    let large = "x".repeat(600 << 10);
    for (overflow, expected) in [
        (Overflow::Drop, &[][..]),
        (Overflow::Reject, &["REFUSED 2-2 full"][..]),
    ] {
        let mut kit = stored(|rule| {
            rule.overflow = Some(overflow);
            rule.bytes = Some((1 << 20) + 4);
        });
        let producer = kit.connect("PRODUCER topic=jobs confirm=1");
        kit.told(producer);
        kit.send(producer, &[&large]);
        kit.send(producer, &[&large]);
        assert_eq!(told(&mut kit, producer), expected, "{overflow:?}");
        kit.store_all("jobs");
        // What was refused does not count before what came before it is safe.
        assert_eq!(
            told(&mut kit, producer).last().unwrap(),
            "CONFIRMED 2, 0 unrouted"
        );
        assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 0);
    }
}

#[test]
fn a_producer_is_let_go_when_all_is_stored() {
    let mut kit = stored(|_| {});
    for line in ["PRODUCER v=2 topic=jobs", "PRODUCER topic=jobs confirm=1"] {
        let producer = kit.connect(line);
        kit.send(producer, &["a"]);
        kit.input(producer, Input::PeerClosed);
        assert!(told(&mut kit, producer).is_empty());
        kit.store_all("jobs");
        let told = told(&mut kit, producer);
        assert_eq!(told.last().unwrap(), "closed: peer_closed", "{line}");
    }
}

#[test]
fn failures_and_delays_outlive_a_crash() {
    let mut kit = stored(|rule| {
        rule.max_failures = Some(3);
        rule.backoff_max = Some(SECOND * 60);
    });
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    kit.send(producer, &["poison", "b"]);
    kit.store_all("jobs");
    kit.settle(worker, Outcome::Failed, 1, 1);
    kit.settle(worker, Outcome::Done, 2, 2);
    kit.store_all("jobs");
    kit.crash(0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert!(told(&mut kit, worker).is_empty(), "its time has not come");
    kit.pass(millis(10));
    assert_eq!(told(&mut kit, worker), ["RUN 1 #2 @1000", "poison"]);
    kit.settle(worker, Outcome::Failed, 1, 1);
    kit.pass(millis(20));
    assert_eq!(handed(&mut kit, worker), ["poison"]);
    // Its third failure: the dead letter is safe before the group has no business with it any more.
    kit.settle(worker, Outcome::Failed, 2, 2);
    kit.store_all("jobs");
    kit.crash(0);
    assert!(
        kit.stores[&kit.topic("jobs.dead")].next() == 1,
        "it was not appended"
    );
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert!(told(&mut kit, worker).is_empty(), "it is given up");
    kit.store_all("jobs.dead");
    kit.store_all("jobs");
    kit.crash(0);
    let undertaker = kit.connect("CONSUMER topic=jobs.dead");
    kit.store_all("jobs.dead");
    assert_eq!(
        handed(&mut kit, undertaker),
        ["ORIGIN jobs 1 of workers, 3 failures: given_up", "poison"]
    );
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert!(told(&mut kit, worker).is_empty());
}

#[test]
fn what_is_not_kept_any_more_is_counted_and_told() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let listener = kit.connect("CONSUMER topic=jobs from=first");
    kit.stop_reading(listener);
    for message in ["a", "b", "c"] {
        kit.send(producer, &[message]);
        kit.store_all("jobs");
    }
    kit.store("jobs", |it| Some(it.trim(3)));
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["c"]);
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 2);
    let refused = kit.connect("CONSUMER topic=jobs from=2");
    assert!(kit.told(refused)[0].starts_with("ERROR no_history "));
}

#[test]
fn who_cannot_read_asks_again_after_a_second_and_holds_nobody() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    // More than may ask at a time.
    let stuck: Vec<ConnId> = (0..10)
        .map(|_| kit.connect("CONSUMER topic=jobs from=first"))
        .collect();
    for _ in 0..10 {
        assert!(kit.store("jobs", |it| it.fail_to_fetch(0)));
    }
    let worker = kit.connect(WORKER);
    assert!(kit.store("jobs", |it| it.fetch(0)));
    assert_eq!(handed(&mut kit, worker), ["a"]);
    kit.input(stuck[0], Input::PeerReset);
    kit.pass(SECOND);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, stuck[9]), ["a"]);
}

#[test]
fn an_orderly_end_lets_go_at_once_who_holds_nothing() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let (holds, idle) = (kit.connect(WORKER), kit.connect(WORKER));
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    kit.told(holds);
    kit.told(idle);
    kit.drain(SECOND * 10);
    kit.input(producer, Input::NothingToRead);
    assert_eq!(told(&mut kit, holds), ["GOAWAY 10000 ms left"]);
    assert_eq!(told(&mut kit, idle), ["closed: drained"]);
    // What it gives back is for the next life of the broker.
    kit.settle(holds, Outcome::Return, 1, 1);
    assert_eq!(told(&mut kit, holds), ["closed: drained"]);
    kit.store_all("jobs");
    assert!(kit.broker.is_drained());
    kit.crash(0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["a"]);
}

#[test]
fn an_orderly_end_stores_everything_and_hands_out_nothing_more() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1");
    kit.send(producer, &["a", "b"]);
    kit.store_all("jobs");
    kit.told(producer);
    kit.told(worker);
    kit.send(producer, &["c"]);
    kit.drain(SECOND * 10);
    kit.input(producer, Input::NothingToRead);
    kit.store("jobs", |it| it.append(1));
    assert_eq!(
        told(&mut kit, producer),
        [
            "GOAWAY 10000 ms left",
            "CONFIRMED 3, 0 unrouted",
            "closed: drained"
        ]
    );
    assert_eq!(told(&mut kit, worker), ["GOAWAY 10000 ms left"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    assert_eq!(told(&mut kit, worker), ["closed: drained"]);
    assert!(!kit.broker.is_drained(), "its progress is not saved");
    kit.store_all("jobs");
    assert!(kit.broker.is_drained());
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 0);
    kit.crash(0);
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["b", "c"]);
}

#[test]
fn a_group_that_is_purged_or_deleted_is_so_after_a_crash() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let other = kit.connect("CONSUMER topic=jobs group=other ack=1 from=first");
    kit.input(other, Input::PeerReset);
    kit.send(producer, &["a", "b"]);
    kit.store_all("jobs");
    let topic = message_queue_core::names::TopicName::new("jobs").unwrap();
    let group = |kit: &Kit, it| {
        kit.broker
            .group_named(kit.topic("jobs"), &name(it))
            .unwrap()
    };
    let (workers, other) = (group(&kit, "workers"), group(&kit, "other"));
    let purged = kit.do_to_broker(|broker, now| broker.purge_group(&topic, workers, now));
    assert_eq!(purged.unwrap().messages, 2);
    assert!(kit.do_to_broker(|broker, now| broker.delete_group(&topic, other, now)));
    kit.store_all("jobs");
    kit.crash(0);
    let worker = kit.connect(WORKER);
    let other = kit.connect("CONSUMER topic=jobs group=other");
    assert!(kit.told(other)[0].contains(" created=1"));
    kit.store_all("jobs");
    assert!(told(&mut kit, worker).is_empty());
}

#[test]
fn who_reads_from_the_store_asks_for_one_thing_at_a_time() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a"]);
    kit.store_all("jobs");
    let workers: Vec<ConnId> = (0..3).map(|_| kit.connect(WORKER)).collect();
    assert_eq!(kit.stores[&kit.topic("jobs")].fetches(), 1);
    // Whoever asked is gone: what comes is nobody's, and is asked for again.
    for worker in workers {
        kit.input(worker, Input::PeerReset);
    }
    let worker = kit.connect(WORKER);
    assert_eq!(kit.stores[&kit.topic("jobs")].fetches(), 1);
    kit.store_all("jobs");
    assert_eq!(handed(&mut kit, worker), ["a"]);
}

#[test]
fn who_is_behind_reads_little_ahead_unless_it_takes_it_quickly() {
    let mut kit = stored(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    for _ in 0..32 {
        kit.send(producer, &[[0; 1_020]; 256]);
        kit.store_all("jobs");
    }
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1");
    let (topic, workers) = (kit.topic("jobs"), name("workers"));
    let group = kit.broker.group_named(topic, &workers).unwrap();
    // What waits in memory after the worker has settled so many more messages, each so long after the one before; the
    // most of it, in KiB.
    let mut settled = 0;
    let mut most = |kit: &mut Kit, messages, pace| {
        let mut most = 0;
        for _ in 0..messages {
            settled += 1;
            kit.settle(worker, Outcome::Done, settled, settled);
            kit.store_all("jobs");
            kit.told(worker);
            let view = kit.broker.group_view(topic, group).unwrap();
            most = most.max(view.backlog.bytes >> 10);
            kit.pass(pace);
        }
        most
    };
    kit.store_all("jobs");
    kit.told(worker);
    assert!(most(&mut kit, 10, SECOND) < 32);
    assert!(
        most(&mut kit, 20, SECOND) < 64,
        "slow: half is left when more comes"
    );
    assert!((1_024..2_048).contains(&most(&mut kit, 2_000, millis(0))));
    // It has become slower: what was read is used up first.
    most(&mut kit, 2_500, millis(10));
    assert!(most(&mut kit, 500, millis(10)) < 768);
}
