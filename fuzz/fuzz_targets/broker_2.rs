//! Whatever peers of wire version 2 do, in whatever order, what always holds in the broker does, they understand what
//! they are told, and nothing is confirmed that was not sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_fuzz::version_2::play;

fuzz_target!(|bytes: &[u8]| play(bytes));
