//! Seeds of the core-only simulation: enough to notice a bug at once; CI runs thousands more.

use message_queue_sim::scenario::{Options, Scenario};

#[test]
fn two_hundred_seeds_keep_every_promise() {
    for seed in 0..200 {
        let plan = Scenario::Core.plan(seed);
        let outcome = Scenario::Core.run(&plan, Options::default());
        let first = outcome.violations.first();
        assert!(
            first.is_none(),
            "message-queue-sim replay {seed}: {}",
            first.map_or_else(String::new, ToString::to_string)
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..10 {
        let run = || {
            let plan = Scenario::Core.plan(seed);
            Scenario::Core.run(&plan, Options::default()).history
        };
        let (first, second) = (run(), run());
        assert_eq!(first.to_string(), second.to_string(), "seed {seed}");
        assert_eq!(first.hash(), second.hash(), "seed {seed}");
    }
}

#[test]
fn different_seeds_give_different_histories() {
    let hash = |seed| {
        let plan = Scenario::Core.plan(seed);
        Scenario::Core.run(&plan, Options::default()).history.hash()
    };
    assert_ne!(hash(1), hash(2));
}
