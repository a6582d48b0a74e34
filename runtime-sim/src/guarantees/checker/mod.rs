//! Whether a history keeps what version 2 promises.
//!
//! The checker is a second, plain account of the same facts: every message of every group, one by one, and every
//! connection (`state.rs`). It goes through the history once. `consumers.rs` follows what is handed out and
//! settled, `producers.rs` what is published and confirmed, `connections.rs` who comes and goes, `rights.rs` who may do
//! what, `restarts.rs` what outlives a broker, `losses.rs` what is lost by agreement, `turns.rs` how room is shared, and
//! `rules.rs` what the operator changes; `between.rs` is what must hold whenever the broker has done what there was to do, and `end.rs` what must be true in the end.

mod between;
mod connections;
mod consumers;
mod end;
mod engine;
mod losses;
mod producers;
mod restarts;
mod rights;
mod rules;
mod state;
mod turns;

#[cfg(test)]
mod tests;

use super::history::{Event, History, Record};
use crate::checker::{Invariant, Violation};
use crate::plan::Micros;
use message_queue_core::{CloseReason, ConnId};
use rights::Who;
use state::State;
use std::collections::BTreeSet;

/// Every promise that the history breaks, the first of each kind, in the order of time.
pub fn check(history: &History) -> Vec<Violation> {
    let mut checker = Checker {
        state: State::new(&history.settings),
        violations: Vec::new(),
        silent: history
            .records
            .iter()
            .filter_map(silent_for_too_long)
            .collect(),
        at: 0,
        step: 0,
    };
    for record in &history.records {
        if record.step != checker.step {
            checker.between_steps();
        }
        (checker.at, checker.step) = (record.at, record.step);
        checker.happened(&record.event);
    }
    checker.violations
}

/// Who is closed by a record because it was silent for too long, and in which step.
fn silent_for_too_long(record: &Record) -> Option<(u64, ConnId)> {
    if let Event::Closed { conn, reason } = &record.event
        && *reason == CloseReason::HeartbeatTimeout
    {
        return Some((record.step, *conn));
    }
    None
}

struct Checker {
    state: State,
    violations: Vec<Violation>,
    /// Whom the broker finds silent for too long, and in which step: at one moment that comes before anything else.
    silent: BTreeSet<(u64, ConnId)>,
    /// Where in the history it is.
    at: Micros,
    step: u64,
}

impl Checker {
    /// Notes a broken promise, unless that one was seen broken before.
    fn broken(&mut self, invariant: Invariant, detail: impl FnOnce() -> String) {
        if self.violations.iter().any(|it| it.invariant == invariant) {
            return;
        }
        self.violations.push(Violation {
            invariant,
            at: self.at,
            step: self.step,
            detail: detail(),
        });
    }

    /// Notes a broken promise unless `holds`.
    fn must(&mut self, holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) {
        if !holds {
            self.broken(invariant, detail);
        }
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Connected { conn, asked, .. } => self.connected(*conn, asked),
            Event::Given {
                client,
                topic,
                named,
                confirms,
                bodies,
            } => self.given(*client, topic, (*named, *confirms), bodies),
            Event::Safe { bodies, .. } => self.safe(bodies),
            Event::WasSafe { bodies, .. } => self.was_safe(bodies),
            Event::NotTaken { bodies, .. } => self.not_taken(bodies),
            Event::Forgot { client } => self.forgot(*client),
            Event::Complaint { client, text } => {
                self.broken(Invariant::Clients, || format!("client {client}: {text}"));
            }
            Event::Identified {
                conn,
                principal,
                rights,
                until,
            } => {
                let who = Who {
                    principal: principal.clone(),
                    rights: rights.clone(),
                    until: *until,
                };
                self.identified(*conn, who);
            }
            Event::Disowned { conn } => self.state.conn(*conn).standing.is_disowned = true,
            Event::Read { conn } => self.read(*conn),
            Event::Published { conn, bodies } => {
                self.read(*conn);
                self.published(*conn, bodies);
            }
            Event::Heard { conn, control } => {
                self.read(*conn);
                self.heard(*conn, control);
            }
            Event::Ended { conn } => self.state.conn(*conn).has_ended = true,
            Event::Accepted { conn, answer } => self.accepted(*conn, answer),
            Event::WriteStarted { conn } => self.write_started(*conn),
            Event::Told { conn, control } => self.told(*conn, control),
            Event::HandedOut { conn, body } => self.handed_out(*conn, body),
            Event::WriteDone { conn } => self.state.conn(*conn).is_busy = false,
            Event::Paused { conn } => self.paused(*conn, true),
            Event::Resumed { conn } => self.paused(*conn, false),
            Event::Closed { conn, reason } => self.closed(*conn, *reason),
            Event::Sealed { conn, unwritten } => self.sealed(*conn, *unwritten),
            Event::Dropped {
                whence,
                reason,
                messages,
            } => self.dropped(whence.as_ref(), *reason, *messages),
            Event::Time => self.time(),
            Event::Struck { .. } | Event::Store { .. } => {}
            Event::Engine { topic, event } => self.engine_does(topic, event),
            Event::StoreFailed => self.state.has_store_failed = true,
            Event::Killed => self.killed(),
            Event::NotOpened { error } => self.broken(Invariant::Recovery, || error.clone()),
            Event::TooMuch { held_bytes, most } => self.broken(Invariant::MemoryBound, || {
                format!("the broker holds {held_bytes} B of {most}")
            }),
            Event::Rules { settings } => self.rules_change(settings),
            Event::Deleting { .. } => self.state.is_deleting = true,
            Event::Deleted {
                topic,
                group,
                existed,
            } => self.deleted(topic, group, *existed),
            Event::Healed => {}
            Event::Settled {
                held_bytes,
                unfinished,
            } => self.settled(*held_bytes, *unfinished),
            Event::Draining => {
                self.state.drain_began = Some(self.at);
                // What is due by then is done first.
                self.time();
            }
            Event::Over {
                held_bytes,
                is_drained,
            } => self.over(*held_bytes, *is_drained),
        }
    }
}
