//! Clients that lose nothing: a [`Producer`] that learns of each message whether it is safe, and a [`Consumer`] whose
//! messages are its own until it has settled them. Both connect again by themselves.
//!
//! They speak wire version 2 (PROTOCOL.md), so they need a broker of version 0.2 or later. Take them unless you need
//! what [version 1](super) is for: the least work for each message, where a loss now and then is no harm.
//!
//! ```
//! use message_queue_core::wire::DecoderConfig;
//! use message_queue_core::Config;
//! use message_queue_tokio::Server;
//! use message_queue_tokio::client::acked::{Consumer, Producer};
//! use std::time::Duration;
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A broker of one's own, for a test.
//! let server = Server::new(Config::default(), DecoderConfig::default());
//! let broker = server.handle();
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?.to_string();
//! let serving = tokio::spawn(server.serve(listener));
//!
//! // The group is there from now on: what is published is kept for it.
//! let mut consumer = Consumer::builder().topic("orders").group("billing").connect(&address).await?;
//!
//! // With a name each message enters the topic once, however often the connection is lost.
//! let producer = Producer::builder().topic("orders").name("shop-7").connect(&address).await?;
//! let confirm = producer.send("one coffee").await?;
//! confirm.await?; // it is safe
//! producer.send("one tea").await?;
//! producer.send_to("stock.beans", "17 grams less").await?; // nobody listens there, and it is in order with the rest
//! producer.close().await?; // all of them are
//!
//! let coffee = consumer.next().await?;
//! assert_eq!(&coffee.body[..], b"one coffee");
//! coffee.fail(Duration::from_millis(10)); // the machine is broken: again in a while
//! let tea = consumer.next().await?;
//! assert_eq!((&tea.body[..], tea.meta.sequence), (&b"one tea"[..], 2));
//! tea.ack();
//! let coffee = consumer.next().await?;
//! assert_eq!((coffee.meta.sequence, coffee.meta.attempt), (1, 2));
//! coffee.ack();
//! consumer.close().await;
//!
//! broker.drain(Duration::from_secs(5));
//! serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `producer.rs`, `outbound.rs` | the writing client: its calls, and the state behind them |
//! | `consumer.rs`, `message.rs`, `inbound.rs` | the reading client likewise |
//! | `link.rs` | the task that keeps a connection, the same for both |
//! | `start.rs`, `error.rs` | how a client comes about, and what it can meet |

mod consumer;
mod error;
mod inbound;
mod link;
mod message;
mod outbound;
mod producer;
mod start;
mod token;

pub use consumer::{Acks, Consumer, ConsumerBuilder};
pub use error::{BadOption, Gone, Refused, SendError, StartError, Unconfirmed};
pub use link::{Change, Retry};
pub use message::{Batch, Message, Meta};
pub use message_queue_core::client::Window;
pub use message_queue_core::wire::control::Lag;
pub use message_queue_core::wire::handshake::{Accepted, Safety, Share, Start};
pub use producer::{Confirm, Producer, ProducerBuilder};
pub use token::{Token, TokenError};
