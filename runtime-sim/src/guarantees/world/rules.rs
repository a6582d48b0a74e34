//! The rules of the topics, as the operator changes them.

use super::World;
use super::config;
use crate::guarantees::history::Event;

impl World<'_> {
    /// Whether messages grow too old. The broker tells in milliseconds when a message was published: where that matters
    /// no time has a part of one.
    pub(super) const fn has_ages(&self) -> bool {
        self.plan.settings.max_age_ms > 0
    }

    /// The operator has other rules read in.
    pub(super) fn reload(&mut self) {
        self.settings = self
            .settings
            .with_other_rules(self.has_ages(), &mut self.rng);
        let settings = self.settings.clone();
        let config = config(&settings, !self.plan.rights.is_empty());
        self.record(Event::Rules { settings });
        let changes = self.broker.set_rules(config.topics.rules, self.now);
        changes.expect("rules that a broker that runs can take");
        self.outputs();
    }
}
