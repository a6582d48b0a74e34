//! What the tests stand on.
//!
//! - [`model`]: the reference model, a broker so plain that it can be seen to be right.
//! - [`script`]: scripts of what happens on a broker's sockets, as text, played to the core and to
//!   the model in lockstep.

pub mod model;
pub mod script;
