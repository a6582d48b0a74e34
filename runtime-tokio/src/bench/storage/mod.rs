//! What stored topics cost, beside what the disk, the relay or a broker in memory does (`docs/BENCHMARKS.md`).
//!
//! In the order of a run: `scratch.rs` (a folder for it), `confirming.rs` (a producer that notes what each confirm was
//! for), `bare.rs` (the yardstick: the same bytes in the same pieces, without a broker), `confirmed.rs` (one against the
//! other), `catching_up.rs` (a reader that begins at the first message, beside others), `recovering.rs` (a start with much
//! on disk). Engines that brokers share are in `shared/`. Stored against memory is in `pairs.rs`.

mod bare;
mod catching_up;
mod confirmed;
mod confirming;
mod recovering;
mod scratch;
mod shared;

pub use bare::Bare;
pub use catching_up::{CatchingUp, catch_up};
pub use confirmed::{Confirmed, ConfirmedPair, ConfirmedPairs};
pub use recovering::{Recovering, recover};
pub use scratch::Scratch;
pub use shared::{BesideAClient, Did, Job};

use super::error::BenchError;
use super::plan::Plan;
use super::run::Progress;
use message_queue_core::wire::handshake::Common;
use std::time::Duration;

/// Tells how far a part of a measurement is: its name, what it does, and how much of that is done.
pub type Tell<'a> = &'a mut dyn FnMut(&str, &Plan, Progress);

/// What all clients say of themselves: nobody is silent for long, and a benchmark is no place for timers.
fn common() -> Common {
    Common {
        heartbeat: 0,
        ..Common::default()
    }
}

/// How many times in a second.
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// What went wrong with a file of the benchmark's own.
fn of_file(source: std::io::Error) -> BenchError {
    BenchError::Client {
        client: "a file of the benchmark".to_owned(),
        source,
    }
}
