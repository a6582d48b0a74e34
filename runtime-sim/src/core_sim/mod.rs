//! The core alone: a loop over events in virtual time, without sockets, tasks or a runtime.
//!
//! The clients (`peer.rs`) and the broker's host (`host.rs`), which plays the driver's part, talk
//! through the world (`world.rs`): a network with latency, bounded buffers (`pipe.rs`), resets and
//! partitions, over one agenda (`agenda.rs`).

mod agenda;
mod host;
mod peer;
mod pipe;
mod world;

use crate::checker::{Invariant, Violation};
use crate::history::{Event, Held, History};
use crate::panics::unless_it_panics;
use crate::plan::{Ending, FaultKind, MILLISECOND, Micros, Plan, SECOND};
use agenda::Happening;
use host::Host;
use message_queue_core::ConnId;
use peer::Peer;
use world::World;

/// After healing, everybody has this long to come back.
const COME_BACK: Micros = 8 * SECOND;

/// After healing, everything that waits has this long to get through.
const SETTLED_WITHIN: Micros = 120 * SECOND;

/// After the orderly end, what is on its way has this long to arrive.
const ARRIVED_WITHIN: Micros = 60 * SECOND;

/// How often it is looked whether all has got through.
const LOOK_EVERY: Micros = 250 * MILLISECOND;

/// Carries out a plan. Returns what happened, and what made it stop if it did not come to its end.
pub fn run(plan: &Plan, check_invariants: bool) -> (History, Option<Violation>) {
    let mut sim = CoreSim::new(plan, check_invariants);
    let panic = unless_it_panics(|| sim.run()).err();
    let violation = panic.map(|detail| Violation {
        invariant: if sim.host.as_ref().is_some_and(|host| host.checking) {
            Invariant::Internal
        } else {
            Invariant::NoPanic
        },
        at: sim.world.now,
        step: sim.world.records.last().map_or(0, |record| record.step),
        detail,
    });
    let history = History {
        settings: plan.settings.clone(),
        records: sim.world.records,
    };
    (history, violation)
}

struct CoreSim<'a> {
    plan: &'a Plan,
    check_invariants: bool,
    world: World,
    /// None while the broker is down.
    host: Option<Host>,
    peers: Vec<Peer<'a>>,
    /// When the run is over at the latest, once that is known.
    ends_at: Option<Micros>,
}

impl<'a> CoreSim<'a> {
    fn new(plan: &'a Plan, check_invariants: bool) -> Self {
        let mut world = World::new(plan.network.clone());
        for (place, client) in plan.clients.iter().enumerate() {
            world
                .agenda
                .note(client.starts_us, Happening::Connect(place));
        }
        for (place, fault) in plan.faults.iter().enumerate() {
            if fault.at_us < plan.duration_us {
                world.agenda.note(fault.at_us, Happening::Fault(place));
            }
        }
        world.agenda.note(plan.duration_us, Happening::Over);
        let peers = plan.clients.iter().enumerate();
        let mut sim = Self {
            plan,
            check_invariants,
            world,
            host: None,
            peers: peers
                .map(|(place, client)| Peer::new(place, client, &plan.settings))
                .collect(),
            ends_at: None,
        };
        sim.start_broker();
        sim
    }

    fn start_broker(&mut self) {
        let Plan {
            settings, network, ..
        } = self.plan;
        let host = Host::new(settings, network.reports_progress, self.check_invariants);
        self.host = Some(host);
    }

    fn run(&mut self) {
        while let Some(at) = self.next_at() {
            if self.ends_at.is_some_and(|end| end < at) {
                break;
            }
            // A timer may be due in the past: the broker was told of the time only now.
            self.world.now = self.world.now.max(at);
            let due = self.host.as_ref().and_then(Host::due);
            if let Some(host) = &mut self.host
                && due.is_some_and(|due| due <= self.world.now)
            {
                host.timeout(&mut self.world);
            } else if let Some(happening) = self.world.agenda.pop() {
                self.world.begin_step();
                self.happen(happening);
            }
        }
        self.world.begin_step();
        let held = self.held();
        self.world.record(Event::Ended { held });
    }

    fn next_at(&self) -> Option<Micros> {
        let due = self.host.as_ref().and_then(Host::due);
        due.into_iter().chain(self.world.agenda.next_at()).min()
    }

    fn held(&self) -> Held {
        self.host.as_ref().map_or_else(Held::default, Host::held)
    }

    fn happen(&mut self, happening: Happening) {
        let world = &mut self.world;
        match happening {
            Happening::Connect(place) => self.peers[place].connect(world),
            Happening::Act(place, conn) => self.peers[place].act(conn, world),
            Happening::ClientReadable(conn) => {
                if let Some(place) = world.links.get(&conn).map(|link| link.client) {
                    self.peers[place].read(conn, world);
                }
            }
            Happening::ClientWritable(conn) => {
                let place = world.links.get(&conn).map(|link| link.client);
                if let Some(place) = place
                    && self.peers[place].conn == Some(conn)
                {
                    self.peers[place].send(world);
                }
            }
            Happening::ClientReset(conn) => {
                if let Some(place) = world.links.get(&conn).map(|link| link.client) {
                    self.peers[place].was_reset(conn, world);
                }
            }
            Happening::Accept(conn) => self.accept(conn),
            Happening::BrokerReadable(conn) => {
                if let Some(host) = &mut self.host {
                    host.read(conn, world);
                }
            }
            Happening::BrokerWritable(conn) => {
                if let Some(host) = &mut self.host {
                    host.write(conn, world);
                }
            }
            Happening::BrokerReset(conn) => {
                if let Some(host) = &mut self.host {
                    host.reset(conn, world);
                }
            }
            Happening::Fault(place) => self.strike(place),
            Happening::Restart => {
                if self.host.is_none() {
                    self.start_broker();
                }
            }
            Happening::Over => self.over(),
            Happening::Settle => self.settle(),
        }
    }

    /// A connection reaches the broker, unless the client has learned of its end already.
    fn accept(&mut self, conn: ConnId) {
        let under_way = self
            .world
            .links
            .get(&conn)
            .is_some_and(|link| link.broker_open);
        match &mut self.host {
            Some(host) if under_way => host.accept(conn, &mut self.world),
            Some(_) => {}
            None => {
                self.world.signal_down(conn, Happening::ClientReset(conn));
                self.world.broker_left(conn);
            }
        }
    }

    fn strike(&mut self, place: usize) {
        let kind = &self.plan.faults[place].kind;
        let world = &mut self.world;
        let fault = format!("{kind:?}");
        world.record(Event::Struck { fault });
        let now = world.now;
        match kind {
            FaultKind::Lag { extra_us, for_us } => world.lag = (*extra_us, now + for_us),
            FaultKind::Restart { down_us } => self.kill_broker(*down_us),
            FaultKind::EndedByOperator { client } => {
                let peer = self.peers.iter().find(|peer| peer.id() == *client);
                if let (Some(host), Some(conn)) = (&mut self.host, peer.and_then(|it| it.conn)) {
                    host.end(conn, world);
                }
            }
            FaultKind::Purge => {
                if let Some(host) = &mut self.host {
                    host.purge(world);
                }
            }
            FaultKind::Reset { client, .. }
            | FaultKind::Leave { client, .. }
            | FaultKind::Stall { client, .. }
            | FaultKind::Hold { client, .. } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.id() == *client) {
                    strike_client(kind, peer, world);
                }
            }
        }
    }

    fn kill_broker(&mut self, down: Micros) {
        if self.host.take().is_none() {
            return;
        }
        let world = &mut self.world;
        world.record(Event::Killed);
        let conns: Vec<_> = world.links.keys().copied().collect();
        for conn in conns {
            world.signal_down(conn, Happening::ClientReset(conn));
            world.broker_left(conn);
        }
        world.agenda.note(world.now + down, Happening::Restart);
    }

    fn over(&mut self) {
        match self.plan.ending {
            Ending::HealThenDrain => {
                self.world.record(Event::Healed);
                if self.host.is_none() {
                    self.start_broker();
                }
                self.world.heal();
                for peer in &mut self.peers {
                    peer.heal(&mut self.world);
                }
                let at = self.world.now + COME_BACK;
                self.world.agenda.note(at, Happening::Settle);
            }
            Ending::DrainUnderLoad => self.drain(),
        }
    }

    fn settle(&mut self) {
        let now = self.world.now;
        let last_look = now >= self.plan.duration_us + SETTLED_WITHIN;
        if !self.is_quiet() && !last_look {
            return self.world.agenda.note(now + LOOK_EVERY, Happening::Settle);
        }
        let held = self.held();
        let unfinished = self.connected().filter(|peer| peer.is_unfinished()).count() as u32;
        self.world.record(Event::Settled { held, unfinished });
        self.drain();
    }

    /// The clients that the broker let in.
    fn connected(&self) -> impl Iterator<Item = &Peer<'a>> {
        self.peers.iter().filter(|peer| {
            let host = self.host.as_ref();
            peer.conn
                .is_some_and(|conn| host.is_some_and(|host| host.holds(conn)))
        })
    }

    /// Whether nothing is left to do.
    fn is_quiet(&self) -> bool {
        let held = self.held();
        let consumers = self.host.as_ref().map_or(0, Host::consumers);
        let links = self.connected().filter_map(|peer| peer.conn);
        let mut links = links.filter_map(|conn| self.world.links.get(&conn));
        held.parked.is_zero()
            && (held.waiting.is_zero() || consumers == 0)
            && self.connected().all(|peer| !peer.is_unfinished())
            && links.all(|link| link.up.is_empty() && link.down.is_empty())
    }

    fn drain(&mut self) {
        if self.host.is_none() {
            self.start_broker();
        }
        if let Some(host) = &mut self.host {
            host.drain(&mut self.world);
        }
        let within = self.plan.settings.drain_timeout_us + ARRIVED_WITHIN;
        self.ends_at = Some(self.world.now + within);
    }
}

fn strike_client(kind: &FaultKind, peer: &mut Peer<'_>, world: &mut World) {
    let now = world.now;
    match kind {
        FaultKind::Reset { away_us, .. } => peer.reset(*away_us, world),
        FaultKind::Leave { away_us, .. } => peer.leave(*away_us, world),
        FaultKind::Stall { for_us, .. } => peer.stall(now + for_us),
        FaultKind::Hold { for_us, .. } => {
            if let Some(conn) = peer.conn {
                world.hold(conn, now + for_us);
            }
        }
        FaultKind::Lag { .. }
        | FaultKind::Restart { .. }
        | FaultKind::EndedByOperator { .. }
        | FaultKind::Purge => {}
    }
}
