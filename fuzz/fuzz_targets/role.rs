//! The role line at limits around its length, in tiny reads.
//!
//! The first byte of the input sets the longest line allowed (its low half, 0 to 15 bytes) and
//! the largest read (its high half, 1 to 16 bytes); the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_core::wire::DecoderConfig;
use message_queue_fuzz::check_decoder;

fuzz_target!(|input: &[u8]| {
    let Some((&first, stream)) = input.split_first() else {
        return;
    };
    let config = DecoderConfig {
        role_line_bytes: usize::from(first % 16),
        read_bytes: usize::from(first / 16) + 1,
    };
    check_decoder(stream, &[config.read_bytes], config);
});
