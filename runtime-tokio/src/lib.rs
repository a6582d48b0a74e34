//! The broker over tokio.

pub mod cli;
pub mod client;
