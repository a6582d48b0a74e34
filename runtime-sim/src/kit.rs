//! For the tests of those who use the broker: a real one on a host of your own [`turmoil::Sim`].
//!
//! ```
//! use message_queue_sim::Broker;
//! use message_queue_tokio::client::{Consumer, Producer};
//! use turmoil::net::TcpStream;
//!
//! let mut sim = turmoil::Builder::new().build();
//! let broker = Broker::queue().host(&mut sim, "broker");
//!
//! sim.client("app", async {
//!     let stream = TcpStream::connect(("broker", 9080)).await?;
//!     let mut producer = Producer::over(stream, "broker").await?;
//!     producer.send("hello").await?;
//!     producer.finish().await?;
//!
//!     let stream = TcpStream::connect(("broker", 9080)).await?;
//!     let mut consumer = Consumer::over(stream, "broker").await?;
//!     assert_eq!(consumer.next().await?.as_deref(), Some(&b"hello"[..]));
//!     Ok(())
//! });
//! sim.run()?;
//! assert_eq!(broker.stats().flow.delivered.messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is the driver and the core that run in production, so what your application sees is what it
//! would see there: crash it ([`turmoil::Sim::crash`]) and start it anew
//! ([`turmoil::Sim::bounce`]), [`hold`](turmoil::Sim::hold) its packets. The broker keeps everything
//! in memory: after a crash it holds nothing. `examples/survives_a_crash.rs` shows an application
//! that gets over both.
//!
//! # What turmoil 0.7 does not model
//! Its TCP is not a real one. A test that relies on one of these tests turmoil:
//! - **Loss is for ever.** A segment that a [`partition`](turmoil::Sim::partition) or a
//!   `fail_rate` drops is not sent again. The connection is stuck from then on, silently, also
//!   after the repair. To delay without loss, use `hold` and `release`.
//! - **Back-pressure counts segments, not bytes** (64 of any size, by default:
//!   [`tcp_capacity`](turmoil::Builder::tcp_capacity)), and a writer that waits for room is not
//!   woken when its peer crashes.
//! - **Writes are never short.** A socket takes all of a write or nothing.
//! - **A listener that is not accepting panics** when its queue of connections is full.
//! - **Time comes in ticks** of a whole millisecond or more.
//!
//! The broker itself is tested against all of that by the simulation of the whole stack
//! ([`full_sim`](crate::full_sim)), on another network ([`hosts`](crate::hosts)).

use crate::net::TurmoilListener;
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Broker as Core, Config, DeliveryMode, Now, Stats};
use message_queue_tokio::{Observed, Observer, Server};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use turmoil::net::TcpListener;

/// A broker to be: what it is like, before it has a host.
#[derive(Clone, Debug)]
pub struct Broker {
    config: Config,
    decoder: DecoderConfig,
    port: u16,
}

/// A broker on a host of a simulation. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct BrokerHost {
    stats: Arc<Mutex<Stats>>,
}

impl Default for Broker {
    fn default() -> Self {
        Self::with(Config::default())
    }
}

impl Broker {
    /// Each message goes to every consumer. All else is as by default.
    pub fn broadcast() -> Self {
        Self::default()
    }

    /// Each message goes to exactly one consumer. All else is as by default.
    pub fn queue() -> Self {
        Self::with(Config {
            delivery: DeliveryMode::Queue,
            ..Config::default()
        })
    }

    /// A broker with these settings.
    pub fn with(config: Config) -> Self {
        Self {
            config,
            decoder: DecoderConfig::default(),
            port: 9080,
        }
    }

    /// The port that it listens on. Default: 9080.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The bounds on what it reads. Default: those of the broker.
    #[must_use]
    pub const fn decoder(mut self, decoder: DecoderConfig) -> Self {
        self.decoder = decoder;
        self
    }

    /// Puts it on the host `name` of a simulation. It starts with the simulation, and anew, with
    /// nothing, whenever that host is bounced.
    ///
    /// # Panics
    /// If there is a host of that name already. The simulation panics if the settings do not keep
    /// their bounds ([`Config::check`]), and if the simulation's hosts have IPv6 addresses.
    pub fn host(self, sim: &mut turmoil::Sim<'_>, name: &str) -> BrokerHost {
        let host = BrokerHost::default();
        let on_host = host.clone();
        sim.host(name, move || {
            let (broker, host) = (self.clone(), on_host.clone());
            async move {
                host.set(Stats::default());
                let address = (Ipv4Addr::UNSPECIFIED, broker.port);
                let listener = TurmoilListener(TcpListener::bind(address).await?);
                let server = Server::new(broker.config, broker.decoder).observed_by(host);
                server.serve(listener).await;
                Ok(())
            }
        });
        host
    }
}

impl BrokerHost {
    /// The broker's counters now. They begin anew when it does.
    pub fn stats(&self) -> Stats {
        let stats = self.stats.lock();
        stats.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

impl Observer for BrokerHost {
    fn observe(&mut self, _: Observed<'_>, _: Now) {}

    fn step_ended(&mut self, broker: &Core, _: Now) {
        self.set(broker.stats().clone());
    }
}
