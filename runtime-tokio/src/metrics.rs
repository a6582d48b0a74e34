//! `/metrics`: what the broker has counted, in the text format of Prometheus (OpenMetrics).
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

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

    /// Everything, as it is now.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
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
mod tests {
    use super::*;
    use message_queue_core::wire::{FrameBatch, Role};
    use message_queue_core::{Broker, Config, ConnId, DeliveryMode, Input, Now, Output};
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    /// What is shown of a consumer that has taken one message, has one in flight, and for which
    /// two wait and two were dropped; of its producer; and of a connection that was refused.
    fn text(delivery: DeliveryMode) -> String {
        let mut broker = Broker::new(Config {
            delivery,
            max_connections: 2,
            consumer_backlog: 2,
            queue_capacity: 2,
            ..Config::default()
        });
        let at = |millis| Now::at(Duration::from_millis(millis));
        let (consumer, producer, refused) = (ConnId(1), ConnId(2), ConnId(3));
        for (conn, role) in [(consumer, Role::Consumer), (producer, Role::Producer)] {
            broker.handle_input(conn, Input::Opened, at(0));
            broker.handle_input(conn, Input::Role(role), at(0));
        }
        broker.handle_input(refused, Input::Opened, at(0));
        let batch = |messages: &[&str]| Input::Batch(FrameBatch::encode(messages).unwrap());
        broker.handle_input(producer, batch(&["a"]), at(500));
        let writes = std::iter::from_fn(|| broker.poll_output())
            .filter(|output| matches!(output, Output::Write { .. }))
            .count();
        assert_eq!(writes, 1);
        broker.handle_input(consumer, Input::Written(5), at(500));
        broker.handle_input(producer, batch(&["b"]), at(1_000));
        broker.handle_input(producer, batch(&["c", "d", "ee", "ff"]), at(2_000));
        let now = at(3_500);
        let snapshot = Snapshot {
            stats: broker.stats().clone(),
            backlog: broker.backlog(),
            oldest: now - broker.waiting_since().unwrap(),
            uptime: now.since_start(),
        };
        Metrics::new(move || snapshot.clone()).encode().unwrap()
    }

    /// Every series and its value, the prefix taken off.
    fn series(text: &str) -> BTreeMap<&str, f64> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (
                    name.strip_prefix("message_queue_").unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    fn sum_of(series: &BTreeMap<&str, f64>, family: &str) -> f64 {
        let start = format!("{family}{{");
        series
            .iter()
            .filter(|(name, _)| name.starts_with(&start))
            .map(|(_, value)| value)
            .sum()
    }

    #[test]
    fn what_was_counted_is_shown() {
        let text = text(DeliveryMode::Broadcast);
        let series = series(&text);
        let expected = [
            ("build_info{version=\"0.1.0\"}", 1.0),
            ("uptime_seconds", 3.5),
            ("received_messages_total", 6.0),
            ("received_bytes_total", 32.0),
            ("offered_messages_total", 6.0),
            ("offered_bytes_total", 32.0),
            ("delivered_messages_total", 1.0),
            ("delivered_bytes_total", 5.0),
            ("dropped_messages_total{reason=\"backlog_messages\"}", 2.0),
            ("dropped_bytes_total{reason=\"backlog_messages\"}", 12.0),
            ("waiting_messages", 3.0),
            ("waiting_bytes", 15.0),
            ("backlog_messages", 2.0),
            ("backlog_bytes", 10.0),
            ("parked_messages", 0.0),
            ("parked_bytes", 0.0),
            ("oldest_waiting_message_age_seconds", 2.5),
            ("connections", 2.0),
            ("producers", 1.0),
            ("consumers", 1.0),
            ("connections_opened_total", 3.0),
            ("producers_registered_total", 1.0),
            ("consumers_registered_total", 1.0),
            (
                "connections_refused_total{reason=\"too_many_connections\"}",
                1.0,
            ),
        ];
        for (name, value) in expected {
            assert_eq!(series.get(name), Some(&value), "{name} in\n{text}");
        }
        let others = series
            .iter()
            .filter(|(name, _)| expected.iter().all(|(it, _)| it != *name));
        for (name, value) in others {
            assert_eq!(*value, 0.0, "{name}");
        }
    }

    #[test]
    fn a_scrape_adds_up() {
        for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
            let text = text(delivery);
            let series = series(&text);
            for unit in ["messages", "bytes"] {
                assert_eq!(
                    series[&*format!("offered_{unit}_total")],
                    series[&*format!("delivered_{unit}_total")]
                        + series[&*format!("waiting_{unit}")]
                        + sum_of(&series, &format!("dropped_{unit}_total")),
                    "{text}"
                );
            }
            assert_eq!(
                series["connections_opened_total"],
                series["connections"]
                    + sum_of(&series, "connections_closed_total")
                    + sum_of(&series, "connections_refused_total"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_reason_is_there_from_the_start_once() {
        let text = text(DeliveryMode::Broadcast);
        let series = series(&text);
        let expected = CloseReason::ALL.into_iter().map(|reason| {
            let family = if reason.is_refusal() {
                "refused"
            } else {
                "closed"
            };
            format!("connections_{family}_total{{reason=\"{reason}\"}}")
        });
        for name in expected {
            assert!(series.contains_key(&*name), "{name}");
        }
        for reason in DropReason::ALL {
            assert!(series.contains_key(&*format!("dropped_bytes_total{{reason=\"{reason}\"}}")));
        }
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines.iter().collect::<BTreeSet<_>>().len(),
            lines.len(),
            "{text}"
        );
    }
}
