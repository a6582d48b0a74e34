//! Bugs that are planted in the log: each must be caught. See `runtime-sim/planted/log.toml`; the list of them is made
//! together with the tree that has them.

use super::crashes::{POLICIES, live_and_die};
use super::directed::{appending, deleting, opening};
use alloc::boxed::Box;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::println;

/// So many random lives have to do.
const SEEDS: u64 = 3000;

/// What finds a bug that no power cut shows.
const DIRECTED: [(&str, fn()); 4] = [
    (
        "what_is_missing_is_not_taken_for_empty",
        opening::what_is_missing_is_not_taken_for_empty,
    ),
    (
        "a_sync_that_fails_is_not_tried_again",
        appending::a_sync_that_fails_is_not_tried_again,
    ),
    (
        "nothing_of_a_torn_tail_comes_back_behind_what_is_written_in_its_place",
        opening::nothing_of_a_torn_tail_comes_back_behind_what_is_written_in_its_place,
    ),
    (
        "what_every_group_has_settled_goes_and_what_is_read_meanwhile_goes_on",
        deleting::what_every_group_has_settled_goes_and_what_is_read_meanwhile_goes_on,
    ),
];

fn fails(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

fn is_caught(seed: u64) -> bool {
    fails(|| {
        let policy = POLICIES[seed as usize % POLICIES.len()];
        live_and_die(seed, policy, 6);
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let hook = take_hook();
    // What is caught is no news.
    set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for line in include_str!("planted.txt").lines() {
        let (number, name) = line.split_once(' ').expect("a number and a name");
        crate::planted::select(number.parse().ok());
        if let Some(seed) = (0..SEEDS).find(|seed| is_caught(*seed)) {
            println!("{name}: caught by seed {seed}");
        } else if let Some((test, _)) = DIRECTED.iter().find(|(_, test)| fails(test)) {
            println!("{name}: caught by {test}");
        } else {
            missed.push(name);
        }
        crate::planted::select(None);
    }
    set_hook(hook);
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
