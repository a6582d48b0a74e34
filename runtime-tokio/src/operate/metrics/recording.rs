//! The metrics of the flight recorder.

use crate::record::RecordingStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

impl Collector for RecordingStatus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = [
            (
                "recorded_bytes",
                "Bytes that the flight recorder wrote",
                self.written_bytes(),
            ),
            (
                "recording_gaps",
                "Times that the flight recorder was interrupted",
                self.gaps(),
            ),
            (
                "recording_missed_steps",
                "Steps of the core that the flight recorder missed",
                self.missed_steps(),
            ),
        ];
        for (name, help, value) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "1 if a file could not be written, which ended the flight recorder";
        let metric =
            encoder.encode_descriptor("recording_failed", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.has_failed())).encode(metric)
    }
}
