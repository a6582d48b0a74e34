//! A reader that begins at the first message of a topic that is on the disk, beside a producer and a consumer that is up
//! to date.

use super::scratch::Scratch;
use super::{Tell, common, confirming, of_file, per_second};
use crate::bench::error::BenchError;
use crate::bench::guarantees::Guarantees;
use crate::bench::outcome::Outcome;
use crate::bench::plan::{Plan, Reading, Volume};
use crate::bench::reading;
use crate::bench::run::{open, run};
use crate::bench::table::{bytes, whole};
use crate::bench::target::{Kind, Target};
use crate::settings::FolderEngine;
use message_queue_core::DeliveryMode;
use message_queue_core::wire::handshake::{ConsumerOptions, RoleOptions, Start};
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// How many bytes are on their way when the topic is filled.
const FILL_WINDOW: usize = 8 << 20;

/// What the tail carries where nothing is said, in messages a second.
const TAIL_RATE: f64 = 10_000.0;

/// How much the yardsticks read at a time: as much as a consumer.
const READ_BYTES: usize = 256 << 10;

/// What came of it.
#[derive(Clone, Debug)]
pub struct CatchingUp {
    /// Bytes of frames that were stored before.
    pub stored: u64,
    /// How long the reader took for them.
    pub reader: Duration,
    /// How long a loop took that reads the same files, the system's memory of them thrown away as well.
    pub bare: Duration,
    /// A broadcast to one consumer through the relay.
    pub relay: Outcome,
    /// A producer and a consumer on the same topic, without the reader.
    pub tail_alone: Outcome,
    /// The same beside it.
    pub tail: Outcome,
}

/// Stores `stored` bytes of messages of the plan's size, has the system forget them, and reads them, in a folder of
/// `parent`.
///
/// # Errors
/// If some part of it comes to nothing.
pub fn catch_up(
    plan: &Plan,
    parent: &Path,
    stored: u64,
    tell: Tell<'_>,
) -> Result<CatchingUp, BenchError> {
    let scratch = Scratch::new(parent)?;
    let plan = Plan {
        delivery: DeliveryMode::Broadcast,
        producers: 1,
        consumers: 1,
        storage: scratch.storage(FolderEngine::Disk, "always"),
        ..plan.clone()
    };
    // One consumer more than the plan has.
    let room = Plan {
        consumers: 3,
        ..plan.clone()
    };
    let target = Target::start(Kind::Broker, &room)?;
    let stored = fill(&plan, &target, stored, tell)?;
    let tail = Plan {
        rate: Some(plan.rate.unwrap_or(TAIL_RATE)),
        reading: Reading::Walk,
        ..plan.clone()
    };
    let tail_alone = run(&tail, &target, |progress| {
        tell("tail alone", &tail, progress)
    })?;
    // The host of a virtual machine may have to find memory for what the system keeps of files: both find it there.
    forget_and_read(&scratch).map_err(of_file)?;
    scratch.forget().map_err(of_file)?;
    let stream = reader(&target)?;
    let reading = thread::Builder::new().spawn(move || read_all(&stream, stored))?;
    let beside = run(&tail, &target, |progress| {
        tell("tail beside", &tail, progress)
    });
    let reader = reading.join().map_err(|_| BenchError::Panicked)?;
    let (beside, reader) = (beside?, reader.map_err(of_reader)?);
    drop(target);

    let bare = forget_and_read(&scratch).map_err(of_file)?;
    let relayed = Plan {
        reading: Reading::Count,
        rate: None,
        guarantees: Guarantees::default(),
        ..plan
    };
    let relay = Target::start(Kind::Relay, &relayed)?;
    let relay = run(&relayed, &relay, |progress| {
        tell("relay", &relayed, progress)
    })?;
    Ok(CatchingUp {
        stored,
        reader,
        bare,
        relay,
        tail_alone,
        tail: beside,
    })
}

/// Stores about so many bytes of frames; returns how many.
pub(super) fn fill(
    plan: &Plan,
    target: &Target,
    bytes: u64,
    tell: Tell<'_>,
) -> Result<u64, BenchError> {
    let frame = plan.frame_size();
    let messages = (bytes / frame as u64).max(1);
    let filling = Plan {
        volume: Volume::Messages(messages),
        rate: None,
        reading: Reading::Count,
        guarantees: Guarantees {
            confirm: true,
            ack: false,
            window: u32::try_from((FILL_WINDOW / frame).max(2)).unwrap_or(u32::MAX),
        },
        ..plan.clone()
    };
    confirming::send(&filling, target, |progress| {
        tell("store", &filling, progress)
    })?;
    Ok(messages * frame as u64)
}

fn of_reader(source: io::Error) -> BenchError {
    BenchError::Client {
        client: "the reader".to_owned(),
        source,
    }
}

/// A consumer that begins at the first message.
fn reader(target: &Target) -> Result<TcpStream, BenchError> {
    let options = ConsumerOptions {
        common: common(),
        from: Start::First,
        ..ConsumerOptions::default()
    };
    open(target.addr(), &RoleOptions::Consumer(options).line())
}

/// Reads so much. Returns how long that took.
fn read_all(stream: &TcpStream, bytes: u64) -> io::Result<Duration> {
    let start = Instant::now();
    let (mut read, mut buffer, mut at) = (0, vec![0; READ_BYTES + reading::PAGE], 0);
    while read < bytes {
        at = reading::next_start(at);
        match (&mut &*stream).read(&mut buffer[at..at + READ_BYTES])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => read += some as u64,
        }
    }
    Ok(start.elapsed())
}

/// Reads all segments from the disk.
fn forget_and_read(scratch: &Scratch) -> io::Result<Duration> {
    scratch.forget()?;
    let mut buffer = vec![0; READ_BYTES];
    let start = Instant::now();
    for (path, _) in scratch.segments()? {
        let mut file = File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(start.elapsed())
}

impl CatchingUp {
    /// Bytes a second: the reader's, the loop's and the relay's.
    fn rates(&self) -> [f64; 3] {
        let relayed = self.relay.delivered * (self.stored_frame() as u64);
        [
            per_second(self.stored, self.reader),
            per_second(self.stored, self.bare),
            per_second(relayed, self.relay.elapsed),
        ]
    }

    const fn stored_frame(&self) -> usize {
        message_queue_core::wire::LENGTH_PREFIX + self.relay.size
    }

    /// These figures for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let [reader, bare, relay] = self.rates();
        json!({
            "stored_bytes": self.stored,
            "reader_bytes_per_second": reader,
            "files_bytes_per_second": bare,
            "relay_bytes_per_second": relay,
            "reader_to_relay": reader / relay,
            "reader_to_files": reader / bare,
            "tail_alone": self.tail_alone.to_json(),
            "tail_beside": self.tail.to_json(),
        })
    }
}

impl fmt::Display for CatchingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [reader, bare, relay] = self.rates();
        writeln!(
            f,
            "{} stored in messages of {} B, read from the first one with nothing of it in the system's memory",
            bytes(self.stored as f64),
            self.relay.size
        )?;
        writeln!(f, "reader     {:>12}/s", bytes(reader))?;
        writeln!(
            f,
            "the relay  {:>12}/s, reader / relay {:.2}",
            bytes(relay),
            reader / relay
        )?;
        writeln!(
            f,
            "the files  {:>12}/s, reader / files {:.2}",
            bytes(bare),
            reader / bare
        )?;
        for (name, tail) in [("alone", &self.tail_alone), ("beside", &self.tail)] {
            let p50 = tail.latency.map_or(0, |it| it.p50);
            let p99 = tail.latency.map_or(0, |it| it.p99);
            writeln!(
                f,
                "tail {name:<6} {:>9} messages/s, p50 {p50} µs, p99 {p99} µs",
                whole(tail.rate())
            )?;
        }
        let ratio = self.tail.rate() / self.tail_alone.rate();
        writeln!(f, "tail beside the reader / alone, rate: {ratio:.2}")
    }
}
