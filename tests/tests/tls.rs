//! TLS on real sockets: both versions of the wire, certificates of every kind, and peers that do not play along.

#[path = "tls/authority.rs"]
mod authority;
#[path = "tls/bad_certificates.rs"]
mod bad_certificates;
#[path = "tls/both_versions.rs"]
mod both_versions;
#[path = "tls/failure_limit.rs"]
mod failure_limit;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/init.rs"]
mod init;
#[path = "tls/principals.rs"]
mod principals;
#[path = "tls/process.rs"]
mod process;
#[path = "tls/renewal.rs"]
mod renewal;
#[path = "tls/world.rs"]
mod world;
