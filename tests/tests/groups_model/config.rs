//! A broker whose topics work as the model's.

use crate::script::Script;
use message_queue_core::names::Pattern;
use message_queue_core::{Config, TopicRule, TopicsConfig};
use message_queue_tests::groups_model::{BACKOFF_MAX, dead_letters_of};

pub(crate) fn config(script: &Script) -> Config {
    let mut all = Vec::new();
    for rules in &script.rules {
        let rule = TopicRule::new(Pattern::new(&rules.topic).expect("a topic"));
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
        let dead = Pattern::new(&dead_letters_of(&rules.topic)).expect("a topic");
        all.push(TopicRule {
            capacity: Some(1 << 20),
            ..TopicRule::new(dead)
        });
    }
    let mut config = Config {
        delivery: script.mode,
        max_consumers: 1000,
        topics: TopicsConfig {
            rules: all,
            ..TopicsConfig::default()
        },
        ..Config::default()
    };
    config.broker_bytes = config.least_broker_bytes();
    config
}
