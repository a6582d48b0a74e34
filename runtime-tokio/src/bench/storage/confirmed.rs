//! What a broker confirms that syncs before each confirm, against the bare loop.

use super::bare::{self, Bare};
use super::confirming::{self, Confirming};
use super::per_second;
use super::scratch::Scratch;
use crate::bench::error::BenchError;
use crate::bench::pairs::Spread;
use crate::bench::plan::Plan;
use crate::bench::run::Progress;
use crate::bench::table::whole;
use crate::bench::target::{Kind, Target};
use crate::settings::FolderEngine;
use serde_json::json;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What the broker confirmed, with `FSYNC=always`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Confirmed {
    /// Messages.
    pub messages: u64,
    /// In so many pieces: what one confirm was for.
    pub confirms: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// With a window of 1, half of the confirms took no longer, in microseconds.
    pub p50: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Confirmed {
    /// Messages confirmed in a second.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, Duration::from_secs_f64(self.seconds))
    }

    fn of(confirming: &Confirming) -> Self {
        let Confirming {
            elapsed,
            confirms,
            latencies,
            cpu: _,
        } = confirming;
        Self {
            messages: confirming.messages(),
            confirms: confirms.len() as u64,
            seconds: elapsed.as_secs_f64(),
            p50: latencies.value_at_quantile(0.5),
            p99: latencies.value_at_quantile(0.99),
            max: latencies.max(),
        }
    }
}

/// One run of each, one after the other, on the same disk.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ConfirmedPair {
    /// What the broker did.
    pub broker: Confirmed,
    /// What the loop did with the pieces of that broker, or of the one before.
    pub bare: Bare,
}

/// Several pairs of the same run.
#[derive(Clone, Debug)]
pub struct ConfirmedPairs {
    plan: Plan,
    engine: FolderEngine,
    /// The pieces of the last broker, which the loop writes too.
    pieces: Vec<u64>,
    /// In the order in which they ran.
    pub pairs: Vec<ConfirmedPair>,
}

impl ConfirmedPairs {
    /// None so far of this plan, whose producer waits for confirms, with a broker that has this engine.
    pub const fn new(plan: Plan, engine: FolderEngine) -> Self {
        Self {
            plan,
            engine,
            pieces: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Runs a pair in a folder of this one. The broker is first in every other.
    ///
    /// # Errors
    /// If one of the two comes to nothing.
    pub fn run(&mut self, parent: &Path, progress: impl FnMut(Progress)) -> Result<(), BenchError> {
        let scratch = Scratch::new(parent)?;
        let (broker, bare) = if self.pairs.len().is_multiple_of(2) {
            let broker = self.broker(&scratch, progress)?;
            (broker, self.bare(&scratch)?)
        } else {
            let bare = self.bare(&scratch)?;
            (self.broker(&scratch, progress)?, bare)
        };
        self.pairs.push(ConfirmedPair { broker, bare });
        Ok(())
    }

    fn broker(
        &mut self,
        scratch: &Scratch,
        progress: impl FnMut(Progress),
    ) -> Result<Confirmed, BenchError> {
        let plan = Plan {
            storage: scratch.storage(self.engine, "always"),
            ..self.plan.clone()
        };
        let target = Target::start(Kind::Broker, &plan)?;
        let confirming = confirming::send(&plan, &target, progress)?;
        let confirmed = Confirmed::of(&confirming);
        self.pieces = confirming.confirms;
        Ok(confirmed)
    }

    fn bare(&self, scratch: &Scratch) -> Result<Bare, BenchError> {
        bare::run(scratch, self.engine, &self.pieces, self.plan.frame_size())
    }

    fn is_one_by_one(&self) -> bool {
        self.plan.guarantees.window == 1
    }

    /// Broker to bare loop: messages a second, and with a window of 1 the median time of one.
    ///
    /// # Panics
    /// If there is no pair.
    pub fn ratios(&self) -> (Spread, Option<Spread>) {
        let pairs = || self.pairs.iter();
        let rate = pairs().map(|it| it.broker.rate() / it.bare.rate());
        let p50 = pairs().map(|it| it.broker.p50 as f64 / it.bare.p50 as f64);
        let p50 = self.is_one_by_one().then(|| Spread::of(p50.collect()));
        (Spread::of(rate.collect()), p50)
    }

    /// The pairs and their ratios for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let (rate, p50) = self.ratios();
        json!({
            "engine": self.engine,
            "size": self.plan.size,
            "window": self.plan.guarantees.window,
            "pairs": self.pairs,
            "rate_ratio": rate,
            "p50_ratio": p50,
        })
    }
}

impl fmt::Display for ConfirmedPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            size, guarantees, ..
        } = &self.plan;
        writeln!(
            f,
            "STORAGE={}, messages of {size} B, at most {} unconfirmed, FSYNC=always; the loop writes and syncs the same \
             pieces",
            self.engine.storage().name(),
            guarantees.window
        )?;
        writeln!(
            f,
            "pair {:>14} {:>14}  rate {:>10} {:>12}",
            "broker msg/s", "loop msg/s", "syncs/s", "bytes/sync"
        )?;
        for (index, ConfirmedPair { broker, bare }) in self.pairs.iter().enumerate() {
            let frame = self.plan.frame_size() as f64;
            writeln!(
                f,
                "{:>4} {:>14} {:>14} {:>5.2} {:>10} {:>12}",
                index + 1,
                whole(broker.rate()),
                whole(bare.rate()),
                broker.rate() / bare.rate(),
                whole(broker.confirms as f64 / broker.seconds),
                whole(broker.messages as f64 * frame / broker.confirms.max(1) as f64),
            )?;
            if self.is_one_by_one() {
                writeln!(
                    f,
                    "     a confirm: p50 {} µs, p99 {} µs, max {} µs; a write and a sync: p50 {} µs, p99 {} µs",
                    broker.p50, broker.p99, broker.max, bare.p50, bare.p99
                )?;
            }
        }
        let (rate, p50) = self.ratios();
        for (name, spread) in [("rate", Some(rate)), ("p50", p50)] {
            if let Some(Spread { min, median, max }) = spread {
                writeln!(
                    f,
                    "broker / loop, {name}: median {median:.2}, minimum {min:.2}, maximum {max:.2}"
                )?;
            }
        }
        Ok(())
    }
}
