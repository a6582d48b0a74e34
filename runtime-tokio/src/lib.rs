//! The message broker over TCP: the tokio runtime, the client library and the command line.
//!
//! All behaviour lives in [`message_queue_core`]; this crate gives it sockets, a clock, settings, a
//! log and an HTTP port.
//!
//! - `serve/`: the way of a byte. [`Server`] serves a broker, [`Handle`] looks at it and ends it.
//! - [`client`]: the other end of the wire.
//! - [`record`]: the flight recorder, which writes down all that the core does.
//! - `operate/`: what an operator sees.
//!
//! With the feature `cli`, which is on by default, there are also [`settings`], the HTTP port and the
//! metrics, [`bench`](mod@bench) (measures a broker) and [`cli`]. Who embeds the server or the client needs
//! none of them.

// What cannot be said must not end the work: `println!` and `eprintln!` panic. See `cli/say.rs`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

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

#[cfg(feature = "cli")]
pub use operate::logging;
pub use serve::net;
pub use serve::observe::{Observed, Observer};
pub use serve::server::{Handle, Overview, Server, Snapshot};
pub use serve::survey::{ConsumerStatus, Detail, ProducerStatus};
