//! Bugs that are planted in what the broker does about stored topics: each must be caught. See
//! `runtime-sim/planted/stores.toml`; the list of them is made together with the tree that has them.

use crate::world::{Shape, World};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// So many seeds have to do.
const SEEDS: u64 = 5000;

fn is_caught(seed: u64) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        World::new(seed, Shape::of(seed)).play()
    }))
    .is_err()
}

#[test]
fn every_planted_bug_is_caught_by_some_seed() {
    let hook = take_hook();
    // What is caught is no news.
    set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for line in include_str!("planted.txt").lines() {
        let (number, name) = line.split_once(' ').unwrap();
        message_queue_core::planted::select(number.parse().ok());
        match (0..SEEDS).find(|seed| is_caught(*seed)) {
            Some(seed) => println!("{name}: caught by seed {seed}"),
            None => missed.push(name),
        }
        message_queue_core::planted::select(None);
    }
    set_hook(hook);
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
