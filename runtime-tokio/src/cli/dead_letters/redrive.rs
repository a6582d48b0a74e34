//! `message-queue dead-letters redrive`.

use super::letters::Letters;
use super::{AtMost, DeadLettersError, ELSEWHERE, Which, say_newer};
use crate::cli::exit::Exit;
use crate::cli::progress::{Messages, Progress, Totals};
use crate::cli::run::Stop;
use crate::cli::say;
use crate::client::acked::{Batch, Gone, Producer, Refused, Retry, SendError, Unconfirmed};

/// How many are on their way at a time, and their bytes.
const AT_ONCE: u32 = 1_000;
const BYTES: u32 = 64 << 20;

/// Send dead letters back to the topics that they come from
///
/// Each is published anew, with a new sequence, and only when the broker has confirmed that is it taken
/// out of T.dead. So none is lost, whatever happens in between; one may be sent back twice if this
/// command, the broker or the connection ends at that moment.
///
/// Every group of the topic gets it, not only the one that gave it up. A message that no group would get
/// stays a dead letter, and so does one that the broker refuses, or that has no origin because it was
/// published to T.dead; the exit code is 1 then. Let a consumer join a group first, then: a topic that is
/// stored keeps what was sent without a group, too, so a group that begins before it (--from first) gets
/// it twice, if it is sent back once more. Kafka keeps what is sent back whether there is a group or not,
/// so there a message counts as sent back in any case.
/// What comes to T.dead after this has begun stays, so a message that fails again is not sent back again.
#[derive(Debug, clap::Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    at_most: AtMost,
}

pub(super) async fn redrive(args: &RedriveArgs) -> Result<Exit, DeadLettersError> {
    let mut stop = Stop::listen()?;
    let connecting = async {
        let letters = Letters::open(&args.which, args.at_most.most(), AT_ONCE, BYTES)
            .await?
            .without_newer();
        // Of its own topic nothing is sent: it names the topic of each message.
        let producer = Producer::builder().topic(args.which.dead());
        let producer = producer.label("dead-letters").retry(Retry::Never);
        let producer = producer.token(args.which.token.token());
        let producer = match args.which.address.tls.client()? {
            Some(tls) => producer.tls(tls),
            None => producer,
        };
        let producer = producer.connect(&args.which.address.addr).await?;
        Ok::<_, DeadLettersError>((letters, producer))
    };
    let (mut letters, producer) = tokio::select! {
        connected = connecting => connected?,
        exit = stop.requested() => return Ok(exit),
    };
    let mut redriving = Redriving {
        producer,
        progress: Progress::start(None),
        done: Totals::default(),
        without_origin: 0,
        without_group: 0,
        refused: None,
    };
    let (outcome, told) = tokio::select! {
        outcome = redriving.all(&mut letters) => (outcome, None),
        exit = stop.requested() => (Ok(()), Some(exit)),
    };
    redriving.progress.clear();
    outcome.map_err(|gone| DeadLettersError::Gone {
        gone,
        done: Messages(redriving.done.messages),
        what: "had been sent back; what was on its way may be there twice",
    })?;
    let (elsewhere, newer) = (letters.elsewhere(), letters.newer());
    letters.close().await;
    let stay = redriving.conclude(elsewhere);
    say_newer(newer);
    if told.is_some() {
        say::note("ended by a signal: what was on its way then may be there twice");
    }
    Ok(told.unwrap_or(if stay { Exit::Failed } else { Exit::Done }))
}

struct Redriving {
    producer: Producer,
    progress: Progress,
    /// Sent back, confirmed and settled.
    done: Totals,
    without_origin: u64,
    without_group: u64,
    refused: Option<Refused>,
}

impl Redriving {
    async fn all(&mut self, letters: &mut Letters) -> Result<(), Gone> {
        let mut run: Vec<Batch> = Vec::new();
        loop {
            let next = if run.is_empty() {
                letters.next().await?
            } else {
                letters.ready().await?
            };
            let is_full = run.len() == AT_ONCE as usize;
            let goes_on = next.as_ref().is_some_and(|it| !is_full && joins(&run, it));
            if !goes_on && !run.is_empty() {
                self.send_back(&run, letters).await?;
                run.clear();
            } else if next.is_none() {
                break;
            }
            run.extend(next);
        }
        letters.flush().await
    }

    /// Sends messages back that come from one topic, and settles those that have arrived.
    async fn send_back(&mut self, run: &[Batch], letters: &mut Letters) -> Result<(), Gone> {
        let Some(origin) = run.first().and_then(|it| it.meta.origin.as_ref()) else {
            for batch in run {
                self.without_origin += batch.frames.messages() as u64;
                letters.keep(batch);
            }
            return Ok(());
        };
        let unrouted = self.producer.unrouted();
        let mut confirms = Vec::with_capacity(run.len());
        for batch in run {
            let sent = self
                .producer
                .send_batch_to(&origin.topic, batch.frames.clone());
            confirms.push(match sent.await {
                Ok(confirm) => confirm,
                Err(SendError::Gone(gone)) => return Err(gone),
                Err(SendError::MessageTooLarge(_) | SendError::Topic(_)) => {
                    unreachable!("the broker has taken it once, from a topic of this name")
                }
            });
        }
        let mut arrived = Vec::with_capacity(run.len());
        for (batch, confirm) in run.iter().zip(confirms) {
            match confirm.await {
                Ok(()) => arrived.push(batch),
                Err(Unconfirmed::Refused(refused)) => {
                    letters.keep(batch);
                    match &mut self.refused {
                        Some(before) => before.messages += refused.messages,
                        None => self.refused = Some(refused),
                    }
                }
                Err(Unconfirmed::Gone { gone, .. }) => return Err(gone),
            }
        }
        // It is not told which, and a message twice is better than none.
        let is_lost = self.producer.unrouted() > unrouted;
        for batch in arrived {
            if is_lost {
                self.without_group += batch.frames.messages() as u64;
                letters.keep(batch);
            } else {
                letters.settle(batch);
                self.done.add(&batch.frames);
            }
        }
        self.progress.update(0, self.done);
        Ok(())
    }

    /// Says what came of it. Returns whether some of them are still there.
    fn conclude(&self, elsewhere: u64) -> bool {
        let elapsed = self.progress.elapsed();
        say::note(&format!("sent back {}", self.done.over(elapsed)));
        let mut stay = false;
        for (messages, why) in [
            (
                self.without_group,
                "stay, because their topic has no group that would get them (let a consumer join one first)",
            ),
            (
                self.without_origin,
                "stay, because they have no origin (they were published to the dead-letter topic; `log import` keeps \
                 origins)",
            ),
            (elsewhere, ELSEWHERE),
        ] {
            if messages > 0 {
                stay = true;
                say::note(&format!("{why}: {}", Messages(messages)));
            }
        }
        if let Some(refused) = &self.refused {
            stay = true;
            say::note(&format!("{refused}; they stay"));
        }
        stay
    }
}

/// Whether a message comes from the same topic as those before it.
fn joins(run: &[Batch], next: &Batch) -> bool {
    let topic = |batch: &Batch| batch.meta.origin.as_ref().map(|it| it.topic.clone());
    run.first().is_none_or(|first| topic(first) == topic(next))
}
