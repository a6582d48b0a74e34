//! A broker whose topics work as the model's.

use crate::script::Script;
use message_queue_core::names::Pattern;
use message_queue_core::{Config, TopicRule, TopicsConfig};
use message_queue_tests::groups_model::BACKOFF_MAX;

pub(crate) fn config(script: &Script) -> Config {
    let mut all = Vec::new();
    for rules in &script.rules {
        // By a pattern: topics that rules name are there from the start.
        let (_, rest) = rules.topic.split_once('.').expect("two tokens");
        let rule = TopicRule::new(Pattern::new(&format!("*.{rest}")).expect("a pattern"));
        all.push(TopicRule {
            mode: Some(rules.mode),
            overflow: Some(rules.overflow),
            capacity: Some(rules.capacity),
            max_failures: Some(rules.max_failures),
            backoff_max: Some(BACKOFF_MAX),
            ack_timeout: rules.ack_timeout,
            max_age: rules.max_age,
            ..rule
        });
    }
    let mut config = Config {
        delivery: script.mode,
        max_consumers: 1000,
        // Dead letters have room.
        queue_capacity: 1 << 20,
        topics: TopicsConfig {
            rules: all,
            ..TopicsConfig::default()
        },
        ..Config::default()
    };
    config.broker_bytes = config.least_broker_bytes();
    config
}
