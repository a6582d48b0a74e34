//! Takes dead letters, one after another, until all that were there have been taken.

use super::{DeadLettersError, Which};
use crate::cli::say;
use crate::client::acked::{Batch, Consumer, Gone, Retry};
use crate::store::wall_clock;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// By which the broker's log and lists call these commands.
const LABEL: &str = "dead-letters";

/// How long to wait for messages that the broker has and does not hand out.
const QUIET: Duration = Duration::from_secs(1);

/// How long to wait for the next message of an engine that brokers share, ...
const ENGINE_QUIET: Duration = Duration::from_secs(2);

/// ... and for the first: a group of Kafka begins some seconds after its first member has come.
const ENGINE_BEGINS: Duration = Duration::from_secs(10);

/// The dead letters of a topic.
///
/// The broker knows how many there are. So the end is no guess, unless somebody else has some of them. Where an engine keeps
/// them that brokers share, nobody knows: the end is when nothing more comes.
pub(super) struct Letters {
    consumer: Consumer,
    /// How many were there at the beginning, where that is known.
    found: Option<u64>,
    /// Milliseconds since 1970: what was published then or later is passed over, where it is not known how many there are.
    before: u64,
    /// How many may be taken in all.
    limit: u64,
    taken: u64,
    settled: u64,
    /// The most that are held for a moment, beside those that are kept.
    at_once: u32,
    /// Taken, and left where they are.
    kept: u32,
    /// How many there were, with somebody else or waiting for the end of a delay, when no more came.
    elsewhere: u64,
    /// How many were passed over.
    newer: u64,
}

impl Letters {
    /// Connects. At most `most` of those that are there now will be taken, `at_once` messages and `bytes` at a time.
    pub(super) async fn open(
        which: &Which,
        most: u64,
        at_once: u32,
        bytes: u32,
    ) -> Result<Self, DeadLettersError> {
        let consumer = Consumer::builder()
            .topic(which.dead())
            .label(LABEL)
            .token(which.token.token())
            .prefetch(1)
            .prefetch_bytes(bytes)
            .retry(Retry::Never);
        let consumer = match which.address.tls.client()? {
            Some(tls) => consumer.tls(tls),
            None => consumer,
        };
        let mut consumer = consumer.connect(&which.address.addr).await?;
        let found = if consumer.shares_topic() {
            say::note(&format!(
                "how many are in {} no broker knows, because an engine keeps it: waiting for what comes",
                which.dead()
            ));
            None
        } else {
            let lag = consumer.lag().await;
            let lag = lag.map_err(|gone| DeadLettersError::Start(gone.into()))?;
            Some(lag.messages)
        };
        let letters = Self {
            consumer,
            found,
            before: u64::MAX,
            limit: found.map_or(most, |found| most.min(found)),
            taken: 0,
            settled: 0,
            at_once,
            kept: 0,
            elsewhere: 0,
            newer: 0,
        };
        letters.allow();
        Ok(letters)
    }

    /// What comes from now on stays where it is, by the clock of this machine where there is no number to go by.
    pub(super) fn without_newer(mut self) -> Self {
        self.before = wall_clock();
        self
    }

    /// How many were there at the beginning, where that is known.
    pub(super) const fn found(&self) -> Option<u64> {
        self.found
    }

    /// How many may be taken in all.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// How many have come since the beginning and were passed over.
    pub(super) const fn newer(&self) -> u64 {
        self.newer
    }

    /// How many were not handed out although the broker has them.
    pub(super) const fn elsewhere(&self) -> u64 {
        self.elsewhere
    }

    /// Never more than may be taken in all.
    fn allow(&self) {
        let left = u32::try_from(self.limit - self.settled).unwrap_or(u32::MAX);
        let most = self.at_once.saturating_add(self.kept).min(left);
        // Neither is more than what the option allows.
        let _ = self.consumer.set_prefetch(most);
    }

    /// The next one, or several; none when all that were there have been taken.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Gone> {
        if self.taken == self.limit {
            return Ok(None);
        }
        if let Some(batch) = self.ready().await? {
            return Ok(Some(batch));
        }
        if self.found.is_none() {
            let is_first = self.taken == self.newer;
            let quiet = if is_first {
                ENGINE_BEGINS
            } else {
                ENGINE_QUIET
            };
            return self.within(quiet).await;
        }
        let has = self.consumer.lag().await?.messages;
        if let Some(batch) = self.ready().await? {
            return Ok(Some(batch));
        }
        let held = self.taken - self.settled;
        if has <= held {
            return Ok(None);
        }
        let batch = self.within(QUIET).await?;
        if batch.is_none() {
            self.elsewhere = has - held;
        }
        Ok(batch)
    }

    /// What has come already, and was not taken.
    pub(super) async fn ready(&mut self) -> Result<Option<Batch>, Gone> {
        self.within(Duration::ZERO).await
    }

    async fn within(&mut self, time: Duration) -> Result<Option<Batch>, Gone> {
        let end = Instant::now() + time;
        while self.taken < self.limit {
            let Ok(batch) = timeout_at(end, self.consumer.next_batch()).await else {
                return Ok(None);
            };
            let batch = batch?;
            let messages = batch.frames.messages() as u64;
            self.taken += messages;
            if self.found.is_some() || batch.meta.published < self.before {
                return Ok(Some(batch));
            }
            self.newer += messages;
            self.limit = self.limit.saturating_add(messages);
            self.keep(&batch);
        }
        Ok(None)
    }

    /// These need be dead letters no more.
    pub(super) fn settle(&mut self, batch: &Batch) {
        self.settled += batch.frames.messages() as u64;
        // First, or what is settled would make room for more than may be taken.
        self.allow();
        batch.ack();
    }

    /// These stay where they are, and others are to come.
    pub(super) fn keep(&mut self, batch: &Batch) {
        self.kept += u32::try_from(batch.frames.messages()).unwrap_or(u32::MAX);
        self.allow();
    }

    /// Waits until what was settled has taken effect.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        self.consumer.lag().await.map(drop)
    }

    /// Leaves. What was not settled goes back to its place.
    pub(super) async fn close(self) {
        self.consumer.close().await;
    }
}
