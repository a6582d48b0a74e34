//! Seeds of the simulation of the whole stack in version 2: enough to notice a bug at once; CI runs more.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most events are not remarkable"
)]

use message_queue_core::wire::control::Control;
use message_queue_sim::durable::{Plan, run};
use message_queue_sim::guarantees::{Event, check};
use std::collections::BTreeMap;

/// A few in which everything happens that this simulation is for; the first is one in memory.
const SEEDS: [u64; 5] = [0, 19, 20, 22, 42];

#[test]
fn some_seeds_keep_every_promise_and_see_everything() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in SEEDS {
        let (history, stopped_by) = run(&Plan::of_seed(seed), true);
        let broken = check(&history).into_iter().chain(stopped_by).next();
        assert!(
            broken.is_none(),
            "message-queue-sim replay {seed} --scenario durable: {}",
            broken.map_or_else(String::new, |it| it.to_string())
        );
        for record in &history.records {
            if let Some(what) = remarkable(&record.event) {
                *seen.entry(what).or_default() += 1;
            }
        }
    }
    let all = [
        "a broker killed",
        "a dead letter",
        "a disk without room",
        "a group saved",
        "a later attempt",
        "a power cut",
        "a producer blocked",
        "a producer resumed",
        "a read that failed",
        "a store that failed",
        "an answer to FLUSH",
        "lost packets",
    ];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), all, "{seen:?}");
}

fn remarkable(event: &Event) -> Option<&'static str> {
    match event {
        Event::Killed => Some("a broker killed"),
        Event::StoreFailed => Some("a store that failed"),
        Event::Struck { fault } if fault.starts_with("broker without power") => Some("a power cut"),
        Event::Struck { fault } if fault.starts_with("no room") => Some("a disk without room"),
        Event::Struck { fault } if fault.contains("packets lost") => Some("lost packets"),
        Event::Store { text } if text.contains("not fetched") => Some("a read that failed"),
        Event::Store { text } if text.contains("saved up to") => Some("a group saved"),
        Event::Accepted { answer, .. } if answer.resumed == Some(true) => {
            Some("a producer resumed")
        }
        Event::Told { control, .. } => match control {
            Control::Flushed(_) => Some("an answer to FLUSH"),
            Control::Origin(_) => Some("a dead letter"),
            Control::Run { attempt, .. } if *attempt > 1 => Some("a later attempt"),
            Control::Blocked { blocked: true, .. } => Some("a producer blocked"),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn the_same_plan_gives_the_same_history() {
    for seed in SEEDS {
        let plan = Plan::of_seed(seed);
        let (first, second) = (run(&plan, true).0, run(&plan, true).0);
        assert_eq!(first.to_string(), second.to_string(), "seed {seed}");
    }
}
