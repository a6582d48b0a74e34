//! The simulation of the whole stack: the production driver and real TCP behaviour, on a network
//! that loses packets, with hosts that crash.
//!
//! `agenda.rs` (what is done, and when), `stage.rs` (the hosts and the hand that moves
//! them), `strings.rs` (what clients are told by it), `broker.rs`, `clients/`, `socket.rs` (the broker's sockets), `recorder.rs` and `outgoing.rs` (the
//! history).

pub(crate) mod agenda;
mod broker;
mod clients;
mod outgoing;
mod recorder;
pub(crate) mod socket;
pub(crate) mod stage;
pub(crate) mod strings;

use crate::checker::{Invariant, Violation};
use crate::history::{Event, History};
use crate::panics::unless_it_panics;
use crate::plan::{Client, Ending, MILLISECOND, Micros, Plan, SECOND};
use crate::rng::{Concern, Rng};
use clients::Puppet;
use recorder::Recorder;
use stage::Set;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;

/// The broker's host.
pub(crate) const BROKER: &str = "broker";

/// The broker listens on the ports above this one, on another after each start.
pub(crate) const FIRST_PORT: u16 = 9080;

type Stage = stage::Stage<Puppet, Recorder>;

/// When all is healed and done, and nothing has moved for so long, nothing will.
const QUIET: Micros = SECOND;

/// When all is healed and not done, and nothing has moved for so long beyond the broker's timeouts,
/// nothing will: it is longer than TCP tries.
const STUCK: Micros = 6 * SECOND;

/// The longest time allowed for getting over the faults.
const SETTLING: Micros = 180 * SECOND;

/// How much longer than its timeout the orderly end may take: a producer is read from for a while.
const DRAINING: Micros = 2 * SECOND;

/// Carries out a plan. Returns what happened, and what made it stop if it did not come to its end.
/// The same plan gives the same history.
pub fn run(plan: &Plan, check_invariants: bool) -> (History, Option<Violation>) {
    let recorder = Recorder::new(plan.settings.clone(), check_invariants);
    let panic = unless_it_panics(|| play(plan, &recorder)).err();
    let (history, internal) = recorder.finish();
    let panic = panic.map(|detail| Violation {
        invariant: Invariant::NoPanic,
        at: history.records.last().map_or(0, |last| last.at),
        step: history.records.last().map_or(0, |last| last.step),
        detail,
    });
    (history, internal.or(panic))
}

fn play(plan: &Plan, recorder: &Recorder) {
    let mut stage = Stage::new(set(plan, recorder));
    let duration = plan.duration_us;
    let packets = plan.packets.iter().flat_map(|packets| &packets.faults);
    let packets: Vec<_> = packets.cloned().collect();
    for item in agenda::of(&plan.faults, &packets) {
        if item.at >= duration {
            break;
        }
        until(&mut stage, item.at);
        if let Some(fault) = item.words {
            recorder.note(Event::Struck { fault });
        }
        stage.carry_out(item.deed);
    }
    until(&mut stage, duration);
    match plan.ending {
        Ending::HealThenDrain => {
            stage.heal();
            let settings = &plan.settings;
            let timeouts = settings.write_timeout_us + settings.role_timeout_us;
            settle(&mut stage, recorder, timeouts + STUCK);
            recorder.note(Event::Settled {
                held: recorder.held(),
                unfinished: stage.unfinished(),
            });
        }
        Ending::DrainUnderLoad => {}
    }
    drain(&mut stage, recorder, plan.settings.drain_timeout_us);
    let held = recorder.held();
    recorder.note(Event::Ended { held });
}

fn set(plan: &Plan, recorder: &Recorder) -> Set<Puppet, Recorder> {
    let drain = Rc::new(Notify::new());
    let port = Rc::new(Cell::new(FIRST_PORT));
    let limit = plan.settings.role_line_bytes;
    let puppet =
        |client: &Client| Puppet::new(client.clone(), recorder.clone(), limit, Rc::clone(&port));
    Set {
        rng: Rng::stream(plan.seed, Concern::Network),
        network: plan.network.clone(),
        socket_bytes: plan.packets.clone().unwrap_or_default().socket_bytes,
        broker: broker::broker(plan, recorder.clone(), Rc::clone(&drain), Rc::clone(&port)),
        drain,
        puppets: plan.clients.iter().map(puppet).collect(),
        audience: recorder.clone(),
    }
}

fn until(stage: &mut Stage, at: Micros) {
    while stage.now() < at {
        stage.step();
    }
}

/// Lets the world go on until nothing moves any more.
fn settle(stage: &mut Stage, recorder: &Recorder, stuck: Micros) {
    let end = stage.now() + SETTLING;
    let mut moves = recorder.moves();
    let mut moved = stage.now();
    while stage.now() < end {
        stage.step();
        if recorder.moves() != moves {
            moves = recorder.moves();
            moved = stage.now();
        }
        let done = stage.unfinished() == 0 && recorder.held() == Default::default();
        let patience = if done { QUIET } else { stuck };
        if stage.now() - moved >= patience {
            return;
        }
    }
}

/// Lets the broker come to its end, and what it has sent arrive.
fn drain(stage: &mut Stage, recorder: &Recorder, timeout: Micros) {
    stage.drain();
    let end = stage.now() + timeout + DRAINING;
    while stage.broker_is_running() && stage.now() < end {
        stage.step();
    }
    let mut moves = recorder.moves();
    let mut quiet_at = stage.now() + QUIET;
    while stage.now() < quiet_at {
        until(stage, stage.now() + 10 * MILLISECOND);
        if recorder.moves() != moves {
            moves = recorder.moves();
            quiet_at = stage.now() + QUIET;
        }
    }
}
