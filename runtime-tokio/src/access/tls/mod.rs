//! TLS: connections that nobody can read or change on their way, and certificates that say who is who.
//!
//! ```text
//! files.rs ─▶ server.rs (the certificate in force, read again when its files change)
//!                 │
//! listener ─▶ ports.rs (plain and TLS at once; handshakes.rs counts) ─▶ socket.rs ─▶ stream.rs ─▶ the driver
//! client.rs, pinned.rs (whom a client trusts, and as whom it comes) ─▶ socket.rs
//! ```
//!
//! `certificate.rs` has the names in a client's certificate, `explain.rs` the words for what goes wrong. The
//! cryptography is ring's, the protocol rustls': TLS 1.2 and 1.3.

mod certificate;
mod client;
mod explain;
mod files;
mod handshakes;
mod pinned;
mod ports;
mod server;
mod socket;
mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub use certificate::{BadCertificate, PeerCertificate};
pub use client::{ClientTls, ClientTlsError};
pub use files::{FileError, Problem};
pub use handshakes::{Failure, Handshakes};
pub use ports::{Ports, TlsOptions, TlsPort};
pub use server::{ClientAuth, Refused, ServerFiles, ServerTls};
pub use socket::Socket;
pub use stream::TlsStream;

use rustls::crypto::{CryptoProvider, ring};
use std::sync::{Arc, LazyLock};

/// Who does the cryptography. Nobody else in the process is asked, or bound by it.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));
