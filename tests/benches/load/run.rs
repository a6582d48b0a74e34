//! One run: connect, let the producers go, wait for the last message.

use crate::job::{Figures, Job};
use crate::server::Server;
use message_queue_tests::usage::{self, Memory};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::time::Instant;

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What has not come for so long does not come any more.
const SILENCE: Duration = Duration::from_secs(1);

/// The stack of a client's thread, in bytes.
const STACK: usize = 64 << 10;

/// What the buffers of all consumers together may take, in bytes.
const BUFFERS: usize = 64 << 20;

/// What may be on its way from all producers together, in bytes, as far as it is up to them: more
/// would be the machine's whole TCP memory, and bring consumers to a stop.
const SEND_BUFFERS: usize = 64 << 20;

/// More than our broker's default of `BACKLOG_BYTES`, in bytes.
const FILL: usize = 64 << 20;

/// How far a client has come. Alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    messages: AtomicU64,
    /// When the last of them came, in nanoseconds since the origin.
    last: AtomicU64,
}

impl Tally {
    fn set(&self, messages: u64, origin: Instant) {
        let nanos = u64::try_from(origin.elapsed().as_nanos()).expect("no run takes 500 years");
        self.last.store(nanos, Ordering::Release);
        self.messages.store(messages, Ordering::Release);
    }
}

/// A client in a thread of its own.
struct Client {
    stream: Arc<TcpStream>,
    tally: Arc<Tally>,
    thread: JoinHandle<()>,
}

impl Client {
    fn spawn(stream: TcpStream, run: impl FnOnce(&TcpStream, &Tally) + Send + 'static) -> Self {
        let (stream, tally) = (Arc::new(stream), Arc::<Tally>::default());
        let thread = thread::Builder::new().stack_size(STACK).spawn({
            let (stream, tally) = (Arc::clone(&stream), Arc::clone(&tally));
            move || run(&stream, &tally)
        });
        Self {
            stream,
            tally,
            thread: thread.expect("the system gives a thread"),
        }
    }
}

/// Messages of all these clients.
fn messages(clients: &[Client]) -> u64 {
    let of_client = |client: &Client| client.tally.messages.load(Ordering::Acquire);
    clients.iter().map(of_client).sum()
}

/// Does `job` to `server`: its producers send for so long.
pub(crate) fn run(server: &impl Server, job: &Job, time: Duration) -> Figures {
    let origin = Instant::now();
    let buffer = (BUFFERS / job.consumers).clamp(16 << 10, 256 << 10);
    let ending = Arc::new(AtomicBool::new(false));
    let stuck: Vec<_> = (0..job.stuck).map(|_| server.consumer(job)).collect();
    if !stuck.is_empty() {
        fill(server, job);
    }
    let consumers: Vec<_> = (0..job.consumers)
        .map(|_| {
            let (reader, ending) = (server.reader(job), Arc::clone(&ending));
            Client::spawn(server.consumer(job), move |stream, tally| {
                let read = reader.run(stream, buffer, |messages| tally.set(messages, origin));
                let ended = ending.load(Ordering::Acquire);
                assert!(ended, "the server ended a consumer: {read:?}");
            })
        })
        .collect();
    let gate = Arc::new(Barrier::new(job.producers + 1));
    let producers: Vec<_> = (0..job.producers)
        .map(|_| {
            let (stream, batch) = server.producer(job);
            let send_buffer = SEND_BUFFERS / job.producers;
            if send_buffer < 1 << 20 {
                let socket = SockRef::from(&stream);
                socket
                    .set_send_buffer_size(send_buffer)
                    .expect("a TCP socket");
            }
            let (gate, pace) = (Arc::clone(&gate), job.pace);
            Client::spawn(stream, move |mut stream, tally| {
                // All are there; then all go.
                gate.wait();
                gate.wait();
                let start = Instant::now();
                let mut sent = 0;
                for number in 0.. {
                    let due = pace.map_or(Duration::ZERO, |pace| pace * number);
                    while start.elapsed() < due {
                        thread::park_timeout(due.saturating_sub(start.elapsed()));
                    }
                    if start.elapsed() >= time {
                        return;
                    }
                    stream.write_all(&batch.bytes).expect("the server reads");
                    sent += batch.messages;
                    tally.set(sent, origin);
                }
            })
        })
        .collect();

    gate.wait();
    let cpu = usage::cpu(server.pid());
    let start = origin.elapsed();
    gate.wait();
    wait(job, &producers, &consumers);
    let cpu = usage::cpu(server.pid()).saturating_sub(cpu);

    ending.store(true, Ordering::Release);
    let last = consumers
        .iter()
        .map(|client| client.tally.last.load(Ordering::Acquire));
    let last = Duration::from_nanos(last.max().unwrap_or(0));
    let figures = Figures {
        expected: messages(&producers) * job.copies(),
        delivered: messages(&consumers),
        elapsed: last.saturating_sub(start),
        cpu,
        peak: Memory::of(server.pid()).peak,
    };
    drop(stuck);
    for client in producers.into_iter().chain(consumers) {
        // Whoever ended first.
        let _ = client.stream.shutdown(Shutdown::Both);
        client.thread.join().expect("no client fails");
    }
    figures
}

/// Sends more than waits for a consumer that is stuck: what it costs to have one is not what it
/// costs to get one.
fn fill(server: &impl Server, job: &Job) {
    let (mut stream, batch) = server.producer(job);
    for _ in 0..FILL.div_ceil(batch.bytes.len()) {
        stream.write_all(&batch.bytes).expect("the server reads");
    }
    stream.shutdown(Shutdown::Write).expect("it is open");
    // The server's end follows when it has read all.
    let end = stream.read_to_end(&mut Vec::new());
    assert_eq!(end.expect("an orderly end"), 0);
}

/// Waits until all that was sent was received, or nothing more comes.
fn wait(job: &Job, producers: &[Client], consumers: &[Client]) {
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        // In this order: who has ended, sends no more.
        let ended = producers.iter().all(|client| client.thread.is_finished());
        let (sent, received) = (messages(producers), messages(consumers));
        if ended && received >= sent * job.copies() {
            return;
        }
        if sent + received != before {
            (before, moved) = (sent + received, Instant::now());
        }
        assert!(
            ended || moved.elapsed() < 10 * SILENCE,
            "nothing moves, and the producers are not done"
        );
        if ended && moved.elapsed() > SILENCE {
            return;
        }
        thread::park_timeout(LOOK);
    }
}
