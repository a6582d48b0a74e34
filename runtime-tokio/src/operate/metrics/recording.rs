//! The metrics of the flight recorder.

use super::exposition::Exposition;
use crate::record::RecordingStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

impl Collector for RecordingStatus {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        exposition.counter(
            "recorded_bytes",
            "Bytes that the flight recorder wrote",
            self.written_bytes(),
        )?;
        exposition.counter(
            "recording_gaps",
            "Times that the flight recorder was interrupted",
            self.gaps(),
        )?;
        exposition.counter(
            "recording_missed_steps",
            "Steps of the core that the flight recorder missed",
            self.missed_steps(),
        )?;
        exposition.gauge(
            "recording_failed",
            "1 if a file could not be written, which ended the flight recorder",
            i64::from(self.has_failed()),
        )
    }
}
