//! Role lines and their answers.

use super::{SECOND, jobs, name, rule, told, with_rules};
use crate::kit::Kit;
use message_queue_core::{Config, DeliveryMode, TopicRule};

fn answer(kit: &mut Kit, line: &str) -> String {
    let conn = kit.connect(line);
    kit.told(conn).join(" | ")
}

#[test]
fn an_answer_says_what_is_in_force() {
    let mut kit = jobs(|_| {});
    assert_eq!(
        answer(&mut kit, "PRODUCER v=2"),
        "OK v=2 server=mq/1 conn=1 heartbeat=15 max_message=1048576 topic=default epoch=3e800001 safe=memory accepted=0 resumed=0"
    );
    assert_eq!(
        answer(
            &mut kit,
            "CONSUMER topic=jobs group=workers ack=1 heartbeat=0"
        ),
        "OK v=2 server=mq/1 conn=2 heartbeat=0 max_message=1048576 topic=jobs epoch=3e800002 group=workers created=0"
    );
    assert_eq!(
        answer(&mut kit, "CONSUMER topic=jobs group=other"),
        "OK v=2 server=mq/1 conn=3 heartbeat=15 max_message=1048576 topic=jobs epoch=3e800002 group=other created=1"
    );
    assert_eq!(
        answer(&mut kit, "CONSUMER topic=*"),
        "OK v=2 server=mq/1 conn=4 heartbeat=15 max_message=1048576"
    );
}

#[test]
fn what_is_not_allowed_is_named() {
    let mut kit = jobs(|_| {});
    for (line, told) in [
        (
            "PRODUCER v=3",
            "ERROR unsupported_version v: this broker speaks version 2, and version 1 without options | closed: unsupported_version",
        ),
        (
            "PRODUCER speed=1",
            "ERROR unknown_option 'speed' is no option of a producer | closed: unknown_option",
        ),
        (
            "CONSUMER confirm=1",
            "ERROR bad_option confirm: is no option of a consumer | closed: bad_option",
        ),
        (
            "CONSUMER topic=jobs group=new from=7",
            "ERROR no_history from: the topic jobs keeps nothing; its next sequence is 1; allowed: new, first, last | closed: no_history",
        ),
    ] {
        assert_eq!(answer(&mut kit, line), told);
    }
}

#[test]
fn the_first_member_decides_how_a_group_shares() {
    let mut kit = jobs(|_| {});
    kit.connect("CONSUMER topic=jobs group=strict share=one");
    let other = answer(&mut kit, "CONSUMER topic=jobs group=strict");
    assert!(other.starts_with("ERROR group_mismatch "), "{other}");
    let same = answer(&mut kit, "CONSUMER topic=jobs group=strict share=one");
    assert!(same.starts_with("OK "), "{same}");
}

#[test]
fn topics_and_groups_have_bounds() {
    let mut kit = with_rules(vec![rule("known")], |config| {
        config.topics.max_topics = 3;
        config.topics.max_groups = 1;
    });
    assert!(answer(&mut kit, "PRODUCER topic=new").starts_with("OK "));
    let full = answer(&mut kit, "PRODUCER topic=another");
    assert!(full.starts_with("ERROR too_many_topics "), "{full}");
    assert!(answer(&mut kit, "CONSUMER group=a").starts_with("OK "));
    let full = answer(&mut kit, "CONSUMER group=b");
    assert!(full.starts_with("ERROR too_many_groups "), "{full}");

    let mut kit = with_rules(vec![rule("known.*")], |config| {
        config.topics.creation = false
    });
    assert!(answer(&mut kit, "PRODUCER topic=known.a").starts_with("OK "));
    let unknown = answer(&mut kit, "CONSUMER topic=unknown");
    assert!(unknown.starts_with("ERROR unknown_topic "), "{unknown}");
}

#[test]
fn a_topic_that_nobody_uses_is_forgotten_and_begins_anew() {
    let mut kit = with_rules(Vec::new(), |_| {});
    let producer = kit.connect("PRODUCER topic=brief");
    kit.send(producer, &["lost"]);
    kit.input(producer, message_queue_core::Input::PeerClosed);
    let first = answer(&mut kit, "CONSUMER topic=brief from=2 heartbeat=0");
    assert!(first.contains("epoch=3e800002"), "{first}");
    kit.input(
        message_queue_core::ConnId(2),
        message_queue_core::Input::PeerClosed,
    );
    kit.pass(SECOND * 24 * 3600);
    let again = answer(&mut kit, "CONSUMER topic=brief from=1 heartbeat=0");
    assert!(again.contains("epoch=3e800003"), "{again}");
}

#[test]
fn version_1_uses_the_default_topic() {
    let config = |config: &mut Config| config.delivery = DeliveryMode::Queue;
    let mut kit = with_rules(
        vec![TopicRule {
            groups: Some(vec![name("audit")]),
            ..rule("default")
        }],
        config,
    );
    let old = kit.connect("PRODUCER");
    kit.send(old, &["from version 1"]);
    let new = kit.connect("CONSUMER group=audit");
    assert_eq!(told(&mut kit, new), ["RUN 1 #1 @1000", "from version 1"]);
    let shared = kit.connect("CONSUMER group=queue");
    assert_eq!(told(&mut kit, shared), ["RUN 1 #1 @1000", "from version 1"]);
}
