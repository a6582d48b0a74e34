//! The command line.

pub mod health;
pub mod serve;
