//! What keeps stored topics: the engines that `STORAGE` names, for commands that are about one of them.

use clap::builder::PossibleValue;
use message_queue_core::Storage;

/// Engines that are not in every build, and whether they are in this one.
pub(super) const FEATURES: [(Storage, bool); 3] = [
    (Storage::RocksDb, cfg!(feature = "rocksdb")),
    (Storage::RabbitMq, cfg!(feature = "rabbitmq")),
    (Storage::Kafka, cfg!(feature = "kafka")),
];

/// What keeps stored topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One that has a folder of the broker alone.
    Folder(FolderEngine),
    /// One that runs already, and that other brokers may share.
    Shared(SharedEngine),
}

/// What keeps stored topics in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FolderEngine {
    /// The broker's own log
    #[default]
    Disk,
    /// A RocksDB database, in builds that have it
    #[value(name = "rocksdb")]
    RocksDb,
}

/// What keeps stored topics elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SharedEngine {
    /// The Kafka of KAFKA_BROKERS, in builds that have it
    Kafka,
    /// The RabbitMQ of RABBITMQ_URL, in builds that have it
    #[value(name = "rabbitmq")]
    RabbitMq,
}

impl FolderEngine {
    /// What `STORAGE` is for it.
    pub const fn storage(self) -> Storage {
        match self {
            Self::Disk => Storage::Disk,
            Self::RocksDb => Storage::RocksDb,
        }
    }
}

impl SharedEngine {
    /// What `STORAGE` is for it.
    pub const fn storage(self) -> Storage {
        match self {
            Self::Kafka => Storage::Kafka,
            Self::RabbitMq => Storage::RabbitMq,
        }
    }
}

impl Engine {
    /// What `STORAGE` is for it.
    pub const fn storage(self) -> Storage {
        match self {
            Self::Folder(engine) => engine.storage(),
            Self::Shared(engine) => engine.storage(),
        }
    }

    /// Whether it is in this build.
    pub fn is_built(self) -> bool {
        let storage = self.storage();
        let mut features = FEATURES.iter();
        features.all(|(engine, is_there)| *engine != storage || *is_there)
    }
}

impl clap::ValueEnum for Engine {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Folder(FolderEngine::Disk),
            Self::Folder(FolderEngine::RocksDb),
            Self::Shared(SharedEngine::Kafka),
            Self::Shared(SharedEngine::RabbitMq),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Folder(engine) => engine.to_possible_value(),
            Self::Shared(engine) => engine.to_possible_value(),
        }
    }
}
