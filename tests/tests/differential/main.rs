//! Two drivers, one behaviour: the tokio driver that the product runs and the smol one of this
//! package (`smol_driver`) share nothing but the core. Each plays the same scripts over real
//! loopback sockets, and whatever a client can see must be the same. It is the proof that the
//! behaviour is the core's.
//!
//! **Compared**: for each connection every byte that the broker sent and the way the connection
//! ended (end of stream or reset); all counters ([`Stats`](message_queue_core::Stats): messages and
//! bytes received, delivered, waiting, parked and dropped for each reason, connections opened and
//! closed for each reason) after every step of a script and at the end.
//!
//! **Not compared**: when things happen; how bytes are cut into reads and writes; and, where
//! several consumers share a queue, which of them gets which message. There the messages of all
//! are compared as one set. What is cut off at the end of a stream is not a message.
//!
//! A script is made so that its outcome is a matter of the script alone: after each step the player
//! waits until the broker has counted what must come of it and consumers have read all that was
//! delivered to them (`player.rs`). Nothing is timed.

mod client;
mod drivers;
mod player;
mod random;
mod script;

use drivers::both;
use message_queue_core::wire::{DecoderConfig, MAX_FRAME_BODY};
use message_queue_core::{CloseReason, Config, DeliveryMode, DropReason, Overflow};
use message_queue_tests::conversation;
use message_queue_tests::frames::frames;
use player::{Seen, play};
use script::{Action, Script};
use std::time::Duration;

/// Plays a script to both drivers and compares. Returns what was seen of both.
fn assert_same(script: &Script) -> Seen {
    let [tokio, smol] = both(&script.config, script.decoder).map(|broker| play(script, broker));
    assert_eq!(tokio.stats.len(), smol.stats.len());
    for (step, (tokio, smol)) in tokio.stats.iter().zip(&smol.stats).enumerate() {
        assert_eq!(
            tokio, smol,
            "tokio, then smol, after step {step} of {script:#?}"
        );
    }
    if script.shared {
        assert!(pool(&tokio) == pool(&smol), "other messages in {script:#?}");
    }
    for (client, (tokio, smol)) in tokio.connections.iter().zip(&smol.connections).enumerate() {
        assert_eq!(
            tokio.1, smol.1,
            "tokio, then smol: the end of client {client} of {script:#?}"
        );
        let same = script.shared || tokio.0 == smol.0;
        assert!(
            same,
            "client {client} read {tokio:?}, then {smol:?} in {script:#?}"
        );
    }
    tokio
}

/// The messages of all connections, sorted.
fn pool(seen: &Seen) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    for (received, _) in &seen.connections {
        let mut rest = &received[..];
        while let Some((prefix, body)) = rest.split_first_chunk()
            && let Some((body, after)) = body.split_at_checked(u32::from_be_bytes(*prefix) as usize)
        {
            messages.push(body);
            rest = after;
        }
    }
    messages.sort();
    messages
}

/// How often connections ended for this reason, all in all.
fn closed(seen: &Seen, reason: CloseReason) -> u64 {
    seen.stats
        .last()
        .map_or(0, |stats| stats.closed[reason.index()])
}

fn connect(client: usize, line: &str) -> Vec<Action> {
    vec![Action::Connect, Action::send(client, line)]
}

fn random_scripts(seeds: std::ops::Range<u64>) {
    let (mut delivered, mut dropped) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let seen = assert_same(&random::script(seed));
        let flow = seen.stats.last().expect("the end is counted").flow;
        delivered += flow.delivered.messages;
        dropped += flow.dropped_in_all().messages;
    }
    // The scripts are not about nothing.
    assert!(delivered > 1000, "{delivered}");
    assert!(dropped > 1000, "{dropped}");
}

#[test]
fn version_2_is_spoken_alike() {
    let config = Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    };
    let [tokio, smol] = both(&config, DecoderConfig::default()).map(|broker| {
        let told = conversation::hold(broker.addr());
        broker.drain(Duration::ZERO);
        (told, broker.join())
    });
    assert_eq!(tokio.0, smol.0);
    assert_eq!(tokio.1, smol.1);
    insta::assert_snapshot!(tokio.0);
}

#[test]
fn random_scripts_are_seen_alike() {
    random_scripts(0..100);
}

#[test]
fn more_random_scripts_are_seen_alike() {
    random_scripts(100..200);
}

#[test]
fn refused_connections_are_seen_alike() {
    let mut script = Script::new(Config {
        max_connections: 2,
        ..Config::default()
    });
    script.step(connect(0, "CONSUMER\n"), 0, 1);
    script.step(connect(1, "PRODUCER\n"), 0, 1);
    script.step(vec![Action::Connect], 0, 1);
    script.step(vec![Action::HalfClose(1)], 0, 1);
    script.step(connect(3, "PRODUCER\n"), 0, 1);
    script.step(vec![Action::send(3, frames(["a"]))], 1, 0);
    let seen = assert_same(&script);
    assert_eq!(closed(&seen, CloseReason::TooManyConnections), 1);
    assert_eq!(seen.connections[0].0, frames(["a"]));
}

#[test]
fn a_role_that_does_not_come_is_seen_alike() {
    let config = Config {
        role_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let mut script = Script::new(config);
    script.step(vec![Action::Connect, Action::send(0, "PROD")], 0, 1);
    assert_eq!(closed(&assert_same(&script), CloseReason::RoleTimeout), 1);
}

#[test]
fn a_drain_that_runs_out_of_time_is_seen_alike() {
    let mut script = Script::new(Config {
        delivery: DeliveryMode::Queue,
        overflow: Overflow::Block,
        queue_capacity: 2,
        ..Config::default()
    });
    script.drain = Duration::ZERO;
    script.step(connect(0, "PRODUCER\n"), 0, 1);
    script.step(vec![Action::send(0, frames(["a", "b", "c", "d"]))], 4, 0);
    let seen = assert_same(&script);
    assert_eq!(closed(&seen, CloseReason::DrainTimeout), 1);
    let end = seen.stats.last().expect("the end is counted");
    assert_eq!(end.flow.dropped[DropReason::Shutdown.index()].messages, 4);
}

/// It was only when the tokio driver had none other to wait for.
#[test]
fn producers_with_nothing_more_to_say_are_let_go_though_another_waits_for_room_alike() {
    let mut script = Script::new(Config {
        delivery: DeliveryMode::Queue,
        overflow: Overflow::Block,
        queue_capacity: 2,
        ..Config::default()
    });
    script.drain = Duration::from_secs(1);
    for client in 0..5 {
        script.step(connect(client, "PRODUCER\n"), 0, 1);
    }
    script.step(vec![Action::send(0, frames(["a", "b", "c", "d"]))], 4, 0);
    script.step(vec![Action::HalfClose(1)], 0, 1);
    script.step(vec![Action::Reset(2)], 0, 1);
    let seen = assert_same(&script);
    assert_eq!(closed(&seen, CloseReason::PeerClosed), 1);
    assert_eq!(closed(&seen, CloseReason::PeerReset), 1);
    assert_eq!(closed(&seen, CloseReason::Drained), 2);
    assert_eq!(closed(&seen, CloseReason::DrainTimeout), 1);
}

#[test]
fn the_largest_messages_are_seen_alike_whoever_reads_them() {
    for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
        for overflow in [Overflow::Drop, Overflow::Block] {
            let mut script = Script::new(Config {
                delivery,
                overflow,
                ..Config::default()
            });
            script.step(connect(0, "CONSUMER\n"), 0, 1);
            script.step(connect(1, "PRODUCER\n"), 0, 1);
            let messages: Vec<_> = (0..20).map(|n| vec![n; MAX_FRAME_BODY]).collect();
            script.step(vec![Action::send(1, frames(&messages))], 20, 0);
            assert!(assert_same(&script).connections[0].0 == frames(&messages));
        }
    }
}

#[test]
fn what_a_leaving_consumer_was_not_handed_goes_to_the_others_alike() {
    let mut script = Script::new(Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    });
    script.shared = true;
    script.step(connect(0, "CONSUMER\n"), 0, 1);
    script.step(connect(1, "PRODUCER\n"), 0, 1);
    // More than the sockets between the broker and the first take.
    let messages: Vec<_> = (0..25).map(|n| vec![n; MAX_FRAME_BODY]).collect();
    let all = Action::send(1, frames(&messages));
    script.step(vec![Action::StopReading(0), all], 25, 0);
    script.step(connect(2, "CONSUMER\n"), 0, 1);
    script.last.push(Action::HalfClose(0));
    let seen = assert_same(&script);
    assert_eq!(closed(&seen, CloseReason::PeerClosed), 1);
    let end = seen.stats.last().expect("the end is counted");
    assert_eq!(end.flow.delivered.messages, 25);
    // The other one did have something to take over.
    assert!(seen.connections[2].0.len() > MAX_FRAME_BODY);
}

#[test]
fn what_a_blocked_producer_goes_on_to_send_is_read_later_alike() {
    let mut script = Script::new(Config {
        delivery: DeliveryMode::Queue,
        overflow: Overflow::Block,
        queue_capacity: 2,
        ..Config::default()
    });
    script.step(connect(0, "PRODUCER\n"), 0, 1);
    script.step(vec![Action::send(0, frames(["a", "b", "c", "d"]))], 4, 0);
    script.step(vec![Action::send(0, frames(["e", "f", "g"]))], 0, 0);
    script.step(connect(1, "CONSUMER\n"), 3, 1);
    let seen = assert_same(&script);
    assert_eq!(
        seen.connections[1].0,
        frames(["a", "b", "c", "d", "e", "f", "g"])
    );
}
