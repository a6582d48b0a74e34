//! `message-queue consume`: from a broker to a file or standard output.

use super::broker_args::BrokerArgs;
use super::connector::{Connector, NO_BROKER_HINT};
use super::output::{Output, OutputError, OutputFormat, OutputThread};
use super::progress::{Messages, Notices, Totals};
use super::run::{self, Stop};
use crate::client::{Backoff, ConnectError, Consumer, ReceiveError};
use message_queue_core::ProtocolError;
use message_queue_core::wire::FrameBatch;
use std::io;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How long an interrupted consumer waits for its output to take what has come.
const GRACE: Duration = Duration::from_secs(2);

/// Print the messages that a broker delivers
///
/// Ends when the broker closes the connection, at the count, or when it is told to (Ctrl-C). With
/// --retry it goes on after the broker has closed the connection; what is published meanwhile
/// passes it by (in queue mode it waits).
#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    /// How to print a message
    #[arg(long, value_enum, default_value_t = OutputFormat::Lines)]
    format: OutputFormat,

    /// Write to this file, which is made empty first [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// End after so many messages [default: go on]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    broker: BrokerArgs,
}

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error("{source}; {NO_BROKER_HINT}")]
    Connect { source: ConnectError },
    #[error(
        "{source}; {received} had come before that; start it again, or let --retry go on when it \
         is back"
    )]
    BrokerGone {
        source: ReceiveError,
        received: Messages,
    },
    #[error("{source}: is it the broker's TCP port?")]
    NotABroker { source: ReceiveError },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints what comes. Exit codes: 0 at the broker's orderly close, at the count, or when the user
/// or the reader of the output ended it; 1 for any failure.
pub fn run(args: &ConsumeArgs) -> ExitCode {
    match Output::open(args.output.as_deref(), args.format) {
        Ok(output) => run::run(consume(args, output)),
        Err(error) => run::failure(&error),
    }
}

async fn consume(args: &ConsumeArgs, output: Output) -> Result<(), ConsumeError> {
    let mut stop = Stop::listen()?;
    let mut receiver = Receiver::new(args, output.spawn()?);
    let (outcome, stopped) = tokio::select! {
        outcome = receiver.receive_all() => (outcome, false),
        () = stop.requested() => (Ok(()), true),
    };
    let Receiver {
        output,
        totals,
        came,
        ..
    } = receiver;
    let written = tokio::select! {
        written = output.finish() => written,
        () = stop.requested() => Ok(()),
        () = tokio::time::sleep(GRACE), if stopped => Ok(()),
    };
    match written {
        Err(error) if error.is_closed_pipe() => return Ok(()),
        written => written?,
    }
    outcome?;
    eprintln!("consumed {}", totals.over(came.over()));
    Ok(())
}

/// Receives batches and hands them to the output, through one connection after another.
struct Receiver<'a> {
    connector: Connector<'a>,
    notices: Notices,
    output: OutputThread,
    /// How many messages to receive in all.
    limit: u64,
    totals: Totals,
    came: Came,
}

impl<'a> Receiver<'a> {
    fn new(args: &'a ConsumeArgs, output: OutputThread) -> Self {
        let notices = Notices::without_progress();
        Self {
            connector: Connector::new(&args.broker, notices.clone()),
            notices,
            output,
            limit: args.count.map_or(u64::MAX, NonZeroU64::get),
            totals: Totals::default(),
            came: Came::default(),
        }
    }

    async fn receive_all(&mut self) -> Result<(), ConsumeError> {
        loop {
            let attempt = self.connector.connect(Consumer::connect).await;
            let consumer = attempt.map_err(|source| ConsumeError::Connect { source })?;
            match self.receive(consumer).await {
                End::Enough => return Ok(()),
                End::Closed if self.connector.retries() => {
                    self.connector
                        .wait(&"the broker closed the connection")
                        .await;
                }
                End::Closed => {
                    self.hint_at_a_refusal();
                    return Ok(());
                }
                End::Failed(source) if !may_be_back(&source) => {
                    return Err(ConsumeError::NotABroker { source });
                }
                End::Failed(error) if self.connector.retries() => {
                    self.connector.wait(&error).await;
                }
                End::Failed(source) => {
                    let received = Messages(self.totals.messages);
                    return Err(ConsumeError::BrokerGone { source, received });
                }
            }
        }
    }

    /// Receives to the end of one connection.
    async fn receive(&mut self, mut consumer: Consumer) -> End {
        loop {
            match consumer.next_batch().await {
                Ok(Some(batch)) => {
                    if !self.keep(batch).await {
                        return End::Enough;
                    }
                }
                Ok(None) => return End::Closed,
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// Hands a batch to the output, as far as it is wanted. Returns whether more is.
    async fn keep(&mut self, mut batch: FrameBatch) -> bool {
        self.came.note(Instant::now());
        let wanted = usize::try_from(self.limit - self.totals.messages).unwrap_or(usize::MAX);
        if wanted < batch.messages() {
            batch = batch.split_to(wanted);
        }
        let mut totals = self.totals;
        totals.add(&batch);
        if !self.output.write(batch).await {
            return false;
        }
        self.totals = totals;
        self.totals.messages < self.limit
    }

    /// In wire version 1 a broker that has no place for a consumer closes the connection without
    /// a word.
    fn hint_at_a_refusal(&self) {
        if self.totals.messages == 0 && self.connector.lived() < Backoff::SETTLED {
            self.notices.print(
                "the broker closed the connection at once: all its places for consumers may be \
                 taken (MAX_CONSUMERS), its log says",
            );
        }
    }
}

/// When messages came: the first and the last. The time before and after says nothing about the
/// rate.
#[derive(Clone, Copy, Debug, Default)]
struct Came(Option<(Instant, Instant)>);

impl Came {
    fn note(&mut self, now: Instant) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// For how long messages came.
    fn over(self) -> Duration {
        self.0.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

/// How a connection ended.
enum End {
    /// The count is reached, or the output takes no more.
    Enough,
    /// The broker closed it, between messages.
    Closed,
    Failed(ReceiveError),
}

/// Whether the same address may lead to a broker later: not if what is there speaks another
/// protocol.
fn may_be_back(error: &ReceiveError) -> bool {
    match error {
        ReceiveError::Lost { .. } => true,
        ReceiveError::Protocol { source, .. } => *source == ProtocolError::TruncatedFrame,
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
    async fn consumed(flags: &[&str], connections: &[&[u8]]) -> (String, Result<(), ConsumeError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let args = Command::parse_from([&["consume", "--addr", &address], flags].concat()).args;
        let output = Output::open(Some(file.path()), args.format).expect("a file");
        let broker = async {
            for bytes in connections {
                let (mut consumer, _) = listener.accept().await.expect("a consumer");
                consumer.read_exact(&mut [0; 9]).await.expect("a role line");
                consumer.write_all(bytes).await.expect("it reads");
            }
        };
        let (outcome, ()) = tokio::join!(consume(&args, output), broker);
        (fs::read_to_string(file.path()).expect("text"), outcome)
    }

    #[tokio::test]
    async fn the_count_cuts_a_batch() {
        let (text, outcome) =
            consumed(&["--count", "2"], &[b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c"]).await;
        outcome.expect("the count is reached");
        assert_eq!(text, "a\nb\n");
    }

    #[test]
    fn the_time_is_that_from_the_first_message_to_the_last() {
        let start = Instant::now();
        let mut came = Came::default();
        assert_eq!(came.over(), Duration::ZERO);
        for seconds in [1, 2, 4] {
            came.note(start + Duration::from_secs(seconds));
        }
        assert_eq!(came.over(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn an_orderly_close_is_the_end_and_with_retry_it_is_not() {
        let (text, outcome) = consumed(&[], &[b"\0\0\0\x01a"]).await;
        outcome.expect("an orderly close");
        assert_eq!(text, "a\n");
        let connections: [&[u8]; 3] = [b"\0\0\0\x01a", b"\0\0\0\x01b\0\0\0\x02c", b"\0\0\0\x01d"];
        let (text, outcome) = consumed(&["--retry", "--count", "3"], &connections).await;
        outcome.expect("the count is reached");
        assert_eq!(text, "a\nb\nd\n");
    }

    #[tokio::test]
    async fn a_truncated_frame_is_a_failure_after_the_messages_before_it() {
        let (text, outcome) = consumed(&[], &[b"\0\0\0\x01b\0\0\0\x02c"]).await;
        let error = outcome.expect_err("a truncated frame").to_string();
        assert!(
            error.contains("inside a frame; 1 message had come before that"),
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
