//! The wire format, version 1: a role line, then frames (PROTOCOL.md).
//!
//! ```text
//! bytes ─▶ Decoder ─▶ Role, then FrameBatch …            (read_buffer.rs, decoder.rs, role.rs, first_bytes.rs, frame.rs, batch.rs)
//!          messages ─▶ Encoder ─▶ FrameBatch ─▶ bytes    (encoder.rs)
//!          FrameBatch … ─▶ Write ─▶ bytes                (write.rs)
//!          what is said is right?                        (checksum.rs, sums.rs, check.rs, verifier.rs)
//! ```

mod batch;
pub(crate) mod check;
mod checksum;
pub mod control;
mod decoder;
mod encoder;
mod first_bytes;
mod frame;
mod frames;
pub mod handshake;
mod read_buffer;
mod reader;
mod role;
mod sums;
mod verifier;
mod write;

pub use batch::{Bodies, FrameBatch};
pub use decoder::{Decoded, Decoder, DecoderConfig};
pub use encoder::{Encoder, MessageTooLarge};
pub use first_bytes::{FirstBytes, Signature};
pub use frame::{LENGTH_PREFIX, MAX_FRAME, MAX_FRAME_BODY};
pub use frames::Frames;
pub use read_buffer::SpareBuffers;
pub use reader::{BadStream, FrameReader, Received};
pub use role::Role;
pub use verifier::Damage;
pub(crate) use write::MAX_BATCHES;
pub use write::{Piece, Write};
