//! Simulated listeners, as the driver takes them.

use message_queue_tokio::net::Listener;
use std::io;
use std::net::SocketAddr;

/// A listener on a host of a [`World`](crate::hosts::World).
#[derive(Debug)]
pub struct WorldListener(pub turmoil_net::shim::tokio::net::TcpListener);

impl Listener for WorldListener {
    type Stream = turmoil_net::shim::tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        self.0.accept().await
    }
}

/// A listener on a host of a [`turmoil::Sim`].
pub struct TurmoilListener(pub turmoil::net::TcpListener);

impl Listener for TurmoilListener {
    type Stream = turmoil::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)> {
        self.0.accept().await
    }
}
