//! Whether a history keeps the broker's promises. The same checker for every simulator.
//!
//! Each family of promises is a pass of its own over the history: `delivery.rs` (what a consumer
//! receives was published, once, in order), `ledger.rs` (every message is accounted for, within the
//! bounds, and nobody starves), `completeness.rs` (nothing is missed but what was counted),
//! `lifecycle.rs` (every connection ends, for a reason that fits, in time), `progress.rs` (what is
//! healed gets going again).

mod completeness;
mod delivery;
mod ledger;
mod lifecycle;
mod progress;
mod topic;

#[cfg(test)]
mod script;

use crate::history::{History, Record};
use crate::plan::Micros;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A promise. Shrinking keeps to the one that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Nothing panics.
    NoPanic,
    /// What the broker itself says always holds (`Broker::check_invariants`).
    Internal,
    /// Nothing is delivered that was not published.
    Published,
    /// A message arrives with the bytes that it was published with.
    Unaltered,
    /// Of the messages of one producer's connection, each consumer sees the earlier before the later. In `queue`
    /// mode, what a consumer that left did not take comes before all that was not handed out yet.
    Order,
    /// Nobody receives a message twice; in `queue` mode, no two receive the same.
    NoDuplicate,
    /// `broadcast`: nobody receives what was published before it registered.
    NotBeforeRegistration,
    /// `broadcast`: a consumer receives all that was published since it registered, but for what
    /// was counted as dropped for it.
    Completeness,
    /// What a consumer's socket took, a consumer that stays receives.
    Carried,
    /// What is offered to a group is delivered, waiting, or counted as dropped.
    Accounting,
    /// No backlog, and not all of them together, hold more than they may.
    MemoryBound,
    /// While a message waits, no consumer that could take it is idle.
    NoStarvation,
    /// No write is asked for before the last one is over.
    OneWrite,
    /// No more connections and consumers than allowed, and none is refused while there is room.
    Limits,
    /// Every connection ends exactly once, nothing happens on it afterwards, and the reason fits
    /// what its client did.
    CloseReason,
    /// A role line and a write have the time that is set, no less and no more.
    Deadline,
    /// What an orderly producer sent is taken in, all of it.
    TakenIn,
    /// When all is healed, everything that waits gets through.
    Progress,
    /// After the orderly end nobody is connected and nothing is held.
    Drained,

    /// What was confirmed is not lost while the broker lives.
    Confirmed,
    /// A message of a producer with a name enters its topic once, over any number of connections.
    ExactlyOnce,
    /// A fresh message is never taken for an old one.
    Fresh,
    /// A sequence names one message of its topic.
    Sequences,
    /// What is not settled is handed out again until it is settled, rejected or dead.
    Redelivery,
    /// What is settled, or held by a member, is not handed out again.
    SettledOnce,
    /// What an engine that brokers share has taken back is handed out only when it is delivered again.
    TakenBack,
    /// An attempt is counted each time that a message is handed out.
    Attempts,
    /// A failure counts against a message that was suspect or named, and against no other.
    Failures,
    /// A message that has failed waits before it is handed out again.
    Backoff,
    /// A message that has failed often is handed out alone.
    Alone,
    /// A consumer holds no more than it has asked for.
    Prefetch,
    /// Where one member at a time gets everything, no other has anything.
    ShareOne,
    /// What was given up is a dead letter, once, with where it came from.
    DeadLetters,
    /// What was taken from a consumer it is told of, before anything else.
    Revoked,
    /// Nothing is missing in a group; in a group of one's own, not without a word.
    Gaps,
    /// What has waited for as long as its topic allows is dropped then, and not handed out later.
    Age,
    /// Producers that wait for room leave some to those that do not.
    Turns,
    /// A group is there from the first that joins it to its end.
    Groups,
    /// At most one connection has a producer's name.
    TakeOver,
    /// A producer that is not read from is told so, and why.
    ToldWhy,
    /// Who is silent for two heartbeats is given up, and nobody else.
    Liveness,
    /// Who was told to go is handed nothing more.
    GoAway,
    /// Nothing is handed to, or taken from, whoever has no right to that; nobody is refused who has one; whoever may
    /// not go on is gone.
    Rights,
    /// The clients see nothing that no client should see.
    Clients,
    /// Whatever has become of its disk, a broker starts again from that.
    Recovery,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it was seen.
    pub at: Micros,
    /// In which step of the history.
    pub step: u64,
    /// How, in words.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        let Self {
            invariant, detail, ..
        } = self;
        write!(
            f,
            "{invariant} at {seconds}.{micros:06} (step {}): {detail}",
            self.step
        )
    }
}

/// Every promise that the history breaks, the first of each kind, in the order of time.
pub fn check(history: &History) -> Vec<Violation> {
    let mut findings = Findings::default();
    delivery::check(history, &mut findings);
    ledger::check(history, &mut findings);
    completeness::check(history, &mut findings);
    lifecycle::check(history, &mut findings);
    progress::check(history, &mut findings);
    findings.violations.sort_by_key(|violation| violation.step);
    findings.violations
}

/// What the passes found so far.
#[derive(Debug, Default)]
struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    /// Notes a broken promise, unless that one was seen broken before: what follows from the first
    /// breach helps nobody.
    fn add(&mut self, invariant: Invariant, at: &Record, detail: impl FnOnce() -> String) {
        let known = |violation: &Violation| violation.invariant == invariant;
        if self.violations.iter().any(known) {
            return;
        }
        self.violations.push(Violation {
            invariant,
            at: at.at,
            step: at.step,
            detail: detail(),
        });
    }
}
