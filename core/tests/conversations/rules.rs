//! Rules that change while the broker runs.

use super::{SECOND, jobs, millis, name, rule, told, with_rules};
use crate::kit::Kit;
use message_queue_core::wire::control::Outcome;
use message_queue_core::{
    DeliveryMode, DropReason, NeedsRestart, Overflow, Storage, TopicChange, TopicRule,
};

fn set(kit: &mut Kit, rules: Vec<TopicRule>) -> Vec<String> {
    let changes = kit.do_to_broker(|broker, now| broker.set_rules(rules, now));
    let shown = |it: TopicChange| {
        format!(
            "{}: {} / {}",
            it.topic,
            it.applied.join(" "),
            it.kept.join(" ")
        )
    };
    changes
        .expect("they keep the bounds")
        .into_iter()
        .map(shown)
        .collect()
}

fn workers(change: impl FnOnce(&mut TopicRule)) -> Vec<TopicRule> {
    let mut jobs = TopicRule {
        groups: Some(vec![name("workers")]),
        ..rule("jobs")
    };
    change(&mut jobs);
    vec![jobs]
}

#[test]
fn what_can_change_does_at_once_and_the_rest_is_named() {
    let mut kit = jobs(|_| {});
    let changed = workers(|rule| {
        rule.mode = Some(DeliveryMode::Queue);
        rule.capacity = Some(2);
        rule.groups = Some(vec![name("audit")]);
        rule.max_failures = Some(1);
        rule.dead_letter = Some(false);
    });
    let told = set(&mut kit, changed.clone());
    assert_eq!(
        told,
        ["jobs: capacity groups max_failures dead_letter / mode groups"]
    );
    // What waits for a restart is named again, and no more is done.
    assert_eq!(set(&mut kit, changed), ["jobs:  / mode groups"]);
    let groups: Vec<_> = kit.broker.groups().filter_map(|it| it.name).collect();
    assert_eq!(groups, [name("workers"), name("audit")]);
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["a", "b", "c"]);
    let dropped = kit.broker.stats().flow.dropped;
    let full = dropped[DropReason::BacklogMessages.index()];
    assert_eq!(full.messages, 2, "one in each group");
    let worker = kit.connect("CONSUMER topic=jobs group=workers ack=1");
    kit.settle(worker, Outcome::Failed, 1, 1);
    let dropped = kit.broker.stats().flow.dropped;
    assert_eq!(dropped[DropReason::GivenUp.index()].messages, 1);
}

#[test]
fn a_bound_below_what_is_held_drops_nothing_and_lets_nothing_in() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    kit.send(producer, &["a", "b", "c"]);
    set(&mut kit, workers(|rule| rule.capacity = Some(1)));
    kit.send(producer, &["d"]);
    assert_eq!(kit.broker.stats().flow.dropped_in_all().messages, 0);
    assert_eq!(kit.broker.stats().parked.messages, 1);
    // More room: who waits goes on.
    set(&mut kit, workers(|rule| rule.capacity = Some(9)));
    assert_eq!(kit.broker.stats().parked.messages, 0);
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    assert_eq!(
        told(&mut kit, worker),
        ["RUN 1 #1 @1000", "a", "b", "c", "d"]
    );
}

#[test]
fn ages_and_timeouts_hold_for_what_is_there() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let slow = kit.connect("CONSUMER topic=jobs group=workers ack=1 prefetch=1");
    kit.send(producer, &["a", "b"]);
    kit.told(slow);
    let changed = workers(|rule| {
        rule.max_age = Some(SECOND);
        rule.ack_timeout = Some(SECOND + SECOND);
    });
    let told_of = set(&mut kit, changed);
    assert_eq!(told_of, ["jobs: ack_timeout_ms max_age_ms / "]);
    kit.pass(SECOND);
    let expired = |kit: &Kit| kit.broker.stats().flow.dropped[DropReason::Expired.index()].messages;
    assert_eq!(expired(&kit), 1);
    kit.pass(SECOND);
    assert_eq!(told(&mut kit, slow), ["REVOKED 1-1 ack_timeout"]);
    // And none of it any more.
    set(&mut kit, workers(|_| {}));
    kit.pass(millis(10));
    kit.send(producer, &["c"]);
    kit.pass(SECOND + SECOND + SECOND);
    assert_eq!(expired(&kit), 1);
}

#[test]
fn what_is_declared_now_is_there_and_a_group_that_was_there_stays() {
    let mut kit = with_rules(Vec::new(), |config| {
        config.topics.creation = false;
        config.topics.group_idle = Some(SECOND);
        config.topics.rules = vec![rule("jobs")];
    });
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    kit.input(worker, message_queue_core::Input::PeerClosed);
    let rules = [workers(|_| {}), vec![rule("orders")]].concat();
    assert_eq!(set(&mut kit, rules), ["jobs: groups / ", "orders:  / "]);
    kit.pass(SECOND + SECOND);
    let producer = kit.connect("PRODUCER topic=jobs");
    kit.send(producer, &["a"]);
    assert_eq!(kit.broker.stats().flow.waiting.messages, 1);
    let other = kit.connect("PRODUCER topic=orders");
    assert!(kit.told(other)[0].starts_with("OK "));
}

#[test]
fn rules_that_the_broker_cannot_take_change_nothing() {
    let mut kit = jobs(|_| {});
    let before = kit.broker.config().clone();
    for (change, why) in [
        (
            Box::new(|rule: &mut TopicRule| rule.overflow = Some(Overflow::Block))
                as Box<dyn Fn(&mut TopicRule)>,
            "places are kept",
        ),
        (Box::new(|rule| rule.capacity = Some(0)), "capacity"),
        (
            Box::new(|rule| rule.storage = Some(Storage::Disk)),
            "the store is opened",
        ),
        (
            Box::new(|rule| rule.bytes = Some(usize::MAX)),
            "broker_bytes",
        ),
    ] {
        let rules = workers(change);
        let refused: Result<_, NeedsRestart> =
            kit.do_to_broker(|broker, now| broker.set_rules(rules, now));
        let error = refused.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(*kit.broker.config(), before);
    }
}

/// With `block` elsewhere a topic can begin to block, and stop: who waited does so for what blocks now.
#[test]
fn an_overflow_changes_for_who_waits_as_well() {
    let blocking = || TopicRule {
        overflow: Some(Overflow::Block),
        ..rule("other")
    };
    let with = |overflow| {
        let jobs = workers(|rule| {
            rule.overflow = Some(overflow);
            rule.capacity = Some(1);
        });
        [jobs, vec![blocking()]].concat()
    };
    let mut kit = with_rules(with(Overflow::Block), |_| {});
    let producer = kit.connect("PRODUCER topic=jobs");
    let listener = kit.connect("CONSUMER topic=jobs");
    let worker = kit.connect("CONSUMER topic=jobs group=workers");
    kit.stop_reading(listener);
    for message in ["a", "b", "c"] {
        kit.send(producer, &[message]);
    }
    assert_eq!(
        kit.broker.stats().parked.messages,
        1,
        "the listener is full"
    );
    assert_eq!(set(&mut kit, with(Overflow::Drop)), ["jobs: overflow / "]);
    assert_eq!(kit.broker.stats().parked.messages, 0);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a", "b", "c"]);
    set(&mut kit, with(Overflow::Block));
    kit.send(producer, &["d"]);
    assert_eq!(kit.broker.stats().parked.messages, 1);
}
