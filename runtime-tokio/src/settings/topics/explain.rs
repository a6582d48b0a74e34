//! `--print-config TOPIC`: what is in force for one topic, and which rule says so.

use super::Rules;
use super::keys::{DeadLetters, KEYS, Key, Otherwise};
use crate::settings::origin::Effective;
use message_queue_core::Config;
use message_queue_core::names::TopicName;
use std::fmt::Write;

/// What is in force for a topic, as a rule of the file; a comment above each value says where it comes from.
pub(in super::super) fn explain(
    topic: &TopicName,
    rules: &Rules,
    config: &Config,
    effective: &[Effective],
) -> String {
    let settings = config.topic(topic);
    let mut text = format!("# In force for this topic.\n[[rule]]\ntopics = \"{topic}\"\n");
    for key in KEYS {
        let shown = (key.shown)(&settings);
        let source = match key.of_dead_letters {
            DeadLetters::AsSource => topic.source(),
            DeadLetters::Never | DeadLetters::Own => None,
        };
        let rule = rule_of(key, topic, rules).or_else(|| rule_of(key, &source?, rules));
        // Writing to a string cannot fail.
        let _ = match rule {
            _ if topic.is_dead_letter() && key.of_dead_letters == DeadLetters::Never => writeln!(
                text,
                "# always so for a dead-letter topic\n# {} = {shown}",
                key.name
            ),
            Some(at) => writeln!(
                text,
                "# the rule for {:?} in line {}\n{} = {shown}",
                rules.rules[at].topics.as_str(),
                rules.lines[at],
                key.name
            ),
            None => match &key.otherwise {
                Otherwise::Always(_) => writeln!(text, "# default\n{} = {shown}", key.name),
                Otherwise::Setting(name) => writeln!(
                    text,
                    "# {name} ({})\n{} = {shown}",
                    origin(effective, name),
                    key.name
                ),
                // Two values, which no rule can express.
                Otherwise::Settings { own, other } => writeln!(
                    text,
                    "# {other} ({}); for a consumer that is a group of its own {}, {own} ({})\n\
                     # {} = {shown}",
                    origin(effective, other),
                    settings.own_capacity,
                    origin(effective, own),
                    key.name
                ),
            },
        };
    }
    text
}

/// Where in the file the rule is that gives a topic this value.
fn rule_of(key: &Key, topic: &TopicName, rules: &Rules) -> Option<usize> {
    let mut rules = rules.rules.iter();
    rules.position(|rule| rule.matches(topic) && (key.is_in)(rule))
}

fn origin(effective: &[Effective], name: &str) -> String {
    let found = effective.iter().find(|it| it.setting().name == name);
    found.map(|it| it.origin().to_string()).unwrap_or_default()
}
