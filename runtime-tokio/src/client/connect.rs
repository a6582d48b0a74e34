//! From an address to a stream.

use super::error::ConnectError;
use crate::serve::net::{CLIENT_KEEPALIVE, keep_alive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `address`, a `host:port`.
pub(super) async fn connect(address: &str) -> Result<TcpStream, ConnectError> {
    let attempt = async {
        let stream = TcpStream::connect(address).await?;
        // What is written is a batch: to hold it back for more gains nothing.
        stream.set_nodelay(true)?;
        keep_alive(&stream, CLIENT_KEEPALIVE)?;
        Ok(stream)
    };
    let outcome = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    };
    outcome.map_err(|source| ConnectError {
        address: address.to_owned(),
        source,
    })
}
