//! Recordings of the real binary.

use crate::replayed;
use message_queue_tests::conversation;
use message_queue_tests::frames::{frames, read_message, read_to_end};
use message_queue_tests::process::{Broker, run};
use message_queue_tokio::record::recorded_files;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;

/// A broker that records in `directory`.
fn recorded(directory: &Path, settings: &[(&str, &str)]) -> Broker {
    let directory = directory.to_str().expect("a name in UTF-8");
    Broker::start(&[&[("RECORD_DIR", directory)], settings].concat())
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

/// Role lines with options, confirms, settlements, a name that is taken over.
#[test]
fn a_replay_of_version_2_does_what_the_broker_did() {
    let directory = tempfile::tempdir().expect("a directory");
    // The topic's own queue keeps what nobody takes from it.
    let settings = [("DELIVERY_MODE", "queue"), ("DRAIN_TIMEOUT_MS", "100")];
    let broker = recorded(directory.path(), &settings);
    conversation::hold(broker.tcp());
    end(broker);
    let (result, trace) = replayed(directory.path());
    assert_eq!((result.missed, result.unread.len()), (0, 0));
    for said in [
        "taken_over",
        "bad_position",
        "unknown_option",
        "peer_closed",
    ] {
        assert!(trace.contains(said), "no {said:?} in\n{trace}");
    }
}

/// Sums are of messages that a replay may not have.
#[test]
fn a_replay_does_what_the_broker_did_for_consumers_that_verify() {
    for payloads in ["full", "hash"] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = [
            ("RECORD_PAYLOADS", payloads),
            ("DELIVERY_MODE", "queue"),
            ("DRAIN_TIMEOUT_MS", "100"),
        ];
        let broker = recorded(directory.path(), &settings);
        let mut consumer = broker.connect_with(b"CONSUMER topic=jobs ack=1 check=1\n");
        let mut producer = broker.connect_with(b"PRODUCER topic=jobs confirm=1\n");
        producer
            .write_all(&frames(["first", "a longer message"]))
            .expect("the broker reads");
        let mut read = Vec::new();
        while !read.ends_with(b"a longer message") {
            let mut byte = [0];
            consumer.read_exact(&mut byte).expect("it comes");
            read.push(byte[0]);
        }
        end(broker);
        let (result, _) = replayed(directory.path());
        assert_eq!((result.missed, result.unread.len()), (0, 0), "{payloads}");
    }
}

#[test]
fn a_replay_takes_other_rules_when_the_broker_did() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a name in UTF-8");
    let write = |capacity: u32| {
        let rule =
            format!("[[rule]]\ntopics = \"jobs\"\ngroups = [\"g\"]\ncapacity = {capacity}\n");
        std::fs::write(path, rule).expect("a file");
    };
    write(1);
    let broker = recorded(directory.path(), &[("TOPICS_FILE", path)]);
    let mut producer = broker.connect_with(b"PRODUCER topic=jobs confirm=1\n");
    producer
        .write_all(&frames(["a", "b"]))
        .expect("the broker reads");
    broker.wait_for_metric("message_queue_topic_blocked_producers", 1.0);
    write(5);
    broker.signal("HUP");
    broker.wait_for_log(|line| line["message"] == "topic changed");
    broker.wait_for_metric("message_queue_topic_blocked_producers", 0.0);
    drop(producer);
    end(broker);
    let (result, trace) = replayed(directory.path());
    assert_eq!((result.missed, result.unread.len()), (0, 0));
    assert!(trace.contains("other rules for topics: 1"), "{trace}");
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
