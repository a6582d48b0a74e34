//! Opening the logs that are there, before anything is served.

use super::clock::{elapsed, moment, wait};
use super::disk::{Disk, Failure};
use super::folder::FolderError;
use super::volume::{DataVolume, Volume};
use message_queue_core::log::{Done, Event, Log, Operation, Output, Recovered, Settings, Stop};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::{Now, StoreSettings, StoredTopic};
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// How many logs are opened at a time.
const THREADS: usize = 4;

/// How often it is said how far that is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The log of a topic, open, and the disk under it.
pub(crate) struct OpenLog {
    pub(crate) name: TopicName,
    pub(crate) log: Log,
    pub(crate) disk: Arc<dyn Disk>,
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "the log of topic {topic}, {folder}: {stop}{}; `message-queue log verify` looks at all of it, and \
         `message-queue log repair` keeps what is whole",
        said(.detail)
    )]
    Log {
        topic: TopicName,
        folder: PathBuf,
        stop: Stop,
        /// What the system said.
        detail: Option<String>,
    },
    #[error("the log of topic {topic} holds a group called {name:?}, which is no name")]
    Group { topic: TopicName, name: String },
    #[cfg(feature = "rocksdb")]
    #[error("the database of stored topics, {folder}: {fault}")]
    Database {
        folder: PathBuf,
        fault: super::rocksdb::Fault,
    },
    #[error("a thread that opens logs could not be started: {0}")]
    Thread(std::io::Error),
}

fn said(detail: &Option<String>) -> String {
    detail
        .as_ref()
        .map_or_else(String::new, |it| format!(" ({it})"))
}

/// How a log is kept.
pub(super) fn log_settings(settings: &StoreSettings, max_producers: usize) -> Settings {
    Settings {
        fsync: settings.fsync,
        segment_bytes: settings.segment_bytes,
        max_producers,
        ..Settings::default()
    }
}

/// Opens the logs of all topics of a folder, a few at a time. Returns them and what they hold, in the order of their
/// names. A folder in which nothing is gets a log of this epoch.
///
/// # Errors
/// The first log that could not be opened.
pub(crate) fn open_all(
    volume: &DataVolume,
    epoch: u64,
    max_producers: usize,
    settings: &(impl Fn(&TopicName) -> StoreSettings + Sync),
) -> Result<Vec<(OpenLog, StoredTopic)>, OpenError> {
    let names = volume.folder.topics()?;
    let all = names.len();
    let waiting = Mutex::new(names.into_iter().collect::<VecDeque<_>>());
    let opened = Mutex::new(Vec::with_capacity(all));
    let told = Mutex::new(moment());
    let work = || {
        loop {
            let name = lock(&waiting).pop_front();
            let Some(name) = name else { return };
            let settings = log_settings(&settings(&name), max_producers);
            let (path, disk) = (volume.folder(&name), volume.disk(&name));
            let result = open(&name, epoch, &path, disk, settings);
            if result.is_err() {
                lock(&waiting).clear();
            }
            let mut opened = lock(&opened);
            opened.push(result);
            let mut told = lock(&told);
            if elapsed(*told) >= TELL_EVERY {
                *told = moment();
                info!(
                    opened = opened.len(),
                    all, "opening the logs of stored topics"
                );
            }
        }
    };
    thread::scope(|scope| -> Result<(), OpenError> {
        for number in 0..THREADS.min(all) {
            thread::Builder::new()
                .name(format!("mq-open-{number}"))
                .spawn_scoped(scope, work)
                .map_err(OpenError::Thread)?;
        }
        Ok(())
    })?;
    let opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut opened = opened.into_iter().collect::<Result<Vec<_>, _>>()?;
    opened.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(opened)
}

/// How operations are carried out while a log is opened, and how it is waited for room.
pub(super) trait Pace {
    /// Carries out an operation.
    fn carry_out(
        &mut self,
        disk: &dyn Disk,
        operation: &Operation,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Waits.
    fn wait(&mut self, time: Duration) -> impl Future<Output = ()>;
}

/// On a thread that may wait.
struct AtOnce;

impl Pace for AtOnce {
    fn carry_out(
        &mut self,
        disk: &dyn Disk,
        operation: &Operation,
    ) -> impl Future<Output = Result<Done, Failure>> {
        ready(disk.carry_out(operation))
    }

    fn wait(&mut self, time: Duration) -> impl Future<Output = ()> {
        wait(time);
        ready(())
    }
}

/// Opens one log on this thread, and says what is worth saying of it. A log that is there has its own epoch; `epoch` is for
/// one that is made, because its folder is empty.
pub(super) fn open(
    name: &TopicName,
    epoch: u64,
    folder: &Path,
    disk: Arc<dyn Disk>,
    settings: Settings,
) -> Result<(OpenLog, StoredTopic), OpenError> {
    let mut pace = AtOnce;
    let opening = pin!(open_at(&mut pace, name, epoch, folder, disk, settings));
    match opening.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(opened) => opened,
        Poll::Pending => unreachable!("what is carried out at once is never waited for"),
    }
}

/// The same at a pace.
pub(super) async fn open_at(
    pace: &mut impl Pace,
    name: &TopicName,
    epoch: u64,
    folder: &Path,
    disk: Arc<dyn Disk>,
    settings: Settings,
) -> Result<(OpenLog, StoredTopic), OpenError> {
    let log = Log::open(name.as_str(), epoch, settings, Now::START);
    let opened = run(pace, log, &*disk).await;
    let (log, recovered) = opened.map_err(|(stop, detail)| OpenError::Log {
        topic: name.clone(),
        folder: folder.into(),
        stop,
        detail,
    })?;
    if let Some(lost) = recovered.lost {
        warn!(
            topic = %name,
            from = lost.from,
            to = lost.to,
            "messages that groups had had are gone: a power cut has taken them, as FSYNC allows"
        );
    }
    if recovered.torn_bytes > 0 {
        let bytes = recovered.torn_bytes;
        info!(topic = %name, bytes, "a torn end of the log was dropped; none of it had been confirmed");
    }
    let open = OpenLog {
        name: name.clone(),
        log,
        disk,
    };
    Ok((open, found(name, recovered)?))
}

/// Carries out what a log asks for until it is open.
async fn run(
    pace: &mut impl Pace,
    mut log: Log,
    disk: &dyn Disk,
) -> Result<(Log, Recovered), (Stop, Option<String>)> {
    let started = moment();
    let mut detail = None;
    loop {
        while let Some(output) = log.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    let result = pace.carry_out(disk, &operation).await;
                    let result = result.map_err(|failure| {
                        detail = Some(failure.to_string());
                        failure.kind
                    });
                    log.completed(id, result, Now::at(elapsed(started)));
                }
                Output::Event(Event::Recovered(recovered)) => return Ok((log, recovered)),
                Output::Event(Event::Stopped(stop)) => return Err((stop, detail)),
                Output::Event(Event::Full) => {
                    warn!("there is no room on the disk; opening a log waits for some");
                }
                Output::Event(_) => {}
            }
        }
        if let Some(due) = log.poll_timeout() {
            pace.wait(due.since(Now::at(elapsed(started)))).await;
            log.handle_timeout(Now::at(elapsed(started)));
        }
    }
}

fn found(topic: &TopicName, recovered: Recovered) -> Result<StoredTopic, OpenError> {
    let mut groups = Vec::with_capacity(recovered.groups.len());
    for (name, progress) in recovered.groups {
        let Ok(group) = Name::new(&name) else {
            let topic = topic.clone();
            return Err(OpenError::Group { topic, name });
        };
        groups.push((group, progress));
    }
    Ok(StoredTopic {
        name: topic.clone(),
        epoch: recovered.epoch,
        first: recovered.first,
        next: recovered.next,
        published: recovered.published,
        groups,
        producers: recovered.producers,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
