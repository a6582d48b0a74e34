//! What the fuzz targets share: the decoder beside the specification, as the core's own tests
//! have it, the broker beside the model, as `tests` has them, and the disk that the tests of the log
//! have. They are taken in by path: the targets need the core and nothing else.

extern crate alloc;

use message_queue_core::ProtocolError;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, FirstBytes, Role, SpareBuffers};

pub mod log;
#[path = "../../tests/src/model/mod.rs"]
pub mod model;
#[path = "../../tests/src/script/mod.rs"]
pub mod script;
pub mod short;
pub mod version_2;

#[path = "../../core/src/wire/decoder/tests/reference.rs"]
mod reference;

/// Decodes `stream` in one read, byte by byte and in reads of these `sizes`, and compares role,
/// messages and error with what PROTOCOL.md says of it. Gives the frames.
///
/// # Panics
/// If they differ, or the decoder breaks one of its other promises.
pub fn check_decoder(stream: &[u8], sizes: &[usize], config: DecoderConfig) -> Vec<u8> {
    let specified = reference::specified(stream, config.role_line_bytes);
    for sizes in [&[usize::MAX], &[1], sizes] {
        let decoded = reference::decoded(stream, sizes, config);
        assert_eq!(decoded, specified, "in reads of {sizes:?}");
    }
    specified.frames
}
