//! The broker over tokio.
