//! `produce` with confirms: until the broker has confirmed everything.

use super::broker_args::BrokerArgs;
use super::connector::is_absent;
use super::delivery_args::ConfirmArgs;
use super::exit::Exit;
use super::input::{Chunk, InputError};
use super::pace::{Pace, Rate};
use super::progress::{Messages, Progress, Totals};
use super::run::Stop;
use super::say;
use super::watch;
use crate::client::acked::{Gone, Producer, SendError, StartError, Unconfirmed, Window};
use message_queue_core::wire::FrameBatch;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long an interrupted producer waits for the confirms of what it has sent.
const GRACE: Duration = Duration::from_secs(5);

/// The most that is unconfirmed at a time: of small messages many.
const WINDOW: Window = Window {
    messages: 1_000_000,
    bytes: 16 << 20,
};

/// Why not everything was confirmed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfirmError {
    #[error("{0}; start a broker with `message-queue serve`, or let --retry wait for one")]
    NoBroker(StartError),
    #[error(transparent)]
    Start(StartError),
    #[error("{gone}; {confirmed} were confirmed, {unconfirmed} were sent and may be missing{}", hint(*.is_named))]
    Gone {
        gone: Gone,
        confirmed: Messages,
        unconfirmed: Messages,
        is_named: bool,
    },
    #[error("{source}; {confirmed} had been confirmed before that")]
    Input {
        source: InputError,
        confirmed: Messages,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

const fn hint(is_named: bool) -> &'static str {
    if is_named {
        "; the same command again sends what the broker has not, as long as it remembers the name"
    } else {
        "; --retry goes on when it is back"
    }
}

impl From<StartError> for ConfirmError {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Gone(Gone::Connect(why)) if is_absent(why) => Self::NoBroker(error),
            StartError::Gone(_) | StartError::Option(_) => Self::Start(error),
        }
    }
}

/// Publishes chunks through a producer that learns what became of them.
pub(super) struct Confirmed<'a> {
    producer: Producer,
    args: &'a ConfirmArgs,
    progress: Progress,
    pace: Option<Pace>,
    /// What was sent, or is with the broker from an earlier run.
    sent: Totals,
    /// The rows of the input that were left out.
    skipped: u64,
}

/// The chunks of the input.
type Chunks = mpsc::Receiver<Result<Chunk, InputError>>;

/// Publishes what `open` reads, once there is a connection.
pub(super) async fn produce(
    broker: &BrokerArgs,
    args: &ConfirmArgs,
    rate: Option<Rate>,
    size: Option<u64>,
    open: impl FnOnce(&Progress) -> io::Result<Chunks>,
) -> Result<Exit, ConfirmError> {
    let mut stop = Stop::listen()?;
    let progress = Progress::start(size);
    let mut builder = Producer::builder()
        .window(WINDOW)
        .token(broker.token.token())
        .retry(watch::retry(broker))
        .on_change(watch::changes(progress.notices(), &broker.address.addr));
    if let Some(tls) = broker.address.tls.client()? {
        builder = builder.tls(tls);
    }
    if let Some(topic) = &args.topic {
        builder = builder.topic(topic);
    }
    if let Some(name) = &args.name {
        builder = builder.name(name);
    }
    let producer = tokio::select! {
        producer = builder.connect(&broker.address.addr) => producer?,
        exit = stop.requested() => return Ok(exit),
    };
    let chunks = open(&progress)?;
    let confirmed = Confirmed {
        producer,
        args,
        progress,
        pace: rate.map(Pace::new),
        sent: Totals::default(),
        skipped: 0,
    };
    confirmed.run(chunks, stop).await
}

impl Confirmed<'_> {
    async fn run(mut self, chunks: Chunks, mut stop: Stop) -> Result<Exit, ConfirmError> {
        let told = tokio::select! {
            sent = self.send_all(chunks) => {
                if let Err(error) = sent {
                    self.progress.clear();
                    return Err(error);
                }
                None
            }
            exit = stop.requested() => Some(exit),
        };
        let flushed = tokio::select! {
            flushed = self.producer.flush() => Some(flushed),
            _ = stop.requested() => None,
            () = tokio::time::sleep(GRACE), if told.is_some() => None,
        };
        self.progress.clear();
        if self.skipped > 0 {
            say::note(&format!("bad rows skipped: {}", self.skipped));
        }
        let known = self.producer.resumed_at().min(self.sent.messages);
        if known > 0 {
            let name = self.args.name.as_deref().unwrap_or_default();
            let known = Messages(known);
            say::note(&format!(
                "the broker had {known} of these under the name {name} already"
            ));
        }
        let refused = match flushed {
            Some(Ok(())) => None,
            Some(Err(Unconfirmed::Refused(refused))) => Some(refused),
            Some(Err(Unconfirmed::Gone { gone, .. })) => return Err(self.gone(gone)),
            None => {
                let unconfirmed = Messages(self.producer.unconfirmed());
                say::note(&format!(
                    "ended before {unconfirmed} were confirmed; they may be missing"
                ));
                return Ok(Exit::Failed);
            }
        };
        say::note(&format!(
            "produced {}",
            self.sent.over(self.progress.elapsed())
        ));
        let unrouted = self.producer.unrouted();
        if unrouted > 0 {
            let unrouted = Messages(unrouted);
            say::note(&format!(
                "{unrouted} of these found no consumer and no group: nobody will get them, unless the topic is stored \
                 and a group begins before them (--from first)"
            ));
        }
        if told.is_some() {
            say::note("ended by a signal: the input was not sent to its end");
        }
        // All is known by now: this only says goodbye.
        let _ = tokio::time::timeout(GRACE, self.producer.close()).await;
        match refused {
            Some(refused) => {
                say::note(&refused.to_string());
                Ok(Exit::Failed)
            }
            None => Ok(told.unwrap_or(Exit::Done)),
        }
    }

    /// Sends all that comes, and watches the broker meanwhile.
    async fn send_all(&mut self, mut chunks: Chunks) -> Result<(), ConfirmError> {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = chunks.recv() => chunk,
                gone = self.producer.ended() => return Err(self.gone(gone)),
            };
            match chunk {
                None => return Ok(()),
                Some(Ok(chunk)) => self.send(chunk).await?,
                Some(Err(source)) => {
                    // What was read before that is on its way.
                    let _ = tokio::time::timeout(GRACE, self.producer.flush()).await;
                    let confirmed = self.confirmed();
                    return Err(ConfirmError::Input { source, confirmed });
                }
            }
        }
    }

    async fn send(&mut self, chunk: Chunk) -> Result<(), ConfirmError> {
        let Chunk {
            mut frames,
            position,
            skipped,
        } = chunk;
        self.skipped += skipped.rows;
        for bad_row in &skipped.shown {
            self.progress
                .notices()
                .print(&format!("skipped: {bad_row}"));
        }
        while !frames.is_empty() {
            let messages = match &mut self.pace {
                Some(pace) => pace.allowance(&self.progress, frames.messages()).await,
                None => frames.messages(),
            };
            self.send_batch(frames.split_to(messages)).await?;
            self.progress.update(position, self.sent);
        }
        Ok(())
    }

    async fn send_batch(&mut self, batch: FrameBatch) -> Result<(), ConfirmError> {
        match self.producer.send_batch(batch.clone()).await {
            // What became of it is asked once, of all.
            Ok(_) => self.sent.add(&batch),
            Err(SendError::Gone(gone)) => return Err(self.gone(gone)),
            Err(SendError::MessageTooLarge(_) | SendError::Topic(_)) => {
                unreachable!("a batch has been checked, and goes to the producer's own topic")
            }
        }
        Ok(())
    }

    fn confirmed(&self) -> Messages {
        Messages(self.sent.messages - self.producer.unconfirmed())
    }

    fn gone(&self, gone: Gone) -> ConfirmError {
        ConfirmError::Gone {
            gone,
            confirmed: self.confirmed(),
            unconfirmed: Messages(self.producer.unconfirmed()),
            is_named: self.args.name.is_some(),
        }
    }
}
