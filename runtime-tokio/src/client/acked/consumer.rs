//! The reading client.

use super::error::{BadOption, Gone, StartError};
use super::inbound::{Handed, Inbound};
use super::link::{Change, Retry, Shared};
use super::message::{Batch, Message};
use super::start::{self, Starting};
use futures_core::Stream;
use message_queue_core::client::ConsumerClient;
use message_queue_core::names::{Name, TopicFilter};
use message_queue_core::wire::control::Lag;
use message_queue_core::wire::handshake::{Accepted, ConsumerOptions, MAX_PREFETCH, Share, Start};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::AbortHandle;

/// Who says that a message is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// The caller, of each: [`Message::ack`] and its neighbours. The default.
    #[default]
    ByHand,
    /// The consumer, of all that it has handed out, when it is asked for more or closed: for a loop that is done with a
    /// message before it takes the next. What else is said of a message before that counts.
    Automatic,
}

/// Receives messages that are its own until it says what became of them.
///
/// If this process dies, or the connection does, they are handed out again: to it or to another member of its group.
/// So each is worked on at least once; [`Meta::attempt`](super::Meta::attempt) says which time it is.
///
/// [`close`](Self::close) leaves in an orderly way, and so does dropping it, in the background; but not while it is
/// dropped by a panic, which counts against the messages it was working on.
///
/// It is a [`Stream`] of messages; after an error it has ended.
///
/// # Memory
/// What is unsettled: its [prefetch](ConsumerBuilder::prefetch), in messages and bytes, and two reads of up to 512 KiB.
pub struct Consumer {
    shared: Arc<Shared<Inbound>>,
    accepted: Accepted,
    task: AbortHandle,
    has_ended: bool,
}

/// How a [`Consumer`] is to be.
#[must_use = "it does nothing until it is told to connect"]
pub struct ConsumerBuilder {
    options: ConsumerOptions,
    topic: Option<String>,
    group: Option<String>,
    acks: Acks,
    starting: Starting,
}

impl ConsumerBuilder {
    /// What to read: a topic, or a pattern of topics (`gpu.*.temp`: `*` is one token; `gpu.>`: `>` is one or more).
    /// Default: the broker's default topic.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// The group whose members share the work, and which keeps its messages while nobody is there. Default: the
    /// topic's; in `queue` mode the one that all share, in `broadcast` mode one of its own, which goes with it.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The most messages that are handed to it and not settled: 1 to 1,000,000. Default: 100.
    pub const fn prefetch(mut self, messages: u32) -> Self {
        self.options.prefetch = messages;
        self
    }

    /// Likewise in bytes, of frames; one message is always allowed. At least 1. Default: 8 MiB.
    pub const fn prefetch_bytes(mut self, bytes: u32) -> Self {
        self.options.prefetch_bytes = bytes;
        self
    }

    /// How many messages are worked on at once, oldest first: the suspects if it dies. 1 to 1,000,000. Default: 1.
    pub const fn workers(mut self, workers: u32) -> Self {
        self.options.workers = workers;
        self
    }

    /// How the members of the group share. Default: all work at a time.
    pub const fn share(mut self, share: Share) -> Self {
        self.options.share = share;
        self
    }

    /// Where a new group begins. One that is there already goes on where it is. Default: with what is new.
    pub const fn from(mut self, from: Start) -> Self {
        self.options.from = from;
        self
    }

    /// Has the broker send the sum of all that it hands out, and verifies it. Nothing that was damaged on its way is
    /// handed out, nor anything after it: the connection ends ([`Gone::damage`] says what was damaged), and whatever
    /// was not settled is handed out again, on the next one or to another member. Nothing of it counts as failed.
    ///
    /// The sums are made when the broker reads a message from its producer, or from the disk, where a consumer of the
    /// topic verifies by then; else when it hands it out. Default: no.
    pub const fn verify(mut self, verify: bool) -> Self {
        self.options.check = verify;
        self
    }

    /// Who says that a message is done.
    pub const fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    start::common!();

    /// Connects.
    ///
    /// # Errors
    /// An option is not allowed; or there is no connection, and [`Retry`] says not to wait for one.
    pub async fn connect(self, address: &str) -> Result<Consumer, StartError> {
        let Self {
            mut options,
            topic,
            group,
            acks,
            starting,
        } = self;
        options.common = starting.common()?;
        options.ack = true;
        if let Some(topic) = topic {
            let checked = TopicFilter::new(&topic);
            options.topic = Some(checked.map_err(|it| BadOption::name("topic", &topic, it))?);
        }
        if let Some(group) = group {
            let checked = Name::new(&group);
            options.group = Some(checked.map_err(|it| BadOption::name("group", &group, it))?);
        }
        within("prefetch", options.prefetch, MAX_PREFETCH)?;
        within("prefetch_bytes", options.prefetch_bytes, u32::MAX)?;
        within("workers", options.workers, MAX_PREFETCH)?;
        let prefetch_bytes = options.prefetch_bytes;
        let client = ConsumerClient::new(options);
        let shared = Shared::new(Inbound::new(client, acks, prefetch_bytes));
        let (accepted, task) = starting.start(Arc::clone(&shared), address).await?;
        Ok(Consumer {
            shared,
            accepted,
            task,
            has_ended: false,
        })
    }
}

fn within(option: &'static str, value: u32, most: u32) -> Result<(), BadOption> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(BadOption::new(
        option,
        format!("{value}; allowed: 1 to {most}"),
    ))
}

impl Consumer {
    /// A consumer of the default topic, unless more is said.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder {
            options: ConsumerOptions::default(),
            topic: None,
            group: None,
            acks: Acks::default(),
            starting: Starting::default(),
        }
    }

    /// What the broker said when it accepted the first connection.
    pub const fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// The next message. Waits for one, however often the connection is lost meanwhile.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    /// The consumer has ended: the broker does not want it, or [`Retry`] says that a lost connection is the end.
    pub async fn next(&mut self) -> Result<Message, Gone> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next messages that came together, at least one. Much cheaper than one at a time.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Result<Batch, Gone> {
        let handed = poll_fn(|cx| self.poll_handed(usize::MAX, cx)).await?;
        Ok(Batch::new(handed, Arc::clone(&self.shared)))
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Gone>> {
        self.poll_handed(1, cx).map(|handed| {
            let message = Message::new(handed?, Arc::clone(&self.shared));
            Ok(message.expect("at least one message is handed out"))
        })
    }

    fn poll_handed(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Result<Handed, Gone>> {
        let (next, settled) = self.shared.lock().poll_next(most, cx);
        if settled {
            self.shared.wake();
        }
        next
    }

    /// Sets how many messages may be unsettled from now on, up to 1,000,000. 0 pauses: then no more come, but for one
    /// that may come with a new connection.
    ///
    /// # Errors
    /// More than 1,000,000.
    pub fn set_prefetch(&self, messages: u32) -> Result<(), BadOption> {
        if messages > 0 {
            within("prefetch", messages, MAX_PREFETCH)?;
        }
        self.shared.lock().set_prefetch(messages);
        self.shared.wake();
        Ok(())
    }

    /// How many messages wait for the consumer's group, or are with its members and not settled, and for how long the
    /// oldest of them that no member has has been waiting. What this consumer has settled before has taken effect by
    /// then, and what was handed to it before waits here.
    ///
    /// Where brokers [share the topic](Self::shares_topic) it is about what has come to this broker alone.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn lag(&mut self) -> Result<Lag, Gone> {
        self.shared.lock().forget_question();
        let shared = &self.shared;
        let answer = shared.wait_for(|state| {
            let (lag, is_asked) = state.lag();
            if is_asked {
                shared.wake();
            }
            lag
        });
        answer.await
    }

    /// Whether other brokers share the topic, because an engine behind them keeps it (Kafka, RabbitMQ). What waits for
    /// the group there only the engine knows. It is as the broker has said that accepted the last connection.
    pub fn shares_topic(&self) -> bool {
        self.shared.lock().shares_topic()
    }

    /// Leaves in an orderly way: what was settled is told, what is unsettled goes to others at once, and nothing of it
    /// counts as failed. Returns when the broker has closed the connection, or after 5 s.
    ///
    /// With [`Acks::Automatic`] the last message that was taken counts as done.
    pub async fn close(mut self) {
        {
            let mut state = self.shared.lock();
            state.settle_taken();
            state.leave();
        }
        self.shared.wake();
        self.has_ended = true;
        self.shared
            .wait_for(|state| super::link::State::gone(state).cloned())
            .await;
    }
}

impl Stream for Consumer {
    type Item = Result<Message, Gone>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = self.poll_message(cx);
        self.has_ended = matches!(next, Poll::Ready(Err(_)));
        next.map(Some)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.task.abort();
        } else {
            self.shared.lock().leave();
            self.shared.wake();
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("options", &self.options)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("acks", &self.acks)
            .finish_non_exhaustive()
    }
}
