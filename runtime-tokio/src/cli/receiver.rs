//! From a broker to an output, and the account of what was received and what was written.

use super::connector::{Connector, REFUSAL_TIME};
use super::progress::{Messages, Progress, Totals};
use super::sink::{Ended, Output};
use crate::client::{Consumer, ReceiveError};
use message_queue_core::ProtocolError;
use message_queue_core::wire::FrameBatch;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the rest of a connection may take that this side has ended, in each of two steps: with
/// its messages written, then with its messages counted.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Receives batches and hands them to the output, through one connection after another.
pub(super) struct Receiver<'a> {
    connector: Connector<'a>,
    progress: Progress,
    consumer: Option<Consumer>,
    output: Output,
    /// How many messages to receive in all.
    limit: u64,
    /// The messages that were handed to the output.
    handed: Totals,
    /// The messages that were received and not handed to the output.
    discarded: u64,
    /// Whether more may have come than is counted.
    uncounted: bool,
    came: Came,
}

/// Why there are no more messages.
#[derive(Debug)]
pub(super) enum End {
    /// The count is reached.
    Enough,
    /// The output takes no more.
    OutputEnded,
    /// The broker ended the connection, between messages.
    Closed,
    /// The connection was lost, and is not to be made again.
    Failed(ReceiveError),
    /// The broker ended the connection at once and without a message.
    Refused,
}

impl<'a> Receiver<'a> {
    /// Goes on with `consumer`, the first connection.
    pub(super) fn new(
        connector: Connector<'a>,
        progress: Progress,
        consumer: Consumer,
        output: Output,
        limit: u64,
    ) -> Self {
        Self {
            connector,
            progress,
            consumer: Some(consumer),
            output,
            limit,
            handed: Totals::default(),
            discarded: 0,
            uncounted: false,
            came: Came::default(),
        }
    }

    /// Receives until there is an end, through as many connections as it takes.
    ///
    /// Cancel safe: every message that was received is counted.
    pub(super) async fn receive_all(&mut self) -> End {
        loop {
            let before = self.handed.messages;
            let end = self.receive().await;
            if !matches!(end, End::Closed | End::Failed(_)) {
                return end;
            }
            self.consumer = None;
            let refused = before == self.handed.messages
                && self.connector.at_once()
                && matches!(end, End::Closed | End::Failed(ReceiveError::Lost { .. }));
            let foreign = matches!(&end, End::Failed(error) if is_foreign(error));
            if foreign || !self.connector.retries() {
                return if refused { End::Refused } else { end };
            }
            let connecting = async {
                self.connector.lost(&text(&end), refused).await;
                self.connector.connect(Consumer::connect_with).await
            };
            let consumer = tokio::select! {
                consumer = connecting => consumer,
                Ended = self.output.ended() => return End::OutputEnded,
            };
            // With --retry there is no other end to this than a connection.
            self.consumer = consumer.ok();
        }
    }

    /// Receives to the end of the connection, or to another.
    async fn receive(&mut self) -> End {
        let Some(consumer) = &mut self.consumer else {
            return End::Closed;
        };
        let mut accepted = pin!(sleep(REFUSAL_TIME));
        loop {
            // Room first: so whatever is received is handed over.
            let next = async {
                let room = self.output.room().await?;
                Ok((room, consumer.next_batch().await))
            };
            let next = tokio::select! {
                biased;
                Ended = self.output.ended() => Err(Ended),
                next = next => next,
                () = &mut accepted, if !accepted.is_elapsed() => {
                    self.connector.announce();
                    continue;
                }
            };
            let (room, batch) = match next {
                Err(Ended) => return End::OutputEnded,
                Ok((_, Ok(None))) => return End::Closed,
                Ok((_, Err(error))) => return End::Failed(error),
                Ok((room, Ok(Some(batch)))) => (room, batch),
            };
            self.connector.announce();
            self.came.note(Instant::now());
            let wanted = self.limit - self.handed.messages;
            let (wanted, rest) = cut(batch, wanted);
            self.discarded += rest;
            self.handed.add(&wanted);
            room.send(wanted.into());
            self.progress.update(0, self.output.written());
            if self.handed.messages == self.limit {
                return End::Enough;
            }
        }
    }

    /// Leaves the broker, and takes what it had handed over by then: to be written if it is
    /// `wanted`, as far as the output takes it in time, otherwise to be counted.
    pub(super) async fn leave(&mut self, wanted: bool) {
        let Some(consumer) = &mut self.consumer else {
            return;
        };
        if consumer.leave().await.is_err() {
            self.consumer = None;
            return;
        }
        if wanted {
            match timeout(GRACE, self.receive()).await {
                Ok(End::Closed | End::Failed(_) | End::Refused) => self.consumer = None,
                Ok(End::Enough | End::OutputEnded) | Err(_) => {}
            }
        }
        if let Some(consumer) = &mut self.consumer {
            let counting = async {
                while let Ok(Some(batch)) = consumer.next_batch().await {
                    self.discarded += batch.messages() as u64;
                }
            };
            self.uncounted = timeout(GRACE, counting).await.is_err();
        }
    }

    /// The output, to be finished.
    pub(super) const fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Where the broker is.
    pub(super) fn address(&self) -> &str {
        self.connector.address()
    }

    /// Takes the progress away.
    pub(super) fn clear_progress(&self) {
        self.progress.clear();
    }

    /// What has come of it by now.
    pub(super) fn account(&self) -> Account {
        let written = self.output.written();
        Account {
            written,
            over: self.came.over(),
            unwritten: self.handed.messages - written.messages + self.discarded,
            uncounted: self.uncounted,
        }
    }
}

/// The first `wanted` messages of `batch`, and how many there are more.
pub(super) fn cut(mut batch: FrameBatch, wanted: u64) -> (FrameBatch, u64) {
    match usize::try_from(wanted) {
        Ok(wanted) if wanted < batch.messages() => {
            let first = batch.split_to(wanted);
            (first, batch.messages() as u64)
        }
        Ok(_) | Err(_) => (batch, 0),
    }
}

/// Whether what is at this address speaks another protocol, so that it is no use to ask it again.
pub(super) fn is_foreign(error: &ReceiveError) -> bool {
    match error {
        ReceiveError::Lost { .. } => false,
        ReceiveError::Protocol { source, .. } => *source != ProtocolError::TruncatedFrame,
    }
}

fn text(end: &End) -> String {
    match end {
        End::Failed(error) => error.to_string(),
        End::Closed | End::Refused | End::Enough | End::OutputEnded => {
            "the broker ended the connection".to_owned()
        }
    }
}

/// What was received, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// The messages that the output has taken as a whole.
    pub(super) written: Totals,
    /// For how long messages came.
    pub(super) over: Duration,
    /// The messages that came and were not written.
    pub(super) unwritten: u64,
    /// Whether there were more of those than could be counted.
    uncounted: bool,
}

impl Account {
    /// How many messages came and were not written, if any.
    pub(super) fn loss(&self) -> Option<String> {
        let more = Messages(self.unwritten);
        match (self.unwritten, self.uncounted) {
            (0, false) => None,
            (_, false) => Some(more.to_string()),
            (_, true) => Some(format!("at least {more}")),
        }
    }
}

/// When messages came: the first and the last. The time before and after says nothing about the
/// rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came(Option<(Instant, Instant)>);

impl Came {
    pub(super) fn note(&mut self, now: Instant) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    pub(super) fn over(self) -> Duration {
        self.0.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_batch_is_cut_where_no_more_is_wanted() {
        let batch = FrameBatch::encode(["a", "b", "c"]).expect("small");
        for (wanted, first, rest) in [(1, 1, 2), (3, 3, 0), (u64::MAX, 3, 0)] {
            let (cut, more) = cut(batch.clone(), wanted);
            assert_eq!((cut.messages(), more), (first, rest));
        }
    }
}
