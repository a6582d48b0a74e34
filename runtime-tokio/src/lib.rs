//! The broker over tokio.

pub mod cli;
pub mod logging;
pub mod settings;
pub mod systemd;
