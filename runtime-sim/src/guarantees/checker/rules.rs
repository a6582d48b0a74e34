//! What the operator changes.

use super::Checker;
use crate::guarantees::plan::Settings;
use crate::plan::Micros;
use std::collections::BTreeMap;

/// The rules that are in force.
#[derive(Default)]
pub(super) struct Rules {
    /// The how manieth they are.
    pub(super) number: u64,
    /// Since when.
    pub(super) since: Micros,
    /// By topic, how much a group may hold of what earlier rules let in; none: something was let in since, so all of
    /// it is within the bound.
    before: BTreeMap<String, usize>,
}

impl Rules {
    /// How much a group may hold beyond the bound, because earlier rules let it in.
    pub(super) fn most_before(&self, topic: &str) -> usize {
        self.before.get(topic).copied().unwrap_or(0)
    }

    /// A message of a producer that waits for room was let in, which came under these rules: there was room for it.
    pub(super) fn note_room(&mut self, topic: &str) {
        self.before.remove(topic);
    }
}

impl Checker {
    pub(super) fn rules_change(&mut self, settings: &Settings) {
        let before = self.state.settings.capacity;
        for topic in crate::guarantees::plan::TOPICS {
            let most = self.state.rules.before.entry(topic.to_owned()).or_default();
            *most = before.max(*most);
        }
        self.state.rules.number += 1;
        self.state.rules.since = self.at;
        self.state.turns.clear();
        self.state.settings = settings.clone();
    }
}
