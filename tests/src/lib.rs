//! Black-box and scenario tests of the broker: what they share.

pub mod frames;
pub mod process;
