//! The reading client.

use super::connect::{Stream, connect_as};
use super::error::{ConnectError, ReceiveError};
use crate::access::tls::ClientTls;
use bytes::Bytes;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, FrameBatch, Role};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Receives messages.
///
/// Read it without a pause: while a consumer does not read, the broker holds its messages back,
/// and past its bounds it drops them.
///
/// # Memory
/// At most two reads of 1 MiB, or the largest message and one read.
#[derive(Debug)]
pub struct Consumer<S = Stream> {
    stream: S,
    address: String,
    decoder: Decoder,
    /// What [`next`](Self::next) has not handed out yet of the last batch.
    rest: Option<FrameBatch>,
}

impl Consumer<Stream> {
    /// Connects to the broker at `address` (`host:port`) as a consumer.
    ///
    /// The broker does not say when it has registered a consumer: a message that is published as
    /// soon as this returns may be too early for it.
    ///
    /// # Errors
    /// No connection, within [`CONNECT_TIMEOUT`](super::CONNECT_TIMEOUT).
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::connect_with(address, None).await
    }

    /// The same, over TLS if it is told how.
    ///
    /// # Errors
    /// No connection, or no TLS, within [`CONNECT_TIMEOUT`](super::CONNECT_TIMEOUT) each.
    pub async fn connect_with(
        address: &str,
        tls: Option<&ClientTls>,
    ) -> Result<Self, ConnectError> {
        connect_as(address, tls, async |stream| {
            Self::over(stream, address).await
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Consumer<S> {
    /// A consumer over a stream that leads to a broker. `address` is what errors call the broker.
    ///
    /// # Errors
    /// The stream takes no role line.
    pub async fn over(mut stream: S, address: impl Into<String>) -> io::Result<Self> {
        stream.write_all(Role::Consumer.line().as_bytes()).await?;
        stream.flush().await?;
        let decoder = Decoder::frames_only(DecoderConfig::default());
        Ok(Self {
            stream,
            address: address.into(),
            decoder,
            rest: None,
        })
    }

    /// Where the broker is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next message; `None` once the broker has closed the connection.
    ///
    /// The message keeps alive the memory of the batch that it came in: copy it
    /// ([`Bytes::copy_from_slice`]) to keep it for long.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    /// The connection broke, or what came is not frames. All whole messages come before the error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let Some(mut batch) = self.next_batch().await? else {
            return Ok(None);
        };
        let first = batch.split_to(1);
        self.rest = Some(batch).filter(|rest| !rest.is_empty());
        Ok(first.bodies().next())
    }

    /// All messages that have come, at least one; `None` once the broker has closed the
    /// connection. Waits only if there are none. Much cheaper than one message at a time.
    ///
    /// Cancel safe: no message is lost.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Result<Option<FrameBatch>, ReceiveError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        loop {
            match self.decoder.next() {
                Ok(Some(Decoded::Batch(batch))) => return Ok(Some(batch)),
                Ok(Some(
                    Decoded::Role(_)
                    | Decoded::Options(_)
                    | Decoded::BadOptions(_)
                    | Decoded::Control(_),
                )) => unreachable!("the decoder looks for frames only"),
                Ok(None) => {}
                Err(source) => return Err(self.protocol(source)),
            }
            match self.stream.read_buf(self.decoder.recv_buf()).await {
                Ok(0) => {
                    self.decoder
                        .finish()
                        .map_err(|source| self.protocol(source))?;
                    return Ok(None);
                }
                Ok(_) => {}
                Err(source) => {
                    return Err(ReceiveError::Lost {
                        address: self.address.clone(),
                        source,
                    });
                }
            }
        }
    }

    /// Tells the broker that no more is wanted. What it had handed over before that still comes:
    /// read on to the end, which may be inside a frame, to lose none of it. In queue mode nobody
    /// else gets those messages.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn leave(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    fn protocol(&self, source: message_queue_core::ProtocolError) -> ReceiveError {
        ReceiveError::Protocol {
            address: self.address.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ProtocolError;
    use tokio::io::{DuplexStream, duplex};

    /// A consumer and the broker's end of its stream, the role line read.
    async fn connected() -> (Consumer<DuplexStream>, DuplexStream) {
        let (client, mut broker) = duplex(1 << 16);
        let consumer = Consumer::over(client, "test:1")
            .await
            .expect("the stream is open");
        let mut role = [0; 9];
        broker.read_exact(&mut role).await.expect("a role line");
        assert_eq!(&role, b"CONSUMER\n");
        (consumer, broker)
    }

    #[tokio::test]
    async fn messages_come_one_by_one_or_all_at_once_and_then_the_end() {
        let (mut consumer, mut broker) = connected().await;
        let sent = FrameBatch::encode(["a", "", "bc"]).expect("small");
        broker.write_all(sent.as_bytes()).await.expect("open");
        drop(broker);
        assert_eq!(
            consumer.next().await.expect("whole").as_deref(),
            Some(&b"a"[..])
        );
        let rest = consumer.next_batch().await.expect("whole");
        assert_eq!(rest, Some(FrameBatch::encode(["", "bc"]).expect("small")));
        assert_eq!(consumer.next().await.expect("an orderly end"), None);
        assert_eq!(consumer.next().await.expect("an orderly end"), None);
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_comes_after_the_whole_messages_and_is_an_error() {
        let (mut consumer, mut broker) = connected().await;
        broker
            .write_all(b"\0\0\0\x01a\0\0\0\x02b")
            .await
            .expect("open");
        drop(broker);
        assert_eq!(
            consumer.next().await.expect("whole").as_deref(),
            Some(&b"a"[..])
        );
        let error = consumer.next().await.expect_err("a truncated frame");
        assert!(
            matches!(
                error,
                ReceiveError::Protocol {
                    source: ProtocolError::TruncatedFrame,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("test:1"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error() {
        let (mut consumer, mut broker) = connected().await;
        broker
            .write_all(b"HTTP/1.1 400 Bad Request\r\n")
            .await
            .expect("open");
        let error = consumer.next().await.expect_err("no frame");
        assert!(
            matches!(
                error,
                ReceiveError::Protocol {
                    source: ProtocolError::FrameTooLarge { .. },
                    ..
                }
            ),
            "{error}"
        );
    }
}
