//! Clients that shake hands over TLS, so many times a second, while a plain flood goes on elsewhere.
//!
//! They cost CPU themselves, on the same machine. So the flood is measured in three ways, in turns: alone, beside them
//! at a bare rustls acceptor in a process of its own, and beside them at the broker. Broker to acceptor is what it
//! costs that the broker shakes hands; broker to alone is that and all that the clients cost.

use super::error::BenchError;
use super::outcome::Outcome;
use super::pairs::Spread;
use super::plan::{Plan, PlanError, Transport};
use super::run::{Progress, run};
use super::table::whole;
use super::target::{Kind, Target, TlsTarget};
use super::wire::shake_hands;
use rustls::ClientConfig;
use serde_json::json;
use std::fmt;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::time::Instant;

/// The most handshakes a second that can be asked for.
pub const MAX_HANDSHAKES: f64 = 100_000.0;

/// How many handshakes are under way at a time at the most: each of so many threads does one after the other.
pub(super) const HANDSHAKERS: usize = 64;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A flood, and how many handshakes a second were completed beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// The flood.
    pub flood: Outcome,
    /// Handshakes that were accepted, in a second.
    pub accepted: f64,
}

/// The flood in three ways, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Alone.
    pub alone: Outcome,
    /// Beside handshakes at a bare acceptor.
    pub acceptor: Beside,
    /// Beside handshakes at the broker.
    pub broker: Beside,
}

/// Several rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rounds(
    /// In the order in which they ran.
    pub Vec<Round>,
);

/// Where clients shake hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Nowhere,
    Acceptor,
    Broker,
}

impl Round {
    /// Does what `plan` says three times, beside `rate` handshakes a second in two of them. Number `number` decides
    /// which comes first.
    ///
    /// # Errors
    /// If the rate is none, or one of the runs comes to nothing.
    pub fn run(
        plan: &Plan,
        rate: f64,
        number: u32,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, BenchError> {
        if !(rate > 0.0 && rate <= MAX_HANDSHAKES) {
            return Err(PlanError::Handshakes(rate.to_string()).into());
        }
        let mut places = [Place::Nowhere, Place::Acceptor, Place::Broker];
        places.rotate_left(number as usize % 3);
        let mut runs = Vec::new();
        for place in places {
            runs.push((place, beside(plan, rate, place, &mut progress)?));
        }
        runs.sort_by_key(|(place, _)| *place);
        let [(_, alone), (_, acceptor), (_, broker)] = runs.try_into().expect("one for each place");
        Ok(Self {
            alone: alone.flood,
            acceptor,
            broker,
        })
    }

    /// How many times the rate beside the acceptor the flood has beside handshakes at the broker.
    pub fn to_acceptor(&self) -> f64 {
        self.broker.flood.rate() / self.acceptor.flood.rate()
    }

    /// How many times its rate alone the flood has beside handshakes at the broker.
    pub fn to_alone(&self) -> f64 {
        self.broker.flood.rate() / self.alone.rate()
    }

    /// The same beside handshakes at the acceptor: what the clients and a bare acceptor cost.
    pub fn acceptor_to_alone(&self) -> f64 {
        self.acceptor.flood.rate() / self.alone.rate()
    }
}

/// The flood of `plan` with handshakes there.
fn beside(
    plan: &Plan,
    rate: f64,
    place: Place,
    progress: &mut impl FnMut(Progress),
) -> Result<Beside, BenchError> {
    let plan = Plan {
        transport: Transport::PlainBesideTls,
        ..plan.clone()
    };
    let broker = Target::start(Kind::Broker, &plan)?;
    let bare = Plan {
        transport: Transport::Tls,
        ..plan.clone()
    };
    let acceptor = match place {
        Place::Acceptor => Some(Target::start(Kind::Relay, &bare)?),
        Place::Nowhere | Place::Broker => None,
    };
    let at = match place {
        Place::Nowhere => None,
        Place::Acceptor => acceptor.as_ref().and_then(Target::tls),
        Place::Broker => broker.tls(),
    };
    let handshakers = at.map(|at| Handshakers::start(at, rate)).transpose()?;
    let flood = run(&plan, &broker, progress)?;
    let accepted = handshakers.map_or(Ok(0.0), Handshakers::end)?;
    Ok(Beside { flood, accepted })
}

/// Threads that shake hands.
struct Handshakers {
    started: Instant,
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64, BenchError>>>,
}

impl Handshakers {
    /// Begins to shake hands at `target`, `rate` times a second.
    fn start(target: &TlsTarget, rate: f64) -> Result<Self, BenchError> {
        let mut this = Self {
            started: Instant::now(),
            ending: Arc::default(),
            threads: Vec::new(),
        };
        let interval = HANDSHAKERS as f64 / rate;
        for number in 0..HANDSHAKERS {
            let handshaker = Handshaker {
                addr: target.addr,
                config: target.client(),
                first: this.started + Duration::from_secs_f64(number as f64 / rate),
                interval: Duration::from_secs_f64(interval),
                ending: Arc::clone(&this.ending),
            };
            let thread = thread::Builder::new().spawn(move || handshaker.run())?;
            this.threads.push(thread);
        }
        Ok(this)
    }

    /// Ends them. Returns how many handshakes a second were accepted.
    fn end(self) -> Result<f64, BenchError> {
        let elapsed = self.started.elapsed();
        self.ending.store(true, Ordering::Release);
        let mut accepted = 0;
        for thread in self.threads {
            thread.thread().unpark();
            accepted += thread.join().map_err(|_| BenchError::Panicked)??;
        }
        Ok(accepted as f64 / elapsed.as_secs_f64())
    }
}

/// One of the threads.
struct Handshaker {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    /// When its first handshake is due.
    first: Instant,
    /// From one to the next.
    interval: Duration,
    ending: Arc<AtomicBool>,
}

impl Handshaker {
    /// Shakes hands until the end. Returns how often that was.
    fn run(self) -> Result<u64, BenchError> {
        let mut due = self.first;
        let mut accepted = 0;
        while !self.ending.load(Ordering::Acquire) {
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::park_timeout(wait);
                continue;
            }
            self.shake().map_err(|source| BenchError::Client {
                client: "a handshake".to_owned(),
                source,
            })?;
            if !self.ending.load(Ordering::Acquire) {
                accepted += 1;
            }
            // Who is late is so for good: there are no bursts.
            due = (due + self.interval).max(Instant::now());
        }
        Ok(accepted)
    }

    /// Shakes hands, says goodbye, and waits for the other side to do so: it has then taken the handshake for good.
    fn shake(&self) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut rustls = shake_hands(&socket, Arc::clone(&self.config))?;
        rustls.send_close_notify();
        while rustls.wants_write() {
            rustls.write_tls(&mut socket)?;
        }
        socket.shutdown(Shutdown::Write)?;
        let mut answer = [0; 512];
        while socket.read(&mut answer)? > 0 {}
        Ok(())
    }
}

impl Rounds {
    /// The ratios over all rounds: to the acceptor, to the flood alone, and the acceptor's to that.
    fn ratios(&self) -> [(&'static str, Spread); 3] {
        let spread = |figure: fn(&Round) -> f64| Spread::of(self.0.iter().map(figure).collect());
        [
            ("broker_to_acceptor", spread(Round::to_acceptor)),
            ("broker_to_alone", spread(Round::to_alone)),
            ("acceptor_to_alone", spread(Round::acceptor_to_alone)),
        ]
    }

    /// The rounds and their ratios for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let beside = |beside: &Beside| {
            json!({
                "flood": beside.flood.to_json(),
                "handshakes_per_second": beside.accepted,
            })
        };
        let round = |round: &Round| {
            json!({
                "alone": round.alone.to_json(),
                "acceptor": beside(&round.acceptor),
                "broker": beside(&round.broker),
            })
        };
        let rounds: Vec<_> = self.0.iter().map(round).collect();
        let ratios: serde_json::Map<_, _> = self
            .ratios()
            .into_iter()
            .map(|(name, spread)| (name.to_owned(), json!(spread)))
            .collect();
        json!({ "rounds": rounds, "ratios": ratios })
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "round {:>13} {:>16} {:>13} {:>16} {:>13}   to acceptor   to alone",
            "alone msg/s", "acceptor msg/s", "handshakes/s", "broker msg/s", "handshakes/s",
        )?;
        for (index, round) in self.0.iter().enumerate() {
            writeln!(
                f,
                "{:>5} {:>13} {:>16} {:>13} {:>16} {:>13} {:>13.2} {:>10.2}",
                index + 1,
                whole(round.alone.rate()),
                whole(round.acceptor.flood.rate()),
                whole(round.acceptor.accepted),
                whole(round.broker.flood.rate()),
                whole(round.broker.accepted),
                round.to_acceptor(),
                round.to_alone(),
            )?;
        }
        for (name, Spread { min, median, max }) in self.ratios() {
            let name = name.replace("_to_", " / ");
            writeln!(
                f,
                "{name}, rate of the flood: median {median:.2}, minimum {min:.2}, maximum {max:.2}"
            )?;
        }
        Ok(())
    }
}
