//! The memory of the real process, held to the formula that `docs/SETTINGS.md` states.

#![cfg(target_os = "linux")]

use message_queue_tests::frames::frames;
use message_queue_tests::process::{Broker, PATIENCE};
use message_queue_tests::usage::Memory;
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use tokio::time::Instant;

const MIB: usize = 1 << 20;

/// The largest message with its length.
const MAX_FRAME: usize = MIB + 4;

/// What the settings allow a broker to take beyond what it takes when idle.
struct Formula {
    broker_bytes: usize,
    read_bytes: usize,
    write_bytes: usize,
    /// Messages that may wait, in all backlogs together.
    waiting: usize,
    producers: usize,
    consumers: usize,
}

impl Formula {
    /// In bytes.
    fn bound(&self) -> usize {
        let producer = 2 * (self.read_bytes + MAX_FRAME);
        let consumer = 2 * self.write_bytes.max(MAX_FRAME);
        let connections = self.producers + self.consumers;
        2 * (self.broker_bytes + MAX_FRAME)
            + 256 * self.waiting
            + producer * self.producers
            + consumer * self.consumers
            + (16 << 10) * connections
    }

    fn holds(&self, job: &str, taken: usize) {
        let bound = self.bound();
        println!("{job}: {taken} bytes, {bound} allowed");
        assert!(taken <= bound, "{job}: {taken} bytes, more than {bound}");
    }
}

#[test]
fn an_idle_broker_is_small() {
    let broker = Broker::start(&[]);
    let memory = Memory::of(broker.pid());
    assert!(memory.anonymous < 12 * MIB, "{memory:?}");
    if !cfg!(debug_assertions) {
        // The program's own pages are many in a build for debuggers.
        assert!(memory.resident < 12 * MIB, "{memory:?}");
    }
}

/// Each consumer comes when those before it are full, so that no two share what they wait for.
#[test]
fn stuck_consumers_with_backlogs_of_their_own_stay_within_the_formula() {
    const BACKLOG: usize = 4 * MIB;
    let formula = Formula {
        broker_bytes: 4 * BACKLOG,
        read_bytes: 64 << 10,
        write_bytes: 64 << 10,
        waiting: 6 * 5000,
        producers: 1,
        consumers: 6,
    };
    for size in [1000, MIB] {
        let broker = Broker::start(&[
            ("BACKLOG_BYTES", &BACKLOG.to_string()),
            ("BROKER_BYTES", &formula.broker_bytes.to_string()),
            ("READ_BYTES", &formula.read_bytes.to_string()),
            ("WRITE_BYTES", &formula.write_bytes.to_string()),
            ("CONSUMER_CHANNEL_BUFFER_SIZE", "5000"),
            ("SEND_BUFFER_BYTES", "4096"),
        ]);
        let idle = Memory::of(broker.pid());
        let mut producer = broker.producer();
        let batch = frames(vec![vec![7; size]; MIB.div_ceil(size)]);
        let mut stuck: Vec<TcpStream> = Vec::new();
        for _ in 0..formula.consumers {
            stuck.push(broker.consumer());
            for _ in 0..6 {
                producer.write_all(&batch).expect("nobody blocks it");
            }
            // Its end is the proof that all of it was read; the next consumer gets new messages.
            producer.shutdown(Shutdown::Write).expect("an orderly end");
            broker.wait_for_close(&producer);
            producer = broker.producer();
        }
        let waiting = broker.metric("message_queue_waiting_bytes", "");
        let peak = Memory::of(broker.pid()).peak;
        assert!(
            waiting > formula.broker_bytes as f64 * 0.7,
            "{size}: only {waiting} bytes wait"
        );
        formula.holds(&format!("messages of {size} bytes"), peak - idle.resident);
    }
}

/// Producers that wait for room hold a batch, or the begin of another message.
#[test]
fn producers_that_wait_for_room_stay_within_the_formula() {
    // Large messages have room in all bytes for the part of each that has arrived.
    for (size, backlog_bytes, broker_bytes) in [(1000, 4 * MIB, 4 * MIB), (MIB, 12 * MIB, 32 * MIB)]
    {
        let formula = Formula {
            broker_bytes,
            read_bytes: 64 << 10,
            write_bytes: 64 << 10,
            waiting: 5000,
            producers: 16,
            consumers: 1,
        };
        let broker = Broker::start(&[
            ("DELIVERY_MODE", "queue"),
            ("OVERFLOW", "block"),
            ("QUEUE_CAPACITY", "5000"),
            ("BACKLOG_BYTES", &backlog_bytes.to_string()),
            ("BROKER_BYTES", &formula.broker_bytes.to_string()),
            ("READ_BYTES", &formula.read_bytes.to_string()),
            ("WRITE_BYTES", &formula.write_bytes.to_string()),
            ("SEND_BUFFER_BYTES", "4096"),
        ]);
        let idle = Memory::of(broker.pid());
        let _stuck = broker.consumer();
        let batch = frames(vec![vec![7; size]; (2 * MIB).div_ceil(size)]);
        let mut producers: Vec<_> = (0..formula.producers).map(|_| broker.producer()).collect();
        fill(&broker, &mut producers, &batch);
        let held = broker.metric("message_queue_held_bytes", "");
        println!("{size}: {held} bytes are held");
        assert!(
            held > formula.broker_bytes as f64 * 0.5,
            "{size}: only {held} bytes are held"
        );
        let taken = Memory::of(broker.pid()).peak - idle.resident;
        formula.holds(&format!("messages of {size} bytes"), taken);
    }
}

/// Each would bring a read if it could. They are not read from all at once because the broker is about
/// to end.
#[test]
fn a_drain_with_many_blocked_producers_stays_within_the_formula() {
    const PRODUCERS: usize = 64;
    let formula = Formula {
        broker_bytes: 8 * MIB,
        read_bytes: MIB,
        write_bytes: MIB,
        waiting: 8 * MIB / 1000,
        // No more than one is read from at a time.
        producers: 1,
        consumers: 1,
    };
    let bound = formula.bound() + (16 << 10) * PRODUCERS;
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("BACKLOG_BYTES", &formula.broker_bytes.to_string()),
        ("BROKER_BYTES", &formula.broker_bytes.to_string()),
    ]);
    let idle = Memory::of(broker.pid());
    let mut consumer = broker.consumer();
    let producers: Vec<_> = (0..PRODUCERS).map(|_| broker.producer()).collect();
    let batch = frames(vec![vec![7; 1000]; 8 * MIB / 1000]);
    thread::scope(|scope| {
        for mut producer in &producers {
            let batch = &batch;
            // In the end it is let go.
            scope.spawn(move || while producer.write_all(batch).is_ok() {});
        }
        // Until the broker reads as much at a time as it may from each of them.
        let all = (PRODUCERS * batch.len() / 2) as u64;
        let flows = io::copy(&mut Read::by_ref(&mut consumer).take(all), &mut io::sink());
        assert_eq!(flows.expect("the broker writes"), all);
        broker.signal("TERM");
        broker.wait_for_log(|line| line["message"] == "draining");
        // Each may have its last reads, and then come to an end.
        let mut buffer = vec![0; MIB];
        let mut taken = 0;
        // By the log, which can be read when the broker has ended, too.
        let gone = |line: &&Value| line["message"] == "closed" && line["role"] == "producer";
        while broker.log().iter().filter(gone).count() < PRODUCERS * 3 / 4 {
            taken = Memory::of(broker.pid()).peak - idle.resident;
            let received = consumer.read(&mut buffer).expect("the broker writes");
            if received == 0 {
                // That was all.
                break;
            }
        }
        assert!(taken > 0, "it ended before anybody could look");
        println!("{taken} bytes, {bound} allowed");
        assert!(taken <= bound, "{taken} bytes, more than {bound}");
    });
}

/// The dearest messages: the smallest, each in a read of its own.
#[test]
fn single_small_messages_stay_within_the_formula() {
    const PRODUCERS: usize = 200;
    const ROUNDS: usize = 150;
    let formula = Formula {
        broker_bytes: MAX_FRAME,
        read_bytes: 4 << 10,
        write_bytes: 4 << 10,
        waiting: PRODUCERS * ROUNDS,
        // They send little, so none of them has a buffer of its own for long.
        producers: 0,
        consumers: 1,
    };
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("QUEUE_CAPACITY", &formula.waiting.to_string()),
        ("BACKLOG_BYTES", &formula.broker_bytes.to_string()),
        ("BROKER_BYTES", &formula.broker_bytes.to_string()),
    ]);
    let mut producers: Vec<_> = (0..PRODUCERS).map(|_| broker.producer()).collect();
    let message = frames([b"x"]);
    for producer in &mut producers {
        producer.set_nodelay(true).expect("a TCP socket");
        producer.write_all(&message).expect("the broker reads");
    }
    broker.wait_for_metric("message_queue_waiting_messages", PRODUCERS as f64);
    let connected = Memory::of(broker.pid());
    for round in 1..ROUNDS {
        for producer in &mut producers {
            producer.write_all(&message).expect("the broker reads");
        }
        // Two messages of a producer never meet in one read.
        let sent = (round + 1) * PRODUCERS;
        broker.wait_for_metric("message_queue_waiting_messages", sent as f64);
    }
    let taken = Memory::of(broker.pid()).peak - connected.resident;
    formula.holds("single messages of 1 byte", taken);
}

/// Producers that flood take turns in a few read buffers, and no more of them are read from than
/// there is room for: together they take nothing like a buffer each.
#[test]
fn many_busy_producers_share_a_few_buffers() {
    const PRODUCERS: usize = 100;
    const BACKLOG: usize = 4 * MIB;
    const READ: usize = MIB;
    let broker = Broker::start(&[
        ("OVERFLOW", "block"),
        ("CONSUMER_CHANNEL_BUFFER_SIZE", "1000000"),
        ("BACKLOG_BYTES", &BACKLOG.to_string()),
        ("READ_BYTES", &READ.to_string()),
    ]);
    let mut consumer = broker.consumer();
    let producers: Vec<_> = (0..PRODUCERS).map(|_| broker.producer()).collect();
    broker.wait_for_metric("message_queue_producers", PRODUCERS as f64);
    let idle = Memory::of(broker.pid());
    let batch = frames(vec![vec![7; 1000]; 8 * MIB / 1000]);
    let sent = (PRODUCERS * batch.len()) as u64;
    thread::scope(|scope| {
        for mut producer in producers {
            let batch = &batch;
            scope.spawn(move || producer.write_all(batch).expect("the broker reads"));
        }
        let mut received = Read::by_ref(&mut consumer).take(sent);
        let received = io::copy(&mut received, &mut io::sink()).expect("the broker writes");
        assert_eq!(received, sent);
    });
    let taken = Memory::of(broker.pid()).peak - idle.resident;
    // What waits, what is in flight, and as much again.
    let bound = 2 * (BACKLOG + 4 * READ);
    println!("{taken} bytes, {bound} allowed");
    assert!(taken <= bound, "{taken} bytes, more than {bound}");
}

/// What a long queue took, the system has again when the queue is empty.
#[test]
fn a_queue_that_was_drained_gives_its_memory_back() {
    const MESSAGES: usize = 80_000;
    const SIZE: usize = 3_000;
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("QUEUE_CAPACITY", &MESSAGES.to_string()),
        ("BACKLOG_BYTES", "512MiB"),
        ("BROKER_BYTES", "512MiB"),
    ]);
    let idle = Memory::of(broker.pid()).anonymous;
    let batch = frames(vec![vec![7; SIZE]; 1000]);
    let mut producer = broker.producer();
    for _ in 0..MESSAGES / 1000 {
        producer.write_all(&batch).expect("the broker reads");
    }
    broker.wait_for_metric("message_queue_waiting_messages", MESSAGES as f64);
    let full = Memory::of(broker.pid()).anonymous;
    assert!(full > MESSAGES * SIZE, "{full} bytes");
    let mut consumer = broker.consumer();
    let all = (MESSAGES * (SIZE + 4)) as u64;
    let mut received = Read::by_ref(&mut consumer).take(all);
    let received = io::copy(&mut received, &mut io::sink()).expect("the broker writes");
    assert_eq!(received, all);
    let began = Instant::now();
    loop {
        // It goes on with other work meanwhile, if little.
        assert_eq!(broker.get("/healthz").0, 200);
        let now = Memory::of(broker.pid()).anonymous;
        if now < idle + 16 * MIB {
            println!(
                "{idle} idle, {full} full, {now} after {:?}",
                began.elapsed()
            );
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{now} bytes, {idle} when idle");
    }
}

/// Each stops one byte short of the largest message. They have their part of `BROKER_BYTES`, and a
/// deadline.
#[test]
fn producers_that_stop_within_a_message_stay_within_the_formula() {
    const PRODUCERS: usize = 300;
    const BUDGET: usize = 64 * MIB;
    /// So many come at a time: what they send may be on its way into the budget, or out of it again.
    const ON_THE_WAY: usize = 10;
    let formula = Formula {
        broker_bytes: BUDGET,
        read_bytes: MIB,
        write_bytes: MIB,
        waiting: 0,
        producers: ON_THE_WAY,
        consumers: PRODUCERS,
    };
    let bound = formula.bound() - 2 * MAX_FRAME * PRODUCERS;
    let broker = Broker::start(&[
        ("BROKER_BYTES", &BUDGET.to_string()),
        ("FRAME_TIMEOUT_MS", "5000"),
    ]);
    let idle = Memory::of(broker.pid());
    let message = frames([vec![7; MIB]]);
    let closed = |reason| {
        let label = format!("reason=\"{reason}\"");
        broker.metric("message_queue_connections_closed_total", &label)
    };
    let mut stopped = Vec::new();
    for came in 1..=PRODUCERS {
        let mut producer = broker.producer();
        // It may be closed before it has taken all of it.
        let _ = producer.write_all(&message[..message.len() - 1]);
        stopped.push(producer);
        if came % ON_THE_WAY == 0 {
            // All that the budget has no room for are closed.
            let fits = |open| open <= (BUDGET / MIB) as f64;
            broker.wait_until("message_queue_producers", fits);
        }
    }
    broker.wait_for_metric("message_queue_producers", 0.0);
    let taken = Memory::of(broker.pid()).peak - idle.resident;
    println!("{taken} bytes, {bound} allowed");
    assert!(taken <= bound, "{taken} bytes, more than {bound}");
    let (short, late) = (closed("broker_bytes"), closed("frame_timeout"));
    assert_eq!(short + late, PRODUCERS as f64, "{short} and {late}");
    assert!(
        late >= 1.0 && short >= (PRODUCERS - 2 * BUDGET / MIB) as f64,
        "{short} and {late}"
    );
    // Whoever sends whole messages is served.
    let mut producer = broker.producer();
    producer.write_all(&message).expect("the broker reads");
    broker.wait_for_metric("message_queue_received_messages_total", 1.0);
}

/// Writes these bytes, again and again, until a producer waits for room and none gets in any more
/// however often the broker has its turn.
fn fill(broker: &Broker, producers: &mut [TcpStream], bytes: &[u8]) {
    const ROUNDS: usize = 20;
    let mut written = vec![0; producers.len()];
    let mut quiet = 0;
    while quiet < ROUNDS {
        quiet += 1;
        for (producer, written) in producers.iter_mut().zip(&mut written) {
            producer.set_nonblocking(true).expect("a TCP socket");
            match producer.write(&bytes[*written..]) {
                Ok(size) => {
                    *written = (*written + size) % bytes.len();
                    quiet = 0;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        // Answered by the threads that serve connections, so they come round.
        if broker.metric("message_queue_parked_bytes", "") == 0.0 {
            quiet = 0;
        }
    }
}
