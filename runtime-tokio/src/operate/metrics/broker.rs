//! The metrics of the broker itself.

use super::exposition::Exposition;
use super::topics;
use crate::Snapshot;
use crate::access::FailureLimit;
use message_queue_core::{CloseReason, Count, DeliveryMode, DropReason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::time::Duration;

/// The figures of the broker, and how old they are.
#[derive(Debug)]
pub(super) struct BrokerCollector {
    pub(super) snapshot: Snapshot,
    pub(super) age: Duration,
    /// The most topics that have series of their own.
    pub(super) most_topics: usize,
    /// Whom it refuses that had failed before.
    pub(super) failure_limit: FailureLimit,
}

impl Collector for BrokerCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        exposition.gauge(
            "snapshot_age_seconds",
            "Age of the broker's figures; more than a second if it did not answer",
            self.age.as_secs_f64(),
        )?;
        let snapshot = &self.snapshot;
        state(&mut exposition, snapshot)?;
        limits(&mut exposition, snapshot)?;
        messages(&mut exposition, snapshot)?;
        topics::encode(&mut exposition, snapshot, self.most_topics)?;
        exposition.counter(
            "failed_handshake_refusals",
            "Connections refused because too many handshakes from their address had failed (FAILED_HANDSHAKES_PER_ADDRESS)",
            self.failure_limit.refusals(),
        )?;
        connections(&mut exposition, snapshot)
    }
}

fn state(exposition: &mut Exposition<'_>, snapshot: &Snapshot) -> fmt::Result {
    exposition.gauge(
        "uptime_seconds",
        "For how long the broker has been running",
        snapshot.uptime.as_secs_f64(),
    )?;
    exposition.gauge(
        "ready",
        "1 while new connections are taken, as /ready says",
        i64::from(snapshot.ready),
    )?;
    exposition.gauge(
        "draining",
        "1 from the begin of the orderly end",
        i64::from(snapshot.draining),
    )
}

fn limits(exposition: &mut Exposition<'_>, snapshot: &Snapshot) -> fmt::Result {
    let config = &snapshot.config;
    let backlog_messages = match config.delivery {
        DeliveryMode::Broadcast => config.consumer_backlog,
        DeliveryMode::Queue => config.queue_capacity,
    };
    for (name, help, limit) in [
        (
            "connections_limit",
            "The most connections at a time",
            config.max_connections,
        ),
        (
            "consumers_limit",
            "The most consumers at a time",
            config.max_consumers,
        ),
        (
            "backlog_messages_limit",
            "The most messages in one backlog",
            backlog_messages,
        ),
        (
            "backlog_bytes_limit",
            "The most bytes in one backlog",
            config.backlog_bytes,
        ),
        (
            "broker_bytes_limit",
            "The most bytes in all backlogs together",
            config.broker_bytes,
        ),
    ] {
        exposition.gauge(name, help, limit as u64)?;
    }
    Ok(())
}

fn messages(exposition: &mut Exposition<'_>, snapshot: &Snapshot) -> fmt::Result {
    let stats = &snapshot.stats;
    let flow = &stats.flow;
    exposition.total("received", "received from producers", stats.received)?;
    exposition.total(
        "offered",
        "offered, once for each group that was to have them",
        flow.offered,
    )?;
    exposition.total(
        "delivered",
        "handed to consumers' sockets, whole; where consumers settle, settled as done",
        flow.delivered,
    )?;
    exposition.total("dead", "moved to dead-letter topics", flow.dead)?;
    let kept = "left in the store when nobody was there to take them; they are offered again";
    exposition.total("kept", kept, flow.kept)?;
    dropped(exposition, &flow.dropped)?;
    exposition.now("waiting", "waiting, those in flight included", flow.waiting)?;
    exposition.gauge(
        "behind_messages",
        "Messages that stored topics keep and groups have yet to be offered; once for each group",
        stats.behind.messages,
    )?;
    exposition.gauge(
        "behind_groups",
        "Groups that stored topics keep messages for which they have yet to be offered",
        stats.behind.groups,
    )?;
    exposition.now(
        "backlog",
        "in backlogs, those in flight not included",
        snapshot.backlog,
    )?;
    exposition.now(
        "fullest_backlog",
        "in the backlog that holds the most of them",
        snapshot.fullest_backlog,
    )?;
    exposition.now(
        "unsettled",
        "waiting, with consumers that are yet to settle them",
        stats.unsettled,
    )?;
    exposition.now(
        "parked",
        "held back by producers that wait for room",
        stats.parked,
    )?;
    exposition.total(
        "refused",
        "not taken, as their producers were told",
        stats.refused,
    )?;
    exposition.counter(
        "redelivered_messages",
        "Messages handed out again, after they had come back",
        stats.redelivered,
    )?;
    exposition.counter(
        "settled_late_messages",
        "Messages that were settled when they were not the consumer's any more",
        stats.settled_late,
    )?;
    exposition.gauge(
        "held_bytes",
        "Bytes that count within BROKER_BYTES: waiting, parked, and of messages not whole yet",
        snapshot.held_bytes as u64,
    )?;
    exposition.gauge(
        "oldest_waiting_message_age_seconds",
        "Age of the message that has waited longest; 0 where none waits",
        snapshot.oldest.as_secs_f64(),
    )
}

fn dropped(exposition: &mut Exposition<'_>, dropped: &[Count; DropReason::COUNT]) -> fmt::Result {
    let by_reason = |of: fn(Count) -> u64| {
        DropReason::ALL
            .into_iter()
            .map(move |it| (it.as_str(), of(dropped[it.index()])))
    };
    exposition.counters(
        "dropped_messages",
        "Messages dropped, by reason",
        "reason",
        by_reason(|it| it.messages),
    )?;
    exposition.counters(
        "dropped_bytes",
        "Bytes of the messages dropped, by reason",
        "reason",
        by_reason(|it| it.bytes),
    )
}

fn connections(exposition: &mut Exposition<'_>, snapshot: &Snapshot) -> fmt::Result {
    let stats = &snapshot.stats;
    exposition.gauge("connections", "Connections now", stats.connections as u64)?;
    exposition.gauge("producers", "Producers now", stats.producers as u64)?;
    exposition.gauge(
        "confirming_producers",
        "Producers now that are told what is safe",
        snapshot.confirming_producers as u64,
    )?;
    exposition.gauge("consumers", "Consumers now", stats.consumers as u64)?;
    for (name, help, count) in [
        (
            "connections_opened",
            "Connections ever opened",
            stats.opened,
        ),
        (
            "producers_registered",
            "Producers ever registered",
            stats.producers_registered,
        ),
        (
            "consumers_registered",
            "Consumers ever registered",
            stats.consumers_registered,
        ),
        (
            "accept_failures",
            "Times that the system could not give a new connection, for want of descriptors above all",
            snapshot.accept_failures,
        ),
        (
            "address_refusals",
            "Connections refused because their address had too many (MAX_CONNECTIONS_PER_ADDRESS, CONNECTION_RATE_PER_ADDRESS)",
            snapshot.address_refusals,
        ),
    ] {
        exposition.counter(name, help, count)?;
    }
    let ended = |refused: bool| {
        CloseReason::ALL
            .into_iter()
            .filter(move |reason| reason.is_refusal() == refused)
            .map(|reason| (reason.as_str(), stats.closed[reason.index()]))
    };
    exposition.counters(
        "connections_closed",
        "Connections ended, by reason",
        "reason",
        ended(false),
    )?;
    exposition.counters(
        "connections_refused",
        "Connections refused, by reason",
        "reason",
        ended(true),
    )
}
