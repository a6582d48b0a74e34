//! Files of any bytes: whatever they are, a replay comes to an end.

use crate::Driven;
use message_queue_core::wire::{FrameBatch, Role};
use message_queue_core::{Config, Input};
use message_queue_sim::recording::replay;
use message_queue_tokio::record::{Payloads, recorded_files};
use proptest::prelude::*;
use proptest::sample::Index;
use twox_hash::XxHash3_64;

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
