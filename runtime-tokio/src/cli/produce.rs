//! `message-queue produce`: from a file, standard input or the command line to a broker.

use super::broker_args::BrokerArgs;
use super::connector::Connector;
use super::delivery_args::ConfirmArgs;
use super::exit::Exit;
use super::input::{Chunk, Input, InputArgs, InputError};
use super::literal;
use super::pace::Rate;
use super::produce_confirmed;
use super::produce_error::ProduceError;
use super::progress::{Messages, Progress};
use super::run::{self, Stop};
use super::say;
use super::sender::Sender;
use message_queue_core::wire::FrameBatch;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;

const EXAMPLES: &str = "\
Examples:
  produce --topic orders --confirm orders.csv      publish rows; 0 means that the broker has them all
  produce --topic orders --name orders-2026-11-26 --retry orders.csv
                                                   each row once, over connections that are lost. If this fails,
                                                   run it again: it goes on behind what the broker has, as long
                                                   as the broker lives and remembers the name
  produce --topic jobs -m 'resize 7.png'           publish one message";

/// How long an interrupted producer waits for the broker to take what was already read.
const GRACE: Duration = Duration::from_secs(5);

/// Publish the messages of a file, of standard input or of the command line
///
/// An empty line is a message of 0 bytes. The largest message is 1 MiB.
///
/// CSV rows become JSON objects. The file is checked before anything is sent: what is compressed,
/// in UTF-16, or has another delimiter than a comma ends with an error that names the flag to use.
/// `message-queue produce export.csv --delimiter ';' --encoding windows-1252 --on-bad-row skip`
/// reads what a spreadsheet in much of Europe exports.
///
/// As it is (wire version 1) the broker confirms nothing: a message counts as handed over when the
/// network has taken it, and what the broker has not read when it goes away is lost. With --retry
/// the rest goes to the next broker, and no message is sent twice; how many may be missing is said
/// at the end, and the exit code is 1 then.
///
/// With --confirm, --topic or --name the broker confirms each message, and 0 means that it has them
/// all. What is not confirmed when a connection is lost is sent again with --retry; it may come
/// twice then, but not with --name.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ProduceArgs {
    /// The file to read; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,

    /// Send this text in place of a file; may be given several times
    #[arg(
        short,
        long = "message",
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with_all = ["file", "InputArgs"]
    )]
    messages: Vec<OsString>,

    #[command(flatten)]
    input: InputArgs,

    /// Send so many messages a second, such as 1000 or 0.5 [default: as many as the broker takes]
    #[arg(long, value_name = "N")]
    rate: Option<Rate>,

    /// Send all of it so many times; 0 is for ever
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,

    #[command(flatten)]
    confirms: ConfirmArgs,

    #[command(flatten)]
    broker: BrokerArgs,
}

/// What somebody is told who types the messages.
const TYPING: &str = "each line is a message; Ctrl-D ends the input";

/// Where messages come from.
enum Source {
    Input(Input),
    CommandLine { batch: FrameBatch, rounds: u64 },
}

impl Source {
    /// How many bytes there are to read, if that is known.
    fn size(&self) -> Option<u64> {
        match self {
            Self::Input(input) => input.size(),
            Self::CommandLine { .. } => None,
        }
    }

    fn spawn(self) -> io::Result<mpsc::Receiver<Result<Chunk, InputError>>> {
        match self {
            Self::Input(input) => input.spawn(),
            Self::CommandLine { batch, rounds } => Ok(literal::spawn(batch, rounds)),
        }
    }
}

/// Publishes what `args` name. Exit codes: 0 when everything was handed over and read, 2 where a
/// flag is not allowed, 130 or 143 after a signal, 1 where something failed or may be missing.
pub fn run(args: &ProduceArgs) -> ExitCode {
    if !args.messages.is_empty() {
        let rounds = args.repeat;
        return match literal::batch(&args.messages) {
            Ok(batch) => publish(args, Source::CommandLine { batch, rounds }),
            Err(error) => run::bad_usage(&error),
        };
    }
    match Input::open(&args.file, &args.input, args.repeat) {
        Ok(input) => publish(args, Source::Input(input)),
        Err(error) if error.is_bad_usage() => run::bad_usage(&error),
        Err(error) => run::failure(&error),
    }
}

fn publish(args: &ProduceArgs, source: Source) -> ExitCode {
    if !args.confirms.is_given() && !args.broker.token.is_given() {
        return run::run(produce(args, source));
    }
    let size = source.size();
    let open = |progress: &Progress| {
        if types_messages(args, &source) {
            progress.notices().print(TYPING);
        }
        source.spawn()
    };
    run::run(produce_confirmed::produce(
        &args.broker,
        &args.confirms,
        args.rate,
        size,
        open,
    ))
}

async fn produce(args: &ProduceArgs, source: Source) -> Result<Exit, ProduceError> {
    let mut stop = Stop::listen()?;
    let progress = Progress::start(source.size());
    let connector =
        Connector::new(&args.broker, progress.notices()).over(args.broker.address.tls.client()?);
    let mut sender = Sender::new(connector, progress, args.rate);
    let outcome = send_and_finish(args, &mut sender, source, &mut stop).await;
    sender.clear_progress();
    if sender.skipped() > 0 {
        say::note(&format!("bad rows skipped: {}", sender.skipped()));
    }
    let exit = outcome?;
    say::note(&format!("produced {}", sender.summary()));
    if matches!(exit, Exit::Interrupted | Exit::Terminated) {
        say::note("ended by a signal: the input was not sent to its end");
    }
    let at_risk = sender.at_risk().at_risk;
    if at_risk > 0 {
        say::note(&format!(
            "a connection was lost: up to {} of these may be missing, for the broker confirms none",
            Messages(at_risk)
        ));
        return Ok(Exit::Failed);
    }
    Ok(exit)
}

/// Sends the input to its end, or to the user's.
async fn send_and_finish(
    args: &ProduceArgs,
    sender: &mut Sender<'_>,
    source: Source,
    stop: &mut Stop,
) -> Result<Exit, ProduceError> {
    let sending = async {
        // First of all: without a broker nothing is taken from standard input.
        sender.connect().await?;
        if types_messages(args, &source) {
            sender.notices().print(TYPING);
        }
        sender.send_all(source.spawn()?).await
    };
    let told = tokio::select! {
        outcome = sending => {
            outcome?;
            None
        }
        exit = stop.requested() => Some(exit),
    };
    tokio::select! {
        outcome = sender.finish() => {
            outcome?;
            return Ok(told.unwrap_or(Exit::Done));
        }
        _ = stop.requested() => {}
        () = tokio::time::sleep(GRACE), if told.is_some() => {}
    }
    sender
        .notices()
        .print("ended before the broker had read everything; the rest may be lost");
    Ok(Exit::Failed)
}

/// Whether somebody types the messages.
fn types_messages(args: &ProduceArgs, source: &Source) -> bool {
    matches!(source, Source::Input(_))
        && args.file.as_os_str() == "-"
        && io::stdin().is_terminal()
        && io::stderr().is_terminal()
}
