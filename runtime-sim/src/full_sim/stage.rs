//! The stage: a broker and its clients, each on a host of its own, and the hand that moves them.

use super::BROKER;
use super::agenda::Deed;
use super::strings::Strings;
use crate::hosts::{Program, Way, World};
use crate::plan::{Direction, Micros, Network};
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use tokio::sync::Notify;

/// One per cent, in parts per million.
const PERCENT: u64 = 10_000;

/// Who is told what happens on the stage.
pub(crate) trait Audience {
    /// The time of what happens from now on.
    fn set_now(&self, now: Micros);
    /// The broker was killed.
    fn killed(&self);
    /// All that was wrong is over.
    fn healed(&self);
}

/// A client. It outlives its crashes.
pub(crate) trait Puppet: 'static {
    /// Its number.
    fn id(&self) -> u32;
    /// What its host runs, at the start and after every crash.
    fn run(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>>;
    /// What it hangs on.
    fn strings(&self) -> &Strings;
    /// Its host has died, and its connection with it.
    fn died(&self);
    /// Whether it still has something to do, and is not kept from it.
    fn is_unfinished(&self) -> bool;
    /// Whether it is to be there at the end.
    fn is_wanted(&self) -> bool;
    /// The name of its host.
    fn host(&self) -> String {
        format!("client-{}", self.id())
    }
}

/// What the stage is made of.
pub(crate) struct Set<P, A> {
    pub(crate) rng: Rng,
    pub(crate) network: Network,
    pub(crate) socket_bytes: usize,
    /// What the broker's host runs, until `drain` has it come to an orderly end.
    pub(crate) broker: Program,
    pub(crate) drain: Rc<Notify>,
    pub(crate) puppets: Vec<Rc<P>>,
    pub(crate) audience: A,
}

pub(crate) struct Stage<P, A> {
    world: World,
    audience: A,
    puppets: BTreeMap<u32, Rc<P>>,
    network: Network,
    drain: Rc<Notify>,
}

impl<P: Puppet, A: Audience> Stage<P, A> {
    pub(crate) fn new(set: Set<P, A>) -> Self {
        let Set {
            rng,
            network,
            socket_bytes,
            broker,
            drain,
            puppets,
            audience,
        } = set;
        let mut programs = vec![(BROKER.to_owned(), broker)];
        for puppet in &puppets {
            let on_host = Rc::clone(puppet);
            let program: Program = Box::new(move || Rc::clone(&on_host).run());
            programs.push((puppet.host(), program));
        }
        let puppets = puppets.into_iter().map(|puppet| (puppet.id(), puppet));
        let puppets: BTreeMap<u32, Rc<P>> = puppets.collect();
        let mut world = World::new(rng, socket_bytes, programs);
        world.start(BROKER);
        for puppet in puppets.values() {
            world.start(&puppet.host());
        }
        let mut stage = Self {
            world,
            audience,
            puppets,
            network,
            drain,
        };
        stage.set_lag(0);
        stage
    }

    /// Lets the world go on for a tick. Returns whether the broker has ended by itself in it.
    ///
    /// # Panics
    /// If anything in it has panicked.
    pub(crate) fn step(&mut self) -> bool {
        let ended = self.world.step();
        self.audience.set_now(self.now());
        ended.iter().any(|host| host == BROKER)
    }

    /// The time since the world began.
    pub(crate) fn now(&self) -> Micros {
        self.world.now().as_micros() as Micros
    }

    pub(crate) fn broker_is_running(&self) -> bool {
        self.world.is_running(BROKER)
    }

    /// How many producers still have messages to publish.
    pub(crate) fn unfinished(&self) -> u32 {
        let unfinished = self
            .puppets
            .values()
            .filter(|puppet| puppet.is_unfinished());
        unfinished.count() as u32
    }

    /// Tells the broker to come to an orderly end; one that is not running does so when it is.
    pub(crate) fn drain(&mut self) {
        self.world.start(BROKER);
        self.drain.notify_one();
    }

    /// Ends all that is wrong.
    pub(crate) fn heal(&mut self) {
        let now = self.world.now();
        self.world.network().heal(now);
        self.set_lag(0);
        self.world.start(BROKER);
        for puppet in self.puppets.values() {
            // A hostile client that has ended is not wanted back.
            if puppet.is_wanted() {
                self.world.start(&puppet.host());
            }
            puppet.strings().heal();
        }
        self.audience.healed();
    }

    pub(crate) fn carry_out(&mut self, deed: Deed) {
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

    fn do_to_client(&mut self, deed: Deed, puppet: &P) {
        let host = puppet.host();
        let way = Way {
            from: self.world.ip(&host),
            to: self.world.ip(BROKER),
        };
        let now = self.world.now();
        match deed {
            Deed::Reset(_, away) => {
                puppet.strings().stay_away(away);
                self.world.reset_connections(&host);
            }
            Deed::Leave(_, away) => puppet.strings().leave(away),
            Deed::Stall(_, stalled) => puppet.strings().stall(stalled),
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
            self.audience.killed();
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
