//! `message-queue log`: stored topics while no broker has them open.

mod aside;
mod data;
mod export;
mod import;
mod inspect;
mod records;
mod repair;
mod verify;
mod walk;
mod words;

use super::delivery_args;
use super::{run, say};
use crate::store::folder::FolderError;
use data::Topic;
use message_queue_core::log::{BadImport, Damage, ReadFrom, Stop};
use message_queue_core::names::TopicName;
use message_queue_core::wire::handshake::Start;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  log inspect /var/lib/message-queue               what each topic holds
  log inspect /var/lib/message-queue orders        its segments, groups and producers
  log verify /var/lib/message-queue                read every byte, and say what is damaged
  log repair /var/lib/message-queue orders         say what a repair would do, and what is lost
  log repair /var/lib/message-queue orders --yes   do it; nothing is deleted
  log export /var/lib/message-queue orders --output orders.mq
                                                   keep the messages of a topic in a file
  log import /var/lib/message-queue orders orders.mq
                                                   append them to a topic, or to a new one";

/// Look at stored topics, check and repair them, and take messages out and in
///
/// All of these work on the files of a broker that does not run: they take the lock of DATA_DIR. inspect, verify and
/// export change nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LogCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
}

/// Where topics are stored.
#[derive(Debug, clap::Args)]
struct DataArgs {
    /// The folder of the stored topics: DATA_DIR of the broker
    #[arg(value_name = "DATA_DIR")]
    data: PathBuf,
}

/// A topic, or all of them.
#[derive(Debug, clap::Args)]
struct TopicsArgs {
    #[command(flatten)]
    data: DataArgs,

    /// The topic [default: every topic that is stored there]
    #[arg(value_parser = topic_name)]
    topic: Option<TopicName>,
}

/// One topic.
#[derive(Debug, clap::Args)]
struct TopicArgs {
    #[command(flatten)]
    data: DataArgs,

    /// The topic
    #[arg(value_parser = topic_name)]
    topic: TopicName,
}

/// Why a command has not done all of its work.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("DATA_DIR: {} is used by process {process}; end the broker first", .folder.display())]
    Locked { folder: PathBuf, process: String },
    #[error(transparent)]
    Folder(FolderError),
    #[error("DATA_DIR: {}: the topic {topic} is not stored there; `message-queue log inspect` lists those that are", .folder.display())]
    NoTopic { folder: PathBuf, topic: TopicName },
    #[error("{topic}: {}; `message-queue log repair` says what can be done", words::damage(.damage))]
    Damaged { topic: String, damage: Damage },
    #[error("{topic}: {}; nothing was changed", words::damage(.damage))]
    NewerFormat { topic: String, damage: Damage },
    #[error(
        "{topic}: a repair was interrupted; `message-queue log repair` with --yes brings it to its end"
    )]
    RepairPending { topic: String },
    #[error("cannot open the topic {topic}: {stop}")]
    Stopped { topic: String, stop: Stop },
    #[error("there is no room on the disk")]
    Full,
    #[error("{name}: {source}")]
    BadImport { name: String, source: BadImport },
    #[error("{name}: {source}")]
    File { name: String, source: io::Error },
    #[error("{source}; {done}")]
    Partly { source: Box<LogError>, done: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FolderError> for LogError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Locked { path, process } => Self::Locked {
                folder: path,
                process,
            },
            other @ (FolderError::Io { .. }
            | FolderError::NotAFolder(_)
            | FolderError::Foreign { .. }
            | FolderError::Format { .. }
            | FolderError::Engine { .. }
            | FolderError::NotATopic(_)) => Self::Folder(other),
        }
    }
}

/// Does what the command says.
pub fn run(args: &LogCommand) -> ExitCode {
    let outcome = match &args.command {
        Command::Inspect(args) => inspect::inspect(args),
        Command::Verify(args) => verify::verify(args),
        Command::Repair(args) => repair::repair(args),
        Command::Export(args) => export::export(args),
        Command::Import(args) => import::import(args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => run::failure(&error),
    }
}

/// Does it for each topic. Where it cannot be done, says why and goes on. Returns whether it was so for all.
fn each(topics: &[Topic], mut is_so: impl FnMut(&Topic) -> Result<bool, LogError>) -> bool {
    topics.iter().fold(true, |so_far, topic| {
        let this = is_so(topic).unwrap_or_else(|error| {
            say::error(&error);
            false
        });
        so_far && this
    })
}

fn topic_name(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

/// Where an export begins.
fn begin(text: &str) -> Result<ReadFrom, String> {
    match delivery_args::start(text) {
        Ok(Start::First) => Ok(ReadFrom::First),
        Ok(Start::Sequence(sequence)) => Ok(ReadFrom::Sequence(sequence)),
        Ok(Start::Time(time)) => Ok(ReadFrom::Time(time)),
        Ok(Start::New | Start::Last) | Err(_) => {
            Err("allowed: first, a sequence, or @ and milliseconds since 1970".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_begins_at_a_place_that_stays() {
        assert_eq!(begin("first"), Ok(ReadFrom::First));
        assert_eq!(begin("7"), Ok(ReadFrom::Sequence(7)));
        assert_eq!(begin("@7"), Ok(ReadFrom::Time(7)));
        for bad in ["new", "last", "-1", ""] {
            let error = begin(bad).expect_err("not allowed");
            assert!(error.contains("@ and milliseconds"), "{error}");
        }
    }
}
