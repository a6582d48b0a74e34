//! What a producer has sent and what is known of it.

use super::error::{Gone, Refused};
use super::link::{Change, News, State};
use crate::client::BATCH_BYTES;
use message_queue_core::client::{ProducerClient, ProducerEvent, Window};
use message_queue_core::names::{NameError, TopicName};
use message_queue_core::wire::control::{Range, Reason};
use message_queue_core::wire::{Encoder, FrameBatch, MessageTooLarge};
use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the caller of a producer and its task share.
pub(super) struct Outbound {
    client: ProducerClient,
    window: Window,
    /// Gathered, so that many small messages are one write; counts in the window.
    pending: Encoder,
    /// Where what is gathered goes.
    pending_to: Target,
    /// The topic that was named last: mostly it is named again.
    named: Option<TopicName>,
    /// The number of the next message.
    next: u64,
    /// The number up to which every message has come to its end.
    settled: u64,
    /// Those that somebody waits for, by the first number of each.
    awaited: BTreeMap<u64, Awaited>,
    /// What was refused since this was last asked for.
    refused: Option<Refused>,
    /// How many found no group: on all connections before this one, and on this one.
    unrouted: (u64, u64),
    is_going_away: bool,
    is_closing: bool,
    gone: Option<Gone>,
}

/// A topic, or that of the producer itself.
pub(super) type Target = Option<TopicName>;

/// Messages that somebody waits for.
struct Awaited {
    /// The number of the last.
    to: u64,
    waker: Option<Waker>,
    refused: Option<Refused>,
}

/// What has become of messages.
pub(super) enum Fate {
    Safe,
    Refused(Refused),
    /// The producer has ended; so many are not known to be safe.
    Unknown(Gone, u64),
}

impl Outbound {
    pub(super) fn new(client: ProducerClient, window: Window, first: u64) -> Self {
        Self {
            client,
            window,
            pending: Encoder::new(),
            pending_to: None,
            named: None,
            next: first,
            settled: first - 1,
            awaited: BTreeMap::new(),
            refused: None,
            unrouted: (0, 0),
            is_going_away: false,
            is_closing: false,
            gone: None,
        }
    }

    /// The topic of this name.
    pub(super) fn topic(&mut self, name: &str) -> Result<TopicName, NameError> {
        if let Some(named) = &self.named
            && named.as_str() == name
        {
            return Ok(named.clone());
        }
        let topic = TopicName::new(name)?;
        self.named = Some(topic.clone());
        Ok(topic)
    }

    /// Takes a message in, if there is room for it in the window. Returns its number. It is awaited until
    /// [`forget`](Self::forget).
    pub(super) fn push(
        &mut self,
        to: &Target,
        message: &[u8],
    ) -> Option<Result<u64, MessageTooLarge>> {
        if !self.has_room(1, 4 + message.len()) {
            return None;
        }
        if self.pending.byte_len() >= BATCH_BYTES || self.pending_to != *to {
            self.hand_over();
            self.pending_to.clone_from(to);
        }
        let number = self.next;
        Some(self.pending.push(message).map(|()| {
            self.next += 1;
            self.expect(number, number);
            number
        }))
    }

    /// Likewise a batch with at least one message. Returns the number of the first.
    pub(super) fn push_batch(&mut self, to: &Target, batch: &FrameBatch) -> Option<u64> {
        if !self.has_room(batch.messages(), batch.byte_len()) {
            return None;
        }
        self.hand_over();
        let from = self.next;
        self.next += batch.messages() as u64;
        self.expect(from, self.next - 1);
        self.give(to.clone(), batch.clone());
        Some(from)
    }

    fn has_room(&self, messages: usize, bytes: usize) -> bool {
        let held = self.client.unconfirmed();
        let taken = held.messages + self.pending.messages();
        taken == 0
            || (taken + messages <= self.window.messages
                && held.bytes + self.pending.byte_len() + bytes <= self.window.bytes)
    }

    fn hand_over(&mut self) {
        if !self.pending.is_empty() {
            let batch = self.pending.take();
            self.give(self.pending_to.clone(), batch);
        }
    }

    fn give(&mut self, to: Target, batch: FrameBatch) {
        let given = match to {
            Some(topic) => self.client.send_to(topic, batch),
            None => self.client.send(batch),
        };
        assert!(given.is_ok(), "the window has room for all that was let in");
        // What the broker has already, or has refused, from an earlier process with this name.
        while let Some((numbers, reason)) = self.client.poll_refused() {
            self.refuse(numbers, &reason);
        }
        self.settle();
    }

    /// Notes that somebody waits for messages.
    fn expect(&mut self, from: u64, to: u64) {
        let awaited = Awaited {
            to,
            waker: None,
            refused: None,
        };
        self.awaited.insert(from, awaited);
    }

    /// Nobody waits for the messages from this number on any more.
    pub(super) fn forget(&mut self, from: u64) {
        self.awaited.remove(&from);
    }

    /// What has become of messages that somebody waits for.
    pub(super) fn poll_fate(&mut self, from: u64, cx: &mut Context<'_>) -> Poll<Fate> {
        let (settled, gone) = (self.settled, &self.gone);
        let Some(awaited) = self.awaited.get_mut(&from) else {
            return Poll::Ready(Fate::Safe);
        };
        if awaited.to <= settled {
            return Poll::Ready(match awaited.refused.take() {
                Some(refused) => Fate::Refused(refused),
                None => Fate::Safe,
            });
        }
        if let Some(gone) = gone {
            let unknown = awaited.to - settled.max(from - 1);
            return Poll::Ready(Fate::Unknown(gone.clone(), unknown));
        }
        awaited.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The number of the last message that was taken in.
    pub(super) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// What has become of all up to a number, if that is known.
    pub(super) fn fate_up_to(&mut self, number: u64) -> Option<Fate> {
        if self.settled >= number {
            return Some(match self.refused.take() {
                Some(refused) => Fate::Refused(refused),
                None => Fate::Safe,
            });
        }
        let gone = self.gone.clone()?;
        Some(Fate::Unknown(gone, number - self.settled))
    }

    /// How many messages found no group to go to.
    pub(super) const fn unrouted(&self) -> u64 {
        self.unrouted.0 + self.unrouted.1
    }

    /// How many messages have come to no end yet.
    pub(super) const fn unconfirmed(&self) -> u64 {
        self.next - 1 - self.settled
    }

    pub(super) const fn close(&mut self) {
        self.is_closing = true;
    }

    /// Wakes who waits for what has come to its end.
    fn settle(&mut self) -> bool {
        let before = self.settled;
        self.settled = self.client.settled();
        if self.settled == before {
            return false;
        }
        for (_, awaited) in self.awaited.range_mut(..=self.settled).rev() {
            if awaited.to <= before {
                break;
            }
            if awaited.to <= self.settled
                && let Some(waker) = awaited.waker.take()
            {
                waker.wake();
            }
        }
        true
    }

    fn refuse(&mut self, numbers: Range, reason: &Reason) {
        Refused::add(&mut self.refused, numbers.to - numbers.from + 1, reason);
        for (from, awaited) in self.awaited.range_mut(..=numbers.to).rev() {
            if awaited.to < numbers.from {
                break;
            }
            let among = awaited.to.min(numbers.to) - numbers.from.max(*from) + 1;
            Refused::add(&mut awaited.refused, among, reason);
        }
    }
}

impl State for Outbound {
    type Client = ProducerClient;

    fn client(&mut self) -> &mut ProducerClient {
        &mut self.client
    }

    fn prepare(&mut self) {
        self.hand_over();
    }

    fn digest(&mut self, news: &mut News) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ProducerEvent::Connected(accepted) => {
                    self.is_going_away = false;
                    self.unrouted = (self.unrouted(), 0);
                    news.changes.push(Change::Connected(accepted.clone()));
                    news.accepted = Some(accepted);
                }
                ProducerEvent::Confirmed { unrouted, .. } => self.unrouted.1 = unrouted,
                ProducerEvent::Refused(numbers, reason) => self.refuse(numbers, &reason),
                ProducerEvent::Blocked(blocked, text) => {
                    news.changes.push(Change::Blocked(blocked, text));
                }
                ProducerEvent::Lost(messages) => news.changes.push(Change::Forgotten(messages)),
                ProducerEvent::GoAway { wait_ms } => {
                    self.is_going_away = true;
                    news.wait = Some(Duration::from_millis(wait_ms.into()));
                }
                ProducerEvent::Ended(ended) => news.ended = Some(ended),
            }
        }
        news.is_awaited |= self.settle();
    }

    fn ends_stream(&self) -> bool {
        let is_done = self.client.is_done() && self.pending.is_empty();
        (self.is_closing && is_done) || (self.is_going_away && !self.client.awaits_confirms())
    }

    fn is_closing(&self) -> bool {
        self.is_closing
    }

    fn end(&mut self, gone: Gone) {
        self.gone = Some(gone);
        for awaited in self.awaited.values_mut() {
            if let Some(waker) = awaited.waker.take() {
                waker.wake();
            }
        }
    }

    fn gone(&self) -> Option<&Gone> {
        self.gone.as_ref()
    }
}
