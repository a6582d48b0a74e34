//! The client library: a [`Producer`], a [`Consumer`], and a [`Backoff`] for those who reconnect.
//!
//! Both speak wire version 1 (PROTOCOL.md). It answers nothing, so a client learns of no loss: a
//! message that was handed over can still be dropped for want of room, or with the broker itself.
//!
//! Both work over any stream that tokio can read and write, so also inside a simulation; over TCP
//! they [`connect`](Producer::connect) by themselves.
//!
//! ```
//! use message_queue_tokio::client::{Consumer, Producer};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
//! # use tokio::net::TcpListener;
//! #
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?.to_string();
//! # // In the broker's place: what the one producer sends goes to the one consumer.
//! # let relay = tokio::spawn(async move {
//! #     let mut role = [0; 9];
//! #     let (mut consumer, _) = listener.accept().await?;
//! #     consumer.read_exact(&mut role).await?;
//! #     let (mut producer, _) = listener.accept().await?;
//! #     producer.read_exact(&mut role).await?;
//! #     copy(&mut producer, &mut consumer).await?;
//! #     consumer.shutdown().await
//! # });
//!
//! let mut consumer = Consumer::connect(&address).await?;
//! let mut producer = Producer::connect(&address).await?;
//! producer.send("hello").await?;
//! producer.send(b"any bytes: \x00\xff").await?;
//! producer.finish().await?;
//!
//! assert_eq!(consumer.next().await?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(consumer.next().await?.as_deref(), Some(&b"any bytes: \x00\xff"[..]));
//! assert_eq!(consumer.next().await?, None); // the broker has closed the connection
//! # relay.await??;
//! # Ok(())
//! # }
//! ```

mod backoff;
mod connect;
mod consumer;
mod error;
mod producer;

pub use backoff::Backoff;
pub use connect::CONNECT_TIMEOUT;
pub use consumer::Consumer;
pub use error::{ConnectError, ReceiveError, SendError};
pub use producer::{BATCH_BYTES, Producer};
