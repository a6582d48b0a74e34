//! The figures of one run.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Messages that producers have sent.
    pub sent: u64,
    /// Messages that consumers were to receive, all together.
    pub expected: u64,
    /// Messages that consumers have received.
    pub delivered: u64,
    /// The size of a message's body in bytes.
    pub size: usize,
    /// From the start of the producers to the last message received.
    pub elapsed: Duration,
    /// How long messages took, if that was measured.
    pub latency: Option<Latency>,
    /// What the broker or relay used, if that can be read.
    pub cost: Option<Cost>,
    /// Whether content and order were checked, and that nothing came twice. All was well, or there
    /// would be no outcome.
    pub verified: bool,
}

/// How long messages took, from when they were to be sent to when they were read, in
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: u64,
    /// 90 % took no longer.
    pub p90: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// 99.9 % took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What a process used for a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// CPU-seconds for a million messages delivered; the same as microseconds for each.
    pub cpu_per_million: f64,
    /// CPU-seconds in all.
    pub cpu_seconds: f64,
    /// The most memory resident at a time, in bytes.
    pub peak_bytes: u64,
}

impl Outcome {
    /// Messages delivered in a second.
    pub fn rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Bytes of message bodies delivered in a second.
    pub fn byte_rate(&self) -> f64 {
        self.rate() * self.size as f64
    }

    /// Messages that were to be received and were not.
    pub const fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// These figures for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "sent": self.sent,
            "expected": self.expected,
            "delivered": self.delivered,
            "lost": self.lost(),
            "size": self.size,
            "seconds": self.elapsed.as_secs_f64(),
            "messages_per_second": self.rate(),
            "bytes_per_second": self.byte_rate(),
            "latency_us": self.latency,
            "cost": self.cost,
            "verified": self.verified,
        })
    }
}

impl Latency {
    /// From latencies in microseconds.
    pub(super) fn of(latencies: &Histogram<u64>) -> Self {
        Self {
            p50: latencies.value_at_quantile(0.5),
            p90: latencies.value_at_quantile(0.9),
            p99: latencies.value_at_quantile(0.99),
            p999: latencies.value_at_quantile(0.999),
            max: latencies.max(),
        }
    }
}

impl Cost {
    pub(super) fn new(cpu: Duration, peak_bytes: u64, delivered: u64) -> Self {
        Self {
            cpu_per_million: cpu.as_secs_f64() * 1e6 / (delivered.max(1) as f64),
            cpu_seconds: cpu.as_secs_f64(),
            peak_bytes,
        }
    }
}
