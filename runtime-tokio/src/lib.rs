//! The message broker over TCP: the tokio runtime, the client library and the command line.
//!
//! All behaviour lives in [`message_queue_core`]; this crate gives it sockets, a clock, settings, a
//! log and an HTTP port.
//!
//! | module | holds |
//! |---|---|
//! | `serve/` | the path of a byte: sockets, connections, and the core behind a lock. [`Server`] runs a broker; its [`Handle`] observes it and shuts it down |
//! | [`access`] | who is at the other end of a connection: TLS, tokens, and what one address may take |
//! | [`client`] | the client library: producers and consumers |
//! | [`store`] | where stored topics are kept: the seam to disks, real and simulated ones |
//! | [`record`] | the flight recorder, which records every input and output of the core |
//! | `operate/` | what an operator sees: log, metrics, HTTP port, signals, systemd |
//! | [`settings`] | the settings: environment variables and `.env` |
//! | [`bench`](mod@bench) | measures a broker |
//! | [`cli`] | the `message-queue` command |
//!
//! The last three, and most of `operate/`, need the feature `cli`, which is on by default. An application that
//! embeds the server or the client needs none of them.

// What cannot be said must not end the work: `println!` and `eprintln!` panic. See `cli/say.rs`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
mod operate;
pub mod record;
mod serve;
#[cfg(feature = "cli")]
pub mod settings;
pub mod store;

#[cfg(feature = "cli")]
pub use operate::logging;
pub use serve::identify::PolicyChange;
pub use serve::net;
pub use serve::observe::{Observed, Observer};
pub use serve::orders::OrderError;
pub use serve::server::{Handle, Overview, Server, Snapshot};
pub use serve::survey::{ConsumerStatus, Detail, ProducerStatus};
pub use store::{NotOpened, Opened, Taken};
