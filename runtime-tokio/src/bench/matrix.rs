//! Many runs, broker against a yardstick: the cells of the bars that we hold ourselves to.

use super::pairs::{Pairs, Spread, Yardstick};
use super::plan::{Plan, delivery_name};
use message_queue_core::DeliveryMode;
use std::fmt::Write;

/// The cells, and what came of them.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What the broker was held against.
    pub yardstick: Yardstick,
    /// In the order of [`Cell::all`].
    pub cells: Vec<(Cell, Pairs)>,
}

/// One cell: who gets what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// To whom a message goes.
    pub delivery: DeliveryMode,
    /// How many consumers there are.
    pub consumers: usize,
    /// The size of a message's body in bytes.
    pub size: usize,
    /// How much a producer writes in one go, in bytes, where the cell says so.
    pub write_bytes: Option<usize>,
}

const SIZES: [usize; 3] = [128, 1024, 16 * 1024];

/// With TLS, the writes matter, and hardly what is in them.
const TLS_SIZES: [usize; 2] = [128, 1024];
const TLS_WRITES: [Option<usize>; 2] = [Some(64 << 10), Some(1 << 20)];

/// The sizes of messages and of writes, with each yardstick.
const fn sizes(yardstick: Yardstick) -> (&'static [usize], &'static [Option<usize>]) {
    match yardstick {
        Yardstick::TlsRelay => (&TLS_SIZES, &TLS_WRITES),
        Yardstick::Relay | Yardstick::Version1 | Yardstick::Memory => (&SIZES, &[None]),
    }
}

/// Who gets what, with each yardstick.
const fn clients(yardstick: Yardstick) -> &'static [(DeliveryMode, usize)] {
    match yardstick {
        Yardstick::Relay => &[
            (DeliveryMode::Broadcast, 1),
            (DeliveryMode::Broadcast, 4),
            (DeliveryMode::Broadcast, 10),
            (DeliveryMode::Queue, 1),
            (DeliveryMode::Queue, 4),
        ],
        Yardstick::TlsRelay => &[(DeliveryMode::Broadcast, 1), (DeliveryMode::Broadcast, 4)],
        Yardstick::Version1 | Yardstick::Memory => {
            &[(DeliveryMode::Broadcast, 4), (DeliveryMode::Queue, 4)]
        }
    }
}

impl Cell {
    /// All cells with this yardstick.
    pub fn all(yardstick: Yardstick) -> impl Iterator<Item = Self> {
        let (sizes, writes) = sizes(yardstick);
        let of = move |(delivery, consumers)| {
            writes.iter().flat_map(move |&write_bytes| {
                sizes.iter().map(move |&size| Self {
                    delivery,
                    consumers,
                    size,
                    write_bytes,
                })
            })
        };
        clients(yardstick).iter().copied().flat_map(of)
    }

    /// `plan` with what this cell says.
    pub fn plan(self, plan: &Plan) -> Plan {
        Plan {
            delivery: self.delivery,
            consumers: self.consumers,
            size: self.size,
            write_bytes: self.write_bytes.unwrap_or(plan.write_bytes),
            ..plan.clone()
        }
    }

    /// Its name in tables.
    pub fn name(self) -> String {
        let name = delivery_name(self.delivery);
        let mut cell = format!("{name} to {}, {} B", self.consumers, self.size);
        if let Some(bytes) = self.write_bytes {
            let _ = write!(cell, ", writes of {} KiB", bytes >> 10);
        }
        cell
    }
}

impl Matrix {
    /// A table in Markdown: the medians of each cell, and the geometric mean of the ratios.
    ///
    /// # Panics
    /// If a cell has no pair.
    pub fn to_markdown(&self) -> String {
        let [subject, other] = self.yardstick.names();
        let mut table = format!(
            "| job | {subject}, messages/s | {other}, messages/s | rate (min to max) | {subject}, CPU-s per million | {other} | CPU (min to max) |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for (cell, pairs) in &self.cells {
            let ratios = pairs.ratios();
            let median = |figure: fn(&super::Pair) -> Option<f64>| {
                let figures: Option<Vec<_>> = pairs.pairs.iter().map(figure).collect();
                figures.map(|figures| Spread::of(figures).median)
            };
            let count =
                |figure| median(figure).map_or("?".to_owned(), |value| format!("{value:.0}"));
            let cost =
                |figure| median(figure).map_or("?".to_owned(), |value| format!("{value:.3}"));
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} | {} |",
                cell.name(),
                count(|pair| Some(pair.broker.rate())),
                count(|pair| Some(pair.yardstick.rate())),
                spread(Some(ratios.rate)),
                cost(|pair| pair.broker.cost.map(|cost| cost.cpu_per_million)),
                cost(|pair| pair.yardstick.cost.map(|cost| cost.cpu_per_million)),
                spread(ratios.cpu),
            );
        }
        let rate = self.geometric_mean(|pairs| Some(pairs.ratios().rate.median));
        let cpu = self.geometric_mean(|pairs| pairs.ratios().cpu.map(|cpu| cpu.median));
        let figure = |mean: Option<f64>| mean.map_or("?".to_owned(), |mean| format!("{mean:.2}"));
        let _ = writeln!(
            table,
            "| geometric mean | | | **{}** | | | **{}** |",
            figure(rate),
            figure(cpu)
        );
        table
    }

    fn geometric_mean(&self, figure: impl Fn(&Pairs) -> Option<f64>) -> Option<f64> {
        let logarithms: Option<Vec<_>> = self
            .cells
            .iter()
            .map(|(_, pairs)| figure(pairs).map(f64::ln))
            .collect();
        let logarithms = logarithms?;
        Some((logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or("?".to_owned(), |Spread { min, median, max }| {
        format!("**{median:.2}** ({min:.2} to {max:.2})")
    })
}
