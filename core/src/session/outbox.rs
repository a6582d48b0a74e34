//! What is on its way to one consumer's socket: at most one write.

use crate::broker::Write;
use crate::broker::checkpoint::{ConsumerState, InFlight};
use crate::id::GroupId;
use crate::planted::{self, Bug};
use crate::stats::Count;
use crate::time::Now;
use crate::wire::FrameBatch;
use alloc::vec::Vec;

/// The write in flight to one consumer, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    in_flight: Option<InFlight>,
    /// What this consumer's socket has taken in all.
    pub(crate) delivered: Count,
    /// When this connection's write timer will next go off; at most one is set.
    pub(crate) timer: Option<Now>,
}

/// What is left of a write that was given up.
pub(crate) struct Abandoned {
    /// Messages that the socket had taken whole.
    pub(crate) delivered: Count,
    /// The others, in order. One of which only a part was taken is among them: no consumer can
    /// have read it.
    pub(crate) rest: Vec<FrameBatch>,
    /// The position that the first of them had in the backlog.
    pub(crate) position: u64,
    /// Since when the oldest of them has been waiting.
    pub(crate) waiting_since: Now,
}

impl Outbox {
    /// When the write in flight was handed out.
    pub(crate) fn started(&self) -> Option<Now> {
        self.in_flight.as_ref().map(|flight| flight.started)
    }

    /// Since when the oldest message in flight has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        self.in_flight.as_ref().map(|flight| flight.waiting_since)
    }

    /// What is in flight; a write counts whole until its last byte is taken.
    pub(crate) fn in_flight(&self) -> Count {
        self.in_flight
            .as_ref()
            .map_or(Count::ZERO, |flight| flight.write.count())
    }

    /// Notes that `write`, whose first message was at `position` in the backlog, was handed out.
    pub(crate) fn start(&mut self, write: Write, position: u64, waiting_since: Now, now: Now) {
        debug_assert!(self.in_flight.is_none(), "one write at a time");
        self.in_flight = Some(InFlight {
            write,
            position,
            taken: 0,
            started: now,
            waiting_since,
        });
    }

    /// The socket took `bytes` more. Returns what the write held if that was the last of it.
    ///
    /// # Panics
    /// If that is more than was in flight.
    pub(crate) fn written(&mut self, bytes: usize) -> Option<Count> {
        let flight = self
            .in_flight
            .as_mut()
            .expect("bytes were written and no write is in flight");
        flight.taken += bytes;
        let count = flight.write.count();
        assert!(
            flight.taken as u64 <= count.bytes,
            "more was written than the write held"
        );
        if (flight.taken as u64) < count.bytes && !planted::is(Bug::WriteBeforeWritten) {
            return None;
        }
        self.in_flight = None;
        self.delivered += count;
        Some(count)
    }

    /// The state of a consumer of `group` with this outbox.
    pub(crate) fn state(&self, group: GroupId) -> ConsumerState {
        ConsumerState {
            group,
            delivered: self.delivered,
            timer: self.timer,
            in_flight: self.in_flight.clone(),
        }
    }

    /// The outbox of a consumer in this state.
    pub(crate) fn restored(state: ConsumerState) -> Self {
        Self {
            in_flight: state.in_flight,
            delivered: state.delivered,
            timer: state.timer,
        }
    }

    /// Gives up the write in flight.
    pub(crate) fn abandon(&mut self) -> Option<Abandoned> {
        let flight = self.in_flight.take()?;
        let mut delivered = Count::ZERO;
        let mut rest = Vec::new();
        let mut taken = flight.taken;
        for batch in flight.write.batches() {
            let mut batch = batch.clone();
            let (messages, bytes) = batch.prefix(usize::MAX, taken);
            batch.split_at((messages, bytes));
            delivered += Count::new(messages, bytes);
            if planted::is(Bug::PartialCountsAsDelivered) && taken > bytes && !batch.is_empty() {
                delivered += Count::of(&batch.split_to(1));
            }
            if batch.is_empty() {
                taken -= bytes;
            } else {
                // Only the first batch that is not taken whole can have been taken in part.
                taken = 0;
                rest.push(batch);
            }
        }
        self.delivered += delivered;
        Some(Abandoned {
            delivered,
            rest,
            position: flight.position + delivered.messages,
            waiting_since: flight.waiting_since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn in_flight(batches: Vec<FrameBatch>) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.start(Write::new(batches), 7, Now::START, Now::START);
        outbox
    }

    #[test]
    fn a_write_is_done_with_its_last_byte() {
        let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c"])]);
        assert_eq!(outbox.written(14), None);
        assert_eq!(outbox.written(1), Some(Count::new(3, 15)));
        assert!(outbox.abandon().is_none());
    }

    #[test]
    fn a_message_taken_in_part_was_not_delivered() {
        for (taken, delivered, rest) in [
            (0, 0, vec![batch(&["a", "b"]), batch(&["c", "d"])]),
            (4, 0, vec![batch(&["a", "b"]), batch(&["c", "d"])]),
            (5, 1, vec![batch(&["b"]), batch(&["c", "d"])]),
            (10, 2, vec![batch(&["c", "d"])]),
            (14, 2, vec![batch(&["c", "d"])]),
            (19, 3, vec![batch(&["d"])]),
        ] {
            let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c", "d"])]);
            assert_eq!(outbox.written(taken), None);
            let abandoned = outbox.abandon().expect("a write was in flight");
            assert_eq!(
                abandoned.delivered.messages, delivered,
                "{taken} bytes taken"
            );
            assert_eq!(abandoned.rest, rest, "{taken} bytes taken");
            assert_eq!(abandoned.position, 7 + delivered, "{taken} bytes taken");
        }
    }

    #[test]
    #[should_panic(expected = "more was written")]
    fn more_than_was_in_flight_is_the_callers_mistake() {
        in_flight(vec![batch(&["a"])]).written(6);
    }
}
