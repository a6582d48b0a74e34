//! What a producer has sent, or is to send, and has not seen confirmed. It outlives connections.
//!
//! Each message has a *number*, for whoever sends it: the first has the number that the producer began at, and a
//! number is never used again. On each connection it also has a *position*, by which the broker speaks of it. The
//! two are the same until something is refused or lost; after that positions are those of the connection.

use crate::names::TopicName;
use crate::wire::FrameBatch;
use crate::wire::control::{Range, Reason};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How much may be unconfirmed at a time. One batch always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Messages. Default: 10,000.
    pub messages: usize,
    /// Bytes of their frames; also the memory that they take. Default: 16 MiB.
    pub bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 16 * 1024 * 1024,
        }
    }
}

/// Batches without a confirm.
#[derive(Debug)]
pub(super) struct Resend {
    window: Window,
    /// In the order of their numbers and positions.
    held: VecDeque<Held>,
    messages: usize,
    bytes: usize,
    /// The number of the next message.
    next_number: u64,
    /// Its position on this connection, or on the last one.
    next_position: u64,
    /// The last position that is safe. What is before it need not be sent.
    safe: u64,
    /// The position from which on nothing was sent on this connection.
    unsent: u64,
    /// Positions up to `safe` that were refused to an earlier process with this name, and that are not taken in yet.
    refused_ahead: Vec<(Range, Reason)>,
}

/// Messages of one topic with consecutive numbers and positions.
#[derive(Debug)]
struct Held {
    number: u64,
    position: u64,
    /// None: the topic of the role line.
    topic: Option<TopicName>,
    batch: FrameBatch,
}

impl Held {
    /// The position behind its last message.
    fn end(&self) -> u64 {
        self.position + self.batch.messages() as u64
    }

    /// Splits off what is before a position within it.
    fn split_before(&mut self, position: u64) -> Self {
        let messages = position - self.position;
        let front = Self {
            number: self.number,
            position: self.position,
            topic: self.topic.clone(),
            batch: self
                .batch
                .split_to(usize::try_from(messages).unwrap_or(usize::MAX)),
        };
        self.number += messages;
        self.position = position;
        front
    }
}

impl Resend {
    /// Nothing yet. The first message has the number and the position `first`.
    pub(super) const fn new(first: u64, window: Window) -> Self {
        Self {
            window,
            held: VecDeque::new(),
            messages: 0,
            bytes: 0,
            next_number: first,
            next_position: first,
            safe: first - 1,
            unsent: first,
            refused_ahead: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What is held.
    pub(super) const fn held(&self) -> Window {
        Window {
            messages: self.messages,
            bytes: self.bytes,
        }
    }

    /// Whether there is room for this batch.
    pub(super) fn has_room(&self, batch: &FrameBatch) -> bool {
        self.held.is_empty()
            || (self.messages + batch.messages() <= self.window.messages
                && self.bytes + batch.byte_len() <= self.window.bytes)
    }

    /// Takes a batch in, for a topic or for that of the role line. Returns the numbers of its messages. What is safe
    /// already is not kept.
    pub(super) fn push(&mut self, topic: Option<TopicName>, mut batch: FrameBatch) -> Range {
        let messages = batch.messages() as u64;
        let numbers = Range {
            from: self.next_number,
            to: self.next_number + messages - 1,
        };
        let safe = self
            .safe
            .saturating_sub(self.next_position - 1)
            .min(messages);
        batch.split_to(usize::try_from(safe).unwrap_or(usize::MAX));
        if !batch.is_empty() {
            self.hold(Held {
                number: numbers.from + safe,
                position: self.next_position + safe,
                topic,
                batch: batch.compact(),
            });
        }
        self.next_number += messages;
        self.next_position += messages;
        numbers
    }

    fn hold(&mut self, held: Held) {
        self.messages += held.batch.messages();
        self.bytes += held.batch.byte_len();
        self.held.push_back(held);
    }

    fn drop_counts(&mut self, batch: &FrameBatch) {
        self.messages -= batch.messages();
        self.bytes -= batch.byte_len();
    }

    /// The position of the first message that is not confirmed.
    pub(super) fn first_position(&self) -> u64 {
        self.held
            .front()
            .map_or(self.next_position, |held| held.position)
    }

    /// The number of the last message before which all have come to an end, one way or another.
    pub(super) fn settled_number(&self) -> u64 {
        self.held
            .front()
            .map_or(self.next_number, |held| held.number)
            - 1
    }

    /// All up to this position is safe.
    pub(super) fn confirm(&mut self, position: u64) {
        self.safe = self.safe.max(position);
        while let Some(front) = self.held.front_mut()
            && front.position <= position
        {
            let done = if front.end() <= position + 1 {
                self.held.pop_front()
            } else {
                Some(front.split_before(position + 1))
            };
            if let Some(done) = done {
                self.drop_counts(&done.batch);
            }
        }
        if let Some(front) = self.held.front_mut() {
            // What is left of a batch must not keep all of it alive.
            front.batch = front.batch.clone().compact();
        }
    }

    /// These positions were not taken and will not be. Returns the numbers of those that were held.
    pub(super) fn refuse(&mut self, range: Range) -> Vec<Range> {
        let mut refused: Vec<Range> = Vec::new();
        let mut kept = VecDeque::with_capacity(self.held.len() + 1);
        for mut held in core::mem::take(&mut self.held) {
            if held.position < range.from && range.from < held.end() {
                kept.push_back(held.split_before(range.from));
            }
            if held.position < range.from || held.position > range.to {
                kept.push_back(held);
                continue;
            }
            let end = held.end().min(range.to.saturating_add(1));
            let gone = held.split_before(end);
            self.drop_counts(&gone.batch);
            let to = gone.number + gone.batch.messages() as u64 - 1;
            match refused.last_mut() {
                Some(last) if last.to + 1 == gone.number => last.to = to,
                Some(_) | None => refused.push(Range {
                    from: gone.number,
                    to,
                }),
            }
            if !held.batch.is_empty() {
                kept.push_back(held);
            }
        }
        self.held = kept;
        refused
    }

    /// Of the next `messages` that are taken in, those that are known to be refused, by their numbers.
    pub(super) fn refusals_of_next(&mut self, messages: u64) -> Vec<(Range, Reason)> {
        let end = self.next_position + messages;
        let ahead = self.next_number - self.next_position;
        let mut refused = Vec::new();
        self.refused_ahead.retain_mut(|(range, reason)| {
            if range.from < end {
                let numbers = Range {
                    from: range.from + ahead,
                    to: range.to.min(end - 1) + ahead,
                };
                refused.push((numbers, reason.clone()));
                range.from = end;
            }
            range.from <= range.to
        });
        refused
    }

    /// These positions, of which `accepted` is the last that counts, were refused on an earlier connection. Returns
    /// the numbers of those that were held. What is not taken in yet is remembered.
    pub(super) fn refused_before(
        &mut self,
        range: Range,
        reason: &Reason,
        accepted: u64,
    ) -> Vec<Range> {
        let ahead = Range {
            from: range.from.max(self.next_position),
            to: range.to.min(accepted),
        };
        if ahead.from <= ahead.to {
            self.refused_ahead.push((ahead, reason.clone()));
        }
        self.refuse(range)
    }

    /// There is a new connection. What was refused before is told anew.
    pub(super) fn forget_refused_ahead(&mut self) {
        self.refused_ahead.clear();
    }

    /// On the next connection positions begin at 1 again: nobody remembers those of the last.
    pub(super) fn begin_anew(&mut self) {
        self.safe = 0;
        self.place_from(1);
    }

    /// Gives what is held consecutive positions from here on.
    fn place_from(&mut self, first: u64) {
        let mut position = first;
        for held in &mut self.held {
            held.position = position;
            position = held.end();
        }
        self.next_position = position;
    }

    /// A new connection, on which `accepted` is the last position that is safe. Everything else is sent again.
    /// Returns how many messages that were confirmed are gone.
    pub(super) fn restart(&mut self, accepted: u64) -> u64 {
        let first = self.first_position();
        let lost = (first - 1).saturating_sub(accepted);
        self.confirm(accepted);
        self.safe = accepted;
        if lost > 0 || !self.held.is_empty() {
            self.place_from(accepted + 1);
        }
        self.unsent = accepted + 1;
        lost
    }

    /// The topic of the next batch that was not sent on this connection.
    pub(super) fn unsent_topic(&self) -> Option<Option<&TopicName>> {
        Some(self.first_unsent()?.topic.as_ref())
    }

    /// The next batch that was not sent on this connection; from now on it was.
    pub(super) fn next_unsent(&mut self) -> Option<FrameBatch> {
        let next = self.first_unsent()?;
        let (end, batch) = (next.end(), next.batch.clone());
        self.unsent = end;
        Some(batch)
    }

    fn first_unsent(&self) -> Option<&Held> {
        let at = self
            .held
            .partition_point(|held| held.position < self.unsent);
        self.held.get(at)
    }

    /// The last position that was sent on this connection.
    pub(super) const fn last_sent(&self) -> u64 {
        self.unsent - 1
    }

    /// Whether everything was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.held
            .back()
            .is_none_or(|last| last.position < self.unsent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[&str]) -> FrameBatch {
        FrameBatch::encode(messages).expect("small messages")
    }

    fn sent(resend: &mut Resend) -> Vec<FrameBatch> {
        core::iter::from_fn(|| resend.next_unsent()).collect()
    }

    fn range(from: u64, to: u64) -> Range {
        Range { from, to }
    }

    #[test]
    fn a_confirm_is_cumulative_and_may_end_inside_a_batch() {
        let mut resend = Resend::new(1, Window::default());
        assert_eq!(resend.push(None, batch(&["a", "b", "c"])), range(1, 3));
        assert_eq!(resend.push(None, batch(&["d"])), range(4, 4));
        assert_eq!(sent(&mut resend).len(), 2);
        resend.confirm(2);
        assert_eq!((resend.first_position(), resend.settled_number()), (3, 2));
        resend.confirm(1);
        assert_eq!((resend.messages, resend.bytes), (2, 10));
        resend.confirm(4);
        assert!(resend.is_empty() && resend.bytes == 0);
        assert_eq!(resend.settled_number(), 4);
    }

    #[test]
    fn what_is_not_confirmed_is_sent_again_from_where_the_broker_is() {
        let mut resend = Resend::new(1, Window::default());
        resend.push(None, batch(&["a", "b"]));
        resend.push(None, batch(&["c", "d"]));
        sent(&mut resend);
        assert_eq!(resend.restart(3), 0);
        assert_eq!(sent(&mut resend), [batch(&["d"])]);
        assert_eq!(resend.last_sent(), 4);
        assert_eq!(resend.push(None, batch(&["e"])), range(5, 5));
        assert_eq!(sent(&mut resend), [batch(&["e"])]);
    }

    #[test]
    fn what_the_broker_has_is_skipped() {
        let mut resend = Resend::new(1, Window::default());
        assert_eq!(resend.restart(3), 0);
        assert_eq!(resend.push(None, batch(&["a", "b"])), range(1, 2));
        assert!(resend.is_empty());
        assert_eq!(resend.push(None, batch(&["c", "d"])), range(3, 4));
        assert_eq!(sent(&mut resend), [batch(&["d"])]);
        assert_eq!(resend.last_sent(), 4);
    }

    #[test]
    fn confirmed_messages_that_are_gone_are_told() {
        let mut resend = Resend::new(1, Window::default());
        resend.push(None, batch(&["a", "b", "c"]));
        sent(&mut resend);
        resend.confirm(2);
        assert_eq!(resend.restart(0), 2);
        assert_eq!(sent(&mut resend), [batch(&["c"])]);
        assert_eq!(resend.last_sent(), 1);
        resend.confirm(1);
        assert_eq!(resend.settled_number(), 3);
    }

    #[test]
    fn a_refusal_takes_out_of_the_middle_and_positions_close_up_on_the_next_connection() {
        let mut resend = Resend::new(1, Window::default());
        resend.push(None, batch(&["a", "b", "c", "d"]));
        resend.push(None, batch(&["e"]));
        sent(&mut resend);
        assert_eq!(resend.refuse(range(2, 3)), [range(2, 3)]);
        assert_eq!(resend.refuse(range(2, 3)), []);
        assert_eq!(resend.messages, 3);
        assert_eq!(resend.restart(0), 0);
        assert_eq!(
            sent(&mut resend),
            [batch(&["a"]), batch(&["d"]), batch(&["e"])]
        );
        assert_eq!(resend.last_sent(), 3);
        resend.confirm(2);
        assert_eq!(resend.settled_number(), 4, "d was the fourth");
    }

    #[test]
    fn the_window_is_bounded_and_one_batch_always_fits() {
        let window = Window {
            messages: 2,
            bytes: 100,
        };
        let mut resend = Resend::new(1, window);
        assert!(resend.has_room(&batch(&["a", "b", "c"])));
        resend.push(None, batch(&["a"]));
        assert!(resend.has_room(&batch(&["b"])));
        assert!(!resend.has_room(&batch(&["b", "c"])));
        assert!(!resend.has_room(&batch(&[&"x".repeat(92)])));
        resend.confirm(1);
        assert!(resend.has_room(&batch(&["a", "b", "c"])));
    }
}
