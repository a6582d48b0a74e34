//! `message-queue log import`.

use super::asked::{Asked, beginning_at};
use super::data::{Data, Topic, engine_of};
use super::{LogError, TopicArgs, aside, repair};
use crate::cli::exit::Exit;
use crate::cli::progress::{Messages, Progress, Totals};
use crate::cli::say;
use crate::settings::FolderEngine;
use message_queue_core::Now;
use message_queue_core::log::{Event, Import, Imported, Log, Output, Stored};
use message_queue_core::names::Name;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Origin;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use tokio::time::Instant;

/// How many bytes of messages may wait to be made safe.
const WAITING_BYTES: usize = 8 << 20;

const EXAMPLES: &str = "\
Examples:
  log import /var/lib/message-queue orders orders.mq
  gzip -dc orders.mq.gz | message-queue log import /var/lib/message-queue orders
  message-queue log export /var/lib/message-queue orders |
    message-queue log import /var/lib/rocks orders --storage rocksdb --group queue
                                                   the same of a topic in queue mode, into a database; its
                                                   consumers get what is imported";

/// Append the messages of an export to a stored topic
///
/// Verifies every checksum. Messages get new sequences, behind those that are there, and keep the times at which they
/// were published, as far as these are not before what is there. Who published them is not kept. The topic is made if
/// there is none. Groups that are there get what is imported, and so do those that --group makes; others begin at what is
/// new, unless they ask for more (`consume --from first`). If the export is damaged, what comes before the damage has been appended, and it says how much.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    topic: TopicArgs,

    /// The engine of the folder, as STORAGE names it [default: the one that the folder has; disk, if it is made]
    #[arg(long, value_enum)]
    storage: Option<FolderEngine>,

    /// Make this group, if it is not there, so that it gets what is imported; may be repeated. The consumers of a topic
    /// in queue mode are the group queue
    #[arg(long = "group", value_name = "GROUP", value_parser = group_name)]
    groups: Vec<Name>,

    /// The export, or a segment of a topic [default: standard input]
    file: Option<PathBuf>,
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, LogError> {
    let (name, mut source, size): (_, Box<dyn Read>, _) = match &args.file {
        Some(path) => {
            let name = path.display().to_string();
            let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (size, file) = opened.map_err(|source| LogError::File {
                name: format!("cannot read {name}"),
                source,
            })?;
            (name, Box::new(file), Some(size))
        }
        None => ("standard input".to_owned(), Box::new(io::stdin()), None),
    };
    let topic = &args.topic.topic;
    let mut target = Target::open(args)?;
    for group in &args.groups {
        target.make_group(group)?;
    }
    let mut progress = Progress::start(size);
    let mut done = Totals::default();
    let outcome = append_all(&mut target, &name, &mut source, &mut progress, &mut done);
    progress.clear();
    let done = Messages(done.messages);
    outcome.map_err(|source| LogError::Partly {
        source: Box::new(source),
        done: format!("{done} had been appended to {topic}"),
    })?;
    say::note(&format!("imported {done} into {topic}"));
    Ok(Exit::Done)
}

/// Appends what is in a stream, to its end. `done` is what of it is safe.
fn append_all(
    target: &mut Target,
    name: &str,
    source: &mut dyn Read,
    progress: &mut Progress,
    done: &mut Totals,
) -> Result<(), LogError> {
    let mut import = Import::default();
    let mut buffer = Vec::new();
    let mut waiting = 0;
    let mut read = Totals::default();
    loop {
        match import.next() {
            Ok(Imported::Read(size)) => {
                buffer.clear();
                let part = source.take(size as u64).read_to_end(&mut buffer);
                part.map_err(|source| LogError::File {
                    name: format!("cannot read {name}"),
                    source,
                })?;
                import.read(&buffer);
                progress.update(import.position(), *done);
            }
            Ok(Imported::Stored(Stored::Run {
                published,
                batch,
                origin,
                ..
            })) => {
                waiting += batch.byte_len();
                read.add(&batch);
                target.append(published, batch, origin)?;
                if waiting >= WAITING_BYTES {
                    waiting = 0;
                    target.make_safe()?;
                    *done = read;
                }
            }
            Ok(Imported::Stored(Stored::Gap(_))) => {}
            Ok(Imported::End) => {
                target.make_safe()?;
                *done = read;
                return Ok(());
            }
            Err(source) => {
                target.make_safe()?;
                *done = read;
                return Err(LogError::BadImport {
                    name: name.to_owned(),
                    source,
                });
            }
        }
    }
}

/// What is appended to: a log, or another engine.
enum Target {
    Log(Box<Host>),
    Asked(Box<Asked>),
}

impl Target {
    /// Takes the folder, which is made if it is not there, and opens the topic.
    fn open(args: &ImportArgs) -> Result<Self, LogError> {
        let (folder, name) = (&args.topic.data.data, args.topic.topic.clone());
        match args.storage.unwrap_or_else(|| engine_of(folder)) {
            FolderEngine::Disk => {
                let data = Data::take_or_make(folder)?;
                let topic = data.topic(name)?;
                aside::refuse_pending(&topic)?;
                Ok(Self::Log(Box::new(Host::open(data, topic)?)))
            }
            engine @ FolderEngine::RocksDb => {
                let mut asked = Asked::open(folder, engine.storage(), name)?;
                asked.make();
                Ok(Self::Asked(Box::new(asked)))
            }
        }
    }

    /// Makes a group, if it is not there, that begins at what is appended from now on.
    fn make_group(&mut self, group: &Name) -> Result<(), LogError> {
        match self {
            Self::Log(host) => host.make_group(group),
            Self::Asked(asked) => asked.make_group(group),
        }
    }

    fn append(
        &mut self,
        published: u64,
        batch: FrameBatch,
        origin: Option<Box<Origin>>,
    ) -> Result<(), LogError> {
        match self {
            Self::Log(host) => host.append(published, &batch, origin),
            Self::Asked(asked) => {
                asked.append(published, batch, origin);
                Ok(())
            }
        }
    }

    /// Waits until all that was appended is safe.
    fn make_safe(&mut self) -> Result<(), LogError> {
        match self {
            Self::Log(host) => host.run(),
            Self::Asked(asked) => asked.make_safe(),
        }
    }
}

/// A log that is open, and the disk that does at once what it asks for.
struct Host {
    /// Nobody else has it meanwhile.
    _data: Data,
    topic: Topic,
    log: Log,
    /// Groups that were found, and the sequence of the first message that is appended.
    groups: BTreeSet<String>,
    next: u64,
    began: Instant,
}

impl Host {
    fn open(data: Data, topic: Topic) -> Result<Self, LogError> {
        let log = Log::open(topic.name(), repair::epoch(), Topic::settings(), Now::START);
        let mut host = Self {
            _data: data,
            topic,
            log,
            groups: BTreeSet::new(),
            next: 1,
            began: Instant::now(),
        };
        host.run()?;
        Ok(host)
    }

    fn make_group(&mut self, group: &Name) -> Result<(), LogError> {
        if !self.groups.contains(group.as_str()) {
            let progress = beginning_at(self.next);
            let saved = self.log.save_group(group.as_str(), &progress);
            saved.map_err(io::Error::other)?;
            self.run()?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        published: u64,
        batch: &FrameBatch,
        origin: Option<Box<Origin>>,
    ) -> Result<(), LogError> {
        let appended = match origin {
            None => self.log.append(batch, published, Vec::new()),
            Some(origin) => self.log.append_dead_letter(batch, published, &origin),
        };
        appended.map_err(io::Error::other)?;
        Ok(())
    }

    /// Does all that the log wants done. Then all that was appended is safe.
    fn run(&mut self) -> Result<(), LogError> {
        while let Some(output) = self.log.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    let done = self.topic.carry_out(&operation);
                    let now = Now::START + self.began.elapsed();
                    self.log.completed(id, done, now);
                }
                Output::Event(Event::Stopped(stop)) => {
                    return Err(LogError::Stopped {
                        topic: self.topic.name().to_owned(),
                        stop,
                    });
                }
                Output::Event(Event::Full) => return Err(LogError::Full),
                Output::Event(Event::Recovered(found)) => {
                    self.groups = found.groups.into_iter().map(|(name, _)| name).collect();
                    self.next = found.next;
                }
                Output::Event(_) => {}
            }
        }
        Ok(())
    }
}

fn group_name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}
