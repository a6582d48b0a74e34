//! A client's connection: plain, or TLS over it.

use super::certificate::NAME;
use super::session::Session;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// How much a client with TLS reads in one go, in bytes.
const READ_BYTES: usize = 256 << 10;

/// A connection of a client. Reads and writes wait.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    session: Option<Box<Session>>,
}

impl Wire {
    /// As it is.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self {
            socket: Arc::new(socket),
            session: None,
        }
    }

    /// Shakes hands.
    pub(super) fn tls(socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let rustls = Connection::from(shake_hands(&socket, config)?);
        Ok(Self {
            socket: Arc::new(socket),
            session: Some(Box::new(Session::new(rustls, READ_BYTES))),
        })
    }

    /// What is below.
    pub(super) const fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }
}

/// Shakes hands over `socket`.
pub(super) fn shake_hands(
    mut socket: &TcpStream,
    config: Arc<ClientConfig>,
) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut rustls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    // All of a write is encrypted before the first of it is sent.
    rustls.set_buffer_limit(None);
    while rustls.is_handshaking() {
        rustls.complete_io(&mut socket)?;
    }
    Ok(rustls)
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return (&*self.socket).read(out);
        };
        loop {
            if let Some(bytes) = session.decrypt(out)? {
                return Ok(bytes);
            }
            match (&*self.socket).read(session.space())? {
                0 => return Ok(0),
                bytes => session.received(bytes),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return (&*self.socket).write(bytes);
        };
        let taken = session.encrypt(bytes)?;
        session.send(&mut &*self.socket)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
