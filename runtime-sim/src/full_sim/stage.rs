//! The stage: a broker and its clients, each on a host of its own, and the hand that moves them.

use super::BROKER;
use super::agenda::Deed;
use super::clients::Puppet;
use super::recorder::Recorder;
use super::socket::RecordedListener;
use crate::history::Event;
use crate::hosts::{Program, Way, World};
use crate::net::WorldListener;
use crate::plan::{Direction, Micros, Network, Plan};
use crate::rng::{Concern, Rng};
use message_queue_core::wire::DecoderConfig;
use message_queue_tokio::Server;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use turmoil_net::shim::tokio::net::TcpListener;

/// The broker listens on the ports above this one, on another after each start.
const FIRST_PORT: u16 = 9080;

/// One per cent, in parts per million.
const PERCENT: u64 = 10_000;

pub(super) struct Stage {
    world: World,
    recorder: Recorder,
    puppets: BTreeMap<u32, Rc<Puppet>>,
    network: Network,
    drain: Rc<Notify>,
}

impl Stage {
    pub(super) fn new(plan: &Plan, recorder: Recorder) -> Self {
        let rng = Rng::stream(plan.seed, Concern::Network);
        let drain = Rc::new(Notify::new());
        let port = Rc::new(Cell::new(FIRST_PORT));
        let mut puppets = BTreeMap::new();
        let mut programs = vec![(
            BROKER.to_owned(),
            broker(plan, recorder.clone(), Rc::clone(&drain), Rc::clone(&port)),
        )];
        for client in &plan.clients {
            let limit = plan.settings.role_line_bytes;
            let recorder = recorder.clone();
            let puppet = Puppet::new(client.clone(), recorder, limit, Rc::clone(&port));
            let on_host = Rc::clone(&puppet);
            let program: Program = Box::new(move || Box::pin(Rc::clone(&on_host).run()));
            programs.push((puppet.host(), program));
            puppets.insert(client.id, puppet);
        }
        let socket_bytes = plan.packets.clone().unwrap_or_default().socket_bytes;
        let mut world = World::new(rng, socket_bytes, programs);
        world.start(BROKER);
        for puppet in puppets.values() {
            world.start(&puppet.host());
        }
        let mut stage = Self {
            world,
            recorder,
            puppets,
            network: plan.network.clone(),
            drain,
        };
        stage.set_lag(0);
        stage
    }

    /// Lets the world go on for a tick.
    ///
    /// # Panics
    /// If anything in it has panicked.
    pub(super) fn step(&mut self) {
        self.world.step();
        self.recorder.set_now(self.now());
    }

    /// The time since the world began.
    pub(super) fn now(&self) -> Micros {
        self.world.now().as_micros() as Micros
    }

    pub(super) fn broker_is_running(&self) -> bool {
        self.world.is_running(BROKER)
    }

    /// How many producers still have messages to publish.
    pub(super) fn unfinished(&self) -> u32 {
        let unfinished = self
            .puppets
            .values()
            .filter(|puppet| puppet.is_unfinished());
        unfinished.count() as u32
    }

    /// Tells the broker to come to an orderly end; one that is not running does so when it is.
    pub(super) fn drain(&mut self) {
        self.world.start(BROKER);
        self.drain.notify_one();
    }

    /// Ends all that is wrong.
    pub(super) fn heal(&mut self) {
        let now = self.world.now();
        self.world.network().heal(now);
        self.set_lag(0);
        self.world.start(BROKER);
        for puppet in self.puppets.values() {
            // A hostile client that has ended is not wanted back.
            if puppet.is_wanted() {
                self.world.start(&puppet.host());
            }
            puppet.heal();
        }
        self.recorder.note(Event::Healed);
    }

    pub(super) fn carry_out(&mut self, deed: Deed) {
        match deed {
            Deed::Lag(extra) => self.set_lag(extra),
            Deed::Loss(percent) => self.world.network().set_loss_ppm(percent * PERCENT),
            Deed::Duplication(percent) => {
                self.world.network().set_duplication_ppm(percent * PERCENT);
            }
            Deed::KillBroker => self.end_broker(World::kill),
            Deed::CutBrokersPower => self.end_broker(World::cut_power),
            Deed::StartBroker => self.world.start(BROKER),
            Deed::Reset(client, _)
            | Deed::Leave(client, _)
            | Deed::Stall(client, _)
            | Deed::Hold(client)
            | Deed::Cut(client, _)
            | Deed::Mend(client)
            | Deed::KillClient(client)
            | Deed::CutClientsPower(client)
            | Deed::StartClient(client) => {
                if let Some(puppet) = self.puppets.get(&client).map(Rc::clone) {
                    self.do_to_client(deed, &puppet);
                }
            }
        }
    }

    fn do_to_client(&mut self, deed: Deed, puppet: &Puppet) {
        let host = puppet.host();
        let way = Way {
            from: self.world.ip(&host),
            to: self.world.ip(BROKER),
        };
        let now = self.world.now();
        match deed {
            Deed::Reset(_, away) => {
                puppet.stay_away(away);
                self.world.reset_connections(&host);
            }
            Deed::Leave(_, away) => puppet.leave(away),
            Deed::Stall(_, stalled) => puppet.stall(stalled),
            Deed::Hold(_) => {
                self.world.network().hold(way);
                self.world.network().hold(way.back());
            }
            Deed::Cut(_, direction) => {
                if direction != Direction::ToClient {
                    self.world.network().cut(way);
                }
                if direction != Direction::ToBroker {
                    self.world.network().cut(way.back());
                }
            }
            Deed::Mend(_) => {
                self.world.network().mend(way, now);
                self.world.network().mend(way.back(), now);
            }
            Deed::KillClient(_) => {
                self.world.reset_connections(&host);
                self.world.kill(&host);
                puppet.died();
            }
            Deed::CutClientsPower(_) => {
                self.world.cut_power(&host);
                puppet.died();
            }
            Deed::StartClient(_) => self.world.start(&host),
            Deed::Lag(_)
            | Deed::Loss(_)
            | Deed::Duplication(_)
            | Deed::KillBroker
            | Deed::CutBrokersPower
            | Deed::StartBroker => {}
        }
    }

    fn end_broker(&mut self, end: fn(&mut World, &str)) {
        if self.broker_is_running() {
            end(&mut self.world, BROKER);
            self.recorder.killed();
        }
    }

    fn set_lag(&mut self, extra: Micros) {
        let Network {
            latency_min_us,
            latency_max_us,
            ..
        } = self.network;
        let latency = latency_min_us..=latency_max_us + extra;
        self.world.network().set_latency_us(latency);
    }
}

/// The broker's host runs the production driver, unchanged.
fn broker(plan: &Plan, recorder: Recorder, drain: Rc<Notify>, port: Rc<Cell<u16>>) -> Program {
    let settings = plan.settings.clone();
    let decoder = DecoderConfig {
        role_line_bytes: settings.role_line_bytes,
        read_bytes: settings.read_bytes,
    };
    let chaos = plan.packets.as_ref().is_some_and(|packets| packets.chaos);
    let chaos = chaos.then_some(plan.network.chunk_bytes);
    let seed = plan.seed;
    Box::new(move || {
        // Its clients look it up; see `World::start`.
        port.set(port.get() + 1);
        let address = ("0.0.0.0", port.get());
        let (settings, recorder, drain) = (settings.clone(), recorder.clone(), Rc::clone(&drain));
        Box::pin(async move {
            let listener = TcpListener::bind(address).await;
            let listener = listener.expect("nobody has listened on this port before");
            let listener = RecordedListener {
                listener: WorldListener(listener),
                recorder: recorder.clone(),
                chaos,
                seed,
            };
            // A producer may pause in a frame for as long as a consumer may in a write.
            let frame_timeout = Duration::from_micros(settings.write_timeout_us);
            let server = Server::new(settings.config(), decoder)
                .with_frame_timeout(frame_timeout)
                .observed_by(recorder);
            let handle = server.handle();
            let serving = server.serve(listener);
            tokio::pin!(serving);
            tokio::select! {
                biased;
                _ = &mut serving => return,
                () = drain.notified() => {}
            }
            handle.drain(Duration::from_micros(settings.drain_timeout_us));
            serving.await;
        })
    })
}
