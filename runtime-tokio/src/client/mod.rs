//! The client library: a [`Producer`], a [`Consumer`], and a [`Backoff`] for those who reconnect.
//!
//! There are two kinds. **Where a message matters, take those of [`acked`]**: they confirm, acknowledge and connect
//! again by themselves. These here speak wire version 1 (PROTOCOL.md). It answers nothing, so a client learns of no
//! loss: a message that was handed over can still be dropped for want of room, or with the broker itself.
//!
//! Over [TLS](ClientTls) both kinds work as they do without.
//!
//! Both of these work over any stream that tokio can read and write, so also inside a simulation; over TCP
//! they [`connect`](Producer::connect) by themselves.
//!
//! ```
//! use message_queue_core::wire::DecoderConfig;
//! use message_queue_core::{Config, DeliveryMode};
//! use message_queue_tokio::Server;
//! use message_queue_tokio::client::{Consumer, Producer};
//! use std::time::Duration;
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A broker of one's own, for a test. In queue mode messages wait for a consumer.
//! let config = Config { delivery: DeliveryMode::Queue, ..Config::default() };
//! let server = Server::new(config, DecoderConfig::default());
//! let broker = server.handle();
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?.to_string();
//! let serving = tokio::spawn(server.serve(listener));
//!
//! let mut producer = Producer::connect(&address).await?;
//! producer.send("hello").await?;
//! producer.send(b"any bytes: \x00\xff").await?;
//! producer.finish().await?;
//!
//! let mut consumer = Consumer::connect(&address).await?;
//! assert_eq!(consumer.next().await?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(consumer.next().await?.as_deref(), Some(&b"any bytes: \x00\xff"[..]));
//!
//! broker.drain(Duration::from_secs(5));
//! assert_eq!(consumer.next().await?, None); // the broker has closed the connection
//! serving.await?;
//! # Ok(())
//! # }
//! ```

pub mod acked;
mod backoff;
mod connect;
mod consumer;
mod error;
mod producer;

pub use crate::access::tls::{ClientTls, ClientTlsError};
pub use backoff::Backoff;
pub use connect::{CONNECT_TIMEOUT, Stream};
#[cfg(feature = "cli")]
pub(crate) use connect::{connect_any, connect_first, over};
pub use consumer::Consumer;
pub use error::{ConnectError, ReceiveError, SendError};
pub use producer::{BATCH_BYTES, Producer};
