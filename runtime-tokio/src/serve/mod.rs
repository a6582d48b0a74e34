//! The way of a byte: from a socket into the core, and out of it to other sockets.
//!
//! In the order in which data flows: `net.rs` (where connections come from), `accept.rs` (takes
//! them), `server.rs` (serves them and ends in an orderly way), `connection.rs` (one socket's task), `driver.rs` (the core
//! behind a lock), `pacing.rs` (when a producer is read from), `peer.rs` (one socket's write side),
//! `tally.rs` (what it has moved), `deadlines.rs` (when what is due is judged), `observe.rs` (a view
//! of all that the core does), `survey.rs` (what there is to see of it), `orders.rs` (what an operator
//! has done to it).

pub(crate) mod accept;
mod connection;
mod deadlines;
pub(crate) mod driver;
pub(crate) mod identify;
pub mod net;
pub(crate) mod observe;
pub(crate) mod orders;
mod pacing;
mod peer;
pub(crate) mod server;
mod stall;
mod stream;
pub(crate) mod survey;
mod tally;
