//! A session of rustls between a buffer for what was received and whoever sends, as bare as it can be had: for clients
//! and the relay.

use super::reading::{PAGE, next_start};
use rustls::Connection;
use std::io::{self, Read, Write};
use std::ops::Range;

/// A session of TLS.
#[derive(Debug)]
pub(super) struct Session {
    rustls: Connection,
    /// Holds one read. A session by itself asks for no more than a record at a time, and often for less.
    received: Vec<u8>,
    /// What of it is to be decrypted yet.
    encrypted: Range<usize>,
}

impl Session {
    /// A session that has shaken hands, whose owner reads so much at a time.
    pub(super) fn new(rustls: Connection, read_bytes: usize) -> Self {
        Self {
            rustls,
            received: vec![0; read_bytes + PAGE],
            encrypted: 0..0,
        }
    }

    /// Decrypts into `out` what was received. Returns how many bytes it has written there, 0 at the end of the stream;
    /// none if there is too little to decrypt.
    pub(super) fn decrypt(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let mut written = 0;
        while written < out.len() {
            match self.rustls.reader().read(&mut out[written..]) {
                Ok(0) => return Ok(Some(written)),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.encrypted.is_empty() => break,
                Err(_) => {
                    let mut encrypted = &self.received[self.encrypted.clone()];
                    self.encrypted.start += self.rustls.read_tls(&mut encrypted)?;
                    self.rustls
                        .process_new_packets()
                        .map_err(io::Error::other)?;
                }
            }
        }
        Ok((written > 0).then_some(written))
    }

    /// Where to read to, when all that was received is decrypted.
    pub(super) fn space(&mut self) -> &mut [u8] {
        debug_assert!(self.encrypted.is_empty(), "it would be lost");
        let start = next_start(self.encrypted.start % PAGE);
        let end = start + self.received.len() - PAGE;
        self.encrypted = start..start;
        &mut self.received[start..end]
    }

    /// So much was read to where it was to be.
    pub(super) fn received(&mut self, bytes: usize) {
        self.encrypted.end += bytes;
    }

    /// Encrypts as much as there is room for in the session. Returns how much that was.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rustls.writer().write(bytes)
    }

    /// Sends what was encrypted. Returns whether that was all: no, where `below` has no room.
    pub(super) fn send(&mut self, below: &mut dyn Write) -> io::Result<bool> {
        while self.rustls.wants_write() {
            match self.rustls.write_tls(below) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
