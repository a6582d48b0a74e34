//! Opening the database, and what is found in it.

use super::keys::{self, Damaged, FORMAT, FORMAT_KEY, Head, ProducerEntry, TOPICS, TopicEntry};
use super::reading::{ReadError, Runs};
use super::thread::{self, Beginning};
use super::topic::Topic;
use crate::store::disk::Reserve;
use crate::store::engine::{Engine, Listener, SettingsOf, Store};
use crate::store::folder::DataDir;
use crate::store::opening::OpenError;
use crate::store::status::StoreStatus;
use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options, WriteBatch,
    WriteOptions,
};
use message_queue_core::log::Progress;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::control::Mark;
use message_queue_core::{StoreSettings, StoredTopic, TopicId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What was written last is in memory, too, up to this; there may be three of them.
const WRITE_BUFFER: usize = 32 << 20;

/// Blocks of tables that were read.
const BLOCK_CACHE: usize = 16 << 20;

/// The most files that are held open.
const MOST_FILES: i32 = 256;

/// RocksDB needs room of its own, to bring what is in memory into tables and to merge these. If it has none it takes
/// nothing more until it is opened again.
const LEAST_RESERVE: u64 = 3 * WRITE_BUFFER as u64;

/// Why the database was not opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Fault {
    #[error("{0}")]
    Database(#[from] ::rocksdb::Error),
    #[error(
        "it has the format {0}, and this version knows {FORMAT}; run the version that wrote it, or a later one"
    )]
    Format(u32),
    #[error("the entry of the topic {0:?} is not what was written there")]
    Topic(String),
    #[error("topic {topic}: the entry of {name:?} is not what was written there")]
    Entry { topic: TopicName, name: String },
    #[error("topic {topic}: its messages cannot be read: {source}")]
    Messages {
        topic: TopicName,
        source: ReadErrorText,
    },
    #[error(
        "topic {topic}: the group {group} has got to message {reached}, and the last one is {last}"
    )]
    Ahead {
        topic: TopicName,
        group: Name,
        reached: u64,
        last: u64,
    },
}

/// What reading said.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(in crate::store) struct ReadErrorText(#[from] ReadError);

/// The database, open.
pub(in crate::store) struct Database {
    folder: DataDir,
    db: Arc<DB>,
    reserve: Reserve,
    topics: Vec<(Topic, StoredTopic)>,
    max_producers: usize,
    status: Arc<StoreStatus>,
}

/// How a database is opened.
pub(crate) fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(3);
    options.set_max_open_files(MOST_FILES);
    // All that is found was there at one moment: also what was not synced.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

/// Opens the database in a data folder, or makes it.
///
/// # Errors
/// If it cannot be read, or does not hold what was written.
pub(in crate::store) fn open(
    folder: DataDir,
    reserve: u64,
    max_producers: usize,
    status: Arc<StoreStatus>,
) -> Result<Database, OpenError> {
    let path = DataDir::database(folder.path());
    let (db, topics) = open_at(&path, max_producers).map_err(|fault| OpenError::Database {
        folder: path,
        fault,
    })?;
    Ok(Database {
        folder,
        db: Arc::new(db),
        reserve: Reserve::new(reserve.max(LEAST_RESERVE)),
        topics,
        max_producers,
        status,
    })
}

fn open_at(path: &PathBuf, max_producers: usize) -> Result<(DB, Vec<(Topic, StoredTopic)>), Fault> {
    let db = DB::open(&options(), path)?;
    check_format(&db)?;
    let mut topics = Vec::new();
    let mut at = db.raw_iterator();
    at.seek([TOPICS]);
    while let Some((key, value)) = at.item() {
        let Some(name) = key.strip_prefix(&[TOPICS]) else {
            break;
        };
        topics.push(open_topic(&db, name, value, max_producers)?);
        at.next();
    }
    at.status()?;
    drop(at);
    Ok((db, topics))
}

/// A database that is new has no format yet.
fn check_format(db: &DB) -> Result<(), Fault> {
    match db.get(FORMAT_KEY)? {
        Some(value) => match keys::decode(&value).unwrap_or(0) {
            FORMAT => Ok(()),
            other => Err(Fault::Format(other)),
        },
        None => {
            let mut batch = WriteBatch::default();
            batch.put(FORMAT_KEY, keys::encode(&FORMAT));
            let mut options = WriteOptions::default();
            options.set_sync(true);
            Ok(db.write_opt(batch, &options)?)
        }
    }
}

fn open_topic(
    db: &DB,
    name: &[u8],
    value: &[u8],
    max_producers: usize,
) -> Result<(Topic, StoredTopic), Fault> {
    let text = String::from_utf8_lossy(name);
    let (Ok(name), Ok(entry)) = (TopicName::new(&text), keys::decode::<TopicEntry>(value)) else {
        return Err(Fault::Topic(text.into_owned()));
    };
    let mut topic = Topic::new(name, entry, StoreSettings::default(), max_producers);
    find_ends(db, &mut topic).map_err(|source| Fault::Messages {
        topic: topic.name.clone(),
        source: source.into(),
    })?;
    let groups = find_groups(db, &mut topic)?;
    let producers = find_producers(db, &topic.name, entry.number)?;
    for mark in &producers {
        topic.producers.mark(mark);
    }
    let found = StoredTopic {
        name: topic.name.clone(),
        epoch: entry.epoch,
        first: entry.first,
        next: topic.next,
        published: topic.published,
        groups,
        producers: topic.producers.by_name().cloned().collect(),
    };
    Ok((topic, found))
}

/// Where its messages begin and end.
fn find_ends(db: &DB, topic: &mut Topic) -> Result<(), ReadError> {
    let mut kept = topic.kept();
    kept.end = u64::MAX;
    let mut walk = Runs::new(db, kept);
    if let Some((first, value)) = walk.last()? {
        let head = Head::read(value)?;
        topic.next = first + u64::from(head.messages);
        topic.published = head.published;
        topic.bytes = head.after(value);
        topic.trimmed = topic.bytes;
    }
    if let Some((_, value)) = walk.seek(topic.entry.first)? {
        topic.trimmed = Head::read(value)?.before;
    }
    topic.reported = topic.next - 1;
    Ok(())
}

/// Each entry whose key begins like this, by name.
fn entries<T>(
    db: &DB,
    topic: &TopicName,
    prefix: [u8; 5],
    mut take: impl FnMut(&str, &[u8]) -> Result<T, Damaged>,
) -> Result<Vec<T>, Fault> {
    let mut entries = Vec::new();
    let mut at = db.raw_iterator();
    at.seek(prefix);
    while let Some((key, value)) = at.item() {
        let Some(name) = key.strip_prefix(&prefix[..]) else {
            break;
        };
        let name = String::from_utf8_lossy(name);
        let entry = take(&name, value).map_err(|Damaged| Fault::Entry {
            topic: topic.clone(),
            name: name.to_string(),
        })?;
        entries.push(entry);
        at.next();
    }
    at.status()?;
    Ok(entries)
}

fn find_groups(db: &DB, topic: &mut Topic) -> Result<Vec<(Name, Progress)>, Fault> {
    let prefix = keys::groups(topic.entry.number);
    let groups = entries(db, &topic.name, prefix, |name, value| {
        let name = Name::new(name).map_err(|_| Damaged)?;
        Ok((name, keys::decode::<Progress>(value)?))
    })?;
    for (group, progress) in &groups {
        let reached = progress.highest();
        if reached >= topic.next {
            return Err(Fault::Ahead {
                topic: topic.name.clone(),
                group: group.clone(),
                reached,
                last: topic.next - 1,
            });
        }
        topic.settled.insert(group.clone(), progress.settled_up_to);
    }
    Ok(groups)
}

/// Who published longest ago comes first.
fn find_producers(db: &DB, topic: &TopicName, number: u32) -> Result<Vec<Mark>, Fault> {
    let mut producers = entries(db, topic, keys::producers(number), |name, value| {
        let ProducerEntry {
            last,
            session,
            position,
        } = keys::decode(value)?;
        let name = name.to_owned();
        let mark = Mark {
            name,
            session,
            position,
        };
        Ok((last, mark))
    })?;
    producers.sort_by_key(|(last, _)| *last);
    Ok(producers.into_iter().map(|(_, mark)| mark).collect())
}

#[cfg(test)]
impl Database {
    pub(super) fn leave_free(&mut self, reserve: Reserve) {
        self.reserve = reserve;
    }

    pub(super) fn status(&self) -> Arc<StoreStatus> {
        Arc::clone(&self.status)
    }
}

impl Engine for Database {
    fn found(&self) -> Vec<StoredTopic> {
        self.topics.iter().map(|(_, found)| found.clone()).collect()
    }

    fn start(
        self: Box<Self>,
        number: &dyn Fn(&TopicName) -> Option<TopicId>,
        settings: SettingsOf,
        listener: Box<dyn Listener>,
    ) -> io::Result<Store> {
        let numbers = self.topics.iter().map(|(topic, _)| topic.entry.number);
        let next_number = numbers.max().map_or(1, |last| last + 1);
        let topics = self.topics.into_iter().filter_map(|(mut topic, _)| {
            topic.settings = settings(&topic.name);
            Some((number(&topic.name)?, topic))
        });
        let beginning = Beginning {
            topics: topics.collect(),
            next_number,
            folder: self.folder,
            db: self.db,
            reserve: self.reserve,
            settings,
            max_producers: self.max_producers,
            status: self.status,
        };
        thread::start(beginning, listener)
    }
}
