//! `message-queue produce`: from a file or standard input to a broker.

use super::broker_args::BrokerArgs;
use super::connector::{Connector, NO_BROKER_HINT};
use super::input::{Chunk, Input, InputError, InputFormat};
use super::pace::Pace;
use super::progress::{Messages, Progress, Totals};
use super::run::{self, Stop};
use crate::client::{ConnectError, Producer, SendError};
use message_queue_core::wire::FrameBatch;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long an interrupted producer waits for the broker to take what was already read.
const GRACE: Duration = Duration::from_secs(5);

/// Publish the messages of a file or of standard input
///
/// An empty line is a message of 0 bytes. The largest message is 1 MiB.
///
/// The broker confirms nothing: a message counts as handed over when the network has taken it,
/// and what the broker has not read when it goes away is lost. With --retry the rest goes to the
/// next broker: no message is sent twice.
#[derive(Debug, clap::Args)]
pub struct ProduceArgs {
    /// The file to read; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,

    /// How messages stand in it [default: csv for *.csv, else lines]
    #[arg(long, value_enum)]
    format: Option<InputFormat>,

    /// Send so many messages a second [default: as many as the broker takes]
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,

    /// Send the file so many times; 0 is for ever
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,

    #[command(flatten)]
    broker: BrokerArgs,
}

/// Why not everything was handed over.
#[derive(Debug, thiserror::Error)]
enum ProduceError {
    #[error("{source}; {NO_BROKER_HINT}")]
    Connect { source: ConnectError },
    #[error(
        "{source}; {handed_over} had been handed over, of which it may not have read the last; \
         start it again, or let --retry go on when it is back"
    )]
    BrokerGone {
        source: SendError,
        handed_over: Messages,
    },
    /// After the last message: there is nothing left to send again.
    #[error("{source}; it may not have read the last of the {handed_over} handed over")]
    Unfinished {
        source: SendError,
        handed_over: Messages,
    },
    /// No broker at any time will take this.
    #[error(transparent)]
    Refused(SendError),
    #[error("{source}; {handed_over} had been handed over before that")]
    Input {
        source: InputError,
        handed_over: Messages,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Publishes what `args` name. Exit codes: 0 when everything was handed over or the user ended it,
/// 2 where a flag is not allowed, 1 for any failure.
pub fn run(args: &ProduceArgs) -> ExitCode {
    match Input::open(&args.file, args.format, args.repeat) {
        Ok(input) => run::run(produce(args, input)),
        Err(error @ InputError::NotRepeatable { .. }) => run::bad_usage(&error),
        Err(error) => run::failure(&error),
    }
}

async fn produce(args: &ProduceArgs, input: Input) -> Result<(), ProduceError> {
    let mut stop = Stop::listen()?;
    let mut sender = Sender::new(args, Progress::start(input.size()));
    let outcome = send_and_finish(&mut sender, input, &mut stop).await;
    sender.progress.clear();
    outcome?;
    eprintln!("produced {}", sender.totals.over(sender.progress.elapsed()));
    Ok(())
}

/// Sends the input to its end, or to the user's.
async fn send_and_finish(
    sender: &mut Sender<'_>,
    input: Input,
    stop: &mut Stop,
) -> Result<(), ProduceError> {
    let stopped = tokio::select! {
        outcome = sender.send_all(input) => {
            outcome?;
            false
        }
        () = stop.requested() => true,
    };
    tokio::select! {
        outcome = sender.finish() => return outcome,
        () = stop.requested() => {}
        () = tokio::time::sleep(GRACE), if stopped => {}
    }
    let notices = sender.progress.notices();
    notices.print("ended before the broker had read everything; the rest may be lost");
    Ok(())
}

/// Sends chunks, at the pace asked for, through one connection after another.
struct Sender<'a> {
    connector: Connector<'a>,
    progress: Progress,
    pace: Option<Pace>,
    producer: Option<Producer>,
    /// What is being handed over to `producer`.
    current: Option<FrameBatch>,
    /// The messages handed over to `producer` that are in `totals`.
    counted: u64,
    /// What was handed over, all connections together.
    totals: Totals,
}

impl<'a> Sender<'a> {
    fn new(args: &'a ProduceArgs, progress: Progress) -> Self {
        Self {
            connector: Connector::new(&args.broker, progress.notices()),
            progress,
            pace: args.rate.map(Pace::new),
            producer: None,
            current: None,
            counted: 0,
            totals: Totals::default(),
        }
    }

    async fn send_all(&mut self, input: Input) -> Result<(), ProduceError> {
        // First of all: without a broker nothing is taken from standard input.
        self.connect().await?;
        let mut chunks = input.spawn()?;
        while let Some(chunk) = self.next_chunk(&mut chunks).await? {
            self.send(chunk).await?;
        }
        Ok(())
    }

    /// Waits for input, and watches the broker meanwhile.
    async fn next_chunk(
        &mut self,
        chunks: &mut mpsc::Receiver<Result<Chunk, InputError>>,
    ) -> Result<Option<Chunk>, ProduceError> {
        loop {
            let producer = self.connect().await?;
            let gone = tokio::select! {
                biased;
                chunk = chunks.recv() => {
                    let handed_over = Messages(self.totals.messages);
                    return chunk
                        .transpose()
                        .map_err(|source| ProduceError::Input { source, handed_over });
                }
                gone = producer.closed() => gone,
            };
            self.lost(gone).await?;
        }
    }

    async fn send(&mut self, chunk: Chunk) -> Result<(), ProduceError> {
        let Chunk {
            mut frames,
            position,
        } = chunk;
        while !frames.is_empty() {
            let messages = self.allowance(frames.messages()).await;
            self.hand_over(frames.split_to(messages)).await?;
            self.progress.update(position, self.totals);
        }
        Ok(())
    }

    /// Waits until at least one of `wanted` messages may go; how many may.
    async fn allowance(&mut self, wanted: usize) -> usize {
        let Some(pace) = &mut self.pace else {
            return wanted;
        };
        loop {
            let wait = pace.wake(wanted).saturating_sub(self.progress.elapsed());
            tokio::time::sleep(wait).await;
            let due = pace.take(self.progress.elapsed(), wanted);
            if due > 0 {
                return due;
            }
        }
    }

    /// Hands over a batch. After a lost connection goes on with the first message that the network
    /// had not taken as a whole.
    async fn hand_over(&mut self, batch: FrameBatch) -> Result<(), ProduceError> {
        self.current = Some(batch);
        while let Some(batch) = self.current.clone() {
            let producer = self.connect().await?;
            let outcome = match producer.send_batch(batch).await {
                Ok(()) => producer.flush().await,
                Err(error) => Err(error),
            };
            self.settle();
            if let Err(error) = outcome {
                self.lost(error).await?;
            }
        }
        Ok(())
    }

    /// Counts what `producer` has handed over of the current batch, and keeps the rest.
    fn settle(&mut self) {
        let (Some(producer), Some(current)) = (&self.producer, &mut self.current) else {
            return;
        };
        let handed_over = producer.handed_over();
        let Ok(messages) = usize::try_from(handed_over - self.counted) else {
            unreachable!("a batch is in memory");
        };
        self.counted = handed_over;
        self.totals.add(&current.split_to(messages));
        if current.is_empty() {
            self.current = None;
        }
    }

    /// The connection there is, or a new one.
    async fn connect(&mut self) -> Result<&mut Producer, ProduceError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                self.counted = 0;
                let attempt = self.connector.connect(Producer::connect).await;
                attempt.map_err(|source| ProduceError::Connect { source })?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// Gives up the connection: to wait and go on, or for good.
    async fn lost(&mut self, error: SendError) -> Result<(), ProduceError> {
        self.producer = None;
        match error {
            SendError::Closed { .. } | SendError::Lost { .. } if self.connector.retries() => {
                self.connector.wait(&error).await;
                Ok(())
            }
            SendError::Closed { .. } | SendError::Lost { .. } => {
                let handed_over = Messages(self.totals.messages);
                Err(ProduceError::BrokerGone {
                    source: error,
                    handed_over,
                })
            }
            SendError::MessageTooLarge(_) | SendError::NotABroker { .. } => {
                Err(ProduceError::Refused(error))
            }
        }
    }

    /// Ends the stream and waits until the broker has read it.
    async fn finish(&mut self) -> Result<(), ProduceError> {
        let Some(producer) = &mut self.producer else {
            return Ok(());
        };
        let flushed = producer.flush().await;
        self.settle();
        let finished = match (flushed, self.producer.take()) {
            (Ok(()), Some(producer)) => producer.finish().await.map(|_| ()),
            (flushed, _) => flushed,
        };
        let handed_over = Messages(self.totals.messages);
        finished.map_err(|source| ProduceError::Unfinished {
            source,
            handed_over,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use clap::Parser;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ProduceArgs,
    }

    fn args(listener: &TcpListener, flags: &[&str]) -> ProduceArgs {
        let address = listener.local_addr().expect("bound").to_string();
        Command::parse_from([&["produce", "--addr", &address], flags].concat()).args
    }

    /// More than the network takes of a producer whose broker does not read.
    fn large_batch() -> FrameBatch {
        FrameBatch::encode((0..100_u32).map(|number| number.to_be_bytes().repeat(1 << 17)))
            .expect("half a MiB each")
    }

    async fn accepted(listener: &TcpListener) -> TcpStream {
        let (mut producer, _) = listener.accept().await.expect("a producer");
        let mut role = [0; 9];
        producer.read_exact(&mut role).await.expect("a role line");
        assert_eq!(&role, b"PRODUCER\n");
        producer
    }

    #[tokio::test]
    async fn after_a_lost_connection_the_next_begins_where_the_network_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &["--retry"]);
        let batch = large_batch();
        let mut sender = Sender::new(&args, Progress::start(None));
        let broker = async {
            drop(accepted(&listener).await);
            let mut received = Vec::new();
            accepted(&listener)
                .await
                .read_to_end(&mut received)
                .await
                .expect("an orderly end");
            FrameBatch::parse(Bytes::from(received)).expect("whole frames")
        };
        let produce = async {
            sender
                .hand_over(batch.clone())
                .await
                .expect("the second connection takes the rest");
            sender
                .finish()
                .await
                .expect("the second connection reads to the end");
        };
        let (received, ()) = tokio::join!(broker, produce);
        let mut tail = batch;
        tail.split_to(tail.messages() - received.messages());
        assert_eq!(received, tail);
        assert!(!received.is_empty(), "the network took everything at once");
        assert_eq!(sender.totals.messages, 100);
    }

    #[tokio::test]
    async fn without_retry_a_lost_connection_is_the_end_and_what_was_handed_over_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &[]);
        let mut sender = Sender::new(&args, Progress::start(None));
        let broker = async { drop(accepted(&listener).await) };
        let (outcome, ()) = tokio::join!(sender.hand_over(large_batch()), broker);
        let Err(ProduceError::BrokerGone { handed_over, .. }) = outcome else {
            panic!("the broker has gone: {outcome:?}");
        };
        assert_eq!(handed_over.0, sender.totals.messages);
        assert!(handed_over.0 < 100);
    }
}
