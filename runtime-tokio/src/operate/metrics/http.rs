//! The metrics of HTTP itself.

use super::exposition::Exposition;
use crate::operate::http::{Closed, HttpCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// What becomes of HTTP connections, of which there may be so many.
#[derive(Debug)]
pub(super) struct HttpCollector {
    pub(super) limit: usize,
    pub(super) counts: HttpCounts,
    pub(super) accept_failures: u64,
}

impl Collector for HttpCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        let counts = &self.counts;
        exposition.gauge(
            "http_connections_limit",
            "The most HTTP connections at a time",
            self.limit as u64,
        )?;
        exposition.gauge("http_connections", "HTTP connections now", counts.open)?;
        exposition.counter(
            "http_connections_opened",
            "HTTP connections ever opened",
            counts.opened,
        )?;
        exposition.counter(
            "http_connections_refused",
            "HTTP connections refused, as all places were taken and busy",
            counts.refused,
        )?;
        exposition.counter(
            "http_accept_failures",
            "Times that the system could not give a new HTTP connection",
            self.accept_failures,
        )?;
        let closed = Closed::ALL.iter().zip(counts.closed);
        exposition.counters(
            "http_connections_closed",
            "HTTP connections ended, by reason",
            "reason",
            closed.map(|(how, count)| (how.as_str(), count)),
        )
    }
}
