//! Where stored topics are kept.
//!
//! ```text
//! core ─▶ Request ─▶ a log for each topic  ─▶ operations ─▶ a few threads      ─▶ disk
//!      ◀─ Answer  ◀─ worker.rs, topic.rs  ◀─ completions ◀─ thread.rs, pool.rs    disk.rs
//! ```
//!
//! `folder.rs` is the folder of all that, and `opening.rs` opens what is in it before anything is served. A simulation has
//! neither threads (`task.rs`) nor files of the system's (`files.rs`, `volume.rs`), and disks that fail (`faulty.rs`); all
//! else there is as it is here.

#[cfg(feature = "cli")]
mod aside;
mod clock;
pub(crate) mod disk;
mod engine;
mod faulty;
mod files;
pub(crate) mod folder;
#[cfg(feature = "kafka")]
mod kafka;
mod kept;
mod logs;
mod opened;
mod opening;
mod pool;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod shared;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod thread;
mod topic;
mod volume;
mod worker;

#[cfg(feature = "cli")]
pub(crate) use clock::wall_clock;
pub use disk::{Disk, Failure, FolderDisk, Reserve};
pub(crate) use engine::Store;
pub use faulty::{EIO, ENOSPC, Fate, FaultyDisk};
pub use files::Files;
#[cfg(feature = "cli")]
pub(crate) use files::free_bytes;
#[cfg(feature = "kafka")]
pub(crate) use kafka::{
    Holds as KafkaRecord, MAX_RECORD as KAFKA_MAX_RECORD, Options as KafkaOptions,
    Properties as KafkaProperties, RefusedByKafka,
};
pub use opened::{NotOpened, Opened, Taken};
pub(crate) use opened::{StoreEvent, StoreEvents};
#[cfg(feature = "rabbitmq")]
pub(crate) use rabbitmq::{
    Options as RabbitMqOptions, RefusedByRabbitMq, Target as RabbitMqTarget,
    connect as connect_to_rabbitmq,
};
#[cfg(all(feature = "cli", feature = "rocksdb"))]
pub(crate) use rocksdb::options as database_options;
#[cfg(feature = "cli")]
pub(crate) use status::Size;
pub(crate) use status::StoreStatus;
#[cfg(feature = "cli")]
pub(crate) use status::{BOUNDS, Latency};
pub use volume::Volume;
