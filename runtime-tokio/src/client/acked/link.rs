//! Between a state machine of the core and a broker: connects, carries bytes both ways, and connects again.
//!
//! ```text
//! the caller's calls ─▶ Shared ◀─▶ Link (a task) ◀─▶ the connection of now
//! ```
//!
//! The caller and the task share the state machine behind a lock, which nobody holds while waiting. So a call that
//! is given up halfway leaves nothing half done.

use super::error::Gone;
use super::token::Token;
use crate::access::tls::ClientTls;
use crate::client::connect::{Stream, connect};
use crate::client::{Backoff, ConnectError};
use bytes::{Buf, Bytes, BytesMut};
use message_queue_core::Now;
use message_queue_core::client::{ConsumerClient, Ended, ProducerClient};
use message_queue_core::wire::handshake::Accepted;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::io::poll_read_buf;

/// How many bytes wait to be written before no more are asked for.
const WRITE_BYTES: usize = 256 * 1024;

/// The most pieces in one write.
const WRITE_PIECES: usize = 32;

/// How long a broker may take to close a connection that this side has closed.
const GRACE: Duration = Duration::from_secs(5);

/// What to do while there is no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Give up. Whatever ends a connection ends the client.
    Never,
    /// Connect again, for as long as it takes; but the first connection must come about at once. The default.
    #[default]
    Lost,
    /// Connect again, for as long as it takes, from the first attempt on.
    Always,
}

/// What happens to a client beside what it was asked for: for a log, or for whoever watches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A broker has accepted a connection.
    Connected(Accepted),
    /// There is no connection. The next attempt comes after `wait`.
    Disconnected {
        /// Why.
        gone: Gone,
        /// How long until then.
        wait: Duration,
    },
    /// The broker does not read from this producer (`true`), or does so again; and which group is full.
    Blocked(bool, String),
    /// So many messages that were confirmed are gone: the broker has lost them, with its memory for instance. They
    /// are not sent again.
    Forgotten(u64),
    /// So many messages are no longer this consumer's, because it settled nothing for too long.
    Revoked(u64),
    /// These sequences of a topic will not come.
    Gap {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Why, in one word.
        code: String,
    },
}

/// Hears of every [`Change`].
pub(super) type OnChange = Box<dyn FnMut(&Change) + Send>;

/// The calls that both state machines have.
pub(super) trait Wire {
    fn set_token(&mut self, token: Option<String>);
    fn connected(&mut self, now: Now);
    fn disconnected(&mut self);
    fn recv_buf(&mut self) -> Option<&mut BytesMut>;
    fn received(&mut self, now: Now);
    fn poll_transmit(&mut self, now: Now) -> Option<Bytes>;
    fn poll_timeout(&self) -> Option<Now>;
    fn handle_timeout(&mut self, now: Now);
}

macro_rules! wire {
    ($($client:ty),*) => {$(
        impl Wire for $client {
            fn set_token(&mut self, token: Option<String>) {
                self.set_token(token);
            }

            fn connected(&mut self, now: Now) {
                self.connected(now);
            }

            fn disconnected(&mut self) {
                self.disconnected();
            }

            fn recv_buf(&mut self) -> Option<&mut BytesMut> {
                self.recv_buf()
            }

            fn received(&mut self, now: Now) {
                self.received(now);
            }

            fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
                self.poll_transmit(now)
            }

            fn poll_timeout(&self) -> Option<Now> {
                self.poll_timeout()
            }

            fn handle_timeout(&mut self, now: Now) {
                self.handle_timeout(now);
            }
        }
    )*};
}

wire!(ProducerClient, ConsumerClient);

/// One side's state: the core's state machine, and what the caller has to do with it.
pub(super) trait State: Send + 'static {
    type Client: Wire;

    fn client(&mut self) -> &mut Self::Client;

    /// Hands over to the client what the caller wants sent.
    fn prepare(&mut self) {}

    /// Takes in what the client tells.
    fn digest(&mut self, news: &mut News);

    /// Whether this side writes no more on this connection once all is written.
    fn ends_stream(&self) -> bool;

    /// Whether this side has closed: no other connection is made.
    fn is_closing(&self) -> bool;

    /// There will be no other connection.
    fn end(&mut self, gone: Gone);

    /// Why there will be none, if there will be none.
    fn gone(&self) -> Option<&Gone>;
}

/// What a client has told.
#[derive(Default)]
pub(super) struct News {
    pub(super) accepted: Option<Accepted>,
    pub(super) ended: Option<Ended>,
    /// How long the broker asks to wait before the next connection.
    pub(super) wait: Option<Duration>,
    pub(super) changes: Vec<Change>,
    /// Whether something has happened that a caller may wait for.
    pub(super) is_awaited: bool,
}

/// What the caller and the task share.
pub(super) struct Shared<S> {
    state: Mutex<S>,
    /// The caller has given the task something to do.
    work: Notify,
    /// Something has happened that a caller may wait for.
    pub(super) happened: Notify,
}

impl<S> Shared<S> {
    pub(super) fn new(state: S) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            work: Notify::new(),
            happened: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the task something to do.
    pub(super) fn wake(&self) {
        self.work.notify_one();
    }

    /// Waits until `look` finds something. It is asked again whenever something has happened.
    pub(super) async fn wait_for<T>(&self, mut look: impl FnMut(&mut S) -> Option<T>) -> T {
        loop {
            let mut happened = pin!(self.happened.notified());
            happened.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            happened.await;
        }
    }
}

/// The task that keeps a connection.
pub(super) struct Link<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) address: Arc<str>,
    tls: Option<ClientTls>,
    pub(super) retry: Retry,
    pub(super) on_change: OnChange,
    backoff: Backoff,
    started: Instant,
    was_accepted: bool,
    token: Token,
}

impl<S: State> Link<S> {
    pub(super) fn new(
        shared: Arc<Shared<S>>,
        address: &str,
        token: Token,
        retry: Retry,
        on_change: OnChange,
    ) -> Self {
        Self {
            shared,
            token,
            address: address.into(),
            tls: None,
            retry,
            on_change,
            backoff: Backoff::new(),
            started: Instant::now(),
            was_accepted: false,
        }
    }

    /// Over TLS, if it is told how.
    pub(super) fn over(mut self, tls: Option<ClientTls>) -> Self {
        self.tls = tls;
        self
    }

    /// Keeps a connection until the end of the client.
    pub(super) async fn run(mut self) {
        loop {
            let attempted = Instant::now();
            let (gone, least) = self.one_connection().await;
            let may_go_on = match self.retry {
                Retry::Never => false,
                Retry::Lost => self.was_accepted,
                Retry::Always => true,
            };
            let gone = if self.shared.lock().is_closing() {
                Gone::Closed
            } else if gone.may_try_again() && may_go_on {
                let wait = self.backoff.next_wait(attempted.elapsed());
                self.wait(gone, wait.max(least)).await;
                continue;
            } else {
                gone
            };
            self.shared.lock().end(gone);
            self.shared.happened.notify_waiters();
            return;
        }
    }

    /// Waits before the next attempt; not for one that is no longer wanted.
    async fn wait(&mut self, gone: Gone, wait: Duration) {
        (self.on_change)(&Change::Disconnected { gone, wait });
        let until = Instant::now() + wait;
        while !self.shared.lock().is_closing() {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.shared.work.notified() => {}
            }
        }
    }

    /// Makes a connection and keeps it to its end. Returns why it ended, and how long to wait at least.
    async fn one_connection(&mut self) -> (Gone, Duration) {
        match self.token.read().await {
            Ok(token) => self.shared.lock().client().set_token(token),
            Err(error) => return (Gone::Token(error.into()), Duration::ZERO),
        }
        let address = Arc::clone(&self.address);
        let tls = self.tls.clone();
        let mut connecting = pin!(connect(&address, tls.as_ref()));
        let stream = loop {
            if self.shared.lock().is_closing() {
                return (Gone::Closed, Duration::ZERO);
            }
            tokio::select! {
                biased;
                stream = &mut connecting => match stream {
                    Ok(stream) => break stream,
                    Err(error) => return (Gone::Connect(error.into()), Duration::ZERO),
                },
                () = self.shared.work.notified() => {}
            }
        };
        self.carry(stream).await
    }

    fn now(&self) -> Now {
        Now::at(self.started.elapsed())
    }

    /// Carries bytes both ways until the connection ends.
    async fn carry(&mut self, stream: Stream) -> (Gone, Duration) {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut out = Outgoing::default();
        let mut stage = Stage::Open;
        let mut wait = Duration::ZERO;
        let mut answered = false;
        let mut cause = None;
        let now = self.now();
        self.shared.lock().client().connected(now);
        let ended = loop {
            let (news, deadline) = self.advance(&mut out, &mut stage);
            wait = wait.max(news.wait.unwrap_or_default());
            if news.accepted.is_some() {
                (answered, self.was_accepted) = (true, true);
            }
            for change in &news.changes {
                (self.on_change)(change);
            }
            if news.is_awaited || news.accepted.is_some() {
                self.shared.happened.notify_waiters();
            }
            if let Some(ended) = news.ended {
                break ended;
            }
            if stage == Stage::Ending && out.is_empty() {
                stage = Stage::Ended(Instant::now() + GRACE);
                if write.shutdown().await.is_err() {
                    self.shared.lock().client().disconnected();
                }
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let due = match stage {
                Stage::Ended(until) => Some(deadline.map_or(until, |it| until.min(it))),
                Stage::Open | Stage::Ending => deadline,
            };
            tokio::select! {
                () = shared.work.notified() => {}
                carried = poll_fn(|cx| poll_carry(cx, &mut read, &mut write, &mut out, &shared)) => {
                    if let Err(error) = &carried
                        && let Some(said) = last_word(&mut read, error).await
                    {
                        cause = Some(Arc::new(said));
                    }
                    let now = self.now();
                    let mut state = shared.lock();
                    match carried {
                        Ok(Carried::Read(1..)) => state.client().received(now),
                        Ok(Carried::Read(0)) | Err(_) => state.client().disconnected(),
                        Ok(Carried::Written) => {}
                    }
                }
                () = sleep_until_some(due) => {
                    let now = self.now();
                    let mut state = shared.lock();
                    match stage {
                        Stage::Ended(until) if until <= Instant::now() => state.client().disconnected(),
                        Stage::Open | Stage::Ending | Stage::Ended(_) => state.client().handle_timeout(now),
                    }
                }
            }
        };
        if let Ended::Damaged(_) = ended {
            let now = self.now();
            while let Some(bytes) = self.shared.lock().client().poll_transmit(now) {
                out.push(bytes);
            }
            let leaving = leave(out, &mut read, &mut write);
            // A broker that does not hear of it takes back what it has handed out when the connection is gone.
            let _ = timeout(GRACE, leaving).await;
        }
        let address = Arc::clone(&self.address);
        let gone = if answered {
            Gone::Lost { address, ended }
        } else {
            Gone::Unanswered {
                address,
                ended,
                cause,
            }
        };
        (gone, wait)
    }

    /// Takes what is to be written and what is told.
    fn advance(&self, out: &mut Outgoing, stage: &mut Stage) -> (News, Option<Instant>) {
        let now = self.now();
        let mut state = self.shared.lock();
        let mut news = News::default();
        state.prepare();
        while out.bytes < WRITE_BYTES
            && let Some(bytes) = state.client().poll_transmit(now)
        {
            out.push(bytes);
        }
        state.digest(&mut news);
        if *stage == Stage::Open && state.ends_stream() {
            *stage = Stage::Ending;
        }
        let due = state.client().poll_timeout();
        (news, due.map(|due| self.started + due.since_start()))
    }
}

/// Writes what there is, ends this side of the stream, and waits until the broker has ended the other: what it has sent
/// meanwhile is of no use.
async fn leave(
    mut out: Outgoing,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    while !out.is_empty() {
        poll_fn(|cx| out.poll_write(cx, write)).await?;
    }
    write.shutdown().await?;
    tokio::io::copy(read, &mut tokio::io::sink()).await?;
    Ok(())
}

/// What the other side has said of why it broke off, if it has: TLS does, and a write may fail before that is read.
async fn last_word(read: &mut (impl AsyncRead + Unpin), error: &io::Error) -> Option<io::Error> {
    if error.kind() == io::ErrorKind::InvalidData {
        return Some(io::Error::new(error.kind(), error.to_string()));
    }
    let read = timeout(GRACE, read.read_u8()).await;
    let said = read.ok()?.err()?;
    (said.kind() == io::ErrorKind::InvalidData).then_some(said)
}

/// How far this side's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// What there is is written, and then the stream is ended.
    Ending,
    /// It is ended; the broker closes by then.
    Ended(Instant),
}

/// What was done.
enum Carried {
    /// So many bytes; none are the end of the stream.
    Read(usize),
    Written,
}

/// Reads or writes, whichever comes first.
fn poll_carry<S: State>(
    cx: &mut Context<'_>,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    out: &mut Outgoing,
    shared: &Shared<S>,
) -> Poll<io::Result<Carried>> {
    if !out.is_empty()
        && let Poll::Ready(written) = out.poll_write(cx, write)
    {
        return Poll::Ready(written.map(|()| Carried::Written));
    }
    let mut state = shared.lock();
    let Some(buffer) = state.client().recv_buf() else {
        return Poll::Ready(Ok(Carried::Written));
    };
    let bytes = ready!(poll_read_buf(Pin::new(read), cx, buffer))?;
    Poll::Ready(Ok(Carried::Read(bytes)))
}

async fn sleep_until_some(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What is to be written, in order.
#[derive(Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.pieces.push_back(bytes);
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let mut written = ready!(Pin::new(write).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.bytes -= written;
        while let Some(front) = self.pieces.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if !front.is_empty() {
                break;
            }
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl From<ConnectError> for Gone {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Arc::new(error))
    }
}
