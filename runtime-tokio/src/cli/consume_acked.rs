//! `consume` with acknowledgements: a message is done once it is written, and what is not written goes back.

use super::connector::is_absent;
use super::consume::ConsumeArgs;
use super::exit::Exit;
use super::progress::{Messages, Progress, Totals};
use super::receiver::{Came, GRACE, cut};
use super::run::Stop;
use super::say;
use super::sink::{Ended, Output, OutputError, Printable, Sink};
use super::until_empty::Lull;
use super::watch;
use crate::client::acked::{Accepted, Batch, Consumer, Gone, StartError};
use message_queue_core::wire::FrameBatch;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use tokio::time::Instant;

/// How many messages are held without an acknowledgement, unless it is said.
const PREFETCH: u32 = 1_000;

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
pub(super) enum AckError {
    #[error("{0}; start a broker with `message-queue serve`, or let --retry wait for one")]
    NoBroker(StartError),
    #[error(transparent)]
    Start(StartError),
    #[error("{gone}; {written}; --retry goes on when it is back")]
    Gone { gone: Gone, written: Written },
    #[error(
        "--until-empty: the broker at {broker} shares the topic {topic} with others, so it does not know what waits; \
         {written}; use --count"
    )]
    SharedTopic {
        broker: String,
        topic: String,
        written: Written,
    },
    #[error("{source}; {written}; the rest went back to the broker")]
    Output {
        source: OutputError,
        written: Written,
    },
    #[error(transparent)]
    Open(#[from] OutputError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<StartError> for AckError {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Gone(Gone::Connect(why)) if is_absent(why) => Self::NoBroker(error),
            StartError::Gone(_) | StartError::Option(_) => Self::Start(error),
        }
    }
}

impl AckError {
    fn shared_topic(consumer: &Consumer, args: &ConsumeArgs, written: Written) -> Self {
        Self::SharedTopic {
            broker: args.broker.address.addr.clone(),
            topic: consumer.accepted().topic.clone().unwrap_or_default(),
            written,
        }
    }
}

/// What was done before a failure. Shows as `3 of 10 messages had been written`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    messages: u64,
    limit: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            u64::MAX => write!(f, "{}", Messages(self.messages))?,
            limit => write!(f, "{} of {}", self.messages, Messages(limit))?,
        }
        f.write_str(" had been written")
    }
}

/// Messages that were handed to the output.
struct Handed {
    batch: Batch,
    /// How many of them are acknowledged.
    acked: usize,
    /// How many messages were handed to the output before the others of them, and with them.
    before: u64,
    until: u64,
}

/// What is taken, written and acknowledged.
struct Run {
    consumer: Consumer,
    output: Output,
    progress: Progress,
    taken: Taken,
    has_meta: bool,
    came: Came,
    /// With `--until-empty`.
    lull: Option<Lull>,
}

/// What was taken of the messages that are wanted.
struct Taken {
    /// How many are wanted in all.
    limit: u64,
    prefetch: u32,
    /// What the output has and was not acknowledged, first things first.
    handed: VecDeque<Handed>,
    /// How many messages were handed to the output in all.
    total: u64,
}

enum End {
    Enough,
    /// Nothing is left for the group to do.
    Empty,
    /// Nobody can say whether something is.
    SharedTopic,
    OutputEnded,
    Gone(Gone),
}

/// Prints what comes, and acknowledges what is printed.
pub(super) async fn consume(args: &ConsumeArgs, sink: Sink) -> Result<Exit, AckError> {
    let mut stop = Stop::listen()?;
    let shows = sink.is_regular_file();
    let progress = if args.is_export() {
        Progress::export(shows, args.count.map(NonZeroU64::get))
    } else {
        Progress::bar(shows)
    };
    let limit = args.count.map_or(u64::MAX, NonZeroU64::get);
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let prefetch = args.acks.prefetch.unwrap_or(PREFETCH).min(wanted);
    let mut builder = Consumer::builder()
        .prefetch(prefetch)
        .token(args.broker.token.token())
        .share(args.acks.share.unwrap_or_default())
        .from(args.acks.from.unwrap_or_default())
        .verify(args.acks.verify)
        .retry(watch::retry(&args.broker))
        .on_change(watch::changes(
            progress.notices(),
            &args.broker.address.addr,
        ));
    if let Some(tls) = args.broker.address.tls.client()? {
        builder = builder.tls(tls);
    }
    if let Some(topic) = &args.acks.topic {
        builder = builder.topic(topic);
    }
    if let Some(group) = &args.acks.group {
        builder = builder.group(group);
    }
    let consumer = tokio::select! {
        consumer = builder.connect(&args.broker.address.addr) => consumer?,
        exit = stop.requested() => return Ok(exit),
    };
    if args.acks.until_empty && consumer.shares_topic() {
        let nothing = Written { messages: 0, limit };
        let error = AckError::shared_topic(&consumer, args, nothing);
        consumer.close().await;
        return Err(error);
    }
    let lull = args.acks.until_empty.then(|| Lull::new(progress.notices()));
    let taking = Run {
        consumer,
        output: sink.begin()?,
        progress,
        taken: Taken {
            limit,
            prefetch,
            handed: VecDeque::new(),
            total: 0,
        },
        has_meta: args.acks.meta || args.is_export(),
        came: Came::default(),
        lull,
    };
    taking.run(args, stop).await
}

/// Waits until it is time to ask whether anything is left; for ever if it does not matter.
async fn lasts(lull: Option<&Lull>) {
    match lull {
        Some(lull) => lull.lasts().await,
        None => std::future::pending().await,
    }
}

/// A name that was mistyped makes a group, too.
fn say_if_new(accepted: &Accepted) {
    if let (Some(true), Some(group)) = (accepted.created, &accepted.group) {
        say::note(&format!(
            "the group {group} was not there: it is new, and keeps what is published from now on"
        ));
    }
}

impl Run {
    async fn run(mut self, args: &ConsumeArgs, mut stop: Stop) -> Result<Exit, AckError> {
        let (end, told) = tokio::select! {
            end = self.receive() => (Some(end), None),
            exit = stop.requested() => (None, Some(exit)),
        };
        let written = tokio::select! {
            written = self.output.finish() => Some(written),
            _ = stop.requested() => None,
            () = tokio::time::sleep(GRACE), if told.is_some() => None,
        };
        let Totals { messages, .. } = self.output.written();
        self.taken.settle(messages, &self.consumer);
        let back = self.taken.total - messages;
        let so_far = Written {
            messages,
            limit: self.taken.limit,
        };
        let Self {
            consumer,
            output,
            progress,
            came,
            ..
        } = self;
        let shared = matches!(end, Some(End::SharedTopic))
            .then(|| AckError::shared_topic(&consumer, args, so_far));
        let accepted = consumer.accepted().clone();
        consumer.close().await;
        progress.clear();
        if let Some(Err(source)) = written
            && !source.is_closed_pipe()
        {
            return Err(AckError::Output {
                source,
                written: so_far,
            });
        }
        if let Some(End::Gone(gone)) = end {
            return Err(AckError::Gone {
                gone,
                written: so_far,
            });
        }
        if let Some(error) = shared {
            return Err(error);
        }
        say::note(&format!("consumed {}", output.written().over(came.over())));
        if matches!(end, Some(End::Empty)) && messages == 0 {
            say_if_new(&accepted);
        }
        if back > 0 {
            let back = Messages(back);
            say::note(&format!(
                "{back} that could not be written went back to the broker"
            ));
        }
        Ok(told.unwrap_or(Exit::Done))
    }

    /// Takes messages until there is an end.
    ///
    /// Cancel safe: what was taken and not handed to the output goes back.
    async fn receive(&mut self) -> End {
        let Self {
            consumer,
            output,
            progress,
            taken,
            has_meta,
            came,
            lull,
        } = self;
        loop {
            // Room first: so whatever is taken is handed over.
            let room = tokio::select! {
                biased;
                Ended = output.ended() => return End::OutputEnded,
                () = output.has_grown() => {
                    taken.settle(output.written().messages, consumer);
                    continue;
                }
                room = output.room() => match room {
                    Ok(room) => room,
                    Err(Ended) => return End::OutputEnded,
                },
            };
            let batch = loop {
                tokio::select! {
                    biased;
                    Ended = output.ended() => return End::OutputEnded,
                    () = output.has_grown() => {
                        taken.settle(output.written().messages, consumer);
                    }
                    batch = consumer.next_batch() => match batch {
                        Ok(batch) => break batch,
                        Err(gone) => return End::Gone(gone),
                    },
                    // While some are not acknowledged, they are left.
                    () = lasts(lull.as_ref()), if taken.handed.is_empty() => {
                        let left = tokio::select! {
                            Ended = output.ended() => return End::OutputEnded,
                            lag = consumer.lag() => match lag {
                                Ok(lag) => lag.messages,
                                Err(gone) => return End::Gone(gone),
                            },
                        };
                        if consumer.shares_topic() {
                            return End::SharedTopic;
                        }
                        if left == 0 {
                            return End::Empty;
                        }
                        if let Some(lull) = lull {
                            lull.goes_on(left, Instant::now());
                        }
                    }
                }
            };
            let now = Instant::now();
            came.note(now);
            if let Some(lull) = lull {
                lull.ends(now);
            }
            let meta = has_meta.then(|| batch.meta.clone());
            let frames = taken.hand_over(batch);
            room.send(Printable { frames, meta });
            let written = output.written();
            progress.update(written.messages, written);
            if taken.total == taken.limit {
                return End::Enough;
            }
        }
    }
}

impl Taken {
    /// Notes that messages are handed to the output. Returns those of them that are wanted.
    fn hand_over(&mut self, batch: Batch) -> FrameBatch {
        // A connection that is lost and made again may bring once more what is on its way to the output.
        let (frames, _) = cut(batch.frames.clone(), self.limit - self.total);
        let before = self.total;
        self.total += frames.messages() as u64;
        self.handed.push_back(Handed {
            batch,
            acked: 0,
            before,
            until: self.total,
        });
        frames
    }

    /// Acknowledges the messages that are written by now: so many in all.
    fn settle(&mut self, written: u64, consumer: &Consumer) {
        // Else what is acknowledged would make room for messages beyond the count.
        let left = u32::try_from(self.limit - written).unwrap_or(u32::MAX);
        if left < self.prefetch {
            self.prefetch = left;
            // It is less than what was allowed before.
            let _ = consumer.set_prefetch(left);
        }
        while let Some(front) = self.handed.front_mut()
            && front.before < written
        {
            let done = front.until.min(written) - front.before;
            let done = usize::try_from(done).unwrap_or(usize::MAX);
            front.batch.ack_part(front.acked..front.acked + done);
            front.acked += done;
            front.before += done as u64;
            if front.before < front.until {
                return;
            }
            self.handed.pop_front();
        }
    }
}
