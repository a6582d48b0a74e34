//! The metrics of stored topics.

use super::exposition::Exposition;
use super::topics::OTHER;
use crate::store::{BOUNDS, Latency, Size, StoreStatus, free_bytes};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the store has done, and the room on its disk.
#[derive(Clone, Debug)]
pub(super) struct StoreCollector {
    pub(super) status: Arc<StoreStatus>,
    pub(super) folder: PathBuf,
    /// The most topics that have series of their own.
    pub(super) most_topics: usize,
}

impl Collector for StoreCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.status;
        let mut exposition = Exposition::new(encoder);
        exposition.counter(
            "store_appended_pieces",
            "Pieces that logs were asked to append",
            status.appended.load(Ordering::Relaxed),
        )?;
        exposition.counter(
            "store_appended_bytes",
            "Bytes of the messages that logs were asked to append",
            status.appended_bytes.load(Ordering::Relaxed),
        )?;
        exposition.metric(
            "store_append_seconds",
            "From when a log is asked to append something to when that is safe",
            &Histogram(&status.append_latency),
        )?;
        exposition.metric(
            "store_sync_seconds",
            "How long it takes the disk to make a file safe",
            &Histogram(&status.sync_latency),
        )?;
        exposition.counter(
            "store_read_errors",
            "Reads of logs that have failed",
            status.read_errors.load(Ordering::Relaxed),
        )?;
        exposition.gauge(
            "store_full",
            "How many logs wait for room on the disk",
            status.full.load(Ordering::Relaxed) as u64,
        )?;
        self.encode_sizes(&mut exposition)?;
        let opening = Duration::from_millis(status.opening.load(Ordering::Relaxed));
        exposition.gauge(
            "store_opening_seconds",
            "How long opening all logs took when the broker started",
            opening.as_secs_f64(),
        )?;
        match free_bytes(&self.folder) {
            Ok(free) => exposition.gauge(
                "store_disk_free_bytes",
                "Bytes that are free on the file system of DATA_DIR",
                free,
            ),
            // Then there is nothing to say.
            Err(_) => Ok(()),
        }
    }
}

impl StoreCollector {
    /// What is on the disk: of all logs, and by topic.
    fn encode_sizes(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let sizes = self.status.sizes();
        let sum = |sizes: &[(&str, Size)]| {
            let sizes = sizes.iter().map(|(_, size)| *size);
            sizes.fold(Size::default(), Size::plus)
        };
        let all: Vec<(&str, Size)> = sizes
            .iter()
            .map(|(name, it)| (name.as_str(), *it))
            .collect();
        let (others, mut named): (Vec<_>, Vec<_>) =
            all.iter().partition(|(name, _)| *name == OTHER);
        let beyond = named.split_off(self.most_topics.min(named.len()));
        named.push((OTHER, sum(&others).plus(sum(&beyond))));
        for (name, help, of_topic, help_of_topic, of) in [
            (
                "store_segments",
                "Segments of all logs",
                "store_topic_segments",
                "Segments of a topic's log",
                (|it| it.segments) as fn(&Size) -> u64,
            ),
            (
                "store_bytes",
                "Bytes in all logs, room that is set aside not included",
                "store_topic_bytes",
                "Bytes in a topic's log, room that is set aside not included",
                |it| it.bytes,
            ),
        ] {
            exposition.gauge(name, help, of(&sum(&all)))?;
            let values = named.iter().map(|(topic, size)| (*topic, of(size)));
            exposition.gauges(of_topic, help_of_topic, "topic", values)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Histogram<'a>(&'a Latency);

impl EncodeMetric for Histogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (counts, sum) = self.0.read();
        let bounds = BOUNDS.iter().map(|micros| Duration::from_micros(*micros));
        let bounds = bounds.map(|it| it.as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let all = counts.iter().sum();
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, all, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
