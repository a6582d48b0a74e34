//! One consumer: a thread that reads, and what it has read.

use super::clock::Clock;
use super::error::BenchError;
use super::guarantees::Acks;
use super::message::{Checker, stamp};
use super::plan::{Plan, Reading};
use super::reading::{self, Frame, Frames};
use super::verify::Ledger;
use super::wire::Wire;
use hdrhistogram::Histogram;
use message_queue_core::DeliveryMode;
use message_queue_core::wire::LENGTH_PREFIX;
use message_queue_core::wire::control::CONTROL_BIT;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// The number of the last message of the warm-up.
pub(super) const WARM: u64 = u64::MAX;

/// The size of the body of a message of the warm-up: its number.
pub(super) const WARM_UP_SIZE: usize = 8;

/// The longest frame that comes before the run: a name, or what is told of a run, is shorter.
const MAX_WARM_UP_FRAME: usize = 512;

/// One consumer, connected.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) number: usize,
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
    pub(super) fn run(&self, wire: &mut Wire, plan: &Plan) -> Result<Found, BenchError> {
        let mut found = Found {
            latencies: latencies()?,
            ledger: Ledger::default(),
        };
        let socket = Arc::clone(wire.socket());
        let mut acks = plan.guarantees.ack.then(|| Acks::new(&socket));
        if plan.delivery == DeliveryMode::Broadcast {
            self.warm_up(wire, acks.as_mut())?;
        }
        let result = match plan.reading {
            Reading::Count => self.count(wire, plan),
            Reading::Walk => self.walk(wire, plan, acks, &mut found),
            Reading::Verify => self.verify(wire, plan, acks, &mut found),
        };
        match result {
            Err(BenchError::Client { .. }) | Ok(()) if self.is_ending() => Ok(found),
            Ok(()) => Err(BenchError::Closed(self.name())),
            Err(error) => Err(error),
        }
    }

    fn warm_up(&self, wire: &mut Wire, mut acks: Option<&mut Acks<'_>>) -> Result<(), BenchError> {
        // Whole frames one by one, so that nothing of the run is taken.
        let mut header = [0; LENGTH_PREFIX];
        let mut body = [0; MAX_WARM_UP_FRAME];
        loop {
            self.read_exact(wire, &mut header)?;
            let header = u32::from_be_bytes(header);
            let length = (header & !CONTROL_BIT) as usize;
            let Some(body) = body.get_mut(..length) else {
                return Err(self.not_sent(&format!("{length} bytes before the run")));
            };
            self.read_exact(wire, body)?;
            if header & CONTROL_BIT != 0 {
                continue;
            }
            let Ok(number) = <[u8; WARM_UP_SIZE]>::try_from(&*body) else {
                return Err(self.not_sent(&format!("a message of {length} bytes before the run")));
            };
            let number = u64::from_be_bytes(number);
            if let Some(acks) = &mut acks {
                acks.settle(1).map_err(|error| self.failed(error))?;
            }
            self.received.warm_up.store(number, Ordering::Release);
            self.runner.unpark();
            if number == WARM {
                return Ok(());
            }
        }
    }

    fn read_exact(&self, wire: &mut Wire, bytes: &mut [u8]) -> Result<(), BenchError> {
        match wire.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(BenchError::Closed(self.name()))
            }
            result => result.map_err(|error| self.failed(error)),
        }
    }

    fn count(&self, wire: &mut Wire, plan: &Plan) -> Result<(), BenchError> {
        reading::bytes(wire, reading::buffer_size(plan), |bytes| {
            self.received.add(bytes, self.clock.now());
        })
        .map_err(|error| self.failed(error))
    }

    fn walk(
        &self,
        wire: &mut Wire,
        plan: &Plan,
        acks: Option<Acks<'_>>,
        found: &mut Found,
    ) -> Result<(), BenchError> {
        self.messages(wire, plan, acks, |body, now| {
            if let Some(stamp) = stamp(body) {
                record(&mut found.latencies, now.saturating_sub(stamp));
            }
            Ok(())
        })
    }

    fn verify(
        &self,
        wire: &mut Wire,
        plan: &Plan,
        acks: Option<Acks<'_>>,
        found: &mut Found,
    ) -> Result<(), BenchError> {
        let checker = Checker::new(plan.size);
        self.messages(wire, plan, acks, |body, now| {
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
        wire: &mut Wire,
        plan: &Plan,
        mut acks: Option<Acks<'_>>,
        mut each: impl FnMut(&[u8], Duration) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let size = plan.size;
        let mut outcome = Ok(());
        reading::frames(wire, reading::buffer_size(plan), |frames| {
            outcome = self.batch(frames, size, &mut acks, &mut each);
            outcome.is_ok()
        })
        .map_err(|error| self.failed(error))?;
        outcome
    }

    /// What one read has brought.
    fn batch(
        &self,
        frames: &mut Frames<'_>,
        size: usize,
        acks: &mut Option<Acks<'_>>,
        each: &mut impl FnMut(&[u8], Duration) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let now = self.clock.now();
        let mut messages = 0;
        for frame in frames {
            match frame {
                Frame::Message(body) if body.len() == size => {
                    each(body, now)?;
                    messages += 1;
                }
                Frame::Message(body) => {
                    let what = format!("a message of {} bytes; all have {size}", body.len());
                    return Err(self.not_sent(&what));
                }
                Frame::Control(_) if acks.is_some() => {}
                Frame::Control(_) => return Err(self.not_sent("a control frame")),
            }
        }
        if let Some(acks) = acks {
            acks.settle(messages).map_err(|error| self.failed(error))?;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no more than one read brings"
        )]
        self.received
            .add(messages as usize * (LENGTH_PREFIX + size), now);
        Ok(())
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
