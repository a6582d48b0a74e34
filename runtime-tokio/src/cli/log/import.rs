//! `message-queue log import`.

use super::data::{Data, Topic};
use super::{LogError, TopicArgs, aside, repair};
use crate::cli::exit::Exit;
use crate::cli::progress::{Messages, Progress, Totals};
use crate::cli::say;
use message_queue_core::Now;
use message_queue_core::log::{Event, Import, Imported, Log, Output, Stored};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use tokio::time::Instant;

/// How many bytes of messages may wait to be made safe.
const WAITING_BYTES: usize = 8 << 20;

const EXAMPLES: &str = "\
Examples:
  log import /var/lib/message-queue orders orders.mq
  gzip -dc orders.mq.gz | message-queue log import /var/lib/message-queue orders";

/// Append the messages of an export to a stored topic
///
/// Verifies every checksum. Messages get new sequences, behind those that are there, and keep the times at which they
/// were published, as far as these are not before what is there. Who published them is not kept. The topic is made if
/// there is none. If the export is damaged, what comes before the damage has been appended, and it says how much.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    topic: TopicArgs,

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
    let data = Data::take_or_make(&args.topic.data.data)?;
    let topic = data.topic(args.topic.topic.clone())?;
    aside::refuse_pending(&topic)?;
    let mut progress = Progress::start(size);
    let mut host = Host::open(&topic)?;
    let outcome = host.append_all(&name, &mut source, &mut progress);
    progress.clear();
    let done = Messages(host.done.messages);
    outcome.map_err(|source| LogError::Partly {
        source: Box::new(source),
        done: format!("{done} had been appended to {}", topic.name()),
    })?;
    say::note(&format!("imported {done} into {}", topic.name()));
    Ok(Exit::Done)
}

/// A log that is open, and the disk that does at once what it asks for.
struct Host<'a> {
    topic: &'a Topic,
    log: Log,
    began: Instant,
    /// What was read, and what of it is safe.
    read: Totals,
    done: Totals,
}

impl<'a> Host<'a> {
    fn open(topic: &'a Topic) -> Result<Self, LogError> {
        let log = Log::open(topic.name(), repair::epoch(), Topic::settings(), Now::START);
        let mut host = Self {
            topic,
            log,
            began: Instant::now(),
            read: Totals::default(),
            done: Totals::default(),
        };
        host.run()?;
        Ok(host)
    }

    /// Appends what is in a stream, to its end.
    fn append_all(
        &mut self,
        name: &str,
        source: &mut dyn Read,
        progress: &mut Progress,
    ) -> Result<(), LogError> {
        let mut import = Import::default();
        let mut buffer = Vec::new();
        let mut waiting = 0;
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
                    progress.update(import.position(), self.done);
                }
                Ok(Imported::Stored(Stored::Run {
                    published,
                    batch,
                    origin,
                    ..
                })) => {
                    waiting += batch.byte_len();
                    self.read.add(&batch);
                    let appended = match origin {
                        None => self.log.append(&batch, published, Vec::new()),
                        Some(origin) => self.log.append_dead_letter(&batch, published, &origin),
                    };
                    appended.map_err(io::Error::other)?;
                    if waiting >= WAITING_BYTES {
                        waiting = 0;
                        self.run()?;
                    }
                }
                Ok(Imported::Stored(Stored::Gap(_))) => {}
                Ok(Imported::End) => return self.run(),
                Err(source) => {
                    self.run()?;
                    return Err(LogError::BadImport {
                        name: name.to_owned(),
                        source,
                    });
                }
            }
        }
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
                Output::Event(_) => {}
            }
        }
        self.done = self.read;
        Ok(())
    }
}
