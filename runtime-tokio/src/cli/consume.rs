//! `message-queue consume`: from a broker to a file or standard output.

use super::broker_args::BrokerArgs;
use super::connector::{Connector, REFUSAL_HINT, hint};
use super::consume_acked;
use super::delivery_args::AckArgs;
use super::exit::Exit;
use super::output::OutputFormat;
use super::progress::{Messages, Progress};
use super::receiver::{Account, End, GRACE, Receiver, is_foreign};
use super::run::{self, Stop};
use super::say;
use super::sink::{OutputError, Sink};
use crate::client::{ConnectError, Consumer, ReceiveError};
use std::io;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  consume --topic orders --group billing           be a member of billing, which keeps what is published meanwhile
  consume --topic 'gpu.*.temp'                     what is published to gpu.0.temp, gpu.1.temp, ...
  consume --topic orders --group audit --share one one member at a time, in strict order; start two
  consume --count 10                               take ten, and leave the rest to others
  consume --topic orders.dead --format json --meta dead letters, with topic, sequence, time, attempt and origin
  consume --topic orders --group billing --until-empty
                                                   take what waits for billing, and end
  consume --topic orders --group billing --until-empty --format export --output orders.mq
                                                   move what waits for billing to another broker: orders.mq is
                                                   for produce --format export, or for log import";

/// Print the messages that a broker delivers
///
/// Ends at the count, when nothing is left to do (--until-empty), when the reader of its output has
/// seen enough, when the broker ends the connection, or when it is told to (Ctrl-C). With --retry it goes on after the broker has ended
/// the connection; what is published meanwhile passes it by (in queue mode it waits).
///
/// The exit code is 0 only at the count, when nothing is left, or when the reader has seen enough. A
/// broker that ends the connection may have lost messages, so the exit code is 1 then.
///
/// With --count, --ack, --topic and their neighbours a message is acknowledged once it is written
/// (wire version 2). Nothing is lost then: what is not written goes back to the broker and to others,
/// and --count takes just so many. A message may come twice if a connection is lost.
///
/// So does --format export, which is for moving messages to another broker. A file of it counts as
/// written once it is on the disk, and is not replaced if it holds something.
///
/// --until-empty takes what waits for the group, and ends when the broker says that the group has
/// nothing left to do. It waits for messages that wait for a delay or to be tried again, and writes
/// them. It also waits for other members to be done with what they hold, because that comes back if
/// they fail: a member that holds a message and does nothing keeps it waiting, which is said. What is
/// published meanwhile is taken too, so while producers publish it may go on. Where brokers share the
/// topic (Kafka, RabbitMQ) no broker knows what waits, so it ends with 1 at once, and --count is
/// needed.
///
/// Without any of these nothing is acknowledged (version 1): what the broker has handed to this connection is
/// delivered, and in queue mode nobody else gets it. What came and was not written is lost: that is
/// said, and the exit code is 1 unless --discard-rest says that it does not matter.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConsumeArgs {
    /// How to print a message
    #[arg(long, value_enum, default_value_t = OutputFormat::Lines)]
    format: OutputFormat,

    /// Write to this file; - is standard output. It is made empty once there is a connection
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// Keep what is in the file, and add to it
    #[arg(long, requires = "output")]
    append: bool,

    /// End after so many messages, and leave the rest to others [default: go on]
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,

    /// Messages that come beyond the count, or beyond what the reader of the output wants, are no
    /// loss (as in broadcast mode). Nothing is acknowledged, for which a broker needs the least work
    #[arg(
        long,
        conflicts_with_all = ["topic", "group", "ack", "prefetch", "from", "share", "verify", "meta", "until_empty"]
    )]
    discard_rest: bool,

    #[command(flatten)]
    pub(super) acks: AckArgs,

    #[command(flatten)]
    pub(super) broker: BrokerArgs,
}

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error("{source}{}", hint(.source))]
    Connect { source: ConnectError },
    #[error("the broker at {address} ended the connection at once; {REFUSAL_HINT}")]
    Refused { address: String },
    #[error(
        "the broker at {address} ended the connection: it was shut down, or it was killed; {got}; \
         --retry goes on when it is back"
    )]
    Closed { address: String, got: Got },
    #[error("{source}; {got}; --retry goes on when it is back")]
    Lost { source: ReceiveError, got: Got },
    #[error("{source}: is it the broker's TCP port?")]
    NotABroker { source: ReceiveError },
    #[error("{source}; {got}")]
    Output { source: OutputError, got: Got },
    #[error(transparent)]
    Open(#[from] OutputError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What was done before a failure. Shows as `3 of 10 messages had been written, 4 more were lost`.
#[derive(Debug)]
struct Got {
    account: Account,
    wanted: Option<NonZeroU64>,
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = self.account.written.messages;
        match self.wanted {
            Some(wanted) => write!(f, "{written} of {}", Messages(wanted.get()))?,
            None => write!(f, "{}", Messages(written))?,
        }
        write!(f, " had been written")?;
        match self.account.loss() {
            Some(lost) => write!(f, ", and {lost} that came are lost"),
            None => Ok(()),
        }
    }
}

/// Prints what comes. See [`ConsumeArgs`] for the exit codes.
pub fn run(args: &ConsumeArgs) -> ExitCode {
    if args.acks.meta && args.format != OutputFormat::Json {
        return run::bad_usage(&BadUsage::MetaIsJson);
    }
    if args.is_export() && args.discard_rest {
        return run::bad_usage(&BadUsage::ExportIsAcknowledged);
    }
    match Sink::open(&args.output, args.append, args.format) {
        Ok(sink) if args.is_acknowledged() => run::run(consume_acked::consume(args, sink)),
        Ok(sink) => run::run(consume(args, sink)),
        Err(error) => run::failure(&error),
    }
}

/// Options that do not go together.
#[derive(Debug, thiserror::Error)]
enum BadUsage {
    /// No other format has a place for it.
    #[error("--meta needs --format json")]
    MetaIsJson,
    /// In version 1 nothing is known of a message but its bytes.
    #[error(
        "--discard-rest cannot be used with --format export, which acknowledges what it writes"
    )]
    ExportIsAcknowledged,
}

impl ConsumeArgs {
    pub(super) fn is_export(&self) -> bool {
        self.format == OutputFormat::Export
    }

    /// Whether messages are acknowledged, in wire version 2.
    fn is_acknowledged(&self) -> bool {
        self.is_export()
            || self.acks.is_given()
            || self.broker.token.is_given()
            || (self.count.is_some() && !self.discard_rest)
    }
}

async fn consume(args: &ConsumeArgs, sink: Sink) -> Result<Exit, ConsumeError> {
    let mut stop = Stop::listen()?;
    let progress = Progress::bar(sink.is_regular_file());
    let mut connector =
        Connector::new(&args.broker, progress.notices()).over(args.broker.address.tls.client()?);
    let consumer = tokio::select! {
        consumer = connector.connect(Consumer::connect_with) => {
            consumer.map_err(|source| ConsumeError::Connect { source })?
        }
        exit = stop.requested() => return Ok(exit),
    };
    let limit = args.count.map_or(u64::MAX, NonZeroU64::get);
    let mut receiver = Receiver::new(connector, progress, consumer, sink.begin()?, limit);
    let (end, told) = tokio::select! {
        end = receiver.receive_all() => (Some(end), None),
        exit = stop.requested() => (None, Some(exit)),
    };
    tokio::select! {
        () = receiver.leave(told.is_some()) => {}
        _ = stop.requested() => {}
    }
    let written = tokio::select! {
        written = receiver.output().finish() => Some(written),
        _ = stop.requested() => None,
        () = tokio::time::sleep(GRACE), if told.is_some() => None,
    };
    receiver.clear_progress();
    let account = receiver.account();
    let wanted = args.count;
    let got = Got { account, wanted };
    if let Some(Err(source)) = written
        && !source.is_closed_pipe()
    {
        return Err(ConsumeError::Output { source, got });
    }
    let address = receiver.address().to_owned();
    match end {
        Some(End::Enough | End::OutputEnded) | None => Ok(conclude(args, told, account)),
        Some(End::Closed) => Err(ConsumeError::Closed { address, got }),
        Some(End::Refused) => Err(ConsumeError::Refused { address }),
        Some(End::Failed(source)) if is_foreign(&source) => {
            Err(ConsumeError::NotABroker { source })
        }
        Some(End::Failed(source)) => Err(ConsumeError::Lost { source, got }),
    }
}

/// Says what was done, and makes it an exit code. `told` is the exit code where a signal ended it.
fn conclude(args: &ConsumeArgs, told: Option<Exit>, account: Account) -> Exit {
    say::note(&format!("consumed {}", account.written.over(account.over)));
    match (account.loss(), told) {
        (None, Some(exit)) => exit,
        (None, None) => Exit::Done,
        (Some(lost), Some(_)) => {
            say::note(&format!("lost {lost} that came and could not be written"));
            Exit::Failed
        }
        (Some(lost), None) => {
            say::note(&format!(
                "discarded {lost} that came beyond that; in queue mode no other consumer gets them"
            ));
            if args.discard_rest {
                Exit::Done
            } else {
                Exit::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ConsumeArgs,
    }

    /// What a consumer with these flags writes, and how it ends, if the broker's connections bring
    /// these bytes, one after another.
    async fn consumed(
        flags: &[&str],
        connections: &[&[u8]],
    ) -> (String, Result<Exit, ConsumeError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let output = file.path().to_str().expect("a path in UTF-8");
        let own = ["consume", "--addr", &address, "--output", output];
        let args = Command::parse_from([&own, flags].concat()).args;
        let sink = Sink::open(&args.output, args.append, args.format).expect("a file");
        let broker = async {
            for bytes in connections {
                let (mut consumer, _) = listener.accept().await.expect("a consumer");
                consumer.read_exact(&mut [0; 9]).await.expect("a role line");
                consumer.write_all(bytes).await.expect("it reads");
            }
        };
        let (outcome, ()) = tokio::join!(consume(&args, sink), broker);
        (fs::read_to_string(file.path()).expect("text"), outcome)
    }

    #[tokio::test]
    async fn the_count_cuts_a_batch_whose_rest_may_be_discarded() {
        let messages: [&[u8]; 1] = [b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c"];
        for (count, expected) in [("2", "a\nb\n"), ("3", "a\nb\nc\n")] {
            let flags = ["--count", count, "--discard-rest"];
            let (text, outcome) = consumed(&flags, &messages).await;
            assert_eq!(outcome.expect("the count is reached"), Exit::Done);
            assert_eq!(text, expected);
        }
    }

    #[tokio::test]
    async fn a_broker_that_ends_the_connection_is_a_failure_and_with_retry_it_is_not() {
        let (text, outcome) =
            consumed(&["--count", "10", "--discard-rest"], &[b"\0\0\0\x01a"]).await;
        let error = outcome.expect_err("nine are missing").to_string();
        assert!(
            error.contains("1 of 10 messages had been written;"),
            "{error}"
        );
        assert_eq!(text, "a\n");
        let connections: [&[u8]; 3] = [b"\0\0\0\x01a", b"\0\0\0\x01b\0\0\0\x02c", b"\0\0\0\x01d"];
        let (text, outcome) =
            consumed(&["--retry", "--count", "3", "--discard-rest"], &connections).await;
        assert_eq!(outcome.expect("the count is reached"), Exit::Done);
        assert_eq!(text, "a\nb\nd\n");
    }

    #[tokio::test]
    async fn an_end_at_once_may_be_a_refusal() {
        let (_, outcome) = consumed(&[], &[b""]).await;
        let error = outcome.expect_err("no place");
        assert!(matches!(error, ConsumeError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("MAX_CONNECTIONS, MAX_CONSUMERS"), "{text}");
    }

    #[tokio::test]
    async fn a_truncated_frame_is_a_failure_after_the_messages_before_it() {
        let (text, outcome) = consumed(&[], &[b"\0\0\0\x01b\0\0\0\x02c"]).await;
        let error = outcome.expect_err("a truncated frame").to_string();
        assert!(
            error.contains("inside a frame; 1 message had been written"),
            "{error}"
        );
        assert_eq!(text, "b\n");
    }

    #[tokio::test]
    async fn what_is_no_broker_is_not_asked_again() {
        let (_, outcome) = consumed(&["--retry"], &[b"HTTP/1.1 400 Bad Request\r\n"]).await;
        let error = outcome.expect_err("no broker");
        assert!(matches!(error, ConsumeError::NotABroker { .. }), "{error}");
    }
}
