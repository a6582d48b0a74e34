//! Confirmed and acknowledged: the same jobs on this broker, NATS JetStream and Redis streams.
//!
//! A producer has a window of messages that are not yet confirmed, a consumer is handed a window of messages
//! that it has not yet acknowledged. How each broker wants that to be said is in `acked/`.

mod jetstream;
mod ours;
mod streams;

pub(crate) use jetstream::JetStream;
pub(crate) use ours::Ours;
pub(crate) use streams::Streams;

use crate::job::{Delivery, Figures, Job};
use message_queue_tests::usage::{self, Memory};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// How many messages may be unconfirmed, and how many unacknowledged for each consumer.
pub(crate) const WINDOW: u64 = 1000;

/// How many messages a producer writes in one go: half of the window is on its way while the other
/// half is confirmed.
pub(crate) const BATCH: u64 = WINDOW / 2;

/// What has not come for so long does not come any more.
const SILENCE: Duration = Duration::from_secs(3);

/// A broker that runs, and how its clients talk.
pub(crate) trait Acked {
    fn pid(&self) -> u32;

    /// A producer that is connected.
    fn producer(&self, job: &Job) -> Box<dyn Producer>;

    /// Consumer number `number`, which gets what is published from now on.
    fn consumer(&self, job: &Job, number: usize) -> Box<dyn Consumer>;
}

pub(crate) trait Producer: Send {
    /// Writes [`BATCH`] messages.
    fn send(&mut self) -> io::Result<()>;

    /// Reads once. Returns how many messages it has confirmed.
    fn confirmed(&mut self) -> io::Result<u64>;
}

pub(crate) trait Consumer: Send {
    /// Reads once, and acknowledges what has come. Returns how many messages that was; an error at the end.
    fn take(&mut self) -> io::Result<u64>;
}

/// Does `job` to `server`: its producer sends for so long.
pub(crate) fn run(server: &impl Acked, job: &Job, time: Duration) -> Figures {
    let origin = Instant::now();
    let received = Arc::<AtomicU64>::default();
    let last = Arc::<AtomicU64>::default();
    let ending = Arc::<AtomicBool>::default();
    for number in 0..job.consumers {
        let mut consumer = server.consumer(job, number);
        let (received, last) = (Arc::clone(&received), Arc::clone(&last));
        let ending = Arc::clone(&ending);
        // It ends with its broker.
        thread::spawn(move || {
            loop {
                match consumer.take() {
                    Ok(0) => {}
                    Ok(messages) => {
                        let nanos = u64::try_from(origin.elapsed().as_nanos());
                        last.fetch_max(nanos.expect("no run takes 500 years"), Ordering::AcqRel);
                        received.fetch_add(messages, Ordering::AcqRel);
                    }
                    Err(_) if ending.load(Ordering::Acquire) => return,
                    Err(error) => panic!("a consumer: {error}"),
                }
            }
        });
    }
    let mut producer = server.producer(job);
    let gate = Arc::new(Barrier::new(2));
    let sender = thread::spawn({
        let gate = Arc::clone(&gate);
        move || {
            gate.wait();
            let start = Instant::now();
            let (mut sent, mut confirmed) = (0, 0);
            while start.elapsed() < time {
                while sent + BATCH - confirmed > WINDOW {
                    confirmed += producer.confirmed().expect("confirms");
                }
                producer.send().expect("the server reads");
                sent += BATCH;
            }
            while confirmed < sent {
                confirmed += producer.confirmed().expect("confirms");
            }
            sent
        }
    });
    let cpu = usage::cpu(server.pid());
    let start = origin.elapsed();
    gate.wait();
    let expected = sender.join().expect("the producer does not fail") * job.copies();
    let (mut before, mut moved) = (0, Instant::now());
    while before < expected && moved.elapsed() < SILENCE {
        let now = received.load(Ordering::Acquire);
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    let cpu = usage::cpu(server.pid()).saturating_sub(cpu);
    ending.store(true, Ordering::Release);
    Figures {
        expected,
        delivered: received.load(Ordering::Acquire),
        elapsed: Duration::from_nanos(last.load(Ordering::Acquire)).saturating_sub(start),
        cpu,
        peak: Memory::of(server.pid()).peak,
    }
}

/// The jobs: who gets what.
pub(crate) const JOBS: [(Delivery, usize, usize); 4] = [
    (Delivery::Broadcast, 4, 128),
    (Delivery::Queue, 4, 128),
    (Delivery::Broadcast, 4, 16 << 10),
    (Delivery::Queue, 4, 16 << 10),
];

/// The same, on the disk.
pub(crate) const STORED_JOBS: [(Delivery, usize, usize); 2] =
    [(Delivery::Queue, 1, 128), (Delivery::Broadcast, 1, 128)];

/// A buffer with the part of a line or a message that the last read left.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        /// More than one read of any of these brokers brings with its last message.
        const SIZE: usize = 1 << 20;
        Self {
            bytes: vec![0; SIZE],
            filled: 0,
        }
    }

    /// Reads once, and shows all that there is to `parse`, which returns how much of it it has understood.
    pub(crate) fn read(
        &mut self,
        stream: &mut impl io::Read,
        parse: impl FnOnce(&[u8]) -> usize,
    ) -> io::Result<()> {
        match stream.read(&mut self.bytes[self.filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            size => self.filled += size,
        }
        let understood = parse(&self.bytes[..self.filled]);
        self.bytes.copy_within(understood..self.filled, 0);
        self.filled -= understood;
        Ok(())
    }
}

/// The first line of some bytes, without its end, and how long it is with it.
pub(crate) fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|end| end == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}
