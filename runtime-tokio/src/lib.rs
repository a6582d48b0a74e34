//! The broker over tokio.

pub mod cli;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod settings;
pub mod status;
