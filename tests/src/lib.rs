//! Black-box and scenario tests of the broker: what they share.
//!
//! - [`process`]: the real binary as a child process; [`frames`]: clients that speak its wire.
//! - [`model`]: the reference model, a broker so plain that it can be seen to be right.
//! - [`script`]: what happens on a broker's sockets, as text, played to the core and to the model
//!   in lockstep.

pub mod frames;
pub mod model;
pub mod process;
pub mod script;
