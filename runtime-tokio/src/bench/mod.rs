//! The benchmark: load from producers that only write and consumers that only read, and what came
//! of it. It measures a broker that runs already, one that it starts for itself, or a relay that
//! copies bytes and parses nothing: the yardstick (`docs/BENCHMARKS.md`).
//!
//! In the order of a run: `plan.rs` (what to do), `target.rs` (a broker or relay to do it to, in a
//! process of its own) with `certificate.rs`, `relay.rs` and `leg.rs` (the relay), `run.rs` (one run)
//! with `clock.rs` and `gate.rs` (what its clients share), `message.rs` (what is sent), `producer.rs`,
//! `consumer.rs` with `reading.rs` and `verify.rs` (what is received), `wire.rs` and `session.rs` (their
//! connections, plain or TLS), `guarantees.rs` (what both do beyond version 1), `usage.rs` (what it
//! cost), `outcome.rs` (the figures), `pairs.rs` (broker against relay, or version 2 against version 1),
//! `matrix.rs` (many of those), `handshakes.rs` (a flood beside TLS handshakes), `table.rs` (for people).
//! What stored topics cost is in `storage/`.
//!
//! Clients are threads with blocking sockets: on each side one system call moves up to 256 KiB,
//! and without TLS nothing is allocated while a run lasts.

mod certificate;
mod clock;
mod consumer;
mod error;
mod gate;
mod guarantees;
mod handshakes;
mod leg;
mod matrix;
mod message;
mod outcome;
mod pairs;
mod plan;
mod producer;
mod reading;
mod relay;
mod run;
mod session;
mod storage;
mod table;
mod target;
mod usage;
mod verify;
mod wire;

pub use error::BenchError;
pub use guarantees::{Guarantees, MAX_WINDOW};
pub use handshakes::{Beside, MAX_HANDSHAKES, Round, Rounds};
pub use matrix::{Cell, Matrix};
pub use outcome::{Cost, Latency, Outcome};
pub use pairs::{Pair, Pairs, Ratios, Spread, Yardstick};
pub use plan::{MAX_CLIENTS, Plan, PlanError, Reading, Storage, Transport, Volume, WRITE_BYTES};
pub use relay::relay;
pub use run::{Progress, run};
pub use storage::{
    Bare, BesideAClient, CatchingUp, Confirmed, ConfirmedPair, ConfirmedPairs, Did, Job,
    Recovering, Scratch, Tell, catch_up, recover,
};
pub use target::{Kind, Target};
