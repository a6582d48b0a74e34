//! One connection of a client.

use super::Puppet;
use crate::full_sim::BROKER;
use crate::full_sim::recorder::{Act, Recorder};
use crate::history::Manners;
use crate::message::MessageId;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;
use turmoil_net::shim::tokio::net::TcpStream;

/// How long a client waits for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long it waits for the broker to end the connection too.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a session ended.
pub(super) enum End {
    /// The client was told to leave, and to come back after so many microseconds.
    Left(u64),
    /// It has done what it came for.
    Done,
    /// The connection broke, or the broker ended it.
    Broken,
}

/// A connection to the broker.
pub(super) struct Session {
    addr: SocketAddr,
    recorder: Recorder,
    reader: ReadHalf<TcpStream>,
    writer: WriteHalf<TcpStream>,
    /// Its role line is sent; what follows are messages.
    has_role: bool,
}

impl Session {
    /// Connects and sends the role line, if there is one.
    pub(super) async fn open(
        puppet: &Puppet,
        manners: Manners,
        role_line: &[u8],
    ) -> Result<Self, End> {
        let connecting = TcpStream::connect((BROKER, puppet.port.get()));
        let Ok(Ok(stream)) = timeout(CONNECT, connecting).await else {
            return Err(End::Broken);
        };
        let addr = stream.local_addr().map_err(|_| End::Broken)?;
        puppet.addr.set(Some(addr));
        puppet.recorder.connected(addr, puppet.client.id, manners);
        let (reader, writer) = split(stream);
        let mut session = Self {
            addr,
            recorder: puppet.recorder.clone(),
            reader,
            writer,
            has_role: false,
        };
        session.send(puppet, role_line).await?;
        session.has_role = true;
        Ok(session)
    }

    /// Sends bytes, however long it takes; not while the client is stalled.
    pub(super) async fn send(&mut self, puppet: &Puppet, bytes: &[u8]) -> Result<(), End> {
        let mut sent = 0;
        while sent < bytes.len() {
            puppet.strings.until_free().await;
            let mut nothing = [0];
            tokio::select! {
                biased;
                // A producer is sent nothing: this is the end of the connection.
                _ = self.reader.read(&mut nothing) => return Err(self.broke()),
                written = self.writer.write(&bytes[sent..]) => match written {
                    Ok(bytes) if bytes > 0 => {
                        sent += bytes;
                        if self.has_role {
                            self.recorder.moved();
                        }
                    }
                    Ok(_) | Err(_) => return Err(self.broke()),
                },
            }
        }
        Ok(())
    }

    /// Waits for the end of the connection, for a peer that is sent nothing.
    pub(super) async fn ended(&mut self) -> End {
        let mut nothing = [0; 1024];
        while let Ok(1..) = self.reader.read(&mut nothing).await {}
        self.broke()
    }

    /// Reads what there is. At the end of the stream there is nothing.
    pub(super) async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buf).await?;
        if bytes > 0 {
            self.recorder.moved();
        }
        Ok(bytes)
    }

    pub(super) fn sent(&self, message: Option<MessageId>) {
        self.recorder.act(self.addr, Act::Sent(message));
    }

    pub(super) fn act(&self, act: Act) {
        self.recorder.act(self.addr, act);
    }

    /// Ends the stream in an orderly way and waits for the broker to do the same.
    pub(super) async fn leave(mut self) {
        if self.writer.shutdown().await.is_ok() {
            // Whether the broker answers in time or not, the client is gone.
            let _ = timeout(FAREWELL, self.ended()).await;
        }
    }

    /// The connection is over, and what was not read is lost.
    pub(super) fn broke(&self) -> End {
        self.act(Act::Gone);
        End::Broken
    }
}
