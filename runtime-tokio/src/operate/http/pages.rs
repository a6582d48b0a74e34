//! The pages in JSON.

use crate::Snapshot;
use crate::serve::survey::{ConsumerStatus, ProducerStatus};
use message_queue_core::{Count, DeliveryMode, DropReason};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What waits in all backlogs together, as `/queue` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    delivery_mode: &'static str,
    consumers: usize,
    producers: usize,
    /// Not delivered yet: in backlogs or in flight.
    waiting: Messages,
    /// In backlogs.
    backlog: Messages,
    /// Held back by producers that wait for room.
    parked: Messages,
    /// Of the message that has waited longest; 0 where none waits.
    oldest_age_seconds: f64,
    /// The most that one backlog holds: of the queue, or (broadcast) of one consumer.
    backlog_limit: Messages,
    received: Messages,
    delivered: Messages,
    /// By the name of the reason; reasons without a message are left out.
    dropped: BTreeMap<&'static str, Messages>,
}

impl From<Snapshot> for Queue {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { stats, config, .. } = snapshot;
        let (delivery_mode, messages) = match config.delivery {
            DeliveryMode::Broadcast => ("broadcast", config.consumer_backlog),
            DeliveryMode::Queue => ("queue", config.queue_capacity),
        };
        Self {
            delivery_mode,
            consumers: stats.consumers,
            producers: stats.producers,
            waiting: stats.flow.waiting.into(),
            backlog: snapshot.backlog.into(),
            parked: stats.parked.into(),
            oldest_age_seconds: seconds(snapshot.oldest),
            backlog_limit: Count::new(messages, config.backlog_bytes).into(),
            received: stats.received.into(),
            delivered: stats.flow.delivered.into(),
            dropped: by_reason(stats.flow.dropped),
        }
    }
}

/// One producer, as `/producers` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Producer {
    /// The number of its connection, which is also in the log.
    id: u64,
    peer: SocketAddr,
    /// Who it is; null where the broker does not ask.
    principal: Option<String>,
    connected_seconds: f64,
    /// What it has sent, whole messages.
    received: Messages,
    /// Whether it is not read from until there is room.
    waits_for_room: bool,
}

impl From<ProducerStatus> for Producer {
    fn from(status: ProducerStatus) -> Self {
        Self {
            id: status.conn.0,
            peer: status.addr,
            principal: status.principal.map(|it| it.to_string()),
            connected_seconds: seconds(status.connected),
            received: status.received.into(),
            waits_for_room: status.waits_for_room,
        }
    }
}

/// One consumer, as `/consumers` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Consumer {
    /// The number of its connection, which is also in the log.
    id: u64,
    peer: SocketAddr,
    /// Who it is; null where the broker does not ask.
    principal: Option<String>,
    connected_seconds: f64,
    delivered: Messages,
    /// What it alone has missed, by the name of the reason; reasons without a message are left
    /// out. Always empty in queue mode.
    dropped: BTreeMap<&'static str, Messages>,
    /// What waits for it, or, in queue mode, for whoever is free.
    backlog: Messages,
    /// The write that its socket has not wholly taken yet.
    in_flight: Messages,
}

impl From<ConsumerStatus> for Consumer {
    fn from(status: ConsumerStatus) -> Self {
        Self {
            id: status.conn.0,
            peer: status.addr,
            principal: status.principal.map(|it| it.to_string()),
            connected_seconds: seconds(status.connected),
            delivered: status.delivered.into(),
            dropped: by_reason(status.dropped),
            backlog: status.backlog.into(),
            in_flight: status.in_flight.into(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Messages {
    messages: u64,
    bytes: u64,
}

impl From<Count> for Messages {
    fn from(Count { messages, bytes }: Count) -> Self {
        Self { messages, bytes }
    }
}

pub(super) fn by_reason(dropped: [Count; DropReason::COUNT]) -> BTreeMap<&'static str, Messages> {
    DropReason::ALL
        .into_iter()
        .map(|reason| (reason.as_str(), dropped[reason.index()]))
        .filter(|(_, count)| !count.is_zero())
        .map(|(reason, count)| (reason, count.into()))
        .collect()
}

/// Seconds, to the millisecond.
pub(super) fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1000.0
}
