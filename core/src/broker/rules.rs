//! The rules of topics change while the broker runs.

use super::Broker;
use crate::config::Config;
use crate::id::{ConnId, TopicId};
use crate::names::TopicName;
use crate::shared::Facts;
use crate::store::Storage;
use crate::time::Now;
use crate::topic_settings::{NeedsRestart, TopicRule, TopicSettings};
use alloc::vec::Vec;

/// What new rules have changed of one topic, by the names of the keys in a file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicChange {
    /// The topic.
    pub topic: TopicName,
    /// What is in force from now on; of a topic that was not there, nothing.
    pub applied: Vec<&'static str>,
    /// What is as before until the topic is made again, at a restart for one.
    pub kept: Vec<&'static str>,
}

impl Broker {
    /// Takes these rules in place of those before. New topics take all of them. Of those that are there all changes but
    /// a [mode](TopicSettings::mode) and a group that is no longer declared. Where a bound is lower than what a group
    /// holds, that is kept, and nothing more is let in until there is room. Topics that are now declared are made.
    ///
    /// Returns what it has changed, in the order of the topics' names.
    ///
    /// # Errors
    /// The settings of the whole broker do not allow them. Nothing has changed then.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn set_rules(
        &mut self,
        rules: Vec<TopicRule>,
        now: Now,
    ) -> Result<Vec<TopicChange>, NeedsRestart> {
        self.advance_to(now);
        self.shared.config = self.shared.config.with_rules(rules)?;
        let topics: Vec<(TopicName, TopicId)> = self
            .names
            .iter()
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        let mut changes: Vec<TopicChange> = Vec::new();
        for (topic, id) in topics {
            let before = &self.topics[&id].settings;
            let wanted = self.shared.config.topic(&topic);
            let (next, kept) = merge(before, wanted);
            let applied = before.differences(&next);
            if !applied.is_empty() {
                self.change_topic(id, next);
            }
            if !applied.is_empty() || !kept.is_empty() {
                changes.push(TopicChange {
                    topic,
                    applied,
                    kept,
                });
            }
        }
        for topic in self.make_declared() {
            changes.push(TopicChange {
                topic,
                applied: Vec::new(),
                kept: Vec::new(),
            });
        }
        changes.sort_by(|one, other| one.topic.cmp(&other.topic));
        self.proceed_with_drain();
        self.tell();
        Ok(changes)
    }

    /// Makes the topics that rules name one by one and that are not there. Returns them.
    pub(super) fn make_declared(&mut self) -> Vec<TopicName> {
        let rules = self.shared.config.topics.rules.iter();
        let declared = rules.filter_map(|rule| TopicName::new(rule.topics.as_str()).ok());
        let missing: Vec<TopicName> = declared
            .filter(|name| !self.names.contains_key(name))
            .collect();
        let mut made = Vec::new();
        for name in missing {
            // Two rules may name the same.
            if !self.names.contains_key(&name) {
                self.make_topic(name.clone());
                made.push(name);
            }
        }
        made
    }

    fn change_topic(&mut self, id: TopicId, next: TopicSettings) {
        let facts = Facts {
            name: self.topics[&id].name().clone(),
            ack_timeout: next.ack_timeout,
        };
        let timeout_differs = self.topics[&id].settings.ack_timeout != next.ack_timeout;
        self.shared.facts.insert(id, facts);
        self.with_topic(id, |topic, shared| topic.change(next, shared));
        if timeout_differs {
            let groups = self.topics[&id].groups().values();
            let members: Vec<ConnId> = groups.flat_map(|it| it.members().iter().copied()).collect();
            for member in members {
                self.shared.clear_ack_timer(member);
                self.shared.arm_ack_timer(member);
            }
        }
        self.admit_parked(id);
    }
}

impl Config {
    /// The same, with other rules for topics, if a broker that runs can take them.
    ///
    /// # Errors
    /// See [`NeedsRestart`].
    pub fn with_rules(&self, rules: Vec<TopicRule>) -> Result<Self, NeedsRestart> {
        let mut config = self.clone();
        config.topics.rules = rules;
        config.check().map_err(NeedsRestart::Bounds)?;
        if config.may_block() != self.may_block() {
            return Err(NeedsRestart::Blocking);
        }
        if config.engines().next() != self.engines().next() {
            return Err(NeedsRestart::Storing);
        }
        Ok(config)
    }
}

/// What of the settings that are wanted a topic can take while it is there, and what stays as it is.
fn merge(before: &TopicSettings, wanted: TopicSettings) -> (TopicSettings, Vec<&'static str>) {
    let mut kept = Vec::new();
    let mut next = wanted;
    if next.mode != before.mode {
        kept.push("mode");
        next.mode = before.mode;
    }
    if next.storage != before.storage {
        kept.push("storage");
        next.storage = before.storage;
    }
    if next.storage != Storage::Memory && next.store.segment_bytes != before.store.segment_bytes {
        kept.push("segment_bytes");
        next.store.segment_bytes = before.store.segment_bytes;
    }
    let is_gone = |it: &&crate::names::Name| !next.groups.contains(it);
    let gone: Vec<_> = before.groups.iter().filter(is_gone).cloned().collect();
    if !gone.is_empty() {
        kept.push("groups");
        next.groups.extend(gone);
    }
    (next, kept)
}
