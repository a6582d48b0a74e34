//! Bytes into a role, then into batches. One decoder a connection, run by the runtime.

use super::batch::{FrameBatch, PIN_RATIO};
use super::frame::{self, Front, LENGTH_PREFIX};
use super::role::Role;
use crate::error::ProtocolError;
use crate::planted::{self, Bug};
use bytes::BytesMut;

/// The smallest read asked for, in bytes: where every connection starts.
const MIN_READ: usize = 2 * 1024;

/// The bounds of a [`Decoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderConfig {
    /// The longest role line, in bytes, its line feed not counted. Default: 1,024.
    pub role_line_bytes: usize,
    /// The largest read asked for, in bytes. Default: 524,288; 0 is taken as 1.
    ///
    /// A connection's memory: at most this, one partial frame, and as much again while the buffer
    /// grows. Connections that are idle or send little use far less.
    pub read_bytes: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            role_line_bytes: 1024,
            read_bytes: 512 * 1024,
        }
    }
}

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The role line. Comes first and once.
    Role(Role),
    /// All the whole frames there are so far; at least one.
    Batch(FrameBatch),
}

/// Turns the bytes of one connection into its role, then into batches.
///
/// Use: read into [`recv_buf`](Self::recv_buf), then call [`next`](Self::next) until it has
/// nothing; at the end of the stream, call [`finish`](Self::finish). How the bytes are cut into
/// reads changes how they are cut into batches and nothing else.
///
/// A consumer sends nothing after its role line, so whatever follows it is an error.
///
/// # Memory
/// The buffer grows with what arrives, never with the length that a peer announces.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    phase: Phase,
    /// Bytes received and not yet handed on. Outside of [`next`](Self::next) these begin at a
    /// frame (or the role line) that is not whole.
    buf: BytesMut,
    /// The size of the allocation that `buf` is a part of.
    allocated: usize,
    /// How much to ask for in the next read: follows the size of the reads before it.
    target: usize,
    /// `buf.len()` when the caller was last given the buffer.
    before_read: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Role,
    Frames,
    /// A consumer's: nothing may follow.
    Silence,
    /// Sticky.
    Failed(ProtocolError),
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(config: DecoderConfig) -> Self {
        let config = DecoderConfig {
            read_bytes: config.read_bytes.max(1),
            ..config
        };
        Self {
            config,
            phase: Phase::Role,
            buf: BytesMut::new(),
            allocated: 0,
            target: MIN_READ.min(config.read_bytes),
            before_read: 0,
        }
    }

    /// A decoder of frames alone: the consumer's side of the wire, where no role line comes first.
    pub fn frames_only(config: DecoderConfig) -> Self {
        Self {
            phase: Phase::Frames,
            ..Self::new(config)
        }
    }

    /// The buffer to append received bytes to. It has room for at least one byte; what is in it
    /// must be left alone.
    pub fn recv_buf(&mut self) -> &mut BytesMut {
        let (filled, spare) = (self.buf.len(), self.buf.capacity() - self.buf.len());
        // A short partial frame has its place within the read, so that no batch is larger than one.
        // A long one grows by doubling, so that its bytes are copied O(1) times.
        let size = if filled <= self.target / 2 {
            self.target
        } else {
            filled + self.target.max(filled)
        };
        if spare < self.target.div_ceil(2) && !self.reuse(size - filled) {
            let mut grown = BytesMut::with_capacity(size);
            let from = usize::from(planted::is(Bug::DecoderResumesTooFar) && !self.buf.is_empty());
            grown.extend_from_slice(&self.buf[from..]);
            self.allocated = grown.capacity();
            self.buf = grown;
        }
        self.before_read = self.buf.len();
        &mut self.buf
    }

    /// Makes room in the allocation there is, if nothing else uses it. Not in one that a long
    /// frame or a burst has left far too large: batches would be slivers of it, each copied.
    fn reuse(&mut self, room: usize) -> bool {
        self.allocated / PIN_RATIO <= self.buf.len() + self.target && self.buf.try_reclaim(room)
    }

    /// Gives back the buffer if nothing is in it. For a connection that has nothing to read now.
    pub fn park(&mut self) {
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.allocated = 0;
        }
    }

    /// What has arrived and was not reported yet: the role, then a batch of all the whole frames.
    /// `None` when it takes more bytes to go on.
    ///
    /// Whole frames ahead of an error are reported before the error.
    ///
    /// # Errors
    /// What the peer did wrong. From then on the same error is returned by every call.
    #[expect(
        clippy::should_implement_trait,
        reason = "it borrows nothing and may fail"
    )]
    pub fn next(&mut self) -> Result<Option<Decoded>, ProtocolError> {
        self.adapt();
        match self.phase {
            Phase::Role => self.role(),
            Phase::Frames => self.batch(),
            Phase::Silence if self.buf.is_empty() => Ok(None),
            Phase::Silence => Err(self.fail(ProtocolError::UnexpectedData)),
            // What arrives after the error is not kept either.
            Phase::Failed(error) => Err(self.fail(error)),
        }
    }

    /// The end of the stream, after the last [`next`](Self::next).
    ///
    /// # Errors
    /// If the stream ends inside the role line or a frame, or has failed before.
    pub fn finish(&mut self) -> Result<(), ProtocolError> {
        match self.phase {
            // Whoever said nothing at all has broken nothing: load balancers knock like that.
            Phase::Role if self.buf.is_empty() => Ok(()),
            Phase::Role => Err(self.fail(ProtocolError::TruncatedRoleLine)),
            Phase::Frames if !self.buf.is_empty() => Err(self.fail(ProtocolError::TruncatedFrame)),
            Phase::Frames | Phase::Silence => Ok(()),
            Phase::Failed(error) => Err(error),
        }
    }

    /// Follows the size of the reads: doubles when one filled the buffer, halves when one left
    /// most of it empty.
    fn adapt(&mut self) {
        let read = self.buf.len() - self.before_read;
        if read == 0 {
            return;
        }
        if self.buf.len() == self.buf.capacity() {
            self.target = (self.target * 2).min(self.config.read_bytes);
        } else if read < self.target / 4 {
            self.target = (self.target / 2).max(MIN_READ.min(self.config.read_bytes));
        }
        self.before_read = self.buf.len();
    }

    fn role(&mut self) -> Result<Option<Decoded>, ProtocolError> {
        match Role::parse(&self.buf, self.config.role_line_bytes) {
            Ok(None) => Ok(None),
            Ok(Some((role, size))) => {
                self.consume(size);
                self.phase = match role {
                    Role::Producer => Phase::Frames,
                    Role::Consumer => Phase::Silence,
                };
                Ok(Some(Decoded::Role(role)))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn batch(&mut self) -> Result<Option<Decoded>, ProtocolError> {
        let (mut messages, mut end) = (0, 0);
        loop {
            match frame::front(&self.buf[end..]) {
                Ok(Front::Whole(size)) => {
                    messages += 1;
                    end += size;
                }
                Ok(Front::Partial(_)) => break,
                Err(error) if messages == 0 => return Err(self.fail(error)),
                // The frames before it come first; the next call finds the error again.
                Err(_) => break,
            }
        }
        if messages == 0 {
            return Ok(None);
        }
        Ok(Some(Decoded::Batch(self.take(messages, end))))
    }

    /// Takes the first `end` bytes. A part too small to keep the whole buffer alive is copied, and
    /// the buffer is used again.
    fn take(&mut self, messages: usize, end: usize) -> FrameBatch {
        // A caller that appended more than there was room for has made the buffer grow.
        self.allocated = self.allocated.max(self.buf.capacity());
        let view = self.buf.split_to(end).freeze();
        if planted::is(Bug::DecoderForgetsPrefix) && self.buf.len() < LENGTH_PREFIX {
            self.buf.clear();
        }
        self.before_read = self.buf.len();
        FrameBatch::of_whole_frames(view, messages, self.allocated).compact()
    }

    fn consume(&mut self, size: usize) {
        drop(self.buf.split_to(size));
        self.before_read = self.buf.len();
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.phase = Phase::Failed(error);
        self.buf = BytesMut::new();
        self.allocated = 0;
        self.before_read = 0;
        error
    }
}

#[cfg(test)]
mod tests;
