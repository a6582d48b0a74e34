//! The test harness.
//!
//! - [`smol_driver`]: a second driver over smol's TCP, to hold the tokio one to.

pub mod smol_driver;
