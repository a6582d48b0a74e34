//! The metrics of each topic: of the first `METRICS_TOPICS` that were made, and of all others together.

use super::exposition::Exposition;
use crate::Snapshot;
use crate::serve::survey::{PART, TopicStatus};
use message_queue_core::Flow;
use std::fmt;

/// The most topics that can have series of their own: those that are looked at in one go, so that their
/// figures and those of the whole broker are of one moment.
pub(crate) const MOST_LABELLED: usize = PART;

/// The label of all topics without series of their own: those that came later, those that are forgotten, and
/// one of this name.
pub(super) const OTHER: &str = "other";

/// The messages of one topic.
#[derive(Clone, Copy)]
struct Messages {
    received: u64,
    offered: u64,
    delivered: u64,
    waiting: u64,
    behind: u64,
    dead: u64,
    dropped: u64,
}

impl Messages {
    fn new(received: u64, flow: &Flow, behind: u64) -> Self {
        Self {
            received,
            offered: flow.offered.messages,
            delivered: flow.delivered.messages,
            waiting: flow.waiting.messages,
            behind,
            dead: flow.dead.messages,
            dropped: flow.dropped_in_all().messages,
        }
    }

    /// What is left of these when those of a topic are taken away.
    fn without(self, topic: Self) -> Self {
        Self {
            received: self.received - topic.received,
            offered: self.offered - topic.offered,
            delivered: self.delivered - topic.delivered,
            waiting: self.waiting - topic.waiting,
            behind: self.behind - topic.behind,
            dead: self.dead - topic.dead,
            dropped: self.dropped - topic.dropped,
        }
    }
}

/// Writes the series of up to `most` topics, and of all others. Summed over its label each metric is that of
/// the whole broker.
pub(super) fn encode(
    exposition: &mut Exposition<'_>,
    snapshot: &Snapshot,
    most: usize,
) -> fmt::Result {
    let stats = &snapshot.stats;
    let mut other = Messages::new(stats.received.messages, &stats.flow, stats.behind.messages);
    let named = snapshot.topics.iter().map(|it| &it.report);
    let named = named.filter(|it| it.name.as_str() != OTHER).take(most);
    let mut all = Vec::with_capacity(most + 1);
    for topic in named {
        let behind = topic.behind.map_or(0, |it| it.messages);
        let messages = Messages::new(topic.received, &topic.flow, behind);
        other = other.without(messages);
        all.push((topic.name.as_str(), messages));
    }
    all.push((OTHER, other));
    for (name, help, of) in [
        (
            "topic_received_messages",
            "Messages received from producers, by topic",
            (|it| it.received) as fn(&Messages) -> u64,
        ),
        (
            "topic_offered_messages",
            "Messages offered, once for each group that was to have them, by topic",
            |it| it.offered,
        ),
        (
            "topic_delivered_messages",
            "Messages delivered, by topic",
            |it| it.delivered,
        ),
        (
            "topic_dead_messages",
            "Messages moved to the dead-letter topic, by the topic that they came from",
            |it| it.dead,
        ),
        (
            "topic_dropped_messages",
            "Messages dropped, by topic",
            |it| it.dropped,
        ),
    ] {
        exposition.counters(
            name,
            help,
            "topic",
            all.iter().map(|(name, it)| (*name, of(it))),
        )?;
    }
    exposition.gauges(
        "topic_waiting_messages",
        "Messages waiting, those in flight and unsettled included, by topic",
        "topic",
        all.iter().map(|(name, it)| (*name, it.waiting)),
    )?;
    exposition.gauges(
        "topic_behind_messages",
        "Messages that stored topics keep and groups have yet to be offered, by topic",
        "topic",
        all.iter().map(|(name, it)| (*name, it.behind)),
    )?;
    all.pop();
    let blocked: Vec<_> = snapshot.topics.iter().filter_map(blocked).collect();
    let producers = |name: &str| {
        let found = blocked.iter().find(|(blocked, _)| *blocked == name);
        found.map_or(0, |(_, producers)| *producers)
    };
    exposition.gauges(
        "topic_blocked_producers",
        "Producers that wait for room, by topic; /topics has all topics",
        "topic",
        all.iter().map(|(name, _)| (*name, producers(name))),
    )
}

fn blocked(topic: &TopicStatus) -> Option<(&str, u64)> {
    let producers = topic.report.blocked?.producers as u64;
    Some((topic.report.name.as_str(), producers))
}
