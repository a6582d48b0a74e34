//! A data folder that is taken, then one whose logs are open, and what its store has to say once the broker runs.

use super::clock::{elapsed, moment};
use super::disk::Reserve;
use super::folder::DataDir;
use super::opening::{OpenError, OpenLog, log_settings, open_all, open_at};
use super::status::StoreStatus;
use super::task::{self, Latency, Simulated};
use super::thread::{Beginning, Listener, SettingsOf, Store};
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

/// The data folder of a broker that stores topics: locked, and none of its logs open yet.
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

/// The data folder of a broker that stores topics: locked, and all logs in it open. See
/// [`Server::stored`](crate::Server::stored).
pub struct Opened {
    volume: Box<dyn Volume>,
    pub(crate) logs: Vec<(OpenLog, StoredTopic)>,
    settings: SettingsOf,
    max_producers: usize,
    status: Arc<StoreStatus>,
    /// The moment at which they were, since 1970.
    pub(crate) now: Now,
    /// How long each operation of a disk takes in a simulation, which has no threads; none: there are threads.
    latency: Option<Latency>,
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
        matches!(self.0, Cause::NotStored { .. })
    }
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "DATA_DIR: {folder} holds the topic {topic}, which by STORAGE and the rules of TOPICS_FILE is kept in memory; set \
         storage=disk for it, or move {folder}/topics/{topic} away"
    )]
    NotStored { folder: String, topic: TopicName },
}

impl Taken {
    /// Whether there is a topic in the folder: one that nothing says is to be stored is not to be passed over.
    pub fn holds_topics(path: &Path) -> bool {
        fs::read_dir(path.join("topics")).is_ok_and(|mut it| it.next().is_some())
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
        let folder = DataDir::take(path)
            .map_err(OpenError::from)
            .map_err(Cause::from)?;
        for topic in folder
            .topics()
            .map_err(OpenError::from)
            .map_err(Cause::from)?
        {
            if config.topic(&topic).storage == Storage::Memory {
                let folder = folder.path().display().to_string();
                return Err(Cause::NotStored { folder, topic }.into());
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

    /// Opens all logs in it. Takes as long as that takes, and waits while the disk is full.
    ///
    /// # Errors
    /// If a log is damaged, or cannot be read.
    pub fn open(self) -> Result<Opened, NotOpened> {
        let Self {
            folder,
            reserve,
            config,
            status,
            taken,
            now,
        } = self;
        let started = moment();
        let reserve = Arc::new(Reserve::new(reserve));
        let volume = DataVolume { folder, reserve };
        let max_producers = config.topics.max_producer_names;
        let settings = move |name: &TopicName| config.topic(name).store;
        let epoch = first_epoch(now);
        let logs = open_all(&volume, epoch, max_producers, &settings).map_err(Cause::from)?;
        let took = elapsed(started);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        status.opening.store(millis, Ordering::Relaxed);
        tracing::info!(
            folder = %volume.folder.path().display(),
            topics = logs.len(),
            ?took,
            "the logs of stored topics are open"
        );
        Ok(Opened {
            volume: Box::new(volume),
            logs,
            settings: Box::new(settings),
            max_producers,
            status,
            now: Now::at(now + elapsed(taken)),
            latency: None,
        })
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
        let config = config.clone();
        let max_producers = config.topics.max_producer_names;
        let settings = move |name: &TopicName| config.topic(name).store;
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
        Ok(Self {
            volume: Box::new(volume),
            logs,
            settings: Box::new(settings),
            max_producers,
            status: Arc::default(),
            now: Now::at(now + elapsed(started)),
            latency: Some(latency),
        })
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
        let logs = self.logs.into_iter().filter_map(|(log, found)| {
            let id = topic(&log.name)?;
            Some((id, log, found))
        });
        let beginning = Beginning {
            volume: self.volume,
            logs: logs.collect(),
            settings: self.settings,
            max_producers: self.max_producers,
            status: self.status,
        };
        let (events, told) = unbounded_channel();
        let listener = ToTheServer(events);
        let store = match self.latency {
            None => Store::start(beginning, listener)?,
            Some(latency) => task::start(beginning, latency, listener),
        };
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
            .field("topics", &self.logs.len())
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
