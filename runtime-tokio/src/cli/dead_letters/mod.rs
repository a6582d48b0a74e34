//! `message-queue dead-letters`: what groups gave up, to be looked at, sent back or thrown away.

mod letters;
mod list;
mod purge;
mod redrive;

use super::asking::NobodyToAsk;
use super::broker_args::AddressArgs;
use super::connector::is_absent;
use super::delivery_args;
use super::progress::Messages;
use super::run;
use super::say;
use super::token_args::TokenArgs;
use crate::client::acked::{Gone, StartError};
use std::io;
use std::num::NonZeroU32;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dead-letters list orders                         what groups of orders gave up, and why
  dead-letters list orders --format json           the same with the whole messages, a line of JSON each
  dead-letters redrive orders --count 1            send the oldest one back, to see whether it goes well now
  dead-letters redrive orders                      send all back that are there
  dead-letters purge orders --yes                  throw all away that are there";

/// Of those that the broker has and did not hand out.
const ELSEWHERE: &str =
    "not handed out, because another consumer has them or they wait after a failure";

/// Says how many have come since the command began, where that is known.
fn say_newer(newer: u64) {
    if newer > 0 {
        say::note(&format!(
            "stay, because they came after this had begun: {}",
            Messages(newer)
        ));
    }
}

/// Look at dead letters, send them back, or throw them away
///
/// What a group of the topic T gives up, because it failed too often or was rejected, goes to the topic
/// T.dead. That is a queue like any other: `consume --topic T.dead` reads it, too. While one of these
/// commands holds messages, other consumers of T.dead do not get them.
///
/// Of a topic in Kafka or RabbitMQ no broker knows how many there are. There these commands end when
/// nothing more has come for 2 seconds, and for 10 seconds at the beginning.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::ListArgs),
    Redrive(redrive::RedriveArgs),
    Purge(purge::PurgeArgs),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// The topic that they come from (T), or their own (T.dead)
    #[arg(value_parser = delivery_args::topic_name)]
    topic: String,

    #[command(flatten)]
    address: AddressArgs,

    #[command(flatten)]
    token: TokenArgs,
}

impl Which {
    /// The topic that holds them.
    fn dead(&self) -> String {
        if self.topic.ends_with(".dead") {
            self.topic.clone()
        } else {
            format!("{}.dead", self.topic)
        }
    }
}

/// At most so many, the oldest first.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct AtMost {
    /// At most so many, the oldest first [default: all that are there when it begins]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU32>,
}

impl AtMost {
    fn most(&self) -> u64 {
        self.count.map_or(u64::MAX, |it| it.get().into())
    }
}

/// Why not everything was done.
#[derive(Debug, thiserror::Error)]
enum DeadLettersError {
    #[error("{0}; start a broker with `message-queue serve`, or name another with --addr")]
    NoBroker(StartError),
    #[error(transparent)]
    Start(StartError),
    #[error("{gone}; before that {done} {what}")]
    Gone {
        gone: Gone,
        done: Messages,
        what: &'static str,
    },
    #[error(transparent)]
    Nobody(#[from] NobodyToAsk),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<StartError> for DeadLettersError {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Gone(Gone::Connect(why)) if is_absent(why) => Self::NoBroker(error),
            StartError::Gone(_) | StartError::Option(_) => Self::Start(error),
        }
    }
}

/// Does what the command says.
pub fn run(args: &DeadLettersArgs) -> ExitCode {
    match &args.command {
        Command::List(args) => run::run(list::list(args)),
        Command::Redrive(args) => run::run(redrive::redrive(args)),
        Command::Purge(args) => purge::run(args),
    }
}
