//! The broker and its clients of version 2, over links that deliver late, in pieces of any size, and are cut
//! anywhere. Whatever happens, what WIRE2 promises holds: the ledger (`ledger.rs`) follows every byte that the broker
//! writes and every frame that it takes in.
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

fn play(shape: impl Fn(u64) -> Shape) -> Seen {
    let mut sum = Seen::default();
    for seed in seeds() {
        // Shown by the test harness if the run fails.
        println!("seed {seed}");
        let seen = World::new(seed, shape(seed)).play();
        sum.confirmed += seen.confirmed;
        sum.redelivered += seen.redelivered;
        sum.dead += seen.dead;
        sum.revoked += seen.revoked;
        sum.resumed += seen.resumed;
        sum.expired += seen.expired;
        sum.power_cuts += seen.power_cuts;
    }
    sum
}

#[test]
fn nothing_that_was_confirmed_is_lost_and_names_enter_once() {
    let seen = play(|seed| Shape {
        named: true,
        cuts: true,
        ..Shape::of(seed)
    });
    assert!(seen.confirmed > 0 && seen.resumed > 0, "{seen:?}");
}

#[test]
fn whatever_consumers_say_of_messages_is_what_becomes_of_them() {
    let seen = play(|seed| Shape {
        failures: true,
        cuts: true,
        ..Shape::of(seed)
    });
    assert!(seen.redelivered > 0 && seen.dead > 0, "{seen:?}");
}

#[test]
fn one_member_at_a_time_where_that_was_asked_for() {
    play(|seed| Shape {
        share_one: true,
        cuts: true,
        failures: true,
        ..Shape::of(seed)
    });
}

#[test]
fn who_settles_nothing_for_too_long_loses_what_it_works_on() {
    let seen = play(|seed| Shape {
        ack_timeout: true,
        cuts: seed % 2 == 0,
        failures: true,
        ..Shape::of(seed)
    });
    assert!(seen.revoked > 0, "{seen:?}");
}

#[test]
fn nothing_is_lost_but_what_was_counted_as_too_old() {
    let seen = play(|seed| Shape {
        ages: true,
        cuts: true,
        failures: true,
        named: seed % 2 == 0,
        ..Shape::of(seed)
    });
    assert!(seen.expired > 0 && seen.confirmed > 0, "{seen:?}");
}

/// A run in which topics are stored, and the power goes.
fn stored(seed: u64) -> Shape {
    Shape {
        stored: true,
        cuts: !seed.is_multiple_of(3),
        failures: seed.is_multiple_of(2),
        named: !seed.is_multiple_of(5),
        ack_timeout: seed.is_multiple_of(7),
        patterns: seed.is_multiple_of(4),
        steps: 900,
        ..Shape::of(seed)
    }
}

#[test]
fn what_is_stored_outlives_power_cuts() {
    let seen = play(stored);
    assert!(seen.power_cuts > 0 && seen.confirmed > 0, "{seen:?}");
    assert!(seen.resumed > 0 && seen.dead > 0, "{seen:?}");
}

#[test]
fn consumers_of_patterns_are_members_everywhere() {
    play(|seed| Shape {
        patterns: true,
        cuts: true,
        failures: true,
        ..Shape::of(seed)
    });
}
