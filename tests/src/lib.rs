//! Black-box and scenario tests of the broker: what they share.
//!
//! - [`process`]: the real binary as a child process; [`frames`]: clients that speak its wire.
//! - [`model`]: the reference model, a broker so plain that it can be seen to be right.
//! - [`groups_model`]: the reference model of version 2; [`world`]: a broker, and connections that bytes go in at and
//!   come out of.
//! - [`script`]: what happens on a broker's sockets, as text, played to the core and to the model
//!   in lockstep.
//! - [`shim`]: what is loaded into that process, to come between it and the system.
//! - [`usage`]: memory and CPU time of a process.
//! - [`random`]: random choices that are the same in every run.
//! - [`smol_driver`]: a second driver over smol's TCP, to hold the tokio one to.
//! - [`conversation`]: clients that speak version 2 of it, and what they are told.
//! - [`specification`]: the tables of `docs/PROTOCOL.md`.

pub mod conversation;
pub mod frames;
pub mod groups_model;
pub mod model;
pub mod process;
pub mod random;
pub mod run_book;
pub mod script;
pub mod shim;
pub mod smol_driver;
pub mod specification;
pub mod usage;
pub mod world;
