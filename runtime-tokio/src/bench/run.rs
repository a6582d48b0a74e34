//! One run: connect, warm up, let the producers go, wait for the last message.

use super::clock::Clock;
use super::consumer::{Consumer, Found, Received, WARM, WARM_UP_SIZE, latencies};
use super::error::BenchError;
use super::gate::Gate;
use super::guarantees::introduce;
use super::outcome::{Cost, Latency, Outcome};
use super::plan::{Plan, Reading, Transport};
use super::producer::{Producer, Sent};
use super::target::Target;
use super::verify;
use super::wire::Wire;
use message_queue_core::DeliveryMode;
use message_queue_core::wire::{FrameBatch, Role};
use socket2::SockRef;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::time::Instant;

/// How often the runner looks how far the run is.
const LOOK: Duration = Duration::from_millis(10);

/// How long a message of the warm-up may take before another is sent.
const WARM_UP_STEP: Duration = Duration::from_millis(50);

/// How long the warm-up may take.
const WARM_UP: Duration = Duration::from_secs(10);

/// What has not come for so long does not come any more.
const SILENCE: Duration = Duration::from_secs(3);

/// How long everything may stand still while producers are not done.
const STALL: Duration = Duration::from_secs(10);

/// The stack of a client's thread, in bytes: enough, and little where there are thousands.
const STACK: usize = 256 << 10;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// For how long producers have been sending.
    pub elapsed: Duration,
    /// How many messages they have sent.
    pub sent: u64,
    /// How many messages consumers have received.
    pub delivered: u64,
}

/// Does what `plan` says to `target`, and tells `progress` now and then how far it is.
///
/// # Errors
/// If the plan is not possible, a connection fails, nothing moves any more, or something was
/// received that was not sent.
pub fn run(
    plan: &Plan,
    target: &Target,
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, BenchError> {
    plan.check()?;
    if plan.rate.is_some() {
        wake_on_time();
    }
    let clock = Clock::start();
    let shared = Arc::new(plan.clone());
    let consumers = Clients::consumers(&shared, target, clock)?;
    if plan.delivery == DeliveryMode::Broadcast {
        warm_up(plan, target, &consumers.tallies)?;
    }
    let gate = Arc::new(Gate::default());
    let producers = Clients::producers(&shared, target, clock, &gate)?;

    let before = target.usage();
    let start = gate.open();
    wait(plan, start, &producers, &consumers, &mut progress)?;
    let after = target.usage();

    let sent = producers.sent();
    producers.join(|_| ())?;
    let bytes = consumers.bytes();
    let last = consumers
        .tallies
        .iter()
        .map(|received| received.last())
        .max();
    for received in &consumers.tallies {
        received.end();
    }
    let found = consumers.join(|stream| {
        // An end that comes from elsewhere is noticed by the thread that reads.
        let _ = stream.shutdown(Shutdown::Both);
    })?;

    let mut outcome = Outcome {
        sent,
        expected: sent * plan.copies(),
        delivered: bytes / plan.frame_size() as u64,
        size: plan.size,
        elapsed: last
            .unwrap_or_default()
            .saturating_sub(clock.since_origin(start)),
        latency: latency(&found)?,
        cost: None,
        verified: plan.reading == Reading::Verify,
    };
    if let (Some(before), Some(after)) = (before, after) {
        outcome.cost = Some(Cost::new(
            after.cpu.saturating_sub(before.cpu),
            after.peak_bytes,
            outcome.delivered,
        ));
    }
    if plan.delivery == DeliveryMode::Queue
        && let Some(what) = verify::shared_message(found.iter().map(|found| &found.ledger))
    {
        return Err(BenchError::NotSent { consumer: 0, what });
    }
    Ok(outcome)
}

/// Clients of one kind: their threads, and what they tell while they run.
struct Clients<T, R> {
    sockets: Vec<Arc<TcpStream>>,
    tallies: Vec<Arc<T>>,
    threads: Vec<JoinHandle<Result<R, BenchError>>>,
}

impl<T: Default, R: Send + 'static> Clients<T, R> {
    fn connect(
        role: Role,
        count: usize,
        target: &Target,
        plan: &Plan,
        mut client: impl FnMut(usize, Wire, Arc<T>) -> Box<dyn FnOnce() -> Result<R, BenchError> + Send>,
    ) -> Result<Self, BenchError> {
        let mut clients = Self {
            sockets: Vec::new(),
            tallies: Vec::new(),
            threads: Vec::new(),
        };
        for number in 0..count {
            let wire = connect(target, role, plan)?;
            let socket = Arc::clone(wire.socket());
            let tally = Arc::new(T::default());
            let run = client(number, wire, Arc::clone(&tally));
            let thread = thread::Builder::new().stack_size(STACK).spawn(run)?;
            clients.sockets.push(socket);
            clients.tallies.push(tally);
            clients.threads.push(thread);
        }
        Ok(clients)
    }

    fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the threads, after `end` was done to each of their connections.
    fn join(self, end: impl Fn(&TcpStream)) -> Result<Vec<R>, BenchError> {
        self.sockets.iter().for_each(|socket| end(socket));
        let join = |thread: JoinHandle<_>| thread.join().map_err(|_| BenchError::Panicked)?;
        self.threads.into_iter().map(join).collect()
    }
}

impl Clients<Sent, ()> {
    fn producers(
        plan: &Arc<Plan>,
        target: &Target,
        clock: Clock,
        gate: &Arc<Gate>,
    ) -> Result<Self, BenchError> {
        Self::connect(
            Role::Producer,
            plan.producers,
            target,
            plan,
            |number, mut wire, sent| {
                if let Some(bytes) = plan.send_buffer() {
                    // A size that the kernel does not allow is cut to one that it does.
                    let _ = SockRef::from(&**wire.socket()).set_send_buffer_size(bytes);
                }
                let producer = Producer {
                    number,
                    clock,
                    sent,
                };
                let (plan, gate) = (Arc::clone(plan), Arc::clone(gate));
                Box::new(move || producer.run(&mut wire, &plan, &gate))
            },
        )
    }

    fn sent(&self) -> u64 {
        self.tallies.iter().map(|sent| sent.get()).sum()
    }
}

impl Clients<Received, Found> {
    fn consumers(plan: &Arc<Plan>, target: &Target, clock: Clock) -> Result<Self, BenchError> {
        let runner = thread::current();
        Self::connect(
            Role::Consumer,
            plan.consumers,
            target,
            plan,
            |number, mut wire, received| {
                let consumer = Consumer {
                    number,
                    clock,
                    received,
                    runner: runner.clone(),
                };
                let plan = Arc::clone(plan);
                Box::new(move || consumer.run(&mut wire, &plan))
            },
        )
    }

    fn bytes(&self) -> u64 {
        self.tallies.iter().map(|received| received.bytes()).sum()
    }

    /// Whether one of them has ended before its time.
    fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

/// A client of the plan, connected.
fn connect(target: &Target, role: Role, plan: &Plan) -> Result<Wire, BenchError> {
    let Some(tls) = target.tls().filter(|_| plan.transport == Transport::Tls) else {
        let stream = connect_plain(target.addr(), role, plan)?;
        return Ok(Wire::plain(stream));
    };
    connect_to(tls.addr, |stream| {
        let mut wire = Wire::tls(stream, tls.client())?;
        wire.write_all(role.line().as_bytes())?;
        Ok(wire)
    })
}

/// The same without TLS.
pub(super) fn connect_plain(
    addr: SocketAddr,
    role: Role,
    plan: &Plan,
) -> Result<TcpStream, BenchError> {
    connect_to(addr, |stream| {
        plan.guarantees.begin(&stream, role, plan)?;
        Ok(stream)
    })
}

/// A client that says this line, and was let in.
pub(super) fn open(addr: SocketAddr, role_line: &str) -> Result<TcpStream, BenchError> {
    connect_to(addr, |stream| {
        introduce(&stream, role_line)?;
        Ok(stream)
    })
}

fn connect_to<T>(
    addr: SocketAddr,
    begin: impl FnOnce(TcpStream) -> std::io::Result<T>,
) -> Result<T, BenchError> {
    let connect = || {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        begin(stream)
    };
    connect().map_err(|source| BenchError::Connect {
        addr: addr.to_string(),
        source,
    })
}

/// Publishes messages until each consumer receives what is published, and then the one that ends
/// the warm-up: what is received after it belongs to the run.
fn warm_up(plan: &Plan, target: &Target, consumers: &[Arc<Received>]) -> Result<(), BenchError> {
    let addr = target.addr();
    let mut wire = connect(target, Role::Producer, plan)?;
    let started = Instant::now();
    for number in 1.. {
        publish(&mut wire, addr, number)?;
        let sent = Instant::now();
        while sent.elapsed() < WARM_UP_STEP {
            // The last one sent: so none is on its way when the last of all follows.
            if consumers
                .iter()
                .all(|received| received.warm_up() == number)
            {
                return publish(&mut wire, addr, WARM);
            }
            thread::park_timeout(WARM_UP_STEP.saturating_sub(sent.elapsed()));
        }
        if started.elapsed() > WARM_UP {
            break;
        }
    }
    Err(BenchError::NotReady(WARM_UP))
}

fn publish(wire: &mut Wire, addr: SocketAddr, number: u64) -> Result<(), BenchError> {
    let message: [u8; WARM_UP_SIZE] = number.to_be_bytes();
    let connect = |source| BenchError::Connect {
        addr: addr.to_string(),
        source,
    };
    let batch =
        FrameBatch::encode([message]).map_err(|error| connect(std::io::Error::other(error)))?;
    wire.write_all(batch.as_bytes()).map_err(connect)
}

/// Waits until all that was sent was received, or nothing more comes.
fn wait(
    plan: &Plan,
    start: Instant,
    producers: &Clients<Sent, ()>,
    consumers: &Clients<Received, Found>,
    progress: &mut impl FnMut(Progress),
) -> Result<(), BenchError> {
    let (mut before, mut moved) = ((0, 0), Instant::now());
    loop {
        // In this order: who has ended, sends no more.
        let ended = producers.has_ended();
        let (sent, bytes) = (producers.sent(), consumers.bytes());
        let delivered = bytes / plan.frame_size() as u64;
        progress(Progress {
            elapsed: start.elapsed(),
            sent,
            delivered,
        });
        if (sent, bytes) != before {
            (before, moved) = ((sent, bytes), Instant::now());
        }
        if ended && delivered >= sent * plan.copies() || consumers.has_failed() {
            return Ok(());
        }
        let idle = moved.elapsed();
        if ended && idle > SILENCE {
            return Ok(());
        }
        let pause = plan
            .rate
            .map_or(0.0, |rate| 2.0 * plan.producers as f64 / rate);
        if idle.as_secs_f64() > STALL.as_secs_f64() + pause {
            return Err(BenchError::Stalled(STALL));
        }
        thread::park_timeout(LOOK);
    }
}

fn latency(found: &[Found]) -> Result<Option<Latency>, BenchError> {
    let mut all = latencies()?;
    for found in found {
        all.add(&found.latencies).map_err(std::io::Error::other)?;
    }
    Ok((!all.is_empty()).then(|| Latency::of(&all)))
}

/// Asks Linux to wake threads when they asked for it and not up to 50 µs later, which is its
/// default. Threads that start from now on inherit it. Where it cannot be had, latencies are so
/// much longer.
fn wake_on_time() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}
