//! The simulation of the whole stack in version 2: the production driver and the production store, on a network that loses
//! packets, with hosts that crash and disks whose power is cut.
//!
//! ```text
//! seed ─▶ Plan ─▶ the stage ─▶ History ─▶ check ─▶ violations
//!         plan    broker, clients, disks    recorder    guarantees/checker
//! ```
//!
//! History and checker are those of version 2 ([`guarantees`](crate::guarantees)), the stage, its network and its faults those of
//! the whole stack in version 1 ([`full_sim`](crate::full_sim)).

mod broker;
mod clients;
mod disks;
mod plan;
mod recorder;

pub use plan::{Actor, DiskFault, DiskFaultKind, DiskPlan, Plan};

use crate::checker::{Invariant, Violation};
use crate::full_sim::FIRST_PORT;
use crate::full_sim::agenda::{self, Deed};
use crate::full_sim::stage::{self, Set};
use crate::guarantees::{Client, Ending, Event, History};
use crate::panics::unless_it_panics;
use crate::plan::{MILLISECOND, Micros, SECOND};
use crate::rng::{Concern, Rng};
use clients::Puppet;
use disks::Disks;
use recorder::Recorder;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;

/// When all is healed and done, and nothing has moved for so long, nothing will: a log and a group try again what has
/// failed each second.
const QUIET: Micros = 2 * SECOND;

/// When all is healed and not done, and nothing has moved for so long, nothing will: it is longer than TCP tries, than two
/// heartbeats, and than anything waits for a disk.
const STUCK: Micros = 15 * SECOND;

/// The longest time allowed for getting over the faults.
const SETTLING: Micros = 180 * SECOND;

/// After so long a broker that has ended by itself is started again.
const RESTART: Micros = 300 * MILLISECOND;

/// The largest message, with its length.
const MESSAGE_BYTES: usize = 48;

/// Carries out a plan. Returns what happened, and what made it stop if it did not come to its end. The same plan gives
/// the same history.
pub fn run(plan: &Plan, check_invariants: bool) -> (History, Option<Violation>) {
    let recorder = Recorder::new(plan.settings.clone(), most_bytes(plan), check_invariants);
    let panic = unless_it_panics(|| Run::new(plan, &recorder).play()).err();
    let (history, internal) = recorder.finish();
    let panic = panic.map(|detail| Violation {
        invariant: Invariant::NoPanic,
        at: history.records.last().map_or(0, |last| last.at),
        step: history.records.last().map_or(0, |last| last.step),
        detail,
    });
    (history, internal.or(panic))
}

/// The most bytes that the broker may ever hold: the windows of all groups, what producers may send before it is
/// confirmed, and a read of each connection. A client that has died may be there once more.
fn most_bytes(plan: &Plan) -> usize {
    let settings = &plan.settings;
    let topics = 2;
    let lasting = topics * (settings.capacity + settings.dead_capacity.min(100));
    let of_clients = plan.actors.iter().map(|actor| match &actor.client {
        Client::Producer(producer) => producer.window + 6,
        Client::Consumer(_) => settings.capacity,
    });
    let messages = lasting + 2 * of_clients.sum::<usize>();
    let reads = 2 * plan.actors.len() * plan.read_bytes.min(plan.packets.socket_bytes);
    messages * MESSAGE_BYTES + reads
}

type Stage = stage::Stage<Puppet, Recorder>;

struct Run<'a> {
    plan: &'a Plan,
    recorder: &'a Recorder,
    stage: Stage,
    disks: Disks,
    /// When a broker that has ended by itself is started again.
    restart: Option<Micros>,
    is_draining: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, recorder: &'a Recorder) -> Self {
        let disks = Disks::new(&plan.disk, plan.seed);
        let drain = Rc::new(Notify::new());
        let port = Rc::new(Cell::new(FIRST_PORT));
        let puppet = |actor: &Actor| {
            let (recorder, port) = (recorder.clone(), Rc::clone(&port));
            let settings = &plan.settings;
            Puppet::new(
                actor.clone(),
                recorder,
                settings.heartbeat,
                settings.stored,
                port,
            )
        };
        let puppets = plan.actors.iter().map(puppet).collect();
        let broker = broker::program(
            plan,
            recorder.clone(),
            disks.clone(),
            Rc::clone(&drain),
            Rc::clone(&port),
        );
        let stage = Stage::new(Set {
            rng: Rng::stream(plan.seed, Concern::Network),
            network: plan.network.clone(),
            socket_bytes: plan.packets.socket_bytes,
            broker,
            drain,
            puppets,
            audience: recorder.clone(),
        });
        Self {
            plan,
            recorder,
            stage,
            disks,
            restart: None,
            is_draining: false,
        }
    }

    fn play(&mut self) {
        for item in agenda(self.plan) {
            if item.at >= self.plan.duration_us {
                break;
            }
            self.until(item.at);
            if let Some(fault) = item.words {
                self.recorder.note(Event::Struck { fault });
            }
            self.carry_out(item.deed);
        }
        self.until(self.plan.duration_us);
        if self.plan.ending == Ending::Finish {
            self.disks.heal();
            self.stage.heal();
            self.settle();
            let unfinished = self.stage.unfinished() as usize;
            self.recorder.note(Event::Settled {
                held_bytes: self.recorder.held_bytes(),
                unfinished,
            });
        }
        self.drain();
        self.recorder.note(Event::Over {
            held_bytes: self.recorder.held_bytes(),
            is_drained: !self.stage.broker_is_running(),
        });
    }

    fn until(&mut self, at: Micros) {
        while self.stage.now() < at {
            self.step();
        }
    }

    /// Lets the world go on for a tick. A broker that has ended by itself, as one does whose store has failed, is started
    /// again after a while.
    fn step(&mut self) {
        let has_ended = self.stage.step();
        if has_ended && !self.is_draining {
            self.broker_died();
            self.restart = Some(self.stage.now() + RESTART);
        }
        if self.restart.is_some_and(|at| at <= self.stage.now()) {
            self.restart = None;
            self.stage.carry_out(Deed::StartBroker);
        }
    }

    fn broker_died(&mut self) {
        stage::Audience::killed(self.recorder);
        self.disks.broker_died();
    }

    fn carry_out(&mut self, deed: WorldDeed) {
        match deed {
            WorldDeed::Disk(kind, begins) => self.disks.set(kind, begins),
            WorldDeed::Stage(deed) => {
                self.stage.carry_out(deed);
                match deed {
                    Deed::KillBroker => self.disks.broker_died(),
                    Deed::CutBrokersPower => {
                        self.disks.broker_died();
                        self.disks.power_cut();
                    }
                    Deed::Reset(..)
                    | Deed::Leave(..)
                    | Deed::Stall(..)
                    | Deed::Hold(_)
                    | Deed::Cut(..)
                    | Deed::Mend(_)
                    | Deed::Lag(_)
                    | Deed::Loss(_)
                    | Deed::Duplication(_)
                    | Deed::StartBroker
                    | Deed::KillClient(_)
                    | Deed::CutClientsPower(_)
                    | Deed::StartClient(_) => {}
                }
            }
        }
    }

    /// Lets the world go on until nothing moves any more.
    fn settle(&mut self) {
        let end = self.stage.now() + SETTLING;
        let mut moves = self.recorder.moves();
        let mut moved = self.stage.now();
        while self.stage.now() < end {
            self.step();
            if self.recorder.moves() != moves {
                moves = self.recorder.moves();
                moved = self.stage.now();
            }
            let is_done = self.stage.unfinished() == 0 && self.recorder.is_quiet();
            let patience = if is_done { QUIET } else { STUCK };
            if self.stage.now() - moved >= patience {
                return;
            }
        }
    }

    /// Lets the broker come to its end.
    fn drain(&mut self) {
        self.is_draining = true;
        // On a disk that is full it would end with what waits for room.
        self.disks.heal();
        self.stage.drain();
        let end = self.stage.now() + broker::DRAIN.as_micros() as Micros + STUCK;
        while self.stage.broker_is_running() && self.stage.now() < end {
            self.step();
        }
    }
}

/// What is done to the world.
enum WorldDeed {
    Stage(Deed),
    /// Something goes wrong with the disk, or no longer.
    Disk(DiskFaultKind, bool),
}

struct Item {
    at: Micros,
    deed: WorldDeed,
    words: Option<String>,
}

/// All that is done while clients publish, in order.
fn agenda(plan: &Plan) -> Vec<Item> {
    let of_stage = agenda::of(&plan.faults, &plan.packets.faults).into_iter();
    let of_stage = of_stage.map(|item| Item {
        at: item.at,
        deed: WorldDeed::Stage(item.deed),
        words: item.words,
    });
    let of_disk = plan.disk.faults.iter().flat_map(|fault| {
        let item = |at, begins, words| Item {
            at,
            deed: WorldDeed::Disk(fault.kind, begins),
            words,
        };
        [
            item(fault.at_us, true, Some(fault.describe())),
            item(fault.at_us + fault.for_us, false, None),
        ]
    });
    let mut items: Vec<Item> = of_stage.chain(of_disk).collect();
    items.sort_by_key(|item| item.at);
    items
}
