//! The flight recorder: what it wrote, replayed, is what the broker did.
//!
//! `binary.rs` records the real binary, `by_hand.rs` a core that is driven step by step, and
//! `any_bytes.rs` replays what nobody has recorded.

mod any_bytes;
mod binary;
mod by_hand;

use message_queue_core::{Config, ConnId, Input, Now};
use message_queue_sim::recording::{Replayed, replay};
use message_queue_tokio::record::{Options, Payloads, Recorder};
use message_queue_tokio::{Observed, Observer};
use std::path::Path;

/// The trace of a replay that has found everything as it was recorded.
fn replayed(path: &Path) -> (Replayed, String) {
    let mut trace = Vec::new();
    let result = replay(path, &mut trace).expect("there is a recording");
    assert!(result.is_sound(), "{result}");
    (result, String::from_utf8(trace).expect("text"))
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
