//! The engine `rocksdb`: one database for all topics.
//!
//! ```text
//! core ─▶ Request ─▶ the engine's thread ─▶ one batch of all that waits ─▶ the writer ─▶ RocksDB
//!      ◀─ Answer  ◀─     thread.rs, topic.rs  ◀─ it is safe              ◀─  jobs.rs
//!                                       ─▶ fetches, retention ─▶ readers ─▶
//! ```
//!
//! One batch is written at a time, and synced if any topic in it wants that; what is asked for meanwhile goes into the
//! next. So one sync serves all topics. `keys.rs` says what stands where. RocksDB's own log is replayed up to the first
//! record that is not whole, and a batch is one record: what was reported with [`Fsync::Always`] is there after any
//! crash, and all that is found was there at one moment.
//!
//! [`Fsync::Always`]: message_queue_core::log::Fsync::Always

mod jobs;
mod keys;
mod opening;
mod reading;
mod retention;
#[cfg(test)]
mod tests;
mod thread;
mod topic;

pub(super) use opening::{Fault, open};
