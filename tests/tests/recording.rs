//! The flight recorder on the real binary: what it wrote, replayed, is what the broker did.

use message_queue_core::wire::{FrameBatch, Role};
use message_queue_core::{Config, ConnId, Input, Now};
use message_queue_sim::recording::Difference;
use message_queue_sim::recording::{Replayed, replay};
use message_queue_tests::frames::{frames, read_message, read_to_end};
use message_queue_tests::process::{Broker, run};
use message_queue_tokio::record::{Options, Payloads, Recorder, recorded_files};
use message_queue_tokio::{Observed, Observer};
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use twox_hash::XxHash3_64;

/// A broker that records in `directory`.
fn recorded(directory: &Path, settings: &[(&str, &str)]) -> Broker {
    let directory = directory.to_str().expect("a name in UTF-8");
    Broker::start(&[&[("RECORD_DIR", directory)], settings].concat())
}

/// The trace of a replay that has found everything as it was recorded.
fn replayed(path: &Path) -> (Replayed, String) {
    let mut trace = Vec::new();
    let result = replay(path, &mut trace).expect("there is a recording");
    assert!(result.is_sound(), "{result}");
    (result, String::from_utf8(trace).expect("text"))
}

fn end(broker: Broker) {
    broker.signal("TERM");
    assert_eq!(broker.wait().0.code(), Some(0));
}

/// Drops, refusals, timeouts, peers that break the protocol, and a drain with messages on their way.
fn everything_happens(broker: Broker) {
    let mut reading = broker.consumer();
    let mut stuck = broker.consumer();
    let refused = broker.connect_with(b"CONSUMER\n");
    assert_eq!(broker.wait_for_close(&refused), "too_many_consumers");
    let garbage = broker.connect_with(b"GET / HTTP/1.1\r\n");
    assert_eq!(broker.wait_for_close(&garbage), "unknown_role");
    let silent = broker.connect();
    assert_eq!(broker.wait_for_close(&silent), "role_timeout");
    let oversized = broker.connect_with(b"PRODUCER\n\x00\x10\x00\x01");
    assert_eq!(broker.wait_for_close(&oversized), "frame_too_large");

    // More than the sockets of the one that does not read and its backlog of 5 messages take.
    let messages: Vec<Vec<u8>> = (0..40_u32)
        .map(|n| n.to_be_bytes().repeat(1 << 14))
        .collect();
    let mut producer = broker.producer();
    for message in &messages {
        producer
            .write_all(&frames([message]))
            .expect("the broker reads");
        let _ = read_message(&mut reading);
    }
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    assert_eq!(broker.wait_for_close(&producer), "peer_closed");
    broker.signal("TERM");
    broker.wait_for_log(|line| line["message"] == "draining");
    assert!(!read_to_end(&mut stuck).is_empty());
    assert_eq!(broker.wait().0.code(), Some(0));
}

#[test]
fn a_replay_does_what_the_broker_did() {
    for payloads in ["full", "hash"] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = [
            ("RECORD_PAYLOADS", payloads),
            ("MAX_CONSUMERS", "2"),
            ("CONSUMER_CHANNEL_BUFFER_SIZE", "5"),
            ("ROLE_TIMEOUT_MS", "300"),
            ("SEND_BUFFER_BYTES", "4096"),
        ];
        everything_happens(recorded(directory.path(), &settings));
        let (result, trace) = replayed(directory.path());
        assert_eq!((result.missed, result.unread.len()), (0, 0), "{payloads}");
        for said in [
            "close c3: too_many_consumers",
            "says it is a consumer",
            "unknown_role",
            "a deadline has come",
            "role_timeout",
            "frame_too_large",
            "for c2: backlog_messages; 5 of 5 messages",
            "drain within 20s",
            "has nothing more to read",
            "close c2: drained",
            "the orderly end",
        ] {
            // A producer that has closed leaves nothing to read.
            let optional = said == "has nothing more to read";
            assert!(optional || trace.contains(said), "no {said:?} in\n{trace}");
        }
    }
}

/// Producers that wait for room, a queue, messages that one consumer leaves and another gets.
#[test]
fn a_replay_of_a_queue_that_blocks_does_what_the_broker_did() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = [
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("QUEUE_CAPACITY", "3"),
        ("SEND_BUFFER_BYTES", "4096"),
    ];
    let broker = recorded(directory.path(), &settings);
    let mut leaving = broker.consumer();
    let messages: Vec<Vec<u8>> = (0..40_u32)
        .map(|n| n.to_be_bytes().repeat(1 << 14))
        .collect();
    let mut producer = broker.producer();
    let sending = std::thread::spawn({
        let frames = frames(&messages);
        move || {
            producer.write_all(&frames).expect("the broker reads");
            producer.shutdown(Shutdown::Write).expect("an orderly end");
            producer
        }
    });
    let mut part = vec![0; 100_000];
    leaving.read_exact(&mut part).expect("the broker writes");
    drop(leaving);
    let mut staying = broker.consumer();
    for _ in 0..10 {
        assert!(read_message(&mut staying).is_some());
    }
    let reading = std::thread::spawn(move || read_to_end(&mut staying));
    let producer = sending.join().expect("it sends all");
    broker.wait_for_close(&producer);
    end(broker);
    assert!(!reading.join().expect("it reads all").is_empty());
    let (_, trace) = replayed(directory.path());
    for said in [
        "stop reading from c2",
        "read from c2 again",
        "are parked for want of room",
    ] {
        assert!(trace.contains(said), "no {said:?} in\n{trace}");
    }
}

#[test]
fn the_ring_is_bounded_and_a_replay_begins_where_it_begins() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = [("RECORD_BYTES", "16777216"), ("RECORD_PAYLOADS", "full")];
    let broker = recorded(directory.path(), &settings);
    let mut consumer = broker.consumer();
    let mut producer = broker.producer();
    let message = vec![7; 1 << 20];
    for _ in 0..40 {
        producer
            .write_all(&frames([&message]))
            .expect("the broker reads");
        assert_eq!(read_message(&mut consumer).as_ref(), Some(&message));
    }
    drop(producer);
    end(broker);
    let files = recorded_files(directory.path()).expect("it is there");
    assert!(files[0].number > 0, "the first file is still there");
    let size = |path: &Path| path.metadata().expect("it is there").len();
    let bytes: u64 = files.iter().map(|file| size(&file.path)).sum();
    assert!(bytes <= 16 << 20, "{bytes} bytes");
    let (result, _) = replayed(directory.path());
    assert_eq!(result.files, files.len());
    assert!(files.len() > 2 && result.missed == 0, "{result}");
    // Any file alone, too.
    let (result, trace) = replayed(&files[1].path);
    assert_eq!(result.files, 1);
    assert!(trace.contains("sends "), "{trace}");
}

#[test]
fn while_more_waits_than_a_checkpoint_may_hold_there_is_a_gap() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = [("RECORD_BYTES", "16777216"), ("RECORD_PAYLOADS", "full")];
    let broker = recorded(directory.path(), &settings);
    let mut consumer = broker.consumer();
    let messages = vec![vec![9; 1 << 20]; 25];
    let mut producer = broker.producer();
    producer
        .write_all(&frames(&messages))
        .expect("the broker reads");
    for _ in 0..25 {
        assert!(read_message(&mut consumer).is_some());
    }
    // Nothing waits: this step ends the gap, and the next one is recorded.
    for _ in 0..2 {
        producer
            .write_all(&frames(["more"]))
            .expect("the broker reads");
        assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"more"[..]));
    }
    assert!(broker.metric("message_queue_recording_gaps_total", "") >= 1.0);
    broker.wait_for_log(|line| line["message"] == "a gap in the recording");
    end(broker);
    let (result, trace) = replayed(directory.path());
    assert!(result.missed > 0, "{result}");
    assert!(trace.contains("a gap: more waits than a quarter of RECORD_BYTES holds"));
    assert!(trace.contains("the orderly end"), "{trace}");
}

#[test]
fn a_recording_that_fails_takes_nothing_with_it() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("ring");
    let settings = [("RECORD_BYTES", "16777216"), ("RECORD_PAYLOADS", "full")];
    let broker = recorded(&directory, &settings);
    std::fs::remove_dir_all(&directory).expect("it is there");
    let mut consumer = broker.consumer();
    let mut producer = broker.producer();
    let message = vec![1; 1 << 20];
    for _ in 0..8 {
        producer
            .write_all(&frames([&message]))
            .expect("the broker reads");
        assert_eq!(read_message(&mut consumer).as_ref(), Some(&message));
    }
    broker.wait_for_log(|line| line["message"] == "the recording has ended; the broker goes on");
    assert_eq!(broker.metric("message_queue_recording_failed", ""), 1.0);
    drop(producer);
    end(broker);
}

#[test]
fn a_broker_that_was_killed_leaves_what_it_did_until_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = recorded(directory.path(), &[]);
    let mut consumer = broker.consumer();
    let mut producer = broker.producer();
    producer
        .write_all(&frames(["the last message"]))
        .expect("the broker reads");
    assert!(read_message(&mut consumer).is_some());
    // What a running broker has recorded can be replayed; here it tells when the disk has it.
    let is_there = || {
        replayed(directory.path())
            .1
            .contains("sends 1 message (20 bytes)")
    };
    assert!((0..100_000).any(|_| is_there()), "it never gets there");
    broker.signal("KILL");
    assert_eq!(broker.wait().0.code(), None);
    let (_, trace) = replayed(directory.path());
    assert!(trace.contains("sends 1 message (20 bytes)"), "{trace}");
    assert!(trace.contains("the broker was killed"), "{trace}");
}

#[test]
fn a_directory_that_cannot_be_recorded_in_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a name in UTF-8");
    let output = run(["serve"], &[("RECORD_DIR", path)]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = format!("RECORD_DIR: cannot record in {path}: ");
    assert!(error.starts_with(&expected), "{error}");
}

/// A core with a recorder, driven by hand.
struct Driven {
    core: message_queue_core::Broker,
    recorder: Recorder,
}

impl Driven {
    fn start(directory: &Path) -> Self {
        Self::with(directory, Payloads::Hash, Config::default())
    }

    fn with(directory: &Path, payloads: Payloads, config: Config) -> Self {
        let options = Options {
            directory: directory.to_owned(),
            bytes: 16 << 20,
            payloads,
        };
        Self {
            core: message_queue_core::Broker::new(config.clone()),
            recorder: Recorder::start(options, config).expect("the directory is ours"),
        }
    }

    /// One step; the recorder sees the outputs but for the first `hidden`.
    fn step(&mut self, conn: u64, input: &Input, hidden: usize) {
        let (conn, now) = (ConnId(conn), Now::START);
        self.recorder.observe(Observed::Input(conn, input), now);
        self.core.handle_input(conn, input.clone(), now);
        let outputs: Vec<_> = std::iter::from_fn(|| self.core.poll_output()).collect();
        for output in outputs.iter().skip(hidden) {
            self.recorder.observe(Observed::Output(output), now);
        }
        self.recorder.step_ended(&self.core, now);
    }
}

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

/// A small recording: its first line, and the bodies of its records.
fn small_recording(payloads: Payloads) -> (Vec<u8>, Vec<Vec<u8>>) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut driven = Driven::with(directory.path(), payloads, Config::default());
    for (conn, role) in [(1, Role::Consumer), (2, Role::Producer)] {
        driven.step(conn, &Input::Opened, 0);
        driven.step(conn, &Input::Role(role), 0);
    }
    for messages in [["one", "two"], ["three", ""]] {
        let batch = FrameBatch::encode(messages).expect("small messages");
        driven.step(2, &Input::Batch(batch), 0);
    }
    driven.step(1, &Input::PeerReset, 0);
    drop(driven);
    let files = recorded_files(directory.path()).expect("it is there");
    let bytes = std::fs::read(&files[0].path).expect("it is there");
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    let (line, mut rest) = bytes.split_at(line);
    let mut bodies = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let (body, after) = after.split_at(length as usize);
        bodies.push(body.to_vec());
        rest = after;
    }
    (line.to_vec(), bodies)
}

/// Replays a file of these bytes. Whatever they are, it comes to an end.
fn replayed_bytes(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("0-0.recording");
    std::fs::write(&path, bytes).expect("there is room");
    if let Ok(result) = replay(&path, &mut std::io::sink()) {
        let _ = result.to_string();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_file_of_any_bytes_is_read_to_an_end(
        is_recording: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (line, _) = small_recording(Payloads::Full);
        let line = if is_recording { line } else { Vec::new() };
        replayed_bytes(&[line, bytes].concat());
    }

    /// With checksums that are right: somebody has made it so.
    #[test]
    fn records_that_say_anything_are_read_to_an_end(
        is_full: bool,
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..4),
    ) {
        let payloads = if is_full { Payloads::Full } else { Payloads::Hash };
        let (mut file, mut bodies) = small_recording(payloads);
        for (body, place, byte) in changes {
            let body = body.get_mut(&mut bodies);
            let place = place.index(body.len());
            body[place] = byte;
        }
        for body in bodies {
            file.extend((body.len() as u32).to_be_bytes());
            file.extend((XxHash3_64::oneshot(&body) as u32).to_be_bytes());
            file.extend(body);
        }
        replayed_bytes(&file);
    }
}
