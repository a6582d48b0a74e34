//! What became of handshakes: counted, and told to the log without a line for each.

use super::explain;
use super::stream::HandshakeError;
use crate::access::FailureLimit;
use crate::access::seldom::Seldom;
use rustls::{CertificateError, Error};
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tracing::{debug, warn};

/// Why a handshake has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client's first bytes are not TLS.
    NotTls,
    /// The client was gone before the end of it.
    Gone,
    /// It was not done within its time.
    Timeout,
    /// Another one needed its place.
    Displaced,
    /// A certificate was asked for, and the client has none.
    NoCertificate,
    /// The client's certificate is not accepted.
    BadCertificate,
    /// The client does not accept the broker's certificate, or breaks off for another reason.
    RefusedByClient,
    /// Both have no version or cipher in common.
    Incompatible,
    /// What the client sent breaks the rules of TLS.
    Protocol,
}

impl Failure {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 9] = [
        Self::NotTls,
        Self::Gone,
        Self::Timeout,
        Self::Displaced,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::RefusedByClient,
        Self::Incompatible,
        Self::Protocol,
    ];

    /// Its name, for metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Gone => "gone",
            Self::Timeout => "timeout",
            Self::Displaced => "displaced",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::RefusedByClient => "refused_by_client",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
        }
    }

    /// Why this handshake of a server has failed, and in words.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else rustls may find breaks the rules of TLS"
    )]
    pub(super) fn of(error: &HandshakeError) -> (Self, String) {
        let error = match error {
            HandshakeError::Network(error) => return (Self::Gone, error.to_string()),
            HandshakeError::Ended => return (Self::Gone, "the client ended it".to_owned()),
            HandshakeError::Refused(error) => error,
        };
        let failure = match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(CertificateError::BadEncoding) => Self::Protocol,
            Error::InvalidCertificate(_) => Self::BadCertificate,
            Error::AlertReceived(_) => Self::RefusedByClient,
            Error::PeerIncompatible(_) => Self::Incompatible,
            _ => Self::Protocol,
        };
        (failure, explain::words(error))
    }
}

/// Handshakes of one port: counters, and what the log is yet to be told.
#[derive(Debug, Default)]
pub struct Handshakes {
    completed: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    limit: FailureLimit,
    lines: Mutex<Seldom>,
}

impl Handshakes {
    /// How many were completed.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// How many failed, by cause.
    pub fn failed(&self) -> impl Iterator<Item = (Failure, u64)> {
        let counts = self.failed.iter().map(|it| it.load(Ordering::Relaxed));
        Failure::ALL.into_iter().zip(counts)
    }

    /// Counts those that fail within `limit`, and refuses whom it refuses.
    #[must_use]
    pub fn limited(mut self, limit: FailureLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Whether nobody is to shake hands with who is there.
    pub(super) fn refuse(&self, peer: SocketAddr) -> bool {
        self.limit.refuses(peer.ip())
    }

    pub(super) fn note_completed(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client was gone before it said anything, as whoever only looks whether the port is open: nobody's failure.
    pub(super) fn note_gone_at_once(&self, peer: SocketAddr) {
        self.count(Failure::Gone);
        debug!(%peer, "connected and gone before a TLS handshake");
    }

    pub(super) fn note_failed(&self, failure: Failure, peer: SocketAddr, why: &dyn Display) {
        self.count(failure);
        // That others needed its place is not its own doing.
        if failure != Failure::Displaced {
            self.limit.note(peer.ip());
        }
        // Clients that are ended in the middle of it are no news.
        if failure == Failure::Gone {
            debug!(%peer, cause = failure.as_str(), detail = %why, "TLS handshake failed");
            return;
        }
        let lines = self.lines.lock();
        let others = lines.unwrap_or_else(PoisonError::into_inner).one_more();
        let Some(others) = others else {
            return;
        };
        warn!(%peer, cause = failure.as_str(), detail = %why, others, "TLS handshake failed");
    }

    fn count(&self, failure: Failure) {
        for (cause, count) in Failure::ALL.iter().zip(&self.failed) {
            if *cause == failure {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
