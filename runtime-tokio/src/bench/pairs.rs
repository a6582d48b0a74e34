//! The broker against a yardstick: the same run in turns, and the ratio pair by pair.

use super::error::BenchError;
use super::guarantees::Guarantees;
use super::outcome::Outcome;
use super::plan::{Plan, Reading, Storage, Transport};
use super::run::{Progress, run};
use super::target::{Kind, Target};
use serde_json::json;

/// What the broker is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    /// A relay that copies bytes.
    Relay,
    /// A relay that decrypts and encrypts them: bare rustls. The broker speaks TLS too.
    TlsRelay,
    /// Another broker, whose clients speak version 1: no confirms, no acknowledgements.
    Version1,
    /// Another broker, which keeps its topics in memory.
    Memory,
}

/// One run of each, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What the broker did.
    pub broker: Outcome,
    /// What the yardstick did.
    pub yardstick: Outcome,
}

/// Several pairs of the same run.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// What the broker was held against.
    pub yardstick: Yardstick,
    /// In the order in which they ran.
    pub pairs: Vec<Pair>,
}

/// The smallest, the middle and the largest of some figures.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// As many are below as above.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

/// Broker to yardstick, over all pairs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ratios {
    /// Messages a second: above 1, the broker is faster.
    pub rate: Spread,
    /// CPU for each message: below 1, the broker takes less. None where it cannot be read.
    pub cpu: Option<Spread>,
    /// Median latency; none where it was not measured.
    pub p50: Option<Spread>,
    /// The 99th percentile of the latency; none where it was not measured.
    pub p99: Option<Spread>,
}

impl Yardstick {
    /// What the two sides of a pair are called.
    pub const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Relay | Self::TlsRelay => ["broker", "relay"],
            Self::Version1 => ["version 2", "version 1"],
            Self::Memory => ["stored", "memory"],
        }
    }

    /// The runs of a pair: the broker's, and the yardstick's.
    fn plans(self, plan: &Plan) -> [(Kind, Plan); 2] {
        match self {
            Self::Relay => {
                let plan = comparable(plan);
                [(Kind::Broker, plan.clone()), (Kind::Relay, plan)]
            }
            Self::TlsRelay => {
                let plan = Plan {
                    transport: Transport::Tls,
                    ..comparable(plan)
                };
                [(Kind::Broker, plan.clone()), (Kind::Relay, plan)]
            }
            Self::Version1 => {
                let without = Plan {
                    guarantees: Guarantees::default(),
                    ..plan.clone()
                };
                [(Kind::Broker, plan.clone()), (Kind::Broker, without)]
            }
            Self::Memory => {
                let in_memory = Plan {
                    storage: Storage::Memory,
                    ..plan.clone()
                };
                [(Kind::Broker, plan.clone()), (Kind::Broker, in_memory)]
            }
        }
    }
}

impl Pair {
    /// Runs `plan` against a new broker and a new yardstick, the broker first if `broker_first`.
    ///
    /// # Errors
    /// If one of the runs comes to nothing.
    pub fn run(
        plan: &Plan,
        yardstick: Yardstick,
        broker_first: bool,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, BenchError> {
        let mut run = |(kind, plan): &(Kind, Plan)| {
            let target = Target::start(*kind, plan)?;
            run(plan, &target, &mut progress)
        };
        let [broker, other] = &yardstick.plans(plan);
        if broker_first {
            let broker = run(broker)?;
            let yardstick = run(other)?;
            Ok(Self { broker, yardstick })
        } else {
            let yardstick = run(other)?;
            let broker = run(broker)?;
            Ok(Self { broker, yardstick })
        }
    }

    /// How many times the yardstick's messages a second.
    pub fn rate(&self) -> f64 {
        self.broker.rate() / self.yardstick.rate()
    }

    /// How many times the yardstick's CPU for each message.
    pub fn cpu(&self) -> Option<f64> {
        let (broker, yardstick) = (self.broker.cost?, self.yardstick.cost?);
        Some(broker.cpu_per_million / yardstick.cpu_per_million)
    }

    fn p50(&self) -> Option<f64> {
        let (broker, yardstick) = (self.broker.latency?, self.yardstick.latency?);
        Some(broker.p50 as f64 / yardstick.p50 as f64)
    }

    fn p99(&self) -> Option<f64> {
        let (broker, yardstick) = (self.broker.latency?, self.yardstick.latency?);
        Some(broker.p99 as f64 / yardstick.p99 as f64)
    }
}

impl Pairs {
    /// None so far.
    pub const fn new(yardstick: Yardstick) -> Self {
        Self {
            yardstick,
            pairs: Vec::new(),
        }
    }

    /// The ratios over all pairs.
    ///
    /// # Panics
    /// If there is no pair.
    pub fn ratios(&self) -> Ratios {
        let optional = |figure: fn(&Pair) -> Option<f64>| {
            let figures: Option<Vec<_>> = self.pairs.iter().map(figure).collect();
            figures.map(Spread::of)
        };
        Ratios {
            rate: Spread::of(self.pairs.iter().map(Pair::rate).collect()),
            cpu: optional(Pair::cpu),
            p50: optional(Pair::p50),
            p99: optional(Pair::p99),
        }
    }

    /// The pairs and their ratios for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let names = self.yardstick.names().map(|name| name.replace(' ', "_"));
        let [broker, yardstick] = &names;
        let pair = |pair: &Pair| {
            json!({
                broker: pair.broker.to_json(),
                yardstick: pair.yardstick.to_json(),
                "rate_ratio": pair.rate(),
                "cpu_ratio": pair.cpu(),
            })
        };
        let pairs: Vec<_> = self.pairs.iter().map(pair).collect();
        json!({ "pairs": pairs, "ratios": self.ratios() })
    }
}

impl Spread {
    /// Of these figures.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            f64::midpoint(figures[middle - 1], figures[middle])
        } else {
            figures[middle]
        };
        Self {
            min: figures[0],
            median,
            max: figures[figures.len() - 1],
        }
    }
}

/// The same run as it is possible with a relay too. It cuts messages between reads, so where
/// several clients share the stream only bytes can be counted.
fn comparable(plan: &Plan) -> Plan {
    let reading = match plan.rate {
        // Few messages at a time: each is one read, which is whole.
        Some(_) => Reading::Walk,
        None => Reading::Count,
    };
    Plan {
        reading,
        ..plan.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let spread = |figures: &[f64]| Spread::of(figures.to_vec());
        assert_eq!(
            spread(&[3.0, 1.0, 2.0]),
            Spread {
                min: 1.0,
                median: 2.0,
                max: 3.0
            }
        );
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread(&[4.0]).median, 4.0);
    }
}
