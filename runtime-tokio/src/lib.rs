//! The message broker over TCP: the tokio runtime, the client library and the command line.
//!
//! All behaviour lives in [`message_queue_core`]; this crate gives it sockets, a clock, settings, a
//! log and an HTTP port. In the order in which data flows: `net.rs` (where connections come from),
//! `server.rs` (accepts them and ends in an orderly way), `connection.rs` (one socket's task),
//! `driver.rs` (the core behind a lock), `peer.rs` (one socket's write side), `report.rs` (the log),
//! `observe.rs` (a view of all that the core does), `record/` (which writes it down). Beside them:
//! `process.rs` (the broker as a process), `systemd.rs` (what it is told), `settings/`,
//! `logging.rs`, `http.rs` and `metrics.rs`, `client/` (the other end of the wire), `bench/`
//! (measures a broker), and `cli/`.

pub mod bench;
pub mod cli;
pub mod client;
mod connection;
mod driver;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod net;
mod observe;
mod peer;
#[cfg(planted_bugs)]
pub mod planted;
#[cfg(not(planted_bugs))]
mod planted;
mod process;
pub mod record;
mod report;
mod server;
pub mod settings;
mod systemd;

pub use observe::{Observed, Observer};
pub use server::{ConsumerStatus, Handle, Server, Snapshot};
