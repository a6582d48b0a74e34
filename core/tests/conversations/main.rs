//! Short conversations with a broker of version 2: each shows one rule.

#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    reason = "a test has a standard library, and looks at what it is about"
)]

mod ages;
mod attempts;
mod bad_input;
mod checks;
mod consumers;
mod kit;
mod opting_in;
mod producers;
mod rights;
mod rules;
mod settling;
mod shared;
mod stored;
mod the_end;
mod unrouted;

use kit::Kit;
use message_queue_core::names::{Name, Pattern};
use message_queue_core::{Config, Overflow, Storage, TopicRule, TopicsConfig};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn rule(topics: &str) -> TopicRule {
    TopicRule::new(Pattern::new(topics).unwrap())
}

/// A broker in which the topic `jobs` has the group `workers` from the start.
fn jobs(change: impl FnOnce(&mut TopicRule)) -> Kit {
    let mut jobs = TopicRule {
        groups: Some(vec![name("workers")]),
        ..rule("jobs")
    };
    change(&mut jobs);
    with_rules(vec![jobs], |_| {})
}

/// A broker that stores the topic `jobs`, which has the group `workers` from the start, and that is saved.
fn stored(change: impl FnOnce(&mut TopicRule)) -> Kit {
    let mut kit = jobs(|rule| {
        rule.storage = Some(Storage::Disk);
        change(rule);
    });
    kit.store_all("jobs");
    kit
}

fn with_rules(rules: Vec<TopicRule>, change: impl FnOnce(&mut Config)) -> Kit {
    let mut config = Config {
        server: "mq/1".into(),
        started_ms: 1000,
        max_consumers: 100,
        topics: TopicsConfig {
            rules,
            ..TopicsConfig::default()
        },
        ..Config::default()
    };
    change(&mut config);
    Kit::new(config)
}

/// What somebody was told, without the answer to its role line.
fn told(kit: &mut Kit, conn: message_queue_core::ConnId) -> Vec<String> {
    let mut told = kit.told(conn);
    told.retain(|it| !it.starts_with("OK "));
    told
}

fn overflowing(overflow: Overflow, capacity: usize) -> impl FnOnce(&mut TopicRule) {
    move |rule| {
        rule.overflow = Some(overflow);
        rule.capacity = Some(capacity);
    }
}
