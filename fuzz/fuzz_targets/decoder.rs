//! However a stream is cut into reads, the decoder makes of it what the specification says.
//!
//! The input is the stream, so a corpus file is what a client would send. Its bytes, last to
//! first, are also the sizes of reads, so that the fuzzer steers both.

#![no_main]

use libfuzzer_sys::fuzz_target;
use message_queue_core::wire::{DecoderConfig, FrameBatch};
use message_queue_fuzz::check_decoder;

const CONFIG: DecoderConfig = DecoderConfig {
    role_line_bytes: 32,
    read_bytes: 4096,
};

fuzz_target!(|stream: &[u8]| {
    let sizes: Vec<_> = stream
        .iter()
        .rev()
        .map(|&size| usize::from(size) + 1)
        .collect();
    let frames = check_decoder(stream, &sizes, CONFIG);

    // A batch of all of them, and one of their messages encoded again, are the same.
    let batch = FrameBatch::parse(frames.into()).expect("whole frames");
    let again = FrameBatch::encode(batch.bodies()).expect("messages that fit");
    assert_eq!(again, batch);
});
