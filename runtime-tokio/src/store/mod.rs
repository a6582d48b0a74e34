//! Where stored topics are kept.
//!
//! ```text
//! core ─▶ Request ─▶ the store's thread: a log for each topic ─▶ operations ─▶ a few threads ─▶ disk
//!      ◀─ Answer  ◀─        thread.rs, topic.rs               ◀─ completions ◀─  pool.rs        disk.rs
//! ```
//!
//! `folder.rs` is the folder of all that, and `opening.rs` opens what is in it before anything is served.

mod disk;
mod folder;
mod opening;
mod pool;
mod status;
mod thread;
mod topic;

pub(crate) use disk::{Reserve, free_bytes};
pub(crate) use folder::{DataDir, FolderError};
pub(crate) use opening::{OpenError, OpenLog, open_all};
pub(crate) use status::StoreStatus;
pub(crate) use thread::{Beginning, Listener, SettingsOf, Store};
