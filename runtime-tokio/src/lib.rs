//! The broker over tokio.

pub mod client;
