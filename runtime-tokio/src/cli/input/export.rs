//! What `log export` writes, every checksum verified.

use super::error::InputError;
use super::feed::Feed;
use message_queue_core::log::{BadImport, Import, Imported, Stored};
use std::io::{self, Read, Seek};

/// The messages of an export.
pub(super) struct Export<R> {
    source: R,
    bytes: Vec<u8>,
    /// How many bytes have been read.
    position: u64,
}

impl<R: Read> Export<R> {
    pub(super) const fn new(source: R) -> Self {
        Self {
            source,
            bytes: Vec::new(),
            position: 0,
        }
    }

    /// Reads the source to its end.
    pub(super) fn read(&mut self, feed: &mut Feed<'_>) -> Result<(), InputError> {
        let mut import = Import::default();
        let bad = |source: BadImport, feed: &Feed<'_>| InputError::Export {
            name: feed.name().to_owned(),
            source,
        };
        loop {
            match import.next().map_err(|source| bad(source, feed))? {
                Imported::Read(size) => {
                    self.bytes.clear();
                    let part = (&mut self.source).take(size as u64);
                    let read = { part }.read_to_end(&mut self.bytes);
                    self.position += read.map_err(|error| feed.failed(error))? as u64;
                    feed.reached(self.position);
                    import.read(&self.bytes);
                }
                Imported::Stored(Stored::Run { batch, .. }) => feed.send(batch)?,
                Imported::Stored(Stored::Gap(_)) => {}
                Imported::End => return Ok(()),
            }
        }
    }
}

impl<R: Read + Seek> Export<R> {
    /// Goes back to the beginning. The position goes on: it counts all rounds together.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.source.rewind()
    }
}
