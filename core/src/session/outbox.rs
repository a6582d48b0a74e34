//! What is on its way to one peer's socket: at most one write.

use crate::config::Config;
use crate::group::{Mark, Waiting};
use crate::id::{GroupId, TopicId};
use crate::stats::Count;
use crate::time::Now;
use crate::wire::control::Range;
use crate::wire::{FrameBatch, Piece, Write};
use alloc::vec;
use alloc::vec::Vec;

/// The write in flight to one peer, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outbox {
    in_flight: Option<InFlight>,
    /// How many bytes the socket has taken of the writes before the one in flight.
    written: u64,
    /// The messages that this peer's socket has taken in all, whole.
    pub(crate) delivered: Count,
    /// When this connection's write timer will next go off; at most one is set.
    pub(crate) timer: Option<Now>,
}

/// A write in flight to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct InFlight {
    /// What is written.
    write: Write,
    /// Where its messages come from; none if it has none.
    messages: Option<HandedOut>,
    /// How many bytes of it the socket has taken; fewer than it has.
    taken: usize,
    /// When it was handed out.
    started: Now,
    /// When the socket last took some of it; when it was handed out, if it has taken nothing yet.
    progressed: Now,
}

/// Where the messages of a write come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct HandedOut {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    /// What is known of each batch. Empty where the consumer holds them until it settles them: then that is known
    /// elsewhere.
    pub(crate) marks: Vec<Mark>,
    /// Since when the oldest message has been waiting.
    pub(crate) waiting_since: Now,
    /// Whether somebody is to know which messages have been delivered.
    pub(crate) is_tracked: bool,
}

/// A write that the socket has taken whole.
pub(crate) struct Delivered {
    /// Its messages, and where they come from, unless the consumer holds them until it settles them.
    pub(crate) messages: Option<(TopicId, GroupId, Count)>,
    /// Their sequences, if they are tracked.
    pub(crate) ranges: Vec<Range>,
}

/// What is left of a write that was given up.
pub(crate) struct Abandoned {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    /// Messages that the socket had taken whole.
    pub(crate) delivered: Count,
    /// Their sequences, if they are tracked.
    pub(crate) ranges: Vec<Range>,
    /// How many others there were.
    pub(crate) unwritten: u64,
    /// Those others, in order, unless the consumer holds them. One of which only a part was taken is among them:
    /// no consumer can have read it.
    pub(crate) rest: Vec<Waiting>,
}

impl InFlight {
    fn is_tracked(&self) -> bool {
        self.messages.as_ref().is_some_and(|it| it.is_tracked)
    }
}

impl Outbox {
    /// Whether a write is in flight.
    pub(crate) const fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When the write in flight will have taken too long, unless the socket takes more of it: it has
    /// taken nothing for too long by then, or is slower than the least rate. Never earlier than it
    /// was before.
    pub(crate) fn due(&self, config: &Config) -> Option<Now> {
        let flight = self.in_flight.as_ref()?;
        let stalled = flight.progressed + config.write_timeout;
        let longest = config.longest_write(flight.write.byte_len() as u64);
        Some(longest.map_or(stalled, |longest| stalled.min(flight.started + longest)))
    }

    /// Since when the oldest message in flight has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        let messages = self.in_flight.as_ref()?.messages.as_ref()?;
        Some(messages.waiting_since)
    }

    /// What is in flight; a write counts whole until its last byte is taken.
    pub(crate) fn in_flight(&self) -> Count {
        self.in_flight
            .as_ref()
            .map_or(Count::ZERO, |flight| flight.write.count())
    }

    /// How many bytes are in flight, those included that are no messages.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        let flight = self.in_flight.as_ref();
        flight.map_or(0, |flight| flight.write.byte_len())
    }

    /// What is in flight and goes back to its group if it is not written: what the consumer does not hold until it
    /// settles it.
    pub(crate) fn unheld(&self) -> Option<(TopicId, GroupId, Count)> {
        let flight = self.in_flight.as_ref()?;
        let messages = flight.messages.as_ref()?;
        let is_held = messages.marks.is_empty();
        (!is_held).then(|| (messages.topic, messages.group, flight.write.count()))
    }

    /// The sequences of what is in flight, if somebody is to know them.
    fn tracked(&self) -> Vec<Range> {
        let Some(InFlight {
            write,
            messages: Some(messages),
            ..
        }) = self.in_flight.as_ref().filter(|it| it.is_tracked())
        else {
            return Vec::new();
        };
        let marks = messages.marks.iter().zip(write.batches());
        let ranges = marks.map(|(mark, batch)| mark.range(batch.messages()));
        ranges.flatten().collect()
    }

    /// Notes that a write was handed out.
    pub(crate) fn start(&mut self, write: Write, messages: Option<HandedOut>, now: Now) {
        debug_assert!(self.in_flight.is_none(), "one write at a time");
        self.in_flight = Some(InFlight {
            write,
            messages,
            taken: 0,
            started: now,
            progressed: now,
        });
    }

    /// By `now` the socket has taken `total` bytes in all; no more than was known already changes nothing.
    /// Returns what the write in flight held if that was the last of it.
    ///
    /// # Panics
    /// If that is more than was in flight.
    pub(crate) fn written(&mut self, total: u64, now: Now) -> Option<Delivered> {
        // A write ends with its last byte, so those before this one were taken whole.
        let of_this_write = total.checked_sub(self.written)?;
        let Some(flight) = self.in_flight.as_mut() else {
            assert!(of_this_write == 0, "more was written than was in flight");
            return None;
        };
        if of_this_write <= flight.taken as u64 {
            return None;
        }
        let bytes = flight.write.byte_len();
        assert!(
            of_this_write <= bytes as u64,
            "more was written than was in flight"
        );
        flight.taken = of_this_write as usize;
        flight.progressed = now;
        if flight.taken < bytes {
            return None;
        }
        let messages = self.unheld();
        let ranges = self.tracked();
        self.delivered += self.in_flight();
        self.in_flight = None;
        self.written = total;
        Some(Delivered { messages, ranges })
    }

    /// Forgets the sums in what is in flight, which nobody needs any more: they would tell something of messages where
    /// those themselves are not to be told.
    pub(crate) fn forget_sums(&mut self) {
        if let Some(flight) = &mut self.in_flight {
            let mut pieces = flight.write.pieces().to_vec();
            for piece in &mut pieces {
                if let Piece::Check(bytes) = piece {
                    *bytes = vec![0; bytes.len()].into();
                }
            }
            flight.write = Write::new(pieces);
        }
    }

    /// Shows `visit` every batch: see [`Checkpoint::each_batch`](crate::Checkpoint::each_batch).
    pub(crate) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        if let Some(flight) = &mut self.in_flight {
            let mut pieces = flight.write.pieces().to_vec();
            for piece in &mut pieces {
                if let Piece::Messages(batch) = piece {
                    visit(batch);
                }
            }
            flight.write = Write::new(pieces);
        }
    }

    /// Gives up the write in flight. None if it holds no messages.
    pub(crate) fn abandon(&mut self) -> Option<Abandoned> {
        let flight = self.in_flight.take()?;
        self.written += flight.taken as u64;
        let messages = flight.messages?;
        let mut abandoned = Abandoned {
            topic: messages.topic,
            group: messages.group,
            delivered: Count::ZERO,
            ranges: Vec::new(),
            unwritten: 0,
            rest: Vec::new(),
        };
        let mut marks = messages.marks.into_iter();
        let mut taken = flight.taken;
        for piece in flight.write.pieces() {
            let Piece::Messages(batch) = piece else {
                taken = taken.saturating_sub(piece.as_bytes().len());
                continue;
            };
            let part = batch.prefix(usize::MAX, taken);
            // Only the first batch that is not taken whole can have been taken in part.
            taken = if part.1 == batch.byte_len() {
                taken - part.1
            } else {
                0
            };
            abandoned.delivered += Count::new(part.0, part.1);
            abandoned.unwritten += (batch.messages() - part.0) as u64;
            let mark = marks.next();
            if messages.is_tracked
                && let Some(mark) = &mark
            {
                abandoned.ranges.extend(mark.range(part.0));
            }
            if let Some(mark) = mark
                && part.0 < batch.messages()
            {
                let mut waiting = Waiting {
                    batch: batch.clone(),
                    mark,
                };
                waiting.split_at(part);
                abandoned.rest.push(waiting);
            }
        }
        self.delivered += abandoned.delivered;
        Some(abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use core::time::Duration;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    /// A write of these batches, of which the first begins at 7 and each other after a gap of 1.
    fn start(outbox: &mut Outbox, batches: Vec<FrameBatch>) {
        let mut next = 7;
        let mut marks = Vec::new();
        for batch in &batches {
            marks.push(Mark::new(next, Now::START));
            next += 1 + batch.messages() as u64;
        }
        let messages = HandedOut {
            topic: TopicId(0),
            group: GroupId::Shared,
            marks,
            waiting_since: Now::START,
            is_tracked: false,
        };
        outbox.start(Write::from(batches), Some(messages), Now::START);
    }

    fn in_flight(batches: Vec<FrameBatch>) -> Outbox {
        let mut outbox = Outbox::default();
        start(&mut outbox, batches);
        outbox
    }

    fn written(outbox: &mut Outbox, total: u64) -> Option<Count> {
        let delivered = outbox.written(total, Now::START)?;
        delivered.messages.map(|(_, _, count)| count)
    }

    #[test]
    fn a_write_is_done_with_its_last_byte() {
        let mut outbox = in_flight(vec![batch(&["a", "b"]), batch(&["c"])]);
        assert_eq!(written(&mut outbox, 14), None);
        assert_eq!(written(&mut outbox, 15), Some(Count::new(3, 15)));
        assert!(outbox.abandon().is_none());
    }

    #[test]
    fn a_total_that_is_known_changes_nothing_and_totals_go_on_over_writes() {
        let mut outbox = in_flight(vec![batch(&["a"])]);
        assert_eq!(written(&mut outbox, 3), None);
        assert_eq!(written(&mut outbox, 3), None);
        assert_eq!(written(&mut outbox, 2), None);
        assert_eq!(written(&mut outbox, 5), Some(Count::new(1, 5)));
        assert_eq!(written(&mut outbox, 5), None);
        start(&mut outbox, vec![batch(&["b"])]);
        assert_eq!(written(&mut outbox, 4), None);
        assert_eq!(written(&mut outbox, 10), Some(Count::new(1, 5)));
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
            assert_eq!(written(&mut outbox, taken), None);
            let abandoned = outbox.abandon().expect("a write was in flight");
            assert_eq!(
                abandoned.delivered.messages, delivered,
                "{taken} bytes taken"
            );
            assert_eq!(abandoned.unwritten, 4 - delivered);
            let expected: Vec<_> = rest
                .into_iter()
                .map(|(sequence, messages)| Waiting {
                    batch: batch(messages),
                    mark: Mark::new(sequence, Now::START),
                })
                .collect();
            assert_eq!(abandoned.rest, expected, "{taken} bytes taken");
        }
    }

    #[test]
    fn what_is_said_between_messages_is_no_message() {
        let said = |text: &'static str| Piece::Control(Bytes::from_static(text.as_bytes()));
        for (taken, delivered, unwritten) in
            [(0, 0, 3), (2, 0, 3), (7, 1, 2), (9, 1, 2), (18, 2, 1)]
        {
            let pieces = vec![
                said("xx"),
                Piece::Messages(batch(&["a"])),
                said("yyy"),
                Piece::Messages(batch(&["bcd", "e"])),
            ];
            let mut outbox = Outbox::default();
            let messages = HandedOut {
                topic: TopicId(0),
                group: GroupId::Shared,
                marks: Vec::new(),
                waiting_since: Now::START,
                is_tracked: false,
            };
            outbox.start(Write::new(pieces), Some(messages), Now::START);
            assert!(outbox.written(taken, Now::START).is_none());
            let abandoned = outbox.abandon().expect("messages were in flight");
            assert_eq!(
                (abandoned.delivered.messages, abandoned.unwritten),
                (delivered, unwritten),
                "{taken} bytes taken"
            );
            assert!(abandoned.rest.is_empty(), "the consumer holds them");
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
            assert!(outbox.written(taken, at(seconds)).is_none());
            assert_eq!(outbox.due(&config(0)), Some(at(stalled)), "{taken} bytes");
            assert_eq!(outbox.due(&config(1)), Some(at(slow)), "{taken} bytes");
        }
        // What is known already is no progress.
        assert!(outbox.written(2, at(20)).is_none());
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
