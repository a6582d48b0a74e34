//! Where connections come from: the one seam between the driver and the network.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections the kernel keeps for us until they are accepted.
const ACCEPT_QUEUE: u32 = 1024;

/// A source of connections: real TCP, or a simulated network.
pub trait Listener: Send {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and its peer's address. Dropping the future loses no connection.
    ///
    /// # Errors
    /// Whatever the network reports. The broker waits a little and tries again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// The sizes asked of the kernel for the buffers of each connection, in bytes; none leaves it to
/// the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketBuffers {
    /// For what a socket has taken and its peer has not: part of what a consumer that has stopped
    /// reading hoards.
    pub send: Option<u32>,
    /// For what a peer has sent and the broker has not read: what a producer gets in ahead of the
    /// broker.
    pub receive: Option<u32>,
}

/// Listens for connections on `addr`.
///
/// # Errors
/// Whatever the system says, an address in use above all.
pub fn listen(addr: SocketAddr, buffers: SocketBuffers) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A broker that was just ended can be started again at once.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit both.
    if let Some(bytes) = buffers.send {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = buffers.receive {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(addr)?;
    socket.listen(ACCEPT_QUEUE)
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, addr) = TcpListener::accept(self).await?;
        // Writes are gathered already; waiting for more would only delay the last message.
        // It fails only for a peer that is gone, and the first read will tell.
        let _ = stream.set_nodelay(true);
        Ok((stream, addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    #[tokio::test]
    async fn connections_have_the_buffers_that_were_asked_for() {
        const ASKED: usize = 8192;
        let buffers = SocketBuffers {
            send: Some(ASKED as u32),
            receive: Some(ASKED as u32),
        };
        let mut listener = listen(([127, 0, 0, 1], 0).into(), buffers).unwrap();
        let addr = listener.local_addr().unwrap();
        let _client = TcpStream::connect(addr).await.unwrap();
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        let socket = SockRef::from(&accepted);
        for size in [socket.send_buffer_size(), socket.recv_buffer_size()] {
            // Linux reserves twice as much.
            let size = size.unwrap();
            assert!((ASKED..=2 * ASKED).contains(&size), "{size} bytes");
        }
    }
}
