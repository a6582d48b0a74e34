//! A world of hosts on one simulated network: each runs unchanged tokio code on a clock that stands
//! still between ticks, and their packets pass through [`Network`], which may lose them.
//!
//! The TCP is turmoil-net's: windows in bytes, retransmission, short writes, resets, timeouts. Each
//! host is a paused current-thread runtime of its own, so `tokio::spawn`, `JoinSet` and timers work
//! there as they do in production. A run is a function of its seed alone.
//!
//! One world at a time on a thread; as many threads as you like.

mod network;
mod upkeep;

pub use network::{Network, Way};
pub use upkeep::RESTATED_EVERY;

use crate::rng::Rng;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, LocalSet};
use turmoil_net::{EnterGuard, HostId, KernelConfig, Net, Packet};
use upkeep::Upkeep;

/// How long the world stands still between two looks at the network.
pub const TICK: Duration = Duration::from_millis(1);

/// After how many ticks without progress TCP sends again.
const RETRANSMIT_TICKS: u32 = 200;

/// How often TCP sends again before it gives the connection up: after some 4 s of silence.
const RETRANSMISSIONS: u32 = 20;

/// What a host runs; called again at each start.
pub type Program = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// The hosts, their network and their time.
pub struct World {
    hosts: BTreeMap<String, Host>,
    network: Network,
    upkeep: Upkeep,
    now: Duration,
    /// A summary of every packet that arrived: equal in two runs only if the runs are.
    trace: u64,
    /// Used again each tick.
    outgoing: Vec<Packet>,
    // Last: what the hosts hold is dropped while their network is still there.
    kernels: EnterGuard,
}

struct Host {
    id: HostId,
    ip: IpAddr,
    program: Program,
    /// None: not running.
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    local: LocalSet,
    main: JoinHandle<()>,
}

impl World {
    /// A world of these hosts, not one of them started, on a network in which all is well. Each
    /// socket buffers `socket_bytes` in each direction.
    ///
    /// # Panics
    /// If there is another world on this thread.
    pub fn new(rng: Rng, socket_bytes: usize, programs: Vec<(String, Program)>) -> Self {
        let config = KernelConfig::default()
            .send_buf_cap(socket_bytes)
            .recv_buf_cap(socket_bytes)
            .retx_threshold(RETRANSMIT_TICKS)
            .retx_max(RETRANSMISSIONS);
        let mut net = Net::with_config(config);
        let mut hosts = BTreeMap::new();
        for (name, program) in programs {
            let id = net.add_host(name.as_str());
            let ip = net.lookup(&name);
            let running = None;
            hosts.insert(
                name,
                Host {
                    id,
                    ip,
                    program,
                    running,
                },
            );
        }
        Self {
            hosts,
            network: Network::new(rng),
            upkeep: Upkeep::new(socket_bytes),
            now: Duration::ZERO,
            trace: 0xCBF2_9CE4_8422_2325,
            outgoing: Vec::new(),
            kernels: net.enter(),
        }
    }

    /// The time since the world began.
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// A number that two runs share only if every packet arrived at the same time in both.
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// What may go wrong between the hosts.
    pub const fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The address of a host.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn ip(&self, name: &str) -> IpAddr {
        self.hosts[name].ip
    }

    /// Whether a host's program is running.
    pub fn is_running(&self, name: &str) -> bool {
        self.hosts[name].running.is_some()
    }

    /// Starts a host's program. One that is running goes on.
    ///
    /// A program that listens should take another port at each start: turmoil-net knows no
    /// `SO_REUSEADDR`, and a connection that was reset before it was accepted keeps its port taken
    /// for ever.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn start(&mut self, name: &str) {
        let host = self.host(name);
        if host.running.is_some() {
            return;
        }
        let (id, ip) = (host.id, host.ip);
        self.network.set_powered(ip, true);
        self.kernels.set_current(id);
        self.host(name).start();
    }

    /// Kills a host's program, as `kill -9` does: the kernel lives on and closes its sockets.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn kill(&mut self, name: &str) {
        self.kernels.set_current(self.hosts[name].id);
        self.host(name).running = None;
    }

    /// Resets all connections of a host, at both ends, at once.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn reset_connections(&mut self, name: &str) {
        let ip = self.ip(name);
        self.upkeep.reset_connections(&self.kernels, ip);
    }

    /// Cuts a host's power: nothing more comes from it, not even the end of its connections, and
    /// when it is back it knows nothing of them.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn cut_power(&mut self, name: &str) {
        self.send_outgoing();
        self.kill(name);
        let ip = self.hosts[name].ip;
        self.network.set_powered(ip, false);
        self.upkeep.forget_connections(&self.kernels, ip);
        self.send_outgoing();
    }

    /// Lets one tick pass: packets arrive, every host works, packets leave. Returns the hosts
    /// whose program has ended by itself in it.
    ///
    /// # Panics
    /// If a program has panicked.
    pub fn step(&mut self) -> Vec<String> {
        self.now += TICK;
        self.deliver();
        let mut ended = Vec::new();
        for (name, host) in &mut self.hosts {
            self.kernels.set_current(host.id);
            if host.work() {
                ended.push(name.clone());
            }
        }
        self.send_outgoing();
        let restated = self.upkeep.restate(self.now);
        for packet in restated {
            self.network.send(packet, self.now);
        }
        ended
    }

    fn deliver(&mut self) {
        while let Some(packet) = self.network.arrived(self.now) {
            self.trace = mix_in(self.trace, &packet, self.now);
            self.kernels.deliver(packet);
        }
    }

    fn send_outgoing(&mut self) {
        self.kernels.egress_all(&mut self.outgoing);
        for packet in self.outgoing.drain(..) {
            self.upkeep.note(&packet);
            self.network.send(packet, self.now);
        }
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.hosts
            .get_mut(name)
            .unwrap_or_else(|| panic!("there is no host {name}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Sockets are closed in the kernel of the host that they belong to.
        for host in self.hosts.values_mut() {
            self.kernels.set_current(host.id);
            host.running = None;
        }
    }
}

impl Host {
    fn start(&mut self) {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without a driver for I/O takes nothing from the system");
        let local = LocalSet::new();
        let main = (self.program)();
        let main = {
            let _entered = runtime.enter();
            local.spawn_local(main)
        };
        self.running = Some(Running {
            runtime,
            local,
            main,
        });
    }

    /// Works for one tick. Returns whether the program has ended.
    fn work(&mut self) -> bool {
        let Some(Running {
            runtime,
            local,
            main,
        }) = &mut self.running
        else {
            return false;
        };
        // A paused clock moves on when there is nothing more to do, up to the end of the tick.
        runtime.block_on(local.run_until(async { tokio::time::sleep(TICK).await }));
        if !main.is_finished() {
            return false;
        }
        let outcome = runtime.block_on(main);
        self.running = None;
        if let Err(error) = outcome
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
        true
    }
}

/// FNV-1a over what a packet says and when it arrived.
fn mix_in(trace: u64, packet: &Packet, now: Duration) -> u64 {
    let turmoil_net::Transport::Tcp(segment) = &packet.payload else {
        return trace;
    };
    let ports = u64::from(segment.src_port) << 32 | u64::from(segment.dst_port);
    let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
    [
        now.as_micros() as u64,
        ports,
        numbers,
        u64::from(segment.window) << 32 | segment.payload.len() as u64,
    ]
    .into_iter()
    .fold(trace, |trace, word| {
        (trace ^ word).wrapping_mul(0x0100_0000_01B3)
    })
}
