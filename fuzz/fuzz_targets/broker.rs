//! Whatever happens on its sockets, in whatever order, the broker does what the model says.
//!
//! `cargo fuzz fmt broker FILE` (or the target itself, with `RUST_LIBFUZZER_DEBUG_PATH=/dev/stderr`
//! in its environment) shows the script that a file stands for. Pasted into
//! `tests/tests/traces/`, it is a test.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_fuzz::script::play;
use message_queue_fuzz::short::ShortScript;

fuzz_target!(|short: ShortScript| {
    play(&short.script);
});
