//! The metrics of an engine that brokers share.

use super::exposition::Exposition;
use crate::store::StoreStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether it can be reached, and what it had no use for.
#[derive(Clone, Debug)]
pub(super) struct EngineCollector(pub(super) Arc<StoreStatus>);

impl Collector for EngineCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        exposition.gauge(
            "engine_up",
            "Whether the engine that keeps topics can be reached",
            u64::from(self.0.out_of_reach().is_none()),
        )?;
        exposition.counter(
            "engine_rebalances",
            "How often a group of this broker has lost its partitions in Kafka, to share them anew with other brokers",
            self.0.rebalances.load(Ordering::Relaxed),
        )?;
        exposition.counter(
            "engine_unreadable_records",
            "Records in Kafka that were passed over: they are damaged, or too large for a client",
            self.0.unreadable.load(Ordering::Relaxed),
        )
    }
}
