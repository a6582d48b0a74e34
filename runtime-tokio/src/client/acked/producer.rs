//! The writing client.

use super::error::{BadOption, Gone, SendError, StartError, Unconfirmed};
use super::link::{Change, Retry, Shared, State};
use super::outbound::{Fate, Outbound, Target};
use super::start::{self, Starting};
use message_queue_core::client::{ProducerClient, Window};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::handshake::{
    Accepted, Identity, MAX_POSITION, MAX_SESSION, ProducerOptions,
};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

/// Sends messages, and learns of each whether it is safe.
///
/// A message is kept until the broker has confirmed it, and is sent again if the connection is lost before that. So
/// none is lost while this process lives; one may enter its topic twice, unless the producer has a
/// [name](ProducerBuilder::name): then each enters exactly once.
///
/// Messages go to [its topic](ProducerBuilder::topic), or each to [another one](Self::send_to), in one order for all of
/// them. Its name belongs to its own topic: under the same name and another topic it would be another producer.
///
/// It may be shared between tasks (`&self` is enough to send); messages are in the order of the calls.
/// Dropping it ends it at once, and what is not confirmed may be lost: [`close`](Self::close) waits.
///
/// # Memory
/// Its [window](ProducerBuilder::window), and a read. Each unconfirmed run of messages to one topic takes 100 bytes or
/// so more.
pub struct Producer {
    shared: Arc<Shared<Outbound>>,
    /// Whoever waits for room stands in line here.
    line: Mutex<()>,
    accepted: Accepted,
    task: AbortHandle,
}

/// How a [`Producer`] is to be.
#[must_use = "it does nothing until it is told to connect"]
pub struct ProducerBuilder {
    options: ProducerOptions,
    name: Option<String>,
    topic: Option<String>,
    session: String,
    at: u64,
    window: Window,
    starting: Starting,
}

impl ProducerBuilder {
    /// Where messages go. Default: the broker's default topic.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Gives the producer a name, under which the broker remembers how far it has come: so each message enters the
    /// topic exactly once, for as long as the broker remembers (its memory, and its bounds on names and idle time).
    /// One producer at a time has a name: a second one takes it over, and the first ends with `taken_over`.
    ///
    /// After a restart of the program [`Producer::resumed_at`] says how many messages the broker has. Send the same
    /// ones again from the first on, and those are passed over; or [begin behind them](Self::begin_at).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// One life of the name; up to 64 bytes. A program that cannot send the same messages again after a restart takes
    /// another one each time, so that fresh messages are never taken for old ones.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = session.into();
        self
    }

    /// The position, from 1, of the first message that will be sent under the name. Default: 1.
    pub const fn begin_at(mut self, position: u64) -> Self {
        self.at = position;
        self
    }

    /// How much may be unconfirmed at a time. [`Producer::send`] waits while it is.
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    start::common!();

    /// Connects.
    ///
    /// # Errors
    /// An option is not allowed; or there is no connection, and [`Retry`] says not to wait for one.
    pub async fn connect(self, address: &str) -> Result<Producer, StartError> {
        let Self {
            mut options,
            name,
            topic,
            session,
            at,
            window,
            starting,
        } = self;
        options.common = starting.common()?;
        options.confirm = true;
        if let Some(topic) = topic {
            let checked = TopicName::new(&topic);
            options.topic = Some(checked.map_err(|it| BadOption::name("topic", &topic, it))?);
        }
        options.identity = identity(name, session, at)?;
        if window.messages == 0 || window.bytes == 0 {
            return Err(BadOption::new("window", "0; allowed: 1 or more").into());
        }
        let first = options.identity.as_ref().map_or(1, |it| it.at);
        let client = ProducerClient::new(options, window);
        let shared = Shared::new(Outbound::new(client, window, first));
        let (accepted, task) = starting.start(Arc::clone(&shared), address).await?;
        Ok(Producer {
            shared,
            line: Mutex::new(()),
            accepted,
            task,
        })
    }
}

fn identity(name: Option<String>, session: String, at: u64) -> Result<Option<Identity>, BadOption> {
    let Some(name) = name else {
        return if session.is_empty() && at == 1 {
            Ok(None)
        } else {
            Err(BadOption::new(
                "session and begin_at",
                "only a producer with a name has them",
            ))
        };
    };
    if session.len() > MAX_SESSION {
        let problem = format!("{} bytes; allowed: up to {MAX_SESSION}", session.len());
        return Err(BadOption::new("session", problem));
    }
    if !(1..=MAX_POSITION).contains(&at) {
        return Err(BadOption::new(
            "begin_at",
            format!("{at}; allowed: 1 to {MAX_POSITION}"),
        ));
    }
    let name = Name::new(&name).map_err(|it| BadOption::name("name", &name, it))?;
    Ok(Some(Identity { name, session, at }))
}

impl Producer {
    /// A producer of the default topic, without a name, unless more is said.
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder {
            options: ProducerOptions::default(),
            name: None,
            topic: None,
            session: String::new(),
            at: 1,
            window: Window::default(),
            starting: Starting::default(),
        }
    }

    /// What the broker said when it accepted the first connection.
    pub const fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// For a producer with a name: the last position that the broker had when it accepted the first connection.
    /// Messages up to there are not sent again.
    pub fn resumed_at(&self) -> u64 {
        self.accepted.accepted.unwrap_or(0)
    }

    /// Accepts a message of at most 1 MiB. It is on its way at once; what is returned is ready when it is safe.
    /// Drop that where [`flush`](Self::flush) is what counts.
    ///
    /// Waits while the window is full.
    ///
    /// Cancel safe: a call that does not return has not accepted its message.
    ///
    /// # Errors
    /// The message is too large, or the producer has ended.
    pub async fn send(&self, message: impl AsRef<[u8]>) -> Result<Confirm, SendError> {
        self.push(&None, message.as_ref()).await
    }

    /// As [`send`](Self::send), to another topic than the producer's own. The broker is told at each change of topic,
    /// so messages of one topic in a row are cheaper than a mixture.
    ///
    /// # Errors
    /// The topic's name is not allowed, the message is too large, or the producer has ended. Where the broker does not
    /// let it send to that topic, the confirm says so.
    pub async fn send_to(
        &self,
        topic: impl AsRef<str>,
        message: impl AsRef<[u8]>,
    ) -> Result<Confirm, SendError> {
        let to = self.target(topic.as_ref())?;
        self.push(&to, message.as_ref()).await
    }

    /// Accepts a batch; as [`send`](Self::send) for each of its messages. One without messages is safe already.
    ///
    /// # Errors
    /// The producer has ended.
    pub async fn send_batch(&self, batch: FrameBatch) -> Result<Confirm, SendError> {
        self.push_batch(&None, batch).await
    }

    /// Accepts a batch for another topic; as [`send_to`](Self::send_to) for each of its messages.
    ///
    /// # Errors
    /// The topic's name is not allowed, or the producer has ended.
    pub async fn send_batch_to(
        &self,
        topic: impl AsRef<str>,
        batch: FrameBatch,
    ) -> Result<Confirm, SendError> {
        let to = self.target(topic.as_ref())?;
        self.push_batch(&to, batch).await
    }

    fn target(&self, topic: &str) -> Result<Target, BadOption> {
        let checked = self.shared.lock().topic(topic);
        checked
            .map(Some)
            .map_err(|it| BadOption::name("topic", topic, it))
    }

    async fn push(&self, to: &Target, message: &[u8]) -> Result<Confirm, SendError> {
        let number = self
            .when_there_is_room(|state| state.push(to, message))
            .await??;
        Ok(self.confirm(number))
    }

    async fn push_batch(&self, to: &Target, batch: FrameBatch) -> Result<Confirm, SendError> {
        if batch.is_empty() {
            // A number that is never awaited.
            return Ok(self.confirm(0));
        }
        let first = self
            .when_there_is_room(|state| state.push_batch(to, &batch))
            .await?;
        Ok(self.confirm(first))
    }

    async fn when_there_is_room<T>(
        &self,
        mut push: impl FnMut(&mut Outbound) -> Option<T>,
    ) -> Result<T, Gone> {
        // Those who waited longer come first.
        let _turn = self.line.lock().await;
        let pushed = self.shared.wait_for(|state| match state.gone() {
            Some(gone) => Some(Err(gone.clone())),
            None => push(state).map(Ok),
        });
        let pushed = pushed.await;
        self.shared.wake();
        pushed
    }

    fn confirm(&self, from: u64) -> Confirm {
        let shared = Arc::clone(&self.shared);
        Confirm { shared, from }
    }

    /// Waits until all that was accepted before is safe.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The broker has refused messages since the last call, whether or not their own [`Confirm`]s have told it; or
    /// the producer has ended.
    pub async fn flush(&self) -> Result<(), Unconfirmed> {
        let last = self.shared.lock().last();
        match self.shared.wait_for(|state| state.fate_up_to(last)).await {
            Fate::Safe => Ok(()),
            Fate::Refused(refused) => Err(Unconfirmed::Refused(refused)),
            Fate::Unknown(gone, messages) => Err(Unconfirmed::Gone { gone, messages }),
        }
    }

    /// How many messages are not confirmed (and not refused) yet.
    pub fn unconfirmed(&self) -> u64 {
        self.shared.lock().unconfirmed()
    }

    /// How many of the messages that are safe found no group to go to. Nobody will get them; but a stored topic keeps them,
    /// and a group that begins before them gets them. Of a topic that brokers share none are counted.
    pub fn unrouted(&self) -> u64 {
        self.shared.lock().unrouted()
    }

    /// Waits until the producer has ended; while there is hope of a connection it has not.
    pub async fn ended(&self) -> Gone {
        self.shared.wait_for(|state| state.gone().cloned()).await
    }

    /// Waits until all is safe, and ends the connection in an orderly way.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush). It is closed in any case.
    pub async fn close(self) -> Result<(), Unconfirmed> {
        let flushed = self.flush().await;
        self.shared.lock().close();
        self.shared.wake();
        self.ended().await;
        flushed
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
        let mut state = self.shared.lock();
        if state.gone().is_none() {
            state.end(Gone::Closed);
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("accepted", &self.accepted)
            .field("unconfirmed", &self.unconfirmed())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("topic", &self.topic)
            .field("name", &self.name)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Ready when messages are safe, or are known not to be.
///
/// What it means to be safe says [`Accepted::safe`]. Dropping it changes nothing for the messages.
pub struct Confirm {
    shared: Arc<Shared<Outbound>>,
    /// The number of the first message; 0 for none.
    from: u64,
}

impl Future for Confirm {
    type Output = Result<(), Unconfirmed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let fate = self.shared.lock().poll_fate(self.from, cx);
        fate.map(|fate| match fate {
            Fate::Safe => Ok(()),
            Fate::Refused(refused) => Err(Unconfirmed::Refused(refused)),
            Fate::Unknown(gone, messages) => Err(Unconfirmed::Gone { gone, messages }),
        })
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        self.shared.lock().forget(self.from);
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").field("from", &self.from).finish()
    }
}
