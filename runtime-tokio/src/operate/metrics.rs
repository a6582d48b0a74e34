//! `/metrics`: what the broker has counted, in a text format that Prometheus reads.
//!
//! Nothing is counted here. The core keeps plain numbers, and each scrape takes one snapshot of
//! them, so that the figures of one scrape belong together and add up:
//!
//! ```text
//! offered = delivered + waiting + dead + kept + dropped, summed over its reasons   (messages, and bytes)
//! connections_opened = connections + connections_closed + connections_refused, likewise
//! ```
//!
//! No label names a connection, and at most `METRICS_TOPICS` topics have a label, so the number of series is
//! bounded; see `/consumers` and `/topics` for each one.

mod broker;
mod engine;
mod exposition;
mod format;
mod http;
#[cfg(target_os = "linux")]
mod process;
mod recording;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod topics;

pub(crate) use format::Format;
pub(crate) use tls::TlsMetrics;
pub(crate) use topics::MOST_LABELLED;

use super::http::HttpStats;
use crate::Snapshot;
use crate::access::FailureLimit;
use crate::access::tls::Handshakes;
use crate::record::RecordingStatus;
use crate::store::StoreStatus;
use broker::BrokerCollector;
use engine::EngineCollector;
use http::HttpCollector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::StoreCollector;

/// The prefix of every name but those of the process.
const PREFIX: &str = "message_queue";

/// What a scrape shows beside the broker's own figures.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// The most topics that have series of their own; `METRICS_TOPICS`.
    topics: usize,
    http: Option<Arc<HttpStats>>,
    recording: Option<RecordingStatus>,
    tls: Option<TlsMetrics>,
    failure_limit: FailureLimit,
    /// The store's figures, and its folder.
    store: Option<(Arc<StoreStatus>, PathBuf)>,
    /// Those of an engine that brokers share.
    engine: Option<Arc<StoreStatus>>,
}

impl Metrics {
    /// With series of their own for up to so many topics.
    #[must_use]
    pub(crate) fn with_topics(mut self, most: usize) -> Self {
        self.topics = most;
        self
    }

    /// The metrics of the HTTP port too.
    #[must_use]
    pub(crate) fn with_http(mut self, stats: Arc<HttpStats>) -> Self {
        self.http = Some(stats);
        self
    }

    /// The metrics of a recording too.
    #[must_use]
    pub(crate) fn with_recording(mut self, status: RecordingStatus) -> Self {
        self.recording = Some(status);
        self
    }

    /// The metrics of TLS too.
    #[must_use]
    pub(crate) fn with_tls(mut self, tls: TlsMetrics) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What becomes of connections from where handshakes have failed.
    #[must_use]
    pub(crate) fn with_failure_limit(mut self, limit: FailureLimit) -> Self {
        self.failure_limit = limit;
        self
    }

    /// The metrics of stored topics too, which are kept in this folder.
    #[must_use]
    pub(crate) fn with_store(mut self, status: Arc<StoreStatus>, folder: PathBuf) -> Self {
        self.store = Some((status, folder));
        self
    }

    /// The metrics of an engine that brokers share, too.
    #[must_use]
    pub(crate) fn with_engine(mut self, status: Arc<StoreStatus>) -> Self {
        self.engine = Some(status);
        self
    }

    /// Where the handshakes of a port are counted: of HTTP, or of clients. None without TLS.
    pub(crate) fn handshakes(&self, http: bool) -> Option<Arc<Handshakes>> {
        Some(self.tls.as_ref()?.handshakes(http))
    }

    /// One scrape, in this format: the figures of the broker in `snapshot`, which has this age, and
    /// all others as they are now.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub(crate) fn encode(
        &self,
        snapshot: Snapshot,
        age: Duration,
        format: Format,
    ) -> Result<String, fmt::Error> {
        let mut all = Registry::default();
        #[cfg(target_os = "linux")]
        all.register_collector(Box::new(process::ProcessCollector));
        let ours = all.sub_registry_with_prefix(PREFIX);
        ours.register(
            "build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        ours.register_collector(Box::new(BrokerCollector {
            snapshot,
            age,
            most_topics: self.topics,
            failure_limit: self.failure_limit.clone(),
        }));
        if let Some(http) = &self.http {
            ours.register_collector(Box::new(HttpCollector {
                limit: http.limit,
                counts: http.counts(),
                accept_failures: http.accept_failures.load(Ordering::Relaxed),
            }));
        }
        if let Some(recording) = &self.recording {
            ours.register_collector(Box::new(recording.clone()));
        }
        if let Some(tls) = &self.tls {
            ours.register_collector(Box::new(tls.clone()));
        }
        if let Some((status, folder)) = &self.store {
            ours.register_collector(Box::new(StoreCollector {
                status: Arc::clone(status),
                folder: folder.clone(),
                most_topics: self.topics,
            }));
        }
        if let Some(status) = &self.engine {
            ours.register_collector(Box::new(EngineCollector(Arc::clone(status))));
        }
        let mut text = String::new();
        text::encode(&mut text, &all)?;
        Ok(format.of_openmetrics(text))
    }
}
