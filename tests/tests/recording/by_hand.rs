//! Recordings of a core that is driven by hand: a driver can be slow, and wrong.

use crate::{Driven, replayed};
use message_queue_core::wire::{FrameBatch, Role};
use message_queue_core::{Config, Input};
use message_queue_sim::recording::{Difference, replay};
use message_queue_tokio::record::Payloads;

/// However slow the disk is: all that waits for it here is less than what may.
#[test]
fn a_message_to_many_consumers_takes_memory_once() {
    for payloads in [Payloads::Hash, Payloads::Full] {
        for consumers in [64, 200] {
            let directory = tempfile::tempdir().expect("a directory");
            let config = Config {
                max_consumers: consumers,
                ..Config::default()
            };
            let mut driven = Driven::with(directory.path(), payloads, config);
            let consumers: Vec<u64> = (1..=consumers as u64).collect();
            for conn in &consumers {
                driven.step(*conn, &Input::Opened, 0);
                driven.step(*conn, &Input::Role(Role::Consumer), 0);
            }
            driven.step(0, &Input::Opened, 0);
            driven.step(0, &Input::Role(Role::Producer), 0);
            let mut taken = 0;
            for message in 0..40_u8 {
                let batch = FrameBatch::encode([vec![message; 1 << 20]]).expect("it fits");
                taken += batch.byte_len() as u64;
                driven.step(0, &Input::Batch(batch), 0);
                for conn in &consumers {
                    driven.step(*conn, &Input::Written(taken), 0);
                }
            }
            assert_eq!(driven.recorder.status().gaps(), 0, "{payloads}");
            drop(driven);
            let (result, _) = replayed(directory.path());
            assert_eq!(result.missed, 0, "{payloads}");
            let few = payloads == Payloads::Hash;
            assert!(few || result.files > 2, "{payloads}: {result}");
        }
    }
}

#[test]
fn a_broker_that_did_something_else_is_found_out() {
    for (hidden, sound) in [(0, true), (1, false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut driven = Driven::start(directory.path());
        driven.step(1, &Input::Opened, 0);
        driven.step(1, &Input::Role(Role::Producer), 0);
        let batch = FrameBatch::encode(["to nobody"]).expect("a small message");
        driven.step(1, &Input::Batch(batch), hidden);
        drop(driven);
        let result = replay(directory.path(), &mut std::io::sink()).expect("a recording");
        assert_eq!(result.is_sound(), sound, "{result}");
        if let Some(Difference::Outputs {
            step,
            recorded,
            replayed,
        }) = result.difference
        {
            assert_eq!((step, recorded.len(), replayed.len()), (3, 0, 1));
        }
    }
}

#[test]
fn the_panic_that_ended_a_broker_is_come_to_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut driven = Driven::start(directory.path());
    driven.step(1, &Input::Opened, 0);
    driven.step(1, &Input::Role(Role::Consumer), 0);
    // Nothing was written to it: the contract is broken, as by a driver with a bug.
    let wrong = Input::Written(5);
    let driven_wrong = std::panic::AssertUnwindSafe(|| driven.step(1, &wrong, 0));
    assert!(std::panic::catch_unwind(driven_wrong).is_err());
    drop(driven);
    let mut trace = Vec::new();
    let result = replay(directory.path(), &mut trace).expect("a recording");
    let said = "more was written than was in flight";
    assert_eq!(result.panic.as_deref(), Some(said));
    assert!(!result.is_sound());
    let trace = String::from_utf8(trace).expect("text");
    assert!(trace.contains("c1 has taken 5 bytes in all"), "{trace}");
}
