//! The figures of brokers beside a bare client.

use super::{BesideAClient, Did, Side};
use crate::bench::pairs::Spread;
use crate::bench::table::whole;
use serde_json::{Map, Value, json};
use std::fmt;

/// One side to another over all rounds.
struct Ratios {
    rate: Spread,
    /// CPU for each message; none where it cannot be read.
    cpu: Option<Spread>,
}

impl BesideAClient {
    /// The sides that are brokers.
    fn brokers(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let sides = self.sides.iter().enumerate();
        sides.filter_map(|(at, side)| match side {
            Side::Broker(variant) => Some((at, variant.name)),
            Side::Bare => None,
        })
    }

    fn ratios(&self, side: usize, to: usize) -> Ratios {
        let rounds = || self.rounds.iter();
        let rate = rounds().map(|it| it[side].rate() / it[to].rate());
        let cpu = rounds().map(|it| Some(it[side].cpu()? / it[to].cpu()?));
        Ratios {
            rate: Spread::of(rate.collect()),
            cpu: cpu.collect::<Option<_>>().map(Spread::of),
        }
    }

    /// What is held against what: the sides, and what that is called. Each broker is held against the bare client, and those
    /// after the first against the first one.
    fn comparisons(&self) -> Vec<(usize, usize, String)> {
        let bare = self.sides.len() - 1;
        let mut all: Vec<_> = self
            .brokers()
            .map(|(at, name)| (at, bare, format!("{name} / bare")))
            .collect();
        let first = self.sides[0].name();
        let others = self.brokers().skip(1);
        all.extend(others.map(|(at, name)| (at, 0, format!("{name} / {first}"))));
        all
    }

    /// The rounds and their ratios for other programs to read.
    ///
    /// # Panics
    /// If there is no round.
    pub fn to_json(&self) -> Value {
        let round = |did: &Vec<Did>| -> Map<String, Value> {
            let sides = self.sides.iter().zip(did);
            sides
                .map(|(side, did)| (side.name().to_owned(), json!(did)))
                .collect()
        };
        let rounds: Vec<_> = self.rounds.iter().map(round).collect();
        let ratios: Map<String, Value> = self
            .comparisons()
            .into_iter()
            .map(|(side, to, name)| {
                let Ratios { rate, cpu } = self.ratios(side, to);
                let name = name.replace(" / ", "_to_");
                (name, json!({ "rate": rate, "cpu": cpu }))
            })
            .collect();
        json!({
            "engine": self.engine,
            "job": self.job,
            "size": self.plan.size,
            "window": self.plan.guarantees.window,
            "rounds": rounds,
            "ratios": ratios,
        })
    }
}

impl fmt::Display for BesideAClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, window) = (self.plan.size, self.plan.guarantees.window);
        writeln!(
            f,
            "STORAGE={}, messages of {size} B, a window of {window}; bare is a client of the same library, without a broker",
            self.engine.storage().name(),
        )?;
        writeln!(
            f,
            "{:>5} {:<10} {:>12} {:>8} {:>18} {:>8}",
            "round", "", "messages/s", "to bare", "CPU-s per million", "to bare"
        )?;
        for (index, round) in self.rounds.iter().enumerate() {
            let bare = &round[round.len() - 1];
            for (side, did) in self.sides.iter().zip(round) {
                let (cpu, of_bare) = (did.cpu(), bare.cpu());
                let ratio = cpu.zip(of_bare).map(|(cpu, of_bare)| cpu / of_bare);
                let shown = |it: Option<f64>| it.map_or("?".to_owned(), |it| format!("{it:.2}"));
                writeln!(
                    f,
                    "{:>5} {:<10} {:>12} {:>8.2} {:>18} {:>8}",
                    index + 1,
                    side.name(),
                    whole(did.rate()),
                    did.rate() / bare.rate(),
                    shown(cpu),
                    shown(ratio),
                )?;
            }
        }
        for (side, to, name) in self.comparisons() {
            let Ratios { rate, cpu } = self.ratios(side, to);
            for (what, spread) in [("rate", Some(rate)), ("CPU for each message", cpu)] {
                if let Some(Spread { min, median, max }) = spread {
                    writeln!(
                        f,
                        "{name}, {what}: median {median:.2}, minimum {min:.2}, maximum {max:.2}"
                    )?;
                }
            }
        }
        Ok(())
    }
}
