//! Who may do what (PROTOCOL.md, section "Rights").

use super::{SECOND, jobs, name, rule, with_rules};
use crate::kit::Kit;
use message_queue_core::access::{ConsumeRight, GroupPattern, Principal, Rights};
use message_queue_core::names::Pattern;
use message_queue_core::wire::control::Control;
use message_queue_core::{ConnId, Input, Now};

fn principal(of: &str) -> Principal {
    Principal {
        name: name(of),
        rights: Rights::default(),
        expires: None,
    }
}

fn producer(of: &str, topics: &str) -> Principal {
    let mut principal = principal(of);
    principal.rights.produce = vec![Pattern::new(topics).unwrap()];
    principal
}

pub(super) fn consumer(of: &str, topics: &str, groups: Option<&str>) -> Principal {
    let mut principal = principal(of);
    principal.rights.consume = vec![ConsumeRight {
        topics: Pattern::new(topics).unwrap(),
        groups: groups.map(|it| vec![GroupPattern::new(it).unwrap()]),
    }];
    principal
}

fn told(kit: &mut Kit, conn: ConnId) -> String {
    kit.told(conn).join(" | ")
}

fn answer(kit: &mut Kit, principal: &Principal, line: &str) -> String {
    let conn = kit.connect_as(Some(principal), line);
    told(kit, conn)
}

#[test]
fn who_has_no_right_is_refused_and_learns_nothing_else() {
    let mut kit = with_rules(vec![rule("jobs")], |config| config.topics.max_topics = 3);
    let (sender, reader) = (
        producer("sender", "gpu.>"),
        consumer("reader", "gpu.>", None),
    );
    assert!(answer(&mut kit, &sender, "PRODUCER topic=gpu.0").starts_with("OK "));
    assert!(answer(&mut kit, &reader, "CONSUMER topic=gpu.0").starts_with("OK "));
    assert!(answer(&mut kit, &reader, "CONSUMER topic=gpu.>").starts_with("OK "));
    // One that is there, and one for which there would be no room: the same answer.
    for topic in ["jobs", "unheard.of"] {
        let refused = |who: &Principal| {
            let name = &who.name;
            format!(
                "ERROR forbidden topic {topic}: {name} has no right to that | closed: forbidden"
            )
        };
        for line in ["PRODUCER confirm=1", "CONSUMER ack=1"] {
            for who in [&sender, &reader] {
                assert_eq!(
                    answer(&mut kit, who, &format!("{line} topic={topic}")),
                    refused(who)
                );
            }
        }
    }
    let all = answer(&mut kit, &reader, "CONSUMER topic=>");
    assert!(all.starts_with("ERROR forbidden topic >"), "{all}");
}

#[test]
fn version_1_has_the_rights_of_who_it_is_known_to_be() {
    let mut kit = jobs(|_| {});
    let nobody = principal("nobody");
    for line in ["PRODUCER", "CONSUMER"] {
        assert_eq!(answer(&mut kit, &nobody, line), "closed: forbidden");
    }
    let conn = kit.connect_as(Some(&producer("sender", "default")), "PRODUCER");
    kit.send(conn, &["a"]);
    assert_eq!(told(&mut kit, conn), "");
    assert_eq!(kit.broker.stats().received.messages, 1);
}

#[test]
fn a_producer_is_told_of_each_message_that_it_has_no_right_to_send() {
    let mut kit = jobs(|_| {});
    let sender = producer("sender", "jobs");
    let conn = kit.connect_as(Some(&sender), "PRODUCER topic=jobs confirm=1");
    kit.told(conn);
    kit.send(conn, &["1"]);
    kit.say(conn, &Control::Topic("secret".into()));
    kit.send(conn, &["2", "3"]);
    kit.say(conn, &Control::Topic("jobs".into()));
    kit.send(conn, &["4"]);
    assert_eq!(
        told(&mut kit, conn),
        "CONFIRMED 1, 0 unrouted | REFUSED 2-3 forbidden | CONFIRMED 3, 0 unrouted | CONFIRMED 4, 0 unrouted"
    );
}

#[test]
fn a_right_to_some_groups_is_a_right_to_those() {
    let mut kit = jobs(|_| {});
    let worker = consumer("worker", "jobs", Some("work*"));
    assert!(answer(&mut kit, &worker, "CONSUMER topic=jobs group=workers").starts_with("OK "));
    for line in ["CONSUMER topic=jobs group=audit", "CONSUMER topic=jobs"] {
        let refused = answer(&mut kit, &worker, line);
        assert!(refused.starts_with("ERROR forbidden "), "{refused}");
    }
}

#[test]
fn a_name_belongs_to_the_principal_that_took_it_first() {
    let mut kit = jobs(|_| {});
    let (one, other) = (producer("one", ">"), producer("other", ">"));
    let line = "PRODUCER topic=jobs producer=p";
    assert!(answer(&mut kit, &one, line).starts_with("OK "));
    let refused = answer(&mut kit, &other, line);
    assert!(
        refused.starts_with("ERROR forbidden producer p: "),
        "{refused}"
    );
    // Nor does it help to say nothing of who one is, or to begin a new life.
    let refused = told_of(&mut kit, "PRODUCER topic=jobs producer=p session=2");
    assert!(
        refused.starts_with("ERROR forbidden producer p: "),
        "{refused}"
    );
    // Its own next connection takes over.
    assert!(answer(&mut kit, &one, line).starts_with("OK "));
}

fn told_of(kit: &mut Kit, line: &str) -> String {
    let conn = kit.connect(line);
    told(kit, conn)
}

#[test]
fn other_rights_take_effect_on_connections_that_stand() {
    let mut kit = jobs(|_| {});
    let sender = kit.connect_as(Some(&producer("a", ">")), "PRODUCER topic=jobs confirm=1");
    let reader = kit.connect_as(
        Some(&consumer("b", ">", None)),
        "CONSUMER topic=jobs group=workers",
    );
    let all = kit.connect_as(Some(&consumer("c", ">", None)), "CONSUMER topic=>");
    for conn in [sender, reader, all] {
        kit.told(conn);
    }
    // They may still do what they do.
    kit.input(sender, Input::Identified(producer("a", "jobs")));
    kit.input(
        reader,
        Input::Identified(consumer("b", "jobs", Some("workers"))),
    );
    kit.send(sender, &["m"]);
    assert_eq!(told(&mut kit, sender), "CONFIRMED 1, 0 unrouted");
    assert_eq!(told(&mut kit, reader), "RUN 1 #1 @1000 | m");
    assert_eq!(told(&mut kit, all), "TOPIC jobs | RUN 1 #1 @1000 | m");
    // Now they may not.
    kit.input(sender, Input::Identified(producer("a", "other")));
    kit.input(
        reader,
        Input::Identified(consumer("b", "jobs", Some("audit"))),
    );
    kit.input(all, Input::Identified(consumer("c", "jobs", None)));
    for conn in [sender, reader, all] {
        assert_eq!(told(&mut kit, conn), "ERROR forbidden | closed: forbidden");
    }
}

#[test]
fn who_is_known_no_more_is_closed() {
    let mut kit = jobs(|_| {});
    let conn = kit.connect_as(Some(&producer("a", ">")), "PRODUCER topic=jobs");
    kit.told(conn);
    kit.input(conn, Input::Unauthorized);
    assert_eq!(
        told(&mut kit, conn),
        "ERROR unauthorized | closed: unauthorized"
    );
}

#[test]
fn when_its_time_is_over_a_peer_is_asked_to_finish_and_then_closed() {
    let mut kit = jobs(|_| {});
    let mut who = consumer("a", "jobs", None);
    who.expires = Some(Now::START + SECOND * 60);
    let conn = kit.connect_as(Some(&who), "CONSUMER topic=jobs heartbeat=0");
    let old = producer("old", "default");
    let old = kit.connect_as(
        Some(&Principal {
            expires: who.expires,
            ..old
        }),
        "PRODUCER",
    );
    kit.told(conn);
    kit.pass(SECOND * 59);
    assert_eq!(told(&mut kit, conn), "");
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, conn), "GOAWAY 5000 ms left");
    assert_eq!(told(&mut kit, old), "closed: unauthorized");
    kit.pass(SECOND * 5);
    assert_eq!(
        told(&mut kit, conn),
        "ERROR unauthorized | closed: unauthorized"
    );
    // It comes too late.
    let refused = answer(&mut kit, &who, "CONSUMER topic=jobs");
    assert!(refused.starts_with("ERROR unauthorized "), "{refused}");
}

#[test]
fn more_time_after_the_end_is_for_the_next_connection() {
    let mut kit = jobs(|_| {});
    let mut who = consumer("a", "jobs", None);
    who.expires = Some(Now::START + SECOND);
    let line = "CONSUMER topic=jobs group=workers ack=1 share=one heartbeat=0";
    let old = kit.connect_as(Some(&who), line);
    let next = kit.connect(line);
    kit.told(old);
    kit.told(next);
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, old), "GOAWAY 5000 ms left");
    who.expires = None;
    kit.input(old, Input::Identified(who.clone()));
    let sender = kit.connect("PRODUCER topic=jobs");
    kit.send(sender, &["m"]);
    kit.pass(SECOND * 4);
    assert_eq!(told(&mut kit, old), "");
    // Nobody waits for ever for one that was told to go and does not.
    kit.pass(SECOND);
    assert_eq!(
        told(&mut kit, old),
        "ERROR unauthorized | closed: unauthorized"
    );
    assert!(told(&mut kit, next).ends_with(" | m"));
}

#[test]
fn rights_that_are_taken_away_in_the_grace_are_gone_at_once() {
    let mut kit = jobs(|_| {});
    let mut who = producer("a", "jobs");
    who.expires = Some(Now::START + SECOND);
    let conn = kit.connect_as(Some(&who), "PRODUCER topic=jobs heartbeat=0");
    kit.told(conn);
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, conn), "GOAWAY 5000 ms left");
    who.rights.produce.clear();
    kit.input(conn, Input::Identified(who));
    assert_eq!(told(&mut kit, conn), "ERROR forbidden | closed: forbidden");
}

#[test]
fn another_end_of_its_time_takes_the_place_of_the_first() {
    let mut kit = jobs(|_| {});
    let mut who = consumer("a", "jobs", None);
    who.expires = Some(Now::START + SECOND);
    let conn = kit.connect_as(Some(&who), "CONSUMER topic=jobs heartbeat=0");
    kit.told(conn);
    who.expires = None;
    kit.input(conn, Input::Identified(who));
    kit.pass(SECOND * 60);
    assert_eq!(told(&mut kit, conn), "");
}
