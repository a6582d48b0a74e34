//! The figures for people.

use super::outcome::{Cost, Latency, Outcome};
use super::pairs::{Pair, Pairs, Ratios, Spread};
use indicatif::{BinaryBytes, HumanCount};
use std::fmt;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<24}{value:>20}")
        };
        row(f, "sent", HumanCount(self.sent).to_string())?;
        row(f, "delivered", HumanCount(self.delivered).to_string())?;
        row(f, "lost", HumanCount(self.lost()).to_string())?;
        row(f, "seconds", format!("{:.3}", self.elapsed.as_secs_f64()))?;
        row(f, "messages/s", whole(self.rate()))?;
        row(f, "bytes/s", bytes(self.byte_rate()))?;
        if let Some(Latency {
            p50,
            p90,
            p99,
            p999,
            max,
        }) = self.latency
        {
            for (name, value) in [
                ("latency p50", p50),
                ("latency p90", p90),
                ("latency p99", p99),
                ("latency p99.9", p999),
                ("latency max", max),
            ] {
                row(f, name, format!("{} µs", HumanCount(value)))?;
            }
        }
        if let Some(Cost {
            cpu_per_million,
            peak_bytes,
            ..
        }) = self.cost
        {
            row(f, "CPU-s per million", format!("{cpu_per_million:.3}"))?;
            row(f, "peak memory", BinaryBytes(peak_bytes).to_string())?;
        }
        if self.verified {
            row(f, "content, order, repeats", "as they should be".to_owned())?;
        }
        Ok(())
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.yardstick.names();
        let [subject, other] = names;
        writeln!(
            f,
            "pair {:>15} {:>15}   rate {:>15} {:>15}    CPU",
            format!("{subject} msg/s"),
            format!("{other} msg/s"),
            format!("{subject} CPU/M"),
            format!("{other} CPU/M"),
        )?;
        for (index, pair) in self.pairs.iter().enumerate() {
            let Pair { broker, yardstick } = pair;
            let cpu = |outcome: &Outcome| {
                let per_million = outcome.cost.map(|cost| cost.cpu_per_million);
                per_million.map_or("?".to_owned(), |cpu| format!("{cpu:.3}"))
            };
            let ratio = pair.cpu().map_or("?".to_owned(), |cpu| format!("{cpu:.2}"));
            writeln!(
                f,
                "{:>4} {:>15} {:>15} {:>6.2} {:>15} {:>15} {ratio:>6}",
                index + 1,
                whole(broker.rate()),
                whole(yardstick.rate()),
                pair.rate(),
                cpu(broker),
                cpu(yardstick),
            )?;
            for (name, outcome) in names.into_iter().zip([broker, yardstick]) {
                if outcome.lost() > 0 {
                    writeln!(f, "     {name} lost {}", HumanCount(outcome.lost()))?;
                }
                if let Some(Latency { p50, p90, p99, .. }) = outcome.latency {
                    writeln!(f, "     {name:<9} p50 {p50} µs, p90 {p90} µs, p99 {p99} µs")?;
                }
            }
        }
        let Ratios {
            rate,
            cpu,
            p50,
            p99,
        } = self.ratios();
        for (name, spread) in [
            ("rate", Some(rate)),
            ("CPU", cpu),
            ("p50", p50),
            ("p99", p99),
        ] {
            if let Some(Spread { min, median, max }) = spread {
                writeln!(
                    f,
                    "{subject} / {other}, {name}: median {median:.2}, minimum {min:.2}, maximum {max:.2}"
                )?;
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest whole number there is"
)]
pub(super) fn whole(value: f64) -> String {
    HumanCount(value as u64).to_string()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest whole number there is"
)]
pub(super) fn bytes(value: f64) -> String {
    BinaryBytes(value as u64).to_string()
}
