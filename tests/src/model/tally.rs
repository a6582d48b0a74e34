//! What is counted.

use super::publish::bytes;
use super::{Effect, Group, Message, Model};
use message_queue_core::wire::Role;
use message_queue_core::{Count, DropReason, Flow, GroupId, GroupView, Stats};

impl Model {
    /// What the broker's counters must say.
    pub fn stats(&self) -> Stats {
        let mut stats = self.totals.clone();
        stats.connections = self.connections.len();
        stats.producers = self.with_role(Some(Role::Producer)).len();
        stats.consumers = self.with_role(Some(Role::Consumer)).len();
        // Version 1 knows one topic, and of a group of it each consumer is a member.
        stats.topics = 1;
        stats.memberships = stats.consumers;
        for id in self.groups.keys() {
            stats.flow.waiting += self.waiting(*id);
        }
        for (_, messages) in &self.parked {
            stats.parked += count(messages);
        }
        stats
    }

    /// What the broker must say about its groups.
    pub fn groups(&self) -> Vec<GroupView> {
        let members = |id: &GroupId| {
            let all = self.connections.values();
            all.filter(|member| member.group == Some(*id)).count()
        };
        let view = |(id, group): (&GroupId, &Group)| GroupView {
            id: *id,
            name: None,
            members: members(id),
            flow: Flow {
                waiting: self.waiting(*id),
                ..group.flow
            },
            backlog: count(&group.waiting),
            unsettled: Count::ZERO,
            delayed: Count::ZERO,
            given_up: Count::ZERO,
            behind: 0,
        };
        self.groups.iter().map(view).collect()
    }

    /// What waits for the members of a group, on its way to them or not.
    pub(super) fn waiting(&self, id: GroupId) -> Count {
        let mut sum = count(&self.groups[&id].waiting);
        for connection in self.connections.values() {
            if connection.group == Some(id)
                && let Some(in_flight) = &connection.in_flight
            {
                sum += count(&in_flight.messages);
            }
        }
        sum
    }

    pub(super) fn count_received(&mut self, messages: &[Message]) {
        self.totals.received += count(messages);
    }

    pub(super) fn count_offered(&mut self, id: GroupId, messages: &[Message]) {
        self.totals.flow.offered += count(messages);
        self.group(id).flow.offered += count(messages);
    }

    pub(super) fn deliver(&mut self, id: GroupId, messages: &[Message]) {
        self.totals.flow.delivered += count(messages);
        self.group(id).flow.delivered += count(messages);
    }

    pub(super) fn lose_backlog(&mut self, id: GroupId, reason: DropReason) {
        let lost = std::mem::take(&mut self.group(id).waiting);
        if !lost.is_empty() {
            self.lose(id, &lost, reason);
        }
    }

    pub(super) fn lose(&mut self, id: GroupId, messages: &[Message], reason: DropReason) {
        self.group(id).flow.dropped[reason.index()] += count(messages);
        self.dropped(Some(id), messages, reason);
    }

    pub(super) fn lose_without_a_group(&mut self, messages: &[Message], reason: DropReason) {
        self.totals.flow.offered += count(messages);
        self.dropped(None, messages, reason);
    }

    fn dropped(&mut self, group: Option<GroupId>, messages: &[Message], reason: DropReason) {
        self.totals.flow.dropped[reason.index()] += count(messages);
        self.effects.push(Effect::Dropped {
            topic: Some(self.config.topics.default_topic.clone()),
            group,
            name: None,
            reason,
            count: count(messages),
        });
    }
}

fn count(messages: &[Message]) -> Count {
    Count::new(messages.len(), bytes(messages))
}
