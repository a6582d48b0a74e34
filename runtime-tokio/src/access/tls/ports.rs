//! A listener of plain connections and of TLS, both at once.
//!
//! Handshakes run on their own, each with a deadline, so nobody waits for one: not the plain port, and not another
//! handshake. There is a bound on those under way. Where it is reached, the oldest gives way to the next: whoever
//! shakes hands at once gets through, however many begin and stop.

use super::certificate::PeerCertificate;
use super::handshakes::{Failure, Handshakes};
use super::socket::Socket;
use super::stream::{HandshakeError, TlsStream};
use crate::serve::net::{Listener, Unread};
use message_queue_core::wire::{FirstBytes, Signature};
use rustls::{Connection, ServerConfig, ServerConnection};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout;

/// Bytes of a connection's first read: most of a client's hello.
const FIRST_READ: usize = 512;

/// The first byte of a connection of TLS: a record with a handshake in it.
const HANDSHAKE: u8 = 0x16;

/// How long a client that does not speak TLS is waited for after it was told so.
const LINGER: Duration = Duration::from_secs(1);

/// Plain connections, connections of TLS, or both.
#[derive(Debug)]
pub struct Ports<L: Listener> {
    plain: Option<L>,
    tls: Option<TlsPort<L>>,
}

/// Connections of TLS.
pub struct TlsPort<L: Listener> {
    listener: L,
    options: TlsOptions,
    tasks: JoinSet<Option<(TlsStream<L::Stream>, SocketAddr)>>,
    /// Oldest first; some of them may be over.
    under_way: VecDeque<(AbortHandle, SocketAddr)>,
}

/// How a port shakes hands.
#[derive(Clone)]
pub struct TlsOptions {
    /// What to shake hands with from now on: asked for each connection.
    pub config: Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>,
    /// The time for a handshake, from the connection on.
    pub timeout: Duration,
    /// The most handshakes under way, at least 1.
    pub most: usize,
    /// Where they are counted.
    pub handshakes: Arc<Handshakes>,
}

impl<L: Listener> Ports<L> {
    /// Takes connections from those that there are. With none it never gives one.
    pub const fn new(plain: Option<L>, tls: Option<TlsPort<L>>) -> Self {
        Self { plain, tls }
    }
}

impl<L: Listener> TlsPort<L> {
    /// Speaks TLS over the connections of `listener`.
    pub fn new(listener: L, options: TlsOptions) -> Self {
        Self {
            listener,
            options,
            tasks: JoinSet::new(),
            under_way: VecDeque::new(),
        }
    }
}

impl<L: Listener> TlsPort<L> {
    /// The next connection that has shaken hands. Dropping the future loses none.
    async fn accept(&mut self) -> io::Result<(TlsStream<L::Stream>, SocketAddr)> {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    if let Some(accepted) = outcome(ended) {
                        return Ok(accepted);
                    }
                }
                accepted = self.listener.accept() => {
                    let (stream, addr) = accepted?;
                    self.begin(stream, addr);
                }
            }
        }
    }

    fn begin(&mut self, stream: L::Stream, addr: SocketAddr) {
        if self.options.handshakes.refuse(addr) {
            L::reset(&stream);
            return;
        }
        let most = self.options.most;
        if self.under_way.len() >= most {
            self.under_way.retain(|(task, _)| !task.is_finished());
        }
        if self.under_way.len() >= most
            && let Some((oldest, peer)) = self.under_way.pop_front()
        {
            oldest.abort();
            let why = "more handshakes at a time than TLS_MAX_HANDSHAKES";
            let handshakes = &self.options.handshakes;
            handshakes.note_failed(Failure::Displaced, peer, &why);
        }
        let options = self.options.clone();
        let task = self.tasks.spawn(async move {
            let shaking = shake::<L>(stream, addr, &options);
            match timeout(options.timeout, shaking).await {
                Ok(Some(stream)) => {
                    options.handshakes.note_completed();
                    Some((stream, addr))
                }
                Ok(None) => None,
                Err(_) => {
                    let why = "not done within TLS_HANDSHAKE_TIMEOUT_MS";
                    options.handshakes.note_failed(Failure::Timeout, addr, &why);
                    None
                }
            }
        });
        self.under_way.push_back((task, addr));
    }
}

/// What a task that shook hands has brought.
fn outcome<T>(ended: Result<Option<T>, JoinError>) -> Option<T> {
    match ended {
        Ok(accepted) => accepted,
        Err(error) => {
            // A panic is a bug; it is not swallowed. Otherwise it gave way to another.
            if let Ok(panic) = error.try_into_panic() {
                resume_unwind(panic);
            }
            None
        }
    }
}

/// Shakes hands over a new connection.
async fn shake<L: Listener>(
    mut stream: L::Stream,
    addr: SocketAddr,
    options: &TlsOptions,
) -> Option<TlsStream<L::Stream>> {
    let mut first = [0; FIRST_READ];
    let first = match stream.read(&mut first).await {
        Ok(0) => {
            options.handshakes.note_gone_at_once(addr);
            return None;
        }
        Ok(bytes) => &first[..bytes],
        Err(error) => {
            options.handshakes.note_failed(Failure::Gone, addr, &error);
            return None;
        }
    };
    if first.first().is_some_and(|byte| *byte != HANDSHAKE) {
        let first = FirstBytes::of(first);
        options
            .handshakes
            .note_failed(Failure::NotTls, addr, &first);
        if !tell_plain(&mut stream, first).await {
            // Whoever is told nothing must not take the end for success.
            L::reset(&stream);
        }
        return None;
    }
    match shake_over(stream, first, options).await {
        Ok(stream) => Some(stream),
        Err((stream, error)) => {
            let (failure, why) = Failure::of(&error);
            options.handshakes.note_failed(failure, addr, &why);
            if let (HandshakeError::Refused(_), Some(mut stream)) = (error, stream) {
                // It was told why.
                linger(stream.below_mut()).await;
            }
            None
        }
    }
}

/// Shakes hands over a connection of which `first` was read. After a failure, the stream too if there is one.
async fn shake_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    first: &[u8],
    options: &TlsOptions,
) -> Result<TlsStream<S>, (Option<TlsStream<S>>, HandshakeError)> {
    let session = ServerConnection::new((options.config)())
        .map_err(|error| (None, HandshakeError::Refused(error)))?;
    let mut stream = TlsStream::new(stream, Connection::from(session));
    match stream.handshake(first).await {
        Ok(()) => Ok(stream),
        Err(error) => Err((Some(stream), error)),
    }
}

/// Tells a client that does not speak TLS to do so, if there is a language that it understands. Returns whether it was
/// told.
async fn tell_plain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, first: FirstBytes) -> bool {
    let text: &[u8] = match first.signature() {
        Some(Signature::Options) => b"ERROR tls_required this port speaks TLS only\n",
        Some(Signature::Http) => {
            b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n\
              this port speaks TLS only: use https\n"
        }
        Some(
            Signature::Proxy | Signature::Tls | Signature::Ssh | Signature::Amqp | Signature::Mqtt,
        )
        | None => return false,
    };
    let is_told = stream.write_all(text).await.is_ok();
    if is_told {
        linger(stream).await;
    }
    is_told
}

/// Ends a stream whose peer was told why. What is unread when a connection is closed would turn its end into a
/// reset, and that takes along what was told.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let ended = async {
        stream.shutdown().await?;
        let mut rest = [0; FIRST_READ];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // It need not listen.
    let _ = timeout(LINGER, ended).await;
}

impl<L: Listener> Listener for Ports<L> {
    type Stream = Socket<L::Stream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        tokio::select! {
            Some(accepted) = accept_from(&mut self.plain) => {
                let (stream, addr) = accepted?;
                Ok((Socket::Plain(stream), addr))
            }
            Some(accepted) = accept_tls(&mut self.tls) => {
                let (stream, addr) = accepted?;
                Ok((Socket::Tls(Box::new(stream)), addr))
            }
            else => std::future::pending().await,
        }
    }

    fn reset(stream: &Self::Stream) {
        match stream {
            Socket::Plain(stream) => L::reset(stream),
            Socket::Tls(stream) => L::reset(stream.below()),
        }
    }

    fn write_now(stream: &mut Self::Stream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match stream {
            Socket::Plain(stream) => L::write_now(stream, slices),
            Socket::Tls(stream) => stream.write_by(slices, L::write_now),
        }
    }

    fn unread(stream: &mut Self::Stream) -> Option<Unread> {
        let stream = match stream {
            Socket::Plain(stream) => return L::unread(stream),
            Socket::Tls(stream) => stream,
        };
        // What the network has may be no message, but the mark of the end.
        match stream.look_ahead() {
            Ok(Some(true)) => Some(Unread::Bytes),
            Ok(Some(false)) => Some(Unread::End),
            Ok(None) => match L::unread(stream.below_mut()) {
                // A part of a record, or that and the end behind it.
                Some(Unread::End) => Some(Unread::Failure),
                unread => unread,
            },
            Err(_) => Some(Unread::Failure),
        }
    }

    fn certificate(stream: &Self::Stream) -> Option<PeerCertificate> {
        let Socket::Tls(stream) = stream else {
            return None;
        };
        let shown = stream.session().peer_certificates()?.first()?;
        // Names that cannot be read count for nothing.
        PeerCertificate::from_der(shown).ok()
    }
}

async fn accept_from<L: Listener>(
    listener: &mut Option<L>,
) -> Option<io::Result<(L::Stream, SocketAddr)>> {
    Some(listener.as_mut()?.accept().await)
}

async fn accept_tls<L: Listener>(
    port: &mut Option<TlsPort<L>>,
) -> Option<io::Result<(TlsStream<L::Stream>, SocketAddr)>> {
    Some(port.as_mut()?.accept().await)
}

impl<L: Listener + fmt::Debug> fmt::Debug for TlsPort<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPort")
            .field("listener", &self.listener)
            .field("under_way", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
