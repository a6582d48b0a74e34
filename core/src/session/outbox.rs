//! What is on its way to one consumer's socket: at most one write.

use crate::config::Config;
use crate::group::{Sequences, Taken, Waiting};
use crate::stats::Count;
use crate::time::Now;
use crate::wire::{FrameBatch, Write};
use alloc::vec::Vec;

/// The write in flight to one consumer, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outbox {
    in_flight: Option<InFlight>,
    /// What this consumer's socket has taken in all.
    pub(crate) delivered: Count,
    /// When this connection's write timer will next go off; at most one is set.
    pub(crate) timer: Option<Now>,
}

/// A write in flight to one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct InFlight {
    /// What is written.
    write: Write,
    /// The sequences of its messages.
    sequences: Sequences,
    /// How many bytes of it the socket has taken; fewer than it has.
    taken: usize,
    /// When it was handed out.
    started: Now,
    /// When the socket last took some of it; when it was handed out, if it has taken nothing yet.
    progressed: Now,
    /// Since when its oldest message has been waiting.
    waiting_since: Now,
}

/// What is left of a write that was given up.
pub(crate) struct Abandoned {
    /// Messages that the socket had taken whole.
    pub(crate) delivered: Count,
    /// The others, in order. One of which only a part was taken is among them: no consumer can
    /// have read it.
    pub(crate) rest: Vec<Waiting>,
}

impl Outbox {
    /// When the write in flight will have taken too long, unless the socket takes more of it: it has
    /// taken nothing for too long by then, or is slower than the least rate. Never earlier than it
    /// was before.
    pub(crate) fn due(&self, config: &Config) -> Option<Now> {
        let flight = self.in_flight.as_ref()?;
        let stalled = flight.progressed + config.write_timeout;
        let longest = config.longest_write(flight.write.count().bytes);
        Some(longest.map_or(stalled, |longest| stalled.min(flight.started + longest)))
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

    /// Notes that what was taken from the backlog was handed out.
    pub(crate) fn start(&mut self, taken: Taken, now: Now) {
        debug_assert!(self.in_flight.is_none(), "one write at a time");
        self.in_flight = Some(InFlight {
            write: taken.write,
            sequences: taken.sequences,
            taken: 0,
            started: now,
            progressed: now,
            waiting_since: taken.since,
        });
    }

    /// By `now` the socket has taken `total` bytes in all; no more than was known already changes nothing.
    /// Returns what the write in flight held if that was the last of it.
    ///
    /// # Panics
    /// If that is more than was in flight.
    pub(crate) fn written(&mut self, total: u64, now: Now) -> Option<Count> {
        // A write ends with its last byte, so those before this one were taken whole.
        let of_this_write = total.checked_sub(self.delivered.bytes)?;
        let Some(flight) = self.in_flight.as_mut() else {
            assert!(of_this_write == 0, "more was written than was in flight");
            return None;
        };
        if of_this_write <= flight.taken as u64 {
            return None;
        }
        let count = flight.write.count();
        assert!(
            of_this_write <= count.bytes,
            "more was written than was in flight"
        );
        flight.taken = of_this_write as usize;
        flight.progressed = now;
        if (flight.taken as u64) < count.bytes {
            return None;
        }
        self.in_flight = None;
        self.delivered += count;
        Some(count)
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        if let Some(flight) = &mut self.in_flight {
            let mut batches = flight.write.batches().to_vec();
            batches.iter_mut().for_each(visit);
            flight.write = Write::new(batches);
        }
    }

    /// Gives up the write in flight.
    pub(crate) fn abandon(&mut self) -> Option<Abandoned> {
        let flight = self.in_flight.take()?;
        let mut delivered = Count::ZERO;
        let mut rest = Vec::new();
        let mut taken = flight.taken;
        for (sequence, batch) in flight.sequences.of(flight.write.batches()) {
            let mut batch = batch.clone();
            let before = batch.messages();
            let (messages, bytes) = batch.prefix(usize::MAX, taken);
            batch.split_at((messages, bytes));
            delivered += Count::new(messages, bytes);
            if batch.is_empty() {
                taken -= bytes;
            } else {
                // Only the first batch that is not taken whole can have been taken in part.
                taken = 0;
                rest.push(Waiting {
                    sequence: sequence + (before - batch.messages()) as u64,
                    batch,
                    since: flight.waiting_since,
                });
            }
        }
        self.delivered += delivered;
        Some(Abandoned { delivered, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::time::Duration;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    /// A write of these batches, of which the first begins at 7 and each other after a gap of 1.
    fn taken(batches: Vec<FrameBatch>) -> Taken {
        let mut end = 6;
        let mut gaps = Vec::new();
        for (place, batch) in batches.iter().enumerate() {
            gaps.push((place, end + 1));
            end += 1 + batch.messages() as u64;
        }
        Taken {
            write: Write::new(batches),
            sequences: Sequences { first: 7, gaps },
            since: Now::START,
        }
    }

    fn in_flight(batches: Vec<FrameBatch>) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.start(taken(batches), Now::START);
        outbox
    }

    #[test]
    fn a_write_is_done_with_its_last_byte() {
        let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c"])]);
        assert_eq!(outbox.written(14, Now::START), None);
        assert_eq!(outbox.written(15, Now::START), Some(Count::new(3, 15)));
        assert!(outbox.abandon().is_none());
    }

    #[test]
    fn a_total_that_is_known_changes_nothing_and_totals_go_on_over_writes() {
        let mut outbox = in_flight(vec![batch(&["a"])]);
        assert_eq!(outbox.written(3, Now::START), None);
        assert_eq!(outbox.written(3, Now::START), None);
        assert_eq!(outbox.written(2, Now::START), None);
        assert_eq!(outbox.written(5, Now::START), Some(Count::new(1, 5)));
        assert_eq!(outbox.written(5, Now::START), None);
        outbox.start(taken(vec![batch(&["b"])]), Now::START);
        assert_eq!(outbox.written(4, Now::START), None);
        assert_eq!(outbox.written(10, Now::START), Some(Count::new(1, 5)));
    }

    #[test]
    fn a_message_taken_in_part_was_not_delivered() {
        for (taken, delivered, rest) in [
            (0, 0, vec![(7, &["a", "b"][..]), (10, &["c", "d"])]),
            (4, 0, vec![(7, &["a", "b"]), (10, &["c", "d"])]),
            (5, 1, vec![(8, &["b"]), (10, &["c", "d"])]),
            (10, 2, vec![(10, &["c", "d"])]),
            (14, 2, vec![(10, &["c", "d"])]),
            (19, 3, vec![(11, &["d"])]),
        ] {
            let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c", "d"])]);
            assert_eq!(outbox.written(taken, Now::START), None);
            let abandoned = outbox.abandon().expect("a write was in flight");
            assert_eq!(
                abandoned.delivered.messages, delivered,
                "{taken} bytes taken"
            );
            let expected: Vec<_> = rest
                .into_iter()
                .map(|(sequence, messages)| Waiting {
                    batch: batch(messages),
                    sequence,
                    since: Now::START,
                })
                .collect();
            assert_eq!(abandoned.rest, expected, "{taken} bytes taken");
        }
    }

    #[test]
    fn a_write_is_due_when_nothing_was_taken_for_too_long_or_too_little_in_all() {
        let at = |seconds| Now::at(Duration::from_secs(seconds));
        let config = |min_consumer_rate| Config {
            write_timeout: Duration::from_secs(10),
            min_consumer_rate,
            ..Config::default()
        };
        let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c"])]);
        // Fifteen bytes at one a second.
        for (taken, seconds, stalled, slow) in [(0, 0, 10, 10), (1, 9, 19, 19), (2, 18, 28, 25)] {
            assert_eq!(outbox.written(taken, at(seconds)), None);
            assert_eq!(outbox.due(&config(0)), Some(at(stalled)), "{taken} bytes");
            assert_eq!(outbox.due(&config(1)), Some(at(slow)), "{taken} bytes");
        }
        // What is known already is no progress.
        assert_eq!(outbox.written(2, at(20)), None);
        assert_eq!(outbox.due(&config(0)), Some(at(28)));
        assert!(outbox.written(15, at(21)).is_some());
        assert_eq!(outbox.due(&config(1)), None);
    }

    #[test]
    #[should_panic(expected = "more was written")]
    fn more_than_was_in_flight_is_the_callers_mistake() {
        in_flight(vec![batch(&["a"])]).written(6, Now::START);
    }
}
