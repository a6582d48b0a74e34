//! What a consumer was handed, and what it has to say of it.

use super::consumer::Acks;
use super::error::Gone;
use super::link::{Change, News, State};
use message_queue_core::client::{ConsumerClient, ConsumerEvent, Delivery, Position};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Lag, Outcome};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the caller of a consumer and its task share.
pub(super) struct Inbound {
    client: ConsumerClient,
    acks: Acks,
    /// What the caller has not taken yet.
    queue: VecDeque<Waiting>,
    /// With automatic acknowledgements: the last message that the caller has taken.
    taken: Option<Position>,
    /// What was taken back of this connection's messages, and not all of which the caller has passed by.
    revoked: Vec<(Position, Position)>,
    waker: Option<Waker>,
    /// What the caller has asked of this connection's broker and waits for.
    question: Option<Question>,
    /// Whether other brokers share the topic, as the last broker has said that accepted it.
    shares_topic: bool,
    prefetch_bytes: u32,
    is_leaving: bool,
    gone: Option<Gone>,
}

/// Messages that came together, of which some may have been taken.
struct Waiting {
    delivery: Delivery,
    /// How many of them.
    taken: usize,
}

/// A question what waits for the group.
enum Question {
    /// It has this number.
    Asked(u64),
    Answered(Lag),
}

/// Messages for the caller.
pub(super) struct Handed {
    pub(super) batch: FrameBatch,
    /// Where they came from; its own batch is not of use any more.
    pub(super) delivery: Delivery,
    /// The place of the first of them in the delivery.
    pub(super) place: usize,
}

impl Waiting {
    fn front(&self) -> Position {
        self.delivery.position(self.taken)
    }

    fn take(&mut self, messages: usize) -> Handed {
        let batch = self.delivery.batch.split_to(messages);
        let place = self.taken;
        self.taken += messages;
        Handed {
            batch,
            delivery: self.delivery.clone(),
            place,
        }
    }
}

impl Inbound {
    pub(super) const fn new(client: ConsumerClient, acks: Acks, prefetch_bytes: u32) -> Self {
        Self {
            client,
            acks,
            queue: VecDeque::new(),
            taken: None,
            revoked: Vec::new(),
            waker: None,
            question: None,
            shares_topic: false,
            prefetch_bytes,
            is_leaving: false,
            gone: None,
        }
    }

    /// At most so many of the messages that came next. Says whether anything was settled by this, too.
    pub(super) fn poll_next(
        &mut self,
        most: usize,
        cx: &mut Context<'_>,
    ) -> (Poll<Result<Handed, Gone>>, bool) {
        let settled = self.settle_taken();
        self.pass_by_revoked();
        let Some(front) = self.queue.front_mut() else {
            if let Some(gone) = &self.gone {
                return (Poll::Ready(Err(gone.clone())), settled);
            }
            self.waker = Some(cx.waker().clone());
            return (Poll::Pending, settled);
        };
        let mut messages = front.delivery.batch.messages().min(most);
        // Those that are next were passed by; it ends before the next that were taken back.
        for (from, _) in &self.revoked {
            let before = front.front().messages_to(*from).saturating_sub(1);
            if before > 0 {
                messages = messages.min(usize::try_from(before).unwrap_or(usize::MAX));
            }
        }
        let handed = front.take(messages);
        if front.delivery.batch.is_empty() {
            self.queue.pop_front();
        }
        if self.acks == Acks::Automatic {
            self.taken = Some(handed.delivery.position(handed.place + messages - 1));
        }
        (Poll::Ready(Ok(handed)), settled)
    }

    /// With automatic acknowledgements: the caller is done with what it has taken.
    pub(super) fn settle_taken(&mut self) -> bool {
        let taken = self.taken.take();
        taken.is_some_and(|position| self.client.ack_up_to(position))
    }

    /// Drops what was taken back while it waited here.
    fn pass_by_revoked(&mut self) {
        while let Some(front) = self.queue.front_mut() {
            let first = front.front();
            self.revoked.retain(|(_, to)| *to >= first);
            let Some((_, to)) = self.revoked.iter().find(|(from, _)| *from <= first) else {
                return;
            };
            let gone = usize::try_from(first.messages_to(*to)).unwrap_or(usize::MAX);
            front.take(gone.min(front.delivery.batch.messages()));
            if front.delivery.batch.is_empty() {
                self.queue.pop_front();
            }
        }
        // All that was handed out before they were taken back has been taken.
        self.revoked.clear();
    }

    /// Says what became of messages. Without effect, and `false`, where their connection has ended.
    pub(super) fn settle(
        &mut self,
        outcome: Outcome,
        delay: Duration,
        from: Position,
        to: Position,
    ) -> bool {
        if self.is_leaving {
            return false;
        }
        let delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self.client.settle(outcome, delay, from, to)
    }

    pub(super) fn ack_up_to(&mut self, position: Position) -> bool {
        !self.is_leaving && self.client.ack_up_to(position)
    }

    pub(super) fn set_prefetch(&mut self, messages: u32) {
        if !self.is_leaving {
            self.client.credit(messages, self.prefetch_bytes);
        }
    }

    /// What waits for the group, if that was answered; else it is asked, on this connection or on the next. Says
    /// whether there is something to write, too.
    pub(super) fn lag(&mut self) -> (Option<Result<Lag, Gone>>, bool) {
        if let Some(gone) = &self.gone {
            return (Some(Err(gone.clone())), false);
        }
        match self.question.take() {
            Some(Question::Answered(lag)) => (Some(Ok(lag)), false),
            Some(asked) => {
                self.question = Some(asked);
                (None, false)
            }
            None => {
                self.question = self.client.ask_lag().map(Question::Asked);
                (None, self.question.is_some())
            }
        }
    }

    pub(super) const fn shares_topic(&self) -> bool {
        self.shares_topic
    }

    /// What was asked before is of no interest any more.
    pub(super) fn forget_question(&mut self) {
        self.question = None;
    }

    /// Leaves in an orderly way, after all that was settled.
    pub(super) fn leave(&mut self) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.queue.clear();
            self.client.leave();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl State for Inbound {
    type Client = ConsumerClient;

    fn client(&mut self) -> &mut ConsumerClient {
        &mut self.client
    }

    fn digest(&mut self, news: &mut News) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ConsumerEvent::Connected(accepted) => {
                    self.shares_topic = accepted.shares_topic();
                    news.changes.push(Change::Connected(accepted.clone()));
                    news.accepted = Some(accepted);
                }
                ConsumerEvent::Delivered(delivery) if !self.is_leaving => {
                    self.queue.push_back(Waiting { delivery, taken: 0 });
                    self.wake();
                }
                ConsumerEvent::Delivered(_) => {}
                ConsumerEvent::Lag(number, lag) => {
                    if matches!(self.question, Some(Question::Asked(asked)) if asked <= number) {
                        self.question = Some(Question::Answered(lag));
                        news.is_awaited = true;
                    }
                }
                ConsumerEvent::Gap(range, reason) => news.changes.push(Change::Gap {
                    from: range.from,
                    to: range.to,
                    code: reason.code,
                }),
                ConsumerEvent::Revoked { positions, .. } => {
                    let messages = positions
                        .iter()
                        .map(|(from, to)| from.messages_to(*to))
                        .sum();
                    self.revoked.extend(positions);
                    news.changes.push(Change::Revoked(messages));
                }
                ConsumerEvent::GoAway { wait_ms } => {
                    news.wait = Some(Duration::from_millis(wait_ms.into()));
                }
                ConsumerEvent::Ended(ended) => {
                    // It is handed out again, and so is what the caller holds.
                    self.queue.clear();
                    self.revoked.clear();
                    self.taken = None;
                    self.question = None;
                    news.ended = Some(ended);
                }
            }
        }
    }

    fn ends_stream(&self) -> bool {
        self.is_leaving
    }

    fn is_closing(&self) -> bool {
        self.is_leaving
    }

    fn end(&mut self, gone: Gone) {
        self.gone = Some(gone);
        self.wake();
    }

    fn gone(&self) -> Option<&Gone> {
        self.gone.as_ref()
    }
}
