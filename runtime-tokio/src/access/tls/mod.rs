//! TLS: connections that nobody can read or change on their way, and certificates that say who is who.

mod certificate;

pub use certificate::{BadCertificate, PeerCertificate};
