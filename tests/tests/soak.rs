//! Hostile clients of every kind, many at a time, beside two consumers and a producer that behave
//! well. Room is never made by dropping (`OVERFLOW=block`), so nothing may be lost; and every
//! message of the one that behaves well must arrive before its next is sent, so that being made to
//! wait for somebody hostile would be for ever. A consumer that stops reading is not among them:
//! with `OVERFLOW=block` it holds the others up, for `WRITE_TIMEOUT_MS`, and is meant to.
//!
//! Bounded in count: [`ATTACKERS`] times [`ATTACKS`], with random choices from a fixed seed.

use message_queue_tests::frames::{frames, read_bytes_to_end, read_message, reset};
use message_queue_tests::process::{Broker, PATIENCE};
use message_queue_tests::random::SplitMix64;
use std::collections::VecDeque;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Hostile clients at work at the same time.
const ATTACKERS: u64 = 4;

/// What each of them does.
const ATTACKS: usize = 1000;

/// Connections that each keeps open and silent: in the middle of a role line or of a frame.
const KEPT_OPEN: usize = 20;

/// Messages of a flood.
const FLOOD: usize = 500;

/// What a message begins with: one of the producer that behaves well.
const GOOD: u8 = b'g';

/// One of a flood that ends in an orderly way, so that all of it was taken.
const ORDERLY: u8 = b'o';

/// One of a flood that ends by a reset; some of those may not have been read.
const CUT_OFF: u8 = b'c';

#[test]
fn in_broadcast_nothing_is_lost_and_nobody_waits() {
    // Hostile consumers find a place too.
    soak("broadcast", "100", "1", 2);
    soak("broadcast", "100", "4", 2);
}

#[test]
fn in_queue_mode_nothing_is_lost_and_nobody_waits() {
    // Hostile consumers are refused: what they were given would be lost with them.
    soak("queue", "2", "1", 1);
    soak("queue", "2", "4", 1);
}

/// `copies`: how many of the two consumers get each message.
fn soak(mode: &str, max_consumers: &str, threads: &str, copies: usize) {
    let broker = Broker::start(&[
        ("DELIVERY_MODE", mode),
        ("OVERFLOW", "block"),
        ("MAX_CONSUMERS", max_consumers),
        ("WORKER_THREADS", threads),
    ]);
    let (arrived, arrivals) = channel();
    let consumers = [broker.consumer(), broker.consumer()].map(|stream| {
        let arrived = arrived.clone();
        thread::spawn(move || consume(stream, &arrived))
    });
    let mut producer = broker.producer();
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|seed| {
            let mut attacker = Attacker::new(broker.tcp(), seed);
            thread::spawn(move || attacker.attack())
        })
        .collect();

    let mut round = 0;
    while round < 100 || !attackers.iter().all(JoinHandle::is_finished) {
        send_good(&mut producer, round);
        expect_good(&arrivals, round, copies);
        round += 1;
    }
    let orderly: usize = attackers
        .into_iter()
        .map(|it| it.join().expect("it ran"))
        .sum();
    // Whoever was hostile is gone, with all its connections.
    broker.wait_for_metric("message_queue_connections", 3.0);
    assert_eq!(broker.get("/healthz").0, 200);
    for reason in [
        "backlog_messages",
        "backlog_bytes",
        "broker_bytes",
        "no_consumer",
        "shutdown",
    ] {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(
            broker.metric("message_queue_dropped_messages_total", &label),
            0.0,
            "{reason}"
        );
    }
    drop(producer);
    broker.signal("TERM");
    let taken: usize = consumers
        .into_iter()
        .map(|it| it.join().expect("it ran"))
        .sum();
    assert_eq!(taken, orderly * copies, "messages of orderly floods");
    assert!(orderly > 0 && broker.wait().0.success());
}

fn send_good(producer: &mut TcpStream, round: u64) {
    let message = [&[GOOD][..], &round.to_be_bytes()].concat();
    producer
        .write_all(&frames([message]))
        .expect("the broker reads");
}

fn expect_good(arrivals: &Receiver<u64>, round: u64, copies: usize) {
    for _ in 0..copies {
        assert_eq!(
            arrivals.recv_timeout(PATIENCE),
            Ok(round),
            "lost, late or out of order"
        );
    }
}

/// Reads to the end and tells of each good message. Returns how many there were of orderly floods.
fn consume(mut stream: TcpStream, arrived: &Sender<u64>) -> usize {
    let mut orderly = 0;
    while let Some(message) = read_message(&mut stream) {
        match message.split_first() {
            Some((&GOOD, round)) => {
                let round = round.try_into().expect("a number");
                arrived
                    .send(u64::from_be_bytes(round))
                    .expect("somebody counts");
            }
            Some((&ORDERLY, _)) => orderly += 1,
            Some((&CUT_OFF, _)) => {}
            _ => panic!("nobody sent {message:?}"),
        }
    }
    orderly
}

struct Attacker {
    broker: SocketAddr,
    random: SplitMix64,
    kept_open: VecDeque<TcpStream>,
    /// Messages of floods that ended in an orderly way.
    orderly: usize,
}

impl Attacker {
    fn new(broker: SocketAddr, seed: u64) -> Self {
        Self {
            broker,
            random: SplitMix64::new(seed),
            kept_open: VecDeque::new(),
            orderly: 0,
        }
    }

    /// Returns how many messages it sent in floods that ended in an orderly way.
    fn attack(&mut self) -> usize {
        for _ in 0..ATTACKS {
            match self.random.below(12) {
                0 => drop(self.connect()),
                1 => reset(self.connect()),
                2 => drop((0..30).map(|_| self.connect()).collect::<Vec<_>>()),
                3 => self.garbage(),
                4 => self.keep_open(b"PRODU"),
                5 => self.keep_open(b"PRODUCER\n\x00\x10\x00\x00\xff"),
                6 => reset(self.connect_with(b"PRODUCER\n\x00\x00\x00\x09cut")),
                7 => drop(self.connect_with(b"PRODUCER\n\xff\xff\xff\xff\xff")),
                8 => reset(self.connect_with(b"CONSUMER\n")),
                9 => drop(self.connect_with(b"CONSUMER\nPRODUCER\n")),
                10 => self.orderly_flood(),
                _ => self.cut_off_flood(),
            }
        }
        self.orderly
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.broker).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn connect_with(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("nothing has closed it yet");
        stream
    }

    /// Bytes that are no role line, whatever they are.
    fn garbage(&mut self) {
        let length = 1 + self.random.below(2000);
        let bytes = [&[0x80][..], &self.random.bytes(length)].concat();
        drop(self.connect_with(&bytes));
    }

    fn keep_open(&mut self, bytes: &[u8]) {
        self.kept_open.push_back(self.connect_with(bytes));
        if self.kept_open.len() > KEPT_OPEN {
            self.kept_open.pop_front();
        }
    }

    fn orderly_flood(&mut self) {
        let mut stream = self.connect_with(b"PRODUCER\n");
        stream
            .write_all(&self.flood(ORDERLY))
            .expect("the broker reads");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(read_bytes_to_end(&mut stream), b"");
        self.orderly += FLOOD;
    }

    fn cut_off_flood(&mut self) {
        let mut stream = self.connect_with(b"PRODUCER\n");
        let mut bytes = self.flood(CUT_OFF);
        bytes.pop();
        stream.write_all(&bytes).expect("the broker reads");
        reset(stream);
    }

    fn flood(&mut self, kind: u8) -> Vec<u8> {
        let size = self.random.below(1000);
        frames((0..FLOOD).map(|_| {
            let mut message = vec![0; 1 + size];
            message[0] = kind;
            message
        }))
    }
}
