//! One client. It never waits: the player asks it again.

use message_queue_tests::frames::reset;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// How a connection ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The broker ended the stream.
    Eof,
    /// The connection was reset.
    Reset,
    /// The client went without waiting for an end.
    Left,
}

/// One client.
pub(crate) struct Client {
    socket: Option<TcpStream>,
    /// Whether it reads what there is.
    pub(crate) reads: bool,
    /// All that the broker sent.
    pub(crate) received: Vec<u8>,
    /// How it ended, if it has.
    pub(crate) end: Option<End>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).expect("the broker listens");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_nonblocking(true).expect("a socket");
        Self {
            socket: Some(socket),
            reads: true,
            received: Vec::new(),
            end: None,
        }
    }

    /// Sends what the socket takes of these bytes. Returns how many it took.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let mut socket = self
            .socket
            .as_ref()
            .expect("a script sends while a client is there");
        match socket.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the broker does not take what it should: {error}"),
        }
    }

    /// Reads what there is.
    pub(crate) fn read(&mut self) {
        let mut chunk = vec![0; 64 * 1024];
        while self.reads
            && self.end.is_none()
            && let Some(socket) = &mut self.socket
        {
            match socket.read(&mut chunk) {
                Ok(0) => self.end = Some(End::Eof),
                Ok(bytes) => self.received.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.end = Some(End::Reset);
                }
                Err(error) => panic!("a client cannot read: {error}"),
            }
        }
    }

    pub(crate) fn half_close(&self) {
        let socket = self.socket.as_ref().expect("a script ends a client once");
        socket.shutdown(Shutdown::Write).expect("it is connected");
    }

    pub(crate) fn reset(&mut self) {
        let socket = self.socket.take().expect("a script ends a client once");
        reset(socket);
        self.end = Some(End::Left);
    }
}
