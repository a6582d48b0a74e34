//! Whatever happens on its sockets, in whatever order, the broker does what the model says.
//!
//! The input is a script in few bytes: two of settings, then some for each step (`script.rs` of
//! this crate says which). What it stands for can be seen: a failure prints it as text, and
//! pasted into `tests/tests/traces.rs` it is a test.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_fuzz::script::script;
use message_queue_tests::script::play;

fuzz_target!(|bytes: &[u8]| {
    play(&script(bytes));
});
