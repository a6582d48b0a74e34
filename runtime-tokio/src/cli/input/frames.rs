//! Frames as they are on the wire.

use super::error::InputError;
use super::feed::Feed;
use super::text::READ_BYTES;
use message_queue_core::ProtocolError;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig};
use std::io::{self, Read, Seek};

/// Frames out of a source.
pub(super) struct Frames<R> {
    source: R,
    bytes: Vec<u8>,
    /// How many bytes have been read.
    position: u64,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            bytes: vec![0; READ_BYTES],
            position: 0,
        }
    }

    /// Reads the source to its end.
    pub(super) fn read(&mut self, feed: &mut Feed<'_>) -> Result<(), InputError> {
        let mut decoder = Decoder::frames_only(DecoderConfig::default());
        let before = feed.messages();
        let bad = |source: ProtocolError, feed: &Feed<'_>| InputError::Frames {
            name: feed.name().to_owned(),
            frames: feed.messages() - before,
            source,
        };
        loop {
            let buf = decoder.recv_buf();
            let room = (buf.capacity() - buf.len()).min(self.bytes.len());
            let size = match self.source.read(&mut self.bytes[..room]) {
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(feed.failed(error)),
            };
            buf.extend_from_slice(&self.bytes[..size]);
            self.position += size as u64;
            feed.reached(self.position);
            while let Some(decoded) = decoder.next().map_err(|source| bad(source, feed))? {
                match decoded {
                    Decoded::Batch(batch) => feed.send(batch)?,
                    Decoded::Role(_)
                    | Decoded::Options(_)
                    | Decoded::BadOptions(_)
                    | Decoded::Control(_) => unreachable!("the decoder looks for frames only"),
                }
            }
            if size == 0 {
                return decoder.finish().map_err(|source| bad(source, feed));
            }
        }
    }
}

impl<R: Read + Seek> Frames<R> {
    /// Goes back to the beginning. The position goes on: it counts all rounds together.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.source.rewind()
    }
}
