//! Takes dead letters, one after another, until all that were there have been taken.

use super::{DeadLettersError, Which};
use crate::client::acked::{Batch, Consumer, Gone, Retry};
use std::time::Duration;
use tokio::time::timeout;

/// By which the broker's log and lists call these commands.
const LABEL: &str = "dead-letters";

/// How long to wait for messages that the broker has and does not hand out.
const QUIET: Duration = Duration::from_secs(1);

/// The dead letters of a topic.
///
/// It is known from the broker how many there are. So the end is no guess, unless somebody else has some of them.
pub(super) struct Letters {
    consumer: Consumer,
    /// How many were there at the beginning.
    found: u64,
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
        let found = consumer.lag().await;
        let found = found
            .map_err(|gone| DeadLettersError::Start(gone.into()))?
            .messages;
        let letters = Self {
            consumer,
            found,
            limit: most.min(found),
            taken: 0,
            settled: 0,
            at_once,
            kept: 0,
            elsewhere: 0,
        };
        letters.allow();
        Ok(letters)
    }

    pub(super) const fn found(&self) -> u64 {
        self.found
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
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
        if self.taken == self.limit {
            return Ok(None);
        }
        match timeout(time, self.consumer.next_batch()).await {
            Ok(batch) => {
                let batch = batch?;
                self.taken += batch.frames.messages() as u64;
                Ok(Some(batch))
            }
            Err(_) => Ok(None),
        }
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
