//! What an operator sees: the log, the metrics, the HTTP port, and the broker as a process.

#[cfg(feature = "cli")]
mod descriptors;
#[cfg(feature = "cli")]
pub(crate) mod http;
#[cfg(feature = "cli")]
pub mod logging;
#[cfg(feature = "cli")]
pub(crate) mod metrics;
#[cfg(feature = "cli")]
pub(crate) mod process;
pub(crate) mod report;
#[cfg(feature = "cli")]
pub(crate) mod signals;
#[cfg(feature = "cli")]
mod systemd;
