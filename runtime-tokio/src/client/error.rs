//! What a client can meet, split by whose fault it is. Each names the broker's address.

use message_queue_core::ProtocolError;
use message_queue_core::wire::MessageTooLarge;
use std::io;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {source}")]
pub struct ConnectError {
    /// Where the broker was looked for.
    pub address: String,
    /// What the network said; [`TimedOut`](io::ErrorKind::TimedOut) if it said nothing in
    /// [`CONNECT_TIMEOUT`](super::CONNECT_TIMEOUT). Where a name has several addresses, that of
    /// each; the kind is that of the first to fail.
    pub source: io::Error,
}

/// A producer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The caller's fault: no frame can carry this message. The producer can still be used.
    #[error(transparent)]
    MessageTooLarge(#[from] MessageTooLarge),
    /// The broker closed the connection: it refused this client, or it shut down.
    #[error("the broker at {address} closed the connection")]
    Closed {
        /// Where the broker is.
        address: String,
    },
    /// The connection broke.
    #[error("the connection to the broker at {address} was lost: {source}")]
    Lost {
        /// Where the broker is.
        address: String,
        /// What the network said.
        source: io::Error,
    },
    /// The peer's fault: it answered, and in wire version 1 a broker sends nothing to a producer.
    #[error("{address} answers a producer, which no broker does: is it the broker's TCP port?")]
    NotABroker {
        /// Where the peer is.
        address: String,
    },
}

/// A consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer's fault: what it sent is not frames, or ended inside one.
    #[error("the broker at {address} broke the protocol: {source}")]
    Protocol {
        /// Where the broker is.
        address: String,
        /// What it did.
        source: ProtocolError,
    },
    /// The connection broke.
    #[error("the connection to the broker at {address} was lost: {source}")]
    Lost {
        /// Where the broker is.
        address: String,
        /// What the network said.
        source: io::Error,
    },
}
