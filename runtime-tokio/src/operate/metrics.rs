//! `/metrics`: what the broker has counted, in a text format that Prometheus reads.
//!
//! Nothing is counted here. The core keeps plain numbers, and each scrape takes one snapshot of
//! them, so that the figures of one scrape belong together and add up:
//!
//! ```text
//! offered = delivered + waiting + dropped, summed over its reasons   (messages, and bytes)
//! connections_opened = connections + connections_closed + connections_refused, likewise
//! ```
//!
//! No label names a connection, so the number of series is fixed; see `/consumers` for each one.

mod format;
mod recording;

pub use format::Format;

use crate::Snapshot;
use crate::record::RecordingStatus;
use message_queue_core::{CloseReason, Count, DropReason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;

/// The prefix of every name.
const PREFIX: &str = "message_queue";

/// The metrics of one broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics that take a `snapshot` at each scrape.
    pub fn new(snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(
            "build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(BrokerCollector { snapshot }));
        Self { registry }
    }

    /// These, and those of a recording.
    #[must_use]
    pub fn with_recording(mut self, status: RecordingStatus) -> Self {
        self.registry.register_collector(Box::new(status));
        self
    }

    /// Everything, as it is now, in this format.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(format.of_openmetrics(text))
    }
}

struct BrokerCollector<F> {
    snapshot: F,
}

impl<F> fmt::Debug for BrokerCollector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerCollector").finish_non_exhaustive()
    }
}

impl<F: Fn() -> Snapshot + Send + Sync + 'static> Collector for BrokerCollector<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = (self.snapshot)();
        let mut exposition = Exposition { encoder };
        exposition.gauge(
            "uptime_seconds",
            "For how long the broker has been running",
            snapshot.uptime.as_secs_f64(),
        )?;
        exposition.messages(&snapshot)?;
        exposition.connections(&snapshot)
    }
}

/// Writes families of metrics, one after the other.
struct Exposition<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Exposition<'_> {
    fn messages(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let stats = &snapshot.stats;
        let flow = &stats.flow;
        self.total("received", "received from producers", stats.received)?;
        self.total(
            "offered",
            "offered, once for each group that was to have them",
            flow.offered,
        )?;
        self.total(
            "delivered",
            "handed to consumers' sockets, whole",
            flow.delivered,
        )?;
        self.dropped(&flow.dropped)?;
        self.now("waiting", "waiting, those in flight included", flow.waiting)?;
        self.now(
            "backlog",
            "in backlogs, those in flight not included",
            snapshot.backlog,
        )?;
        self.now(
            "parked",
            "held back by producers that wait for room",
            stats.parked,
        )?;
        self.gauge(
            "oldest_waiting_message_age_seconds",
            "Age of the message that has waited longest; 0 where none waits",
            snapshot.oldest.as_secs_f64(),
        )
    }

    fn connections(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let stats = &snapshot.stats;
        self.gauge("connections", "Connections now", stats.connections as u64)?;
        self.gauge("producers", "Producers now", stats.producers as u64)?;
        self.gauge("consumers", "Consumers now", stats.consumers as u64)?;
        self.counter(
            "connections_opened",
            "Connections ever opened",
            stats.opened,
        )?;
        self.counter(
            "producers_registered",
            "Producers ever registered",
            stats.producers_registered,
        )?;
        self.counter(
            "consumers_registered",
            "Consumers ever registered",
            stats.consumers_registered,
        )?;
        let ended = |refused: bool| {
            CloseReason::ALL
                .into_iter()
                .filter(move |reason| reason.is_refusal() == refused)
                .map(|reason| (reason.as_str(), stats.closed[reason.index()]))
        };
        self.by_reason(
            "connections_closed",
            "Connections ended, by reason",
            ended(false),
        )?;
        self.by_reason(
            "connections_refused",
            "Connections refused, by reason",
            ended(true),
        )
    }

    /// A [`Count`] that only grows.
    fn total(&mut self, name: &str, what: &str, count: Count) -> fmt::Result {
        self.counter(
            &format!("{name}_messages"),
            &format!("Messages {what}"),
            count.messages,
        )?;
        self.counter(
            &format!("{name}_bytes"),
            &format!("Bytes of the messages {what}"),
            count.bytes,
        )
    }

    /// A [`Count`] as it is now.
    fn now(&mut self, name: &str, what: &str, count: Count) -> fmt::Result {
        self.gauge(
            &format!("{name}_messages"),
            &format!("Messages {what}"),
            count.messages,
        )?;
        self.gauge(
            &format!("{name}_bytes"),
            &format!("Bytes of the messages {what}"),
            count.bytes,
        )
    }

    fn dropped(&mut self, dropped: &[Count; DropReason::COUNT]) -> fmt::Result {
        let by_reason = |of: fn(Count) -> u64| {
            DropReason::ALL
                .into_iter()
                .map(move |it| (it.as_str(), of(dropped[it.index()])))
        };
        self.by_reason(
            "dropped_messages",
            "Messages dropped, by reason",
            by_reason(|it| it.messages),
        )?;
        self.by_reason(
            "dropped_bytes",
            "Bytes of the messages dropped, by reason",
            by_reason(|it| it.bytes),
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(
            self.encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?,
        )
    }

    fn gauge<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let gauge = ConstGauge::new(value);
        gauge.encode(
            self.encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?,
        )
    }

    /// One counter for each reason: every reason from the start, so that a rate is right from the
    /// first event on.
    fn by_reason(
        &mut self,
        name: &str,
        help: &str,
        counts: impl Iterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
