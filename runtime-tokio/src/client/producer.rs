//! The writing client.

use super::connect::{Stream, connect_as};
use super::error::{ConnectError, SendError};
use crate::access::tls::ClientTls;
use message_queue_core::wire::{Encoder, FrameBatch, Role};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How many bytes of frames a producer gathers before it writes them.
pub const BATCH_BYTES: usize = 128 * 1024;

/// Sends messages.
///
/// Messages are gathered and written together: [`send`](Self::send) writes when
/// [`BATCH_BYTES`] have come together, [`flush`](Self::flush) writes at once. Dropping a producer
/// loses what was not flushed; [`finish`](Self::finish) loses nothing.
///
/// A broker sends nothing to a producer, so if the connection becomes readable, the broker has
/// gone. Every write looks for that first, and [`closed`](Self::closed) waits for it.
///
/// # Memory
/// Two batches: one being written and one being gathered.
#[derive(Debug)]
pub struct Producer<S = Stream> {
    stream: S,
    address: String,
    /// What is being written; comes before `pending`.
    in_flight: Option<InFlight>,
    pending: Encoder,
    /// The messages of all batches that have been written to their end.
    handed_over: u64,
}

/// A batch of which the stream has taken the first `written` bytes.
#[derive(Debug)]
struct InFlight {
    batch: FrameBatch,
    written: usize,
}

impl InFlight {
    /// How many messages the stream has taken as a whole.
    fn messages_written(&self) -> usize {
        self.batch.prefix(self.batch.messages(), self.written).0
    }

    fn remaining(&self) -> &[u8] {
        &self.batch.as_bytes()[self.written..]
    }
}

impl Producer<Stream> {
    /// Connects to the broker at `address` (`host:port`) as a producer.
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

impl<S: AsyncRead + AsyncWrite + Unpin> Producer<S> {
    /// A producer over a stream that leads to a broker. `address` is what errors call the broker.
    ///
    /// # Errors
    /// The stream takes no role line.
    pub async fn over(mut stream: S, address: impl Into<String>) -> io::Result<Self> {
        stream.write_all(Role::Producer.line().as_bytes()).await?;
        stream.flush().await?;
        Ok(Self {
            stream,
            address: address.into(),
            in_flight: None,
            pending: Encoder::new(),
            handed_over: 0,
        })
    }

    /// Where the broker is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many messages the network has taken as a whole. Those are on their way; whether the
    /// broker has read them is not known.
    pub fn handed_over(&self) -> u64 {
        self.handed_over
            + self
                .in_flight
                .as_ref()
                .map_or(0, |it| it.messages_written() as u64)
    }

    /// Accepts a message of at most 1 MiB. First writes what was gathered, if that is
    /// [`BATCH_BYTES`] or more.
    ///
    /// Waits for as long as the broker does not read.
    ///
    /// Cancel safe: a call that does not return has not accepted its message.
    ///
    /// # Errors
    /// The message is too large, or the broker has gone.
    pub async fn send(&mut self, message: impl AsRef<[u8]>) -> Result<(), SendError> {
        if self.pending.byte_len() >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(self.pending.push(message.as_ref())?)
    }

    /// Accepts a batch, which is written as it is by the next call. First writes all that was
    /// accepted before.
    ///
    /// Cancel safe: a call that does not return has not accepted its batch.
    ///
    /// # Errors
    /// The broker has gone.
    pub async fn send_batch(&mut self, batch: FrameBatch) -> Result<(), SendError> {
        self.flush().await?;
        self.in_flight = Some(InFlight { batch, written: 0 });
        Ok(())
    }

    /// Hands all that was accepted to the network.
    ///
    /// Cancel safe: the next call goes on where this one stopped.
    ///
    /// # Errors
    /// The broker has gone.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_write_all(cx)).await?;
        self.stream
            .flush()
            .await
            .map_err(|source| self.lost(source))
    }

    /// Waits until the broker has gone. For a producer that has nothing to send just now.
    ///
    /// Cancel safe.
    pub async fn closed(&mut self) -> SendError {
        poll_fn(|cx| self.poll_closed(cx)).await
    }

    /// Sends all that was accepted, ends the stream, and waits until the broker, which has read it
    /// to the end by then, closes the connection too. Returns how many messages were sent.
    ///
    /// There is no bound on how long a broker may take: one that has no room for more reads
    /// nothing. Bound it, where that matters, with [`tokio::time::timeout`].
    ///
    /// # Errors
    /// The broker went away before it had read everything.
    pub async fn finish(mut self) -> Result<u64, SendError> {
        self.flush().await?;
        self.stream
            .shutdown()
            .await
            .map_err(|source| self.lost(source))?;
        let end = self.closed().await;
        if matches!(end, SendError::Closed { .. }) {
            Ok(self.handed_over)
        } else {
            Err(end)
        }
    }

    /// What was accepted and has not been handed over as a whole, in order: after a failure, what
    /// to send over another connection so that no message is sent twice.
    pub fn into_unsent(mut self) -> Vec<FrameBatch> {
        let in_flight = self.in_flight.take().map(|mut in_flight| {
            let written = in_flight.messages_written();
            in_flight.batch.split_to(written);
            in_flight.batch
        });
        let batches = in_flight.into_iter().chain([self.pending.take()]);
        batches.filter(|batch| !batch.is_empty()).collect()
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        // Without this, a broker that has gone is noticed only by the write after the next: the
        // network takes one more and answers with a reset.
        if let Poll::Ready(gone) = self.poll_closed(cx) {
            return Poll::Ready(Err(gone));
        }
        loop {
            if let Some(in_flight) = &mut self.in_flight {
                while !in_flight.remaining().is_empty() {
                    let stream = Pin::new(&mut self.stream);
                    match ready!(stream.poll_write(cx, in_flight.remaining())) {
                        Ok(0) => {
                            let source = io::ErrorKind::WriteZero.into();
                            return Poll::Ready(Err(self.lost(source)));
                        }
                        Ok(written) => in_flight.written += written,
                        Err(source) => return Poll::Ready(Err(self.lost(source))),
                    }
                }
                self.handed_over += in_flight.batch.messages() as u64;
                self.in_flight = None;
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.in_flight = Some(InFlight {
                batch: self.pending.take(),
                written: 0,
            });
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<SendError> {
        let mut byte = [0];
        let mut answer = ReadBuf::new(&mut byte);
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut answer));
        let address = self.address.clone();
        Poll::Ready(match outcome {
            Ok(()) if answer.filled().is_empty() => SendError::Closed { address },
            Ok(()) => SendError::NotABroker { address },
            Err(source) => SendError::Lost { address, source },
        })
    }

    fn lost(&self, source: io::Error) -> SendError {
        SendError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    /// A producer and the broker's end of its stream, which holds `room` bytes (a role line at
    /// least). The role line is read.
    async fn connected(room: usize) -> (Producer<DuplexStream>, DuplexStream) {
        let (client, mut broker) = duplex(room);
        let producer = Producer::over(client, "test:1")
            .await
            .expect("the stream is open");
        let mut role = [0; 9];
        broker.read_exact(&mut role).await.expect("a role line");
        assert_eq!(&role, b"PRODUCER\n");
        (producer, broker)
    }

    /// Polls once, as a caller does that then gives up.
    async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = Box::pin(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn what_was_sent_arrives_in_order_and_finish_waits_for_the_broker() {
        let (mut producer, mut broker) = connected(1 << 10).await;
        producer.send("a").await.expect("room");
        producer
            .send_batch(FrameBatch::encode(["b", ""]).expect("small"))
            .await
            .expect("room");
        producer.send("c").await.expect("room");
        let mut finish = Box::pin(producer.finish());
        assert!(
            poll_once(&mut finish).await.is_none(),
            "the broker has not closed yet"
        );
        let mut received = Vec::new();
        broker
            .read_to_end(&mut received)
            .await
            .expect("an orderly end");
        assert_eq!(
            received,
            FrameBatch::encode(["a", "b", "", "c"])
                .expect("small")
                .into_bytes()
        );
        drop(broker);
        assert_eq!(finish.await.expect("an orderly end"), 4);
    }

    #[tokio::test]
    async fn a_broker_that_has_closed_takes_nothing_more() {
        let (mut producer, broker) = connected(1 << 10).await;
        producer.send("a").await.expect("not written yet");
        drop(broker);
        let error = producer.flush().await.expect_err("the broker has gone");
        assert!(matches!(error, SendError::Closed { .. }), "{error}");
        assert!(error.to_string().contains("test:1"), "{error}");
        assert_eq!(producer.handed_over(), 0);
        assert_eq!(
            producer.into_unsent(),
            [FrameBatch::encode(["a"]).expect("small")]
        );
    }

    #[tokio::test]
    async fn a_peer_that_answers_is_no_broker() {
        let (mut producer, mut broker) = connected(1 << 10).await;
        broker
            .write_all(b"HTTP/1.1 400 Bad Request\r\n")
            .await
            .expect("open");
        let error = producer.closed().await;
        assert!(matches!(error, SendError::NotABroker { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_message_handed_over_in_part_is_unsent() {
        // Room for "aaaa" (8 bytes) and half of "bbbb".
        let (mut producer, mut broker) = connected(12).await;
        for message in ["aaaa", "bbbb"] {
            producer.send(message).await.expect("room");
        }
        assert!(
            poll_once(producer.flush()).await.is_none(),
            "the stream is full"
        );
        assert_eq!(producer.handed_over(), 1);
        producer.pending.push(b"cccc").expect("small");
        let mut received = [0; 12];
        broker
            .read_exact(&mut received)
            .await
            .expect("twelve bytes");
        drop(broker);
        producer.flush().await.expect_err("the broker has gone");
        let unsent = ["bbbb", "cccc"].map(|it| FrameBatch::encode([it]).expect("small"));
        assert_eq!(producer.into_unsent(), unsent);
    }

    #[tokio::test]
    async fn a_flush_that_was_given_up_goes_on_where_it_stopped() {
        let (mut producer, mut broker) = connected(9).await;
        producer.send("aaaaaaaa").await.expect("room");
        assert!(
            poll_once(producer.flush()).await.is_none(),
            "the stream is full"
        );
        let mut received = [0; 12];
        let (flushed, read) = tokio::join!(producer.flush(), broker.read_exact(&mut received));
        flushed.expect("the broker is there");
        read.expect("a whole frame");
        assert_eq!(&received, b"\0\0\0\x08aaaaaaaa");
        assert_eq!(producer.handed_over(), 1);
    }

    #[tokio::test]
    async fn a_message_no_frame_can_carry_is_refused_and_the_next_is_not() {
        let (mut producer, _broker) = connected(16).await;
        let error = producer
            .send(vec![0; (1 << 20) + 1])
            .await
            .expect_err("too large");
        assert!(matches!(error, SendError::MessageTooLarge(_)), "{error}");
        producer.send("a").await.expect("room");
        producer.flush().await.expect("the broker is there");
        assert_eq!(producer.handed_over(), 1);
    }
}
