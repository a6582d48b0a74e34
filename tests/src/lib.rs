//! Black-box and scenario tests of the broker: what they share.
//!
//! - [`process`]: the real binary, and [`frames`], what a client would write by hand.
//! - [`smol_driver`]: a second driver over smol's TCP, to hold the tokio one to.

pub mod frames;
pub mod process;
pub mod smol_driver;
