//! One leg of the relay: a plain connection, or one of TLS over bare rustls.

use super::session::Session;
use rustls::{Connection, ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// How much is encrypted before it is sent, in bytes: what stays in a processor's caches meanwhile.
const ENCRYPT_BYTES: usize = 64 << 10;

/// A connection to the relay.
#[derive(Debug)]
pub(super) enum Leg {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(TcpStream, Box<Session>),
}

impl Leg {
    /// Shakes hands. The leg will be read from so much at a time.
    pub(super) async fn tls(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        read_bytes: usize,
    ) -> io::Result<Self> {
        let rustls = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut rustls = Connection::from(rustls);
        while rustls.is_handshaking() || rustls.wants_write() {
            let step = if rustls.wants_write() {
                socket.writable().await?;
                rustls.write_tls(&mut Ready(&socket))
            } else {
                socket.readable().await?;
                rustls.read_tls(&mut Ready(&socket))
            };
            match step {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    rustls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        rustls.set_buffer_limit(Some(ENCRYPT_BYTES));
        let session = Session::new(rustls, read_bytes);
        Ok(Self::Tls(socket, Box::new(session)))
    }

    /// Reads what there is, or waits for it. 0 bytes are the end.
    pub(super) async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(out).await,
            Self::Tls(socket, session) => loop {
                if let Some(bytes) = session.decrypt(out)? {
                    return Ok(bytes);
                }
                match socket.read(session.space()).await? {
                    0 => return Ok(0),
                    bytes => session.received(bytes),
                }
            },
        }
    }

    /// Fills `out`.
    pub(super) async fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            match self.read(&mut out[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                bytes => filled += bytes,
            }
        }
        Ok(())
    }

    /// Writes as much of `rest` as the socket takes. Returns whether that was all.
    pub(super) fn poll_write(
        &mut self,
        rest: &mut &[u8],
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        match self {
            Self::Plain(socket) => {
                let mut below = Below(socket, cx);
                while !rest.is_empty() {
                    match below.write(rest) {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(bytes) => *rest = &rest[bytes..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                }
                Ok(true)
            }
            Self::Tls(socket, session) => {
                while session.send(&mut Below(socket, cx))? {
                    if rest.is_empty() {
                        return Ok(true);
                    }
                    let bytes = session.encrypt(rest)?;
                    *rest = &rest[bytes..];
                }
                Ok(false)
            }
        }
    }
}

/// A socket that was said to be ready.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket whose task is woken when it has room again.
struct Below<'a, 'b>(&'a mut TcpStream, &'a mut Context<'b>);

impl Write for Below<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        written(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        written(Pin::new(&mut *self.0).poll_write_vectored(self.1, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(written) => written,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
