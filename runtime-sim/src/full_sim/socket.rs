//! The broker's end of the network: what its sockets take is recorded, and they may make trouble.

use crate::chaos::Chaos;
use crate::net::WorldListener;
use crate::rng::{Rng, mix};
use message_queue_tokio::net::Listener;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::TcpStream;

/// Who is told of the broker's sockets.
pub(crate) trait Watcher: Clone + Send + Unpin + 'static {
    /// The listener has accepted a connection.
    fn accepted(&self, addr: SocketAddr);

    /// The socket to `addr` took so many bytes.
    fn took(&self, _addr: SocketAddr, _bytes: usize) {}
}

/// Tells of what it accepts, and of what those sockets take.
pub(crate) struct RecordedListener<W> {
    pub(crate) listener: WorldListener,
    pub(crate) recorder: W,
    /// The most bytes that one read or write of a socket moves; none: as many as there are.
    pub(crate) chaos: Option<usize>,
    pub(crate) seed: u64,
}

impl<W: Watcher> Listener for RecordedListener<W> {
    type Stream = RecordedStream<W>;

    async fn accept(&mut self) -> io::Result<(RecordedStream<W>, SocketAddr)> {
        let (stream, addr) = self.listener.accept().await?;
        self.recorder.accepted(addr);
        self.seed = mix(self.seed.wrapping_add(1));
        let stream = match self.chaos {
            Some(most) => Stream::Troubled(Chaos::new(stream, Rng::new(self.seed), most)),
            None => Stream::Plain(stream),
        };
        let recorder = self.recorder.clone();
        let stream = RecordedStream {
            stream,
            addr,
            recorder,
        };
        Ok((stream, addr))
    }
}

/// A socket of the broker's.
pub(crate) struct RecordedStream<W> {
    stream: Stream,
    /// Of the client.
    addr: SocketAddr,
    recorder: W,
}

enum Stream {
    Plain(TcpStream),
    Troubled(Chaos<TcpStream>),
}

impl<W: Watcher> AsyncRead for RecordedStream<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Troubled(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<W: Watcher> AsyncWrite for RecordedStream<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Troubled(stream) => Pin::new(stream).poll_write(cx, bytes),
        })?;
        self.recorder.took(self.addr, taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Troubled(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        })?;
        self.recorder.took(self.addr, taken);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Troubled(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Troubled(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Troubled(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
