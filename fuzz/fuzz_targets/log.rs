//! Whatever the files of a log hold, opening it does not panic, and nothing is read that was not appended. A repair makes
//! it whole.
//!
//! The first byte of the input says what the rest is: changes of the files of a good log, contents of records whose
//! sums are right, or the files as they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_fuzz::log::{check_bytes, check_changed, check_contents};

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    match first % 4 {
        0 | 1 => check_changed(rest),
        2 => check_contents(rest),
        _ => check_bytes(rest),
    }
});
