//! How a collector writes its families of metrics, one after the other.

use message_queue_core::Count;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Writes families of metrics.
pub(super) struct Exposition<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Exposition<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// A [`Count`] that only grows.
    pub(super) fn total(&mut self, name: &str, what: &str, count: Count) -> fmt::Result {
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
    pub(super) fn now(&mut self, name: &str, what: &str, count: Count) -> fmt::Result {
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

    pub(super) fn counter<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let counter = ConstCounter::new(value);
        counter.encode(
            self.encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?,
        )
    }

    /// A metric that knows how it is written.
    pub(super) fn metric(
        &mut self,
        name: &str,
        help: &str,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.encoder.encode_descriptor(name, help, None, kind)?)
    }

    pub(super) fn gauge<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let gauge = ConstGauge::new(value);
        gauge.encode(
            self.encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?,
        )
    }

    /// One counter for each value of a label: every value from the start, so that a rate is right
    /// from the first event on.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    /// One gauge for each value of a label.
    pub(super) fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, now) in values {
            ConstGauge::new(now).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}
