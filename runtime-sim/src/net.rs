//! Simulated listeners, as the driver takes them.

use message_queue_tokio::net::{Listener, Unread};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use tokio::io::ReadBuf;

/// A listener on a host of a [`World`](crate::hosts::World).
#[derive(Debug)]
pub struct WorldListener(pub turmoil_net::shim::tokio::net::TcpListener);

impl Listener for WorldListener {
    type Stream = turmoil_net::shim::tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        self.0.accept().await
    }

    fn unread(stream: &mut Self::Stream) -> Option<Unread> {
        Some(peek(|cx, byte| stream.poll_peek(cx, byte)))
    }
}

/// A listener on a host of a [`turmoil::Sim`].
pub struct TurmoilListener(pub turmoil::net::TcpListener);

impl Listener for TurmoilListener {
    type Stream = turmoil::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        self.0.accept().await
    }

    fn unread(stream: &mut Self::Stream) -> Option<Unread> {
        Some(peek(|cx, byte| stream.poll_peek(cx, byte)))
    }
}

/// Looks at the next byte by `poll_peek`, without waiting for it: whoever looks is not woken by it.
fn peek(
    poll_peek: impl FnOnce(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<usize>>,
) -> Unread {
    let mut byte = [0];
    let peeked = poll_peek(
        &mut Context::from_waker(Waker::noop()),
        &mut ReadBuf::new(&mut byte),
    );
    match peeked {
        Poll::Ready(result) => Unread::peeked(result),
        Poll::Pending => Unread::Nothing,
    }
}
