//! What the tests stand on.
//!
//! - [`process`] and [`frames`]: the real binary, and its wire from the outside.
//! - [`model`]: the reference model, a broker so plain that it can be seen to be right.
//! - [`script`]: scripts of what happens on a broker's sockets, as text, played to the core and to
//!   the model in lockstep.

pub mod frames;
pub mod model;
pub mod process;
pub mod script;
