//! From chunks of input to a broker, and the account of what it may not have read.

use super::connector::{Connector, REFUSAL_TIME};
use super::input::{Chunk, InputError};
use super::pace::{Pace, Rate};
use super::produce_error::{AtRisk, ProduceError};
use super::progress::{Messages, Notices, Progress, Summary, Totals};
use crate::client::{Producer, SendError};
use message_queue_core::wire::FrameBatch;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Sends chunks, at the pace asked for, through one connection after another.
pub(super) struct Sender<'a> {
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
    /// The messages that were handed over through connections that were lost.
    at_risk: u64,
    /// The rows of the input that were left out.
    skipped: u64,
}

impl<'a> Sender<'a> {
    pub(super) fn new(connector: Connector<'a>, progress: Progress, rate: Option<Rate>) -> Self {
        Self {
            connector,
            progress,
            pace: rate.map(Pace::new),
            producer: None,
            current: None,
            counted: 0,
            totals: Totals::default(),
            at_risk: 0,
            skipped: 0,
        }
    }

    /// Sends all that comes.
    pub(super) async fn send_all(
        &mut self,
        mut chunks: mpsc::Receiver<Result<Chunk, InputError>>,
    ) -> Result<(), ProduceError> {
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
            skipped,
        } = chunk;
        self.skipped += skipped.rows;
        for bad_row in &skipped.shown {
            self.notices().print(&format!("skipped: {bad_row}"));
        }
        while !frames.is_empty() {
            let messages = self.allowance(frames.messages()).await;
            self.hand_over(frames.split_to(messages)).await?;
            self.progress.update(position, self.totals);
        }
        Ok(())
    }

    /// Waits until at least one of `wanted` messages may go; how many may.
    async fn allowance(&mut self, wanted: usize) -> usize {
        match &mut self.pace {
            Some(pace) => pace.allowance(&self.progress, wanted).await,
            None => wanted,
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
    pub(super) async fn connect(&mut self) -> Result<&mut Producer, ProduceError> {
        let mut producer = self.producer.take();
        loop {
            match producer {
                Some(producer) => return Ok(self.producer.insert(producer)),
                None => producer = self.new_connection().await?,
            }
        }
    }

    /// A new connection, unless it was lost at once.
    async fn new_connection(&mut self) -> Result<Option<Producer>, ProduceError> {
        let attempt = self.connector.connect(Producer::connect_with).await;
        let mut producer = attempt.map_err(|source| ProduceError::Connect { source })?;
        self.counted = 0;
        // A broker that refuses a client does so at once: then nothing is lost.
        if self.connector.retries()
            && let Ok(gone) = timeout(REFUSAL_TIME, producer.closed()).await
        {
            self.lost(gone).await?;
            return Ok(None);
        }
        self.connector.announce();
        Ok(Some(producer))
    }

    /// Gives up the connection: to wait and go on, or for good.
    async fn lost(&mut self, error: SendError) -> Result<(), ProduceError> {
        self.producer = None;
        self.at_risk += std::mem::take(&mut self.counted);
        let may_be_back = match &error {
            SendError::Closed { .. } | SendError::Lost { .. } => true,
            SendError::MessageTooLarge(_) | SendError::NotABroker { .. } => false,
        };
        let refused = self.connector.at_once();
        if !may_be_back {
            return Err(ProduceError::Foreign(error));
        }
        if self.connector.retries() {
            self.connector.lost(&error, refused).await;
            return Ok(());
        }
        let (source, at_risk) = (error, self.at_risk());
        Err(if refused {
            ProduceError::Refused { source, at_risk }
        } else {
            ProduceError::BrokerGone { source, at_risk }
        })
    }

    /// Ends the stream and waits until the broker has read it.
    pub(super) async fn finish(&mut self) -> Result<(), ProduceError> {
        let Some(producer) = &mut self.producer else {
            return Ok(());
        };
        let flushed = producer.flush().await;
        self.settle();
        let finished = match (flushed, self.producer.take()) {
            (Ok(()), Some(producer)) => producer.finish().await.map(|_| ()),
            (flushed, _) => flushed,
        };
        let Err(source) = finished else {
            return Ok(());
        };
        self.at_risk += std::mem::take(&mut self.counted);
        let at_risk = self.at_risk();
        Err(match &source {
            SendError::Closed { .. } | SendError::Lost { .. } if self.connector.at_once() => {
                ProduceError::Refused { source, at_risk }
            }
            SendError::Closed { .. } | SendError::Lost { .. } => {
                ProduceError::Unfinished { source, at_risk }
            }
            SendError::MessageTooLarge(_) | SendError::NotABroker { .. } => {
                ProduceError::Foreign(source)
            }
        })
    }

    /// What was handed over, and what of it may be missing.
    pub(super) const fn at_risk(&self) -> AtRisk {
        AtRisk {
            handed_over: self.totals.messages,
            at_risk: self.at_risk,
        }
    }

    /// How many rows of the input were left out.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What was handed over, and how fast.
    pub(super) fn summary(&self) -> Summary {
        self.totals.over(self.progress.elapsed())
    }

    /// Where to print while this runs.
    pub(super) fn notices(&self) -> Notices {
        self.progress.notices()
    }

    /// Takes the progress away.
    pub(super) fn clear_progress(&self) {
        self.progress.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::broker_args::BrokerArgs;
    use bytes::Bytes;
    use clap::Parser;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        broker: BrokerArgs,
    }

    fn args(listener: &TcpListener, flags: &[&str]) -> BrokerArgs {
        let address = listener.local_addr().expect("bound").to_string();
        Command::parse_from([&["produce", "--addr", &address], flags].concat()).broker
    }

    fn sender(args: &BrokerArgs) -> Sender<'_> {
        let progress = Progress::start(None);
        Sender::new(Connector::new(args, progress.notices()), progress, None)
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

    /// Reads a little and goes.
    async fn accepted_and_lost(listener: &TcpListener) {
        let mut producer = accepted(listener).await;
        producer.read_exact(&mut [0; 4]).await.expect("a frame");
    }

    async fn read_to_end(listener: &TcpListener) -> FrameBatch {
        let mut received = Vec::new();
        let mut producer = accepted(listener).await;
        producer
            .read_to_end(&mut received)
            .await
            .expect("an orderly end");
        FrameBatch::parse(Bytes::from(received)).expect("whole frames")
    }

    #[tokio::test]
    async fn after_a_lost_connection_the_next_begins_where_the_network_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &["--retry"]);
        let batch = large_batch();
        let mut sender = sender(&args);
        let broker = async {
            accepted_and_lost(&listener).await;
            read_to_end(&listener).await
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
        let missing = batch.messages() - received.messages();
        let mut tail = batch;
        tail.split_to(missing);
        assert_eq!(received, tail);
        assert!(!received.is_empty(), "the network took everything at once");
        let expected = AtRisk {
            handed_over: 100,
            at_risk: missing as u64,
        };
        assert_eq!(sender.at_risk(), expected);
    }

    #[tokio::test]
    async fn with_retry_a_refusal_costs_no_message() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &["--retry"]);
        let batch = FrameBatch::encode(["a", "b"]).expect("small");
        let mut sender = sender(&args);
        let broker = async {
            let (refused, _) = listener.accept().await.expect("a producer");
            socket2::SockRef::from(&refused)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket");
            drop(refused);
            read_to_end(&listener).await
        };
        let produce = async {
            sender.hand_over(batch.clone()).await.expect("it retries");
            sender.finish().await.expect("the broker has read it");
        };
        let (received, ()) = tokio::join!(broker, produce);
        assert_eq!(received, batch);
        assert_eq!(sender.at_risk().at_risk, 0);
    }

    #[tokio::test]
    async fn without_retry_a_refusal_is_a_failure_whenever_it_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &[]);
        let mut sender = sender(&args);
        let batch = FrameBatch::encode(["a", "b"]).expect("small");
        // The network takes what a broker will not read.
        sender.hand_over(batch).await.expect("the network");
        let (refused, _) = listener.accept().await.expect("a producer");
        let socket = socket2::SockRef::from(&refused);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(refused);
        let error = sender.finish().await.expect_err("nothing was read");
        let ProduceError::Refused { at_risk, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((at_risk.handed_over, at_risk.at_risk), (2, 2));
    }

    #[tokio::test]
    async fn without_retry_a_lost_connection_is_the_end_and_what_was_handed_over_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let args = args(&listener, &[]);
        let mut sender = sender(&args);
        let broker = async { drop(accepted(&listener).await) };
        let (outcome, ()) = tokio::join!(sender.hand_over(large_batch()), broker);
        let Err(ProduceError::Refused { at_risk, .. }) = outcome else {
            panic!("the broker has gone: {outcome:?}");
        };
        assert_eq!(at_risk.handed_over, sender.totals.messages);
        assert_eq!(at_risk.at_risk, at_risk.handed_over);
        assert!(at_risk.handed_over < 100);
    }
}
