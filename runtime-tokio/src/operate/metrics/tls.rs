//! The metrics of TLS.

use super::exposition::Exposition;
use crate::access::FailureLimit;
use crate::access::tls::{Handshakes, ServerTls};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Arc;

/// The certificate, and the handshakes of all ports.
#[derive(Clone, Debug)]
pub(crate) struct TlsMetrics {
    tls: Arc<ServerTls>,
    clients: Arc<Handshakes>,
    operators: Arc<Handshakes>,
}

impl TlsMetrics {
    /// The certificate, and counters of handshakes, of which those of clients may fail within `limit`.
    pub(crate) fn new(tls: Arc<ServerTls>, limit: FailureLimit) -> Self {
        Self {
            tls,
            clients: Arc::new(Handshakes::default().limited(limit)),
            operators: Arc::default(),
        }
    }

    /// Where the handshakes of a port are counted: of HTTP, or of clients.
    pub(super) fn handshakes(&self, http: bool) -> Arc<Handshakes> {
        Arc::clone(if http { &self.operators } else { &self.clients })
    }
}

impl Collector for TlsMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        exposition.gauge(
            "tls_certificate_expiry_seconds",
            "When the certificate in force expires, in seconds since 1970",
            self.tls.expires().as_secs(),
        )?;
        exposition.counter(
            "tls_reload_failures",
            "Times that the certificate's files had changed and were no good",
            self.tls.reload_failures(),
        )?;
        let ports = [("tcp", &self.clients), ("http", &self.operators)];
        exposition.counters(
            "tls_handshakes_completed",
            "TLS handshakes completed, by port",
            "port",
            ports.map(|(port, it)| (port, it.completed())),
        )?;
        let failed = self.clients.failed().zip(self.operators.failed());
        exposition.counters(
            "tls_handshakes_failed",
            "TLS handshakes failed, on all ports, by cause",
            "cause",
            failed.map(|((cause, one), (_, other))| (cause.as_str(), one + other)),
        )
    }
}
