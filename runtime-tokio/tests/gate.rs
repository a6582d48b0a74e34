//! The driver on real threads: consumers are reset in mid-write while producers, who write to
//! them too, go on. What a socket has taken must not be handed to another consumer, and what it has
//! not taken must be.

use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, DeliveryMode};
use message_queue_tokio::Server;
use message_queue_tokio::net::Listener;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

const PRODUCERS: u32 = 4;
const MESSAGES: u32 = 25_000;

/// How many bytes a consumer's socket takes at once, and how many until it is reset.
const AT_ONCE: usize = 37;
const LIFE: usize = 5_000;

/// Connections that are handed over by a channel.
struct Connections(UnboundedReceiver<Stream>);

impl Listener for Connections {
    type Stream = Stream;

    async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
enum Stream {
    Producer(DuplexStream),
    Consumer(Consumer),
}

/// A consumer's socket, which fails when it has taken so much. Then another takes its place.
#[derive(Debug)]
struct Consumer {
    role: &'static [u8],
    taken: Vec<u8>,
    sockets: Arc<Sockets>,
    failed: bool,
}

/// What all consumers' sockets have taken, each to its end.
#[derive(Debug)]
struct Sockets {
    taken: Mutex<Vec<Vec<u8>>>,
    connect: UnboundedSender<Stream>,
}

fn consumer(sockets: &Arc<Sockets>) -> Stream {
    Stream::Consumer(Consumer {
        role: b"CONSUMER\n",
        taken: Vec::new(),
        sockets: Arc::clone(sockets),
        failed: false,
    })
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.sockets.taken.lock().expect("no panic").push(taken);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Producer(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Consumer(consumer) if consumer.role.is_empty() => Poll::Pending,
            Self::Consumer(consumer) => {
                buf.put_slice(std::mem::take(&mut consumer.role));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let consumer = match self.get_mut() {
            Self::Producer(stream) => return Pin::new(stream).poll_write(cx, bytes),
            Self::Consumer(consumer) => consumer,
        };
        if consumer.taken.len() >= LIFE {
            if !std::mem::replace(&mut consumer.failed, true) {
                // Nobody listens any more once the broker is coming to its end.
                let _ = consumer
                    .sockets
                    .connect
                    .send(self::consumer(&consumer.sockets));
            }
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let taken = bytes.len().min(AT_ONCE);
        consumer.taken.extend_from_slice(&bytes[..taken]);
        // Between a socket's taking and the core's being told is where another thread does harm.
        std::thread::yield_now();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Producer(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Consumer(_) => Poll::Ready(Ok(())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_message_is_taken_whole_by_exactly_one_socket() {
    let (connect, connections) = unbounded_channel();
    let sockets = Arc::new(Sockets {
        taken: Mutex::default(),
        connect: connect.clone(),
    });
    let config = Config {
        delivery: DeliveryMode::Queue,
        queue_capacity: (PRODUCERS * MESSAGES) as usize,
        ..Config::default()
    };
    let server = Server::new(config, DecoderConfig::default());
    let broker = server.handle();
    let serving = tokio::spawn(server.serve(Connections(connections)));
    for _ in 0..4 {
        connect.send(consumer(&sockets)).expect("it listens");
    }
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (mut ours, theirs) = duplex(1000);
        connect.send(Stream::Producer(theirs)).expect("it listens");
        producers.spawn(async move {
            ours.write_all(b"PRODUCER\n").await.expect("it reads");
            for sequence in 0..MESSAGES {
                let number = producer * MESSAGES + sequence;
                let frame = [4_u32.to_be_bytes(), number.to_be_bytes()].concat();
                ours.write_all(&frame).await.expect("it reads");
            }
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended.expect("it has published");
    }
    broker.drain(Duration::from_secs(60));
    let stats = serving.await.expect("an orderly end");

    let mut times: BTreeMap<u32, u32> = BTreeMap::new();
    for taken in sockets.taken.lock().expect("no panic").iter() {
        for frame in taken.chunks_exact(8) {
            let number = u32::from_be_bytes(frame[4..].try_into().expect("four bytes"));
            *times.entry(number).or_default() += 1;
        }
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "taken more than once: {twice:?}");
    // New consumers are refused during a drain: what is left when the last is gone is counted.
    let lost = stats.flow.dropped_in_all().messages;
    let taken = times.len() as u64;
    assert_eq!(taken + lost, u64::from(PRODUCERS * MESSAGES));
    assert_eq!(stats.flow.delivered.messages, taken);
}
