//! One consumer: a thread that reads, and what it has read.

use super::clock::Clock;
use super::error::BenchError;
use super::message::{Checker, stamp};
use super::plan::{Plan, Reading};
use super::reading;
use super::verify::Ledger;
use hdrhistogram::Histogram;
use message_queue_core::DeliveryMode;
use message_queue_core::wire::LENGTH_PREFIX;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// The number of the last message of the warm-up.
pub(super) const WARM: u64 = u64::MAX;

/// The size of the body of a message of the warm-up: its number.
pub(super) const WARM_UP_SIZE: usize = 8;

/// One consumer, connected.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) number: usize,
    pub(super) stream: Arc<TcpStream>,
    pub(super) clock: Clock,
    pub(super) received: Arc<Received>,
    /// Woken when the warm-up goes on.
    pub(super) runner: Thread,
}

/// How far a consumer has come. Alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Received {
    /// Bytes of the messages of the run.
    bytes: AtomicU64,
    /// When the last of them came, in nanoseconds since the origin.
    last: AtomicU64,
    /// The number of the last message of the warm-up.
    warm_up: AtomicU64,
    /// From now on the end of the stream is the end of the run.
    ending: AtomicBool,
}

/// What a consumer has found out.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) latencies: Histogram<u64>,
    pub(super) ledger: Ledger,
}

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// When the last bytes came, since the origin.
    pub(super) fn last(&self) -> Duration {
        Duration::from_nanos(self.last.load(Ordering::Acquire))
    }

    pub(super) fn warm_up(&self) -> u64 {
        self.warm_up.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    fn add(&self, bytes: usize, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.last.store(nanos, Ordering::Release);
        self.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
    }
}

impl Consumer {
    /// Reads until the run ends.
    pub(super) fn run(self, plan: &Plan) -> Result<Found, BenchError> {
        let mut found = Found {
            latencies: latencies()?,
            ledger: Ledger::default(),
        };
        if plan.delivery == DeliveryMode::Broadcast {
            self.warm_up()?;
        }
        let result = match plan.reading {
            Reading::Count => self.count(plan),
            Reading::Walk => self.walk(plan, &mut found),
            Reading::Verify => self.verify(plan, &mut found),
        };
        match result {
            Err(BenchError::Client { .. }) | Ok(()) if self.is_ending() => Ok(found),
            Ok(()) => Err(BenchError::Closed(self.name())),
            Err(error) => Err(error),
        }
    }

    fn warm_up(&self) -> Result<(), BenchError> {
        loop {
            let mut frame = [0; LENGTH_PREFIX + WARM_UP_SIZE];
            match (&*self.stream).read_exact(&mut frame) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(BenchError::Closed(self.name()));
                }
                Err(error) => return Err(self.failed(error)),
            }
            let [_, _, _, _, number @ ..] = frame;
            let number = u64::from_be_bytes(number);
            self.received.warm_up.store(number, Ordering::Release);
            self.runner.unpark();
            if number == WARM {
                return Ok(());
            }
        }
    }

    fn count(&self, plan: &Plan) -> Result<(), BenchError> {
        reading::bytes(&self.stream, reading::buffer_size(plan), |bytes| {
            self.received.add(bytes, self.clock.now());
        })
        .map_err(|error| self.failed(error))
    }

    fn walk(&self, plan: &Plan, found: &mut Found) -> Result<(), BenchError> {
        self.messages(plan, |body, now| {
            if let Some(stamp) = stamp(body) {
                record(&mut found.latencies, now.saturating_sub(stamp));
            }
            Ok(())
        })
    }

    fn verify(&self, plan: &Plan, found: &mut Found) -> Result<(), BenchError> {
        let checker = Checker::new(plan.size);
        self.messages(plan, |body, now| {
            let Some((producer, number)) = checker.read(body) else {
                return Err(self.not_sent("the content of a message is not what was sent"));
            };
            if let Some(stamp) = stamp(body) {
                record(&mut found.latencies, now.saturating_sub(stamp));
            }
            found
                .ledger
                .add(producer, number)
                .map_err(|what| self.not_sent(&what))
        })
    }

    /// Calls `each` with the body of each message and the time when it was read.
    fn messages(
        &self,
        plan: &Plan,
        mut each: impl FnMut(&[u8], Duration) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let size = plan.size;
        let mut failure = None;
        reading::frames(&*self.stream, reading::buffer_size(plan), |frames| {
            let now = self.clock.now();
            let mut bytes = 0;
            for body in frames {
                let outcome = if body.len() == size {
                    each(body, now)
                } else {
                    let what = format!("a message of {} bytes; all have {size}", body.len());
                    Err(self.not_sent(&what))
                };
                if let Err(error) = outcome {
                    failure = Some(error);
                    return false;
                }
                bytes += LENGTH_PREFIX + size;
            }
            self.received.add(bytes, now);
            true
        })
        .map_err(|error| self.failed(error))?;
        failure.map_or(Ok(()), Err)
    }

    fn is_ending(&self) -> bool {
        self.received.ending.load(Ordering::Acquire)
    }

    fn name(&self) -> String {
        format!("consumer {}", self.number)
    }

    fn failed(&self, source: io::Error) -> BenchError {
        BenchError::Client {
            client: self.name(),
            source,
        }
    }

    fn not_sent(&self, what: &str) -> BenchError {
        BenchError::NotSent {
            consumer: self.number,
            what: what.to_owned(),
        }
    }
}

/// Room for latencies in microseconds, to three digits, up to a minute.
pub(super) fn latencies() -> io::Result<Histogram<u64>> {
    Histogram::new_with_max(60_000_000, 3).map_err(io::Error::other)
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}
