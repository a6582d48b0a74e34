//! A data folder that is taken, then one whose topics are open, and what its store has to say once the broker runs.

use super::clock::{elapsed, moment};
use super::disk::Reserve;
use super::engine::{Engine, Listener, SettingsOf, Store, settings_of};
use super::folder::{DataDir, FolderError, Format};
#[cfg(feature = "kafka")]
use super::kafka;
use super::logs::Logs;
use super::opening::{OpenError, log_settings, open_all, open_at};
#[cfg(feature = "rabbitmq")]
use super::rabbitmq;
#[cfg(feature = "rocksdb")]
use super::rocksdb;
use super::status::StoreStatus;
use super::task::{Latency, Simulated};
use super::volume::{DataVolume, Volume};
use message_queue_core::log::Operation;
use message_queue_core::names::TopicName;
use message_queue_core::store::Answer;
use message_queue_core::{Config, Now, Storage, StoredTopic, TopicId};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The data folder of a broker that stores topics: locked, and none of them open yet.
#[derive(Debug)]
pub struct Taken {
    pub(super) folder: DataDir,
    reserve: u64,
    config: Config,
    pub(super) status: Arc<StoreStatus>,
    /// When it was taken, and that moment since 1970.
    taken: Instant,
    now: Duration,
}

/// The data folder of a broker that stores topics: locked, and all of them open. See
/// [`Server::stored`](crate::Server::stored).
pub struct Opened {
    engine: Box<dyn Engine>,
    settings: SettingsOf,
    status: Arc<StoreStatus>,
    /// The moment at which they were, since 1970.
    pub(crate) now: Now,
}

/// What the store has to say to whoever runs the broker.
#[derive(Debug)]
pub(crate) enum StoreEvent {
    /// It answers the core.
    Answers(Vec<(TopicId, Answer)>),
    /// It has failed, and answers nothing more.
    Failed,
}

/// Where it says that. The core bounds what it asks for, and so what is answered.
pub(crate) type StoreEvents = UnboundedReceiver<StoreEvent>;

/// Why a data folder was not opened, and what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NotOpened(#[from] Cause);

impl NotOpened {
    /// Whether other settings are needed, and not another folder.
    pub const fn is_of_settings(&self) -> bool {
        matches!(
            self.0,
            Cause::NotStored { .. }
                | Cause::TwoEngines
                | Cause::Elsewhere { .. }
                | Cause::NoEngine(_)
                | Cause::Open(OpenError::Folder(FolderError::Engine { .. }))
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "DATA_DIR: {folder} holds the topic {topic}, which by STORAGE and the rules of TOPICS_FILE is kept in memory; set \
         storage={storage} for it, or {otherwise}"
    )]
    NotStored {
        folder: String,
        topic: TopicName,
        storage: &'static str,
        otherwise: String,
    },
    #[error(
        "some topics are to be stored in one way and some in another; a data folder keeps all of its topics in one"
    )]
    TwoEngines,
    #[error(
        "DATA_DIR: {folder} holds topics, and STORAGE={engine} keeps topics elsewhere; leave DATA_DIR empty, or move \
         them out of it: `message-queue log export` reads them"
    )]
    Elsewhere {
        folder: String,
        engine: &'static str,
    },
    #[error("STORAGE={} is not in this build: it has none of its feature `{}`", .0.name(), .0.name())]
    NoEngine(Format),
}

/// How a broker with this configuration stores its topics; as a log if it stores none.
fn format(config: &Config) -> Result<Format, Cause> {
    let mut formats = config.engines().map(Format::of);
    let format = formats.next().unwrap_or(Format::Log);
    if formats.any(|it| it != format) {
        return Err(Cause::TwoEngines);
    }
    if cfg!(not(feature = "rocksdb")) && format == Format::RocksDb {
        return Err(Cause::NoEngine(format));
    }
    Ok(format)
}

impl Taken {
    /// Whether there is a topic in the folder: one that nothing says is to be stored is not to be passed over.
    pub fn holds_topics(path: &Path) -> bool {
        fs::read_dir(path.join("topics")).is_ok_and(|mut it| it.next().is_some())
            || DataDir::database(path).exists()
    }

    /// Takes a folder, which is made if it is not there. At least `reserve` bytes are to be left free on its file system.
    /// `now` is the moment, since 1970; [`Config::started_ms`] is to be 0.
    ///
    /// # Errors
    /// If the folder cannot be used, is used by another broker, or holds a topic that is not to be stored.
    pub fn take(
        path: &Path,
        reserve: u64,
        config: &Config,
        now: Duration,
    ) -> Result<Self, NotOpened> {
        let taken = moment();
        if let Some(engine) = config.engines().find(|it| it.is_shared()) {
            let (folder, engine) = (path.display().to_string(), engine.name());
            return Err(Cause::Elsewhere { folder, engine }.into());
        }
        let folder = DataDir::take(path, format(config)?)
            .map_err(OpenError::from)
            .map_err(Cause::from)?;
        for topic in folder
            .topics()
            .map_err(OpenError::from)
            .map_err(Cause::from)?
        {
            if config.topic(&topic).storage == Storage::Memory {
                let folder = folder.path().display().to_string();
                return Err(Cause::NotStored {
                    otherwise: format!("move {folder}/topics/{topic} away"),
                    storage: Format::Log.name(),
                    folder,
                    topic,
                }
                .into());
            }
        }
        Ok(Self {
            folder,
            reserve,
            config: config.clone(),
            status: Arc::default(),
            taken,
            now,
        })
    }

    /// Opens all topics in it. Takes as long as that takes, and waits while the disk is full.
    ///
    /// # Errors
    /// If a topic is damaged, or cannot be read.
    pub fn open(self) -> Result<Opened, NotOpened> {
        let started = moment();
        let (status, now, taken) = (Arc::clone(&self.status), self.now, self.taken);
        let config = self.config.clone();
        let folder = self.folder.path().display().to_string();
        let engine = self.open_engine()?;
        let took = elapsed(started);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        status.opening.store(millis, Ordering::Relaxed);
        tracing::info!(
            folder,
            topics = engine.found().len(),
            ?took,
            "stored topics are open"
        );
        Ok(Opened {
            engine,
            settings: settings_of(config),
            status,
            now: Now::at(now + elapsed(taken)),
        })
    }

    fn open_engine(self) -> Result<Box<dyn Engine>, Cause> {
        match self.folder.format() {
            Format::Log => self.open_logs(),
            #[cfg(feature = "rocksdb")]
            Format::RocksDb => self.open_database(),
            #[cfg(not(feature = "rocksdb"))]
            Format::RocksDb => Err(Cause::NoEngine(Format::RocksDb)),
        }
    }

    fn open_logs(self) -> Result<Box<dyn Engine>, Cause> {
        let reserve = Arc::new(Reserve::new(self.reserve));
        let folder = self.folder;
        let volume = DataVolume { folder, reserve };
        let max_producers = self.config.topics.max_producer_names;
        let settings = |name: &TopicName| self.config.topic(name).store;
        let epoch = first_epoch(self.now);
        let logs = open_all(&volume, epoch, max_producers, &settings)?;
        Ok(Box::new(Logs {
            volume: Box::new(volume),
            logs,
            max_producers,
            status: self.status,
            latency: None,
        }))
    }

    #[cfg(feature = "rocksdb")]
    fn open_database(self) -> Result<Box<dyn Engine>, Cause> {
        let folder = self.folder.path().display().to_string();
        let max_producers = self.config.topics.max_producer_names;
        let opened = rocksdb::open(self.folder, self.reserve, max_producers, self.status)?;
        let found = opened.found();
        let in_memory = |it: &&StoredTopic| self.config.topic(&it.name).storage == Storage::Memory;
        if let Some(topic) = found.iter().find(in_memory) {
            return Err(Cause::NotStored {
                folder,
                topic: topic.name.clone(),
                storage: Format::RocksDb.name(),
                otherwise: "give another folder".to_owned(),
            });
        }
        Ok(Box::new(opened))
    }
}

impl Opened {
    /// For simulations: opens the logs of these topics of a volume, one after the other. That, and what the store does later, is
    /// done by tasks of this runtime and on its clock, without threads; each operation of a disk takes as long as
    /// `latency` says. `now` is the moment, since 1970; [`Config::started_ms`] is to be 0.
    ///
    /// # Errors
    /// If a log is damaged, or cannot be read.
    pub async fn simulated(
        volume: impl Volume + 'static,
        topics: Vec<TopicName>,
        config: &Config,
        now: Duration,
        latency: impl FnMut(&Operation) -> Duration + Send + 'static,
    ) -> Result<Self, NotOpened> {
        let started = moment();
        let max_producers = config.topics.max_producer_names;
        let settings = settings_of(config.clone());
        let mut latency: Latency = Box::new(latency);
        let epoch = first_epoch(now);
        let mut logs = Vec::with_capacity(topics.len());
        for name in topics {
            let (folder, disk) = (volume.folder(&name), volume.disk(&name));
            let settings = log_settings(&settings(&name), max_producers);
            let mut pace = Simulated(&mut latency);
            let log = open_at(&mut pace, &name, epoch, &folder, disk, settings).await;
            logs.push(log.map_err(Cause::from)?);
        }
        let status = Arc::<StoreStatus>::default();
        Ok(Self {
            engine: Box::new(Logs {
                volume: Box::new(volume),
                logs,
                max_producers,
                status: Arc::clone(&status),
                latency: Some(latency),
            }),
            settings,
            status,
            now: Now::at(now + elapsed(started)),
        })
    }

    /// Topics are kept in RabbitMQ, of which it is looked whether it is there.
    ///
    /// # Errors
    /// If it refuses the connection.
    #[cfg(feature = "rabbitmq")]
    pub(crate) async fn in_rabbitmq(
        options: rabbitmq::Options,
        config: &Config,
        status: Arc<StoreStatus>,
    ) -> Result<Self, rabbitmq::RefusedByRabbitMq> {
        let started = moment();
        let engine = rabbitmq::RabbitMq::open(options, Arc::clone(&status)).await?;
        Ok(Self::shared(engine, config, status, started))
    }

    /// Topics are kept in Kafka, of which it is looked whether it is there.
    ///
    /// # Errors
    /// If its properties cannot be used, or it refuses the connection.
    #[cfg(feature = "kafka")]
    pub(crate) async fn in_kafka(
        options: kafka::Options,
        config: &Config,
        status: Arc<StoreStatus>,
    ) -> Result<Self, kafka::RefusedByKafka> {
        let started = moment();
        let engine = kafka::Kafka::open(options, Arc::clone(&status)).await?;
        Ok(Self::shared(engine, config, status, started))
    }

    /// To look whether it is there takes its time, which has passed since the broker started.
    #[cfg(any(feature = "rabbitmq", feature = "kafka"))]
    fn shared(
        engine: impl Engine + 'static,
        config: &Config,
        status: Arc<StoreStatus>,
        started: std::time::Instant,
    ) -> Self {
        Self {
            engine: Box::new(engine),
            settings: settings_of(config.clone()),
            status,
            now: Now::at(elapsed(started)),
        }
    }

    /// What was found.
    pub(crate) fn found(&self) -> Vec<StoredTopic> {
        self.engine.found()
    }

    /// The figures of the store.
    pub(crate) fn status(&self) -> Arc<StoreStatus> {
        Arc::clone(&self.status)
    }

    /// Starts its thread, or its task, where topics have these numbers.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        self,
        topic: impl Fn(&TopicName) -> Option<TopicId>,
    ) -> io::Result<(Store, StoreEvents)> {
        let (events, told) = unbounded_channel();
        let listener = Box::new(ToTheServer(events));
        let store = self.engine.start(&topic, self.settings, listener)?;
        Ok((store, told))
    }
}

/// The epoch of what is made while logs are opened, at this moment since 1970. The broker's own are above, and those of its
/// earlier lives below, as far as its clock tells.
fn first_epoch(now: Duration) -> u64 {
    message_queue_core::store::first_epoch(now.as_millis() as u64)
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("topics", &self.found().len())
            .finish_non_exhaustive()
    }
}

struct ToTheServer(UnboundedSender<StoreEvent>);

impl Listener for ToTheServer {
    fn answered(&mut self, answers: Vec<(TopicId, Answer)>) {
        // Nobody wants to know any more when the broker has ended.
        let _ = self.0.send(StoreEvent::Answers(answers));
    }

    fn failed(&mut self) {
        let _ = self.0.send(StoreEvent::Failed);
    }
}
