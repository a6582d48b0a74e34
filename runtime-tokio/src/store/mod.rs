//! Where stored topics are kept.
//!
//! ```text
//! core ─▶ Request ─▶ the store's thread: a log for each topic ─▶ operations ─▶ a few threads ─▶ disk
//!      ◀─ Answer  ◀─        thread.rs, topic.rs               ◀─ completions ◀─  pool.rs        disk.rs
//! ```
//!
//! `folder.rs` is the folder of all that, and `opening.rs` opens what is in it before anything is served.

#[cfg(feature = "cli")]
mod aside;
mod clock;
pub(crate) mod disk;
#[cfg(test)]
mod faulty;
pub(crate) mod folder;
mod opened;
mod opening;
mod pool;
mod status;
#[cfg(test)]
mod tests;
mod thread;
mod topic;

#[cfg(feature = "cli")]
pub(crate) use disk::free_bytes;
pub use opened::{NotOpened, Opened, Taken};
pub(crate) use opened::{StoreEvent, StoreEvents};
pub(crate) use status::StoreStatus;
#[cfg(feature = "cli")]
pub(crate) use status::{BOUNDS, Latency};
pub(crate) use thread::Store;
