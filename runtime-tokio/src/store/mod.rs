//! Where stored topics are kept.
//!
//! ```text
//! core ─▶ Request ─▶ store thread: a log for each topic ─▶ operations ─▶ I/O threads ─▶ disk
//!      ◀─ Answer  ◀─              thread.rs             ◀─ completions ◀─  pool.rs
//! ```

pub(crate) mod disk;
pub(crate) mod folder;
