//! Stored topics: the broker and its clients of version 2, on a model of a store that does what it is asked in any order
//! that is allowed, and whose power goes; over links that deliver late, in pieces of any size, and are cut anywhere.
//! Whatever happens, what WIRE2 promises holds: the ledger (`ledger.rs`) follows every byte that the broker writes and
//! every frame that it takes in. What has nothing to do with stores is in the simulation (`runtime-sim`, scenario
//! `guarantees`).
//!
//! A run is a function of its seed alone. `GUARANTEES_SEEDS=100000 cargo test -p message-queue-core --test guarantees
//! --release` plays more of them; `GUARANTEES_SEED=7` plays one.

#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    reason = "a test has a standard library, and looks at what it is about"
)]

mod clients;
mod ending;
mod host;
mod ledger;
mod link;
#[cfg(planted_bugs)]
mod planted;
mod rng;
mod stores;
mod world;

use world::{Seen, Shape, World};

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    match number("GUARANTEES_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GUARANTEES_SEEDS").unwrap_or(300),
    }
}

#[test]
fn what_is_stored_outlives_power_cuts() {
    let mut all = Seen::default();
    for seed in seeds() {
        // Shown by the test harness if the run fails.
        println!("seed {seed}");
        all += World::new(seed, Shape::of(seed)).play();
    }
    let Seen {
        confirmed,
        redelivered,
        dead,
        revoked,
        resumed,
        power_cuts,
    } = all;
    let everything = [confirmed, redelivered, dead, revoked, resumed, power_cuts];
    // One seed need not see all of it.
    let is_one = std::env::var_os("GUARANTEES_SEED").is_some();
    assert!(is_one || everything.iter().all(|it| *it > 0), "{all:?}");
}
