//! Bytes into a role, then into batches and control frames. One decoder a connection, run by the runtime.

use super::batch::FrameBatch;
use super::control::{BadFrame, Control, Link};
use super::frame::{self, Front};
use super::frames::{self, Frames};
use super::handshake::{BadOption, RoleOptions};
use super::read_buffer::{ReadBuffer, SpareBuffers};
use super::role::{Role, RoleLine};
use crate::error::ProtocolError;
use bytes::BytesMut;

/// The bounds of a [`Decoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderConfig {
    /// The longest role line, in bytes, its line feed not counted. Default: 4,096.
    pub role_line_bytes: usize,
    /// The largest read asked for, in bytes. Default: 1 MiB; 0 is taken as 1.
    ///
    /// A connection's memory: at most this, one partial frame, and as much again while the buffer
    /// grows. Connections that are idle or send little use far less.
    pub read_bytes: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            role_line_bytes: 4096,
            read_bytes: 1024 * 1024,
        }
    }
}

/// Partial frames are reported in steps of so many bytes, and shorter ones not at all.
const PARTIAL_STEP: usize = 16 * 1024;

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The role line of version 1. Comes first and once.
    Role(Role),
    /// The role line of version 2, in its place.
    Options(RoleOptions),
    /// A role line with options that are not allowed. What follows it is not looked at.
    BadOptions(BadOption),
    /// All the whole frames there are so far; in version 2, up to the next control frame. At least one.
    Batch(FrameBatch),
    /// A control frame, in version 2.
    Control(Control),
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
    /// Outside of [`next`](Self::next) it begins at a frame (or the role line) that is not whole.
    buffer: ReadBuffer,
    /// What [`report_partial`](Self::report_partial) returned last; 0 after a batch.
    reported: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Role,
    Frames,
    /// A consumer's of version 1: nothing may follow.
    Silence,
    /// Of version 2.
    Version2(Link),
    /// It is to be closed: nothing is looked at.
    Refused,
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
            buffer: ReadBuffer::new(config.read_bytes),
            reported: 0,
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
        self.recv_buf_from(&mut SpareBuffers::default())
    }

    /// The same; where it takes other memory, that of `spares` if there is any that fits.
    pub fn recv_buf_from(&mut self, spares: &mut SpareBuffers) -> &mut BytesMut {
        self.buffer.room(spares)
    }

    /// Leaves the buffer to `spares`. For a connection that is not read from now; part of a frame,
    /// if any, is kept: in memory of its own if it is short, else the buffer stays.
    pub fn park(&mut self, spares: &mut SpareBuffers) {
        self.buffer.park(spares);
    }

    /// Whether part of a frame has arrived and the rest has not, after the last
    /// [`next`](Self::next).
    pub fn is_mid_frame(&self) -> bool {
        matches!(self.phase, Phase::Frames | Phase::Version2(_))
            && !self.buffer.as_bytes().is_empty()
    }

    /// What [`Input::Partial`](crate::Input::Partial) is to say when the connection is not read from
    /// for now; `None` if what was said last is still true to within 16 KiB. To be called after
    /// [`park`](Self::park).
    ///
    /// A partial frame counts with the bytes that have arrived, or half the buffer that it keeps if
    /// that is more; at most with the largest frame. One with less than 16 KiB does not count.
    pub fn report_partial(&mut self) -> Option<usize> {
        let held = if self.is_mid_frame() {
            self.buffer.held()
        } else {
            0
        };
        let counted = if held < PARTIAL_STEP { 0 } else { held };
        let is_news = counted.abs_diff(self.reported) >= PARTIAL_STEP;
        is_news.then(|| {
            self.reported = counted;
            counted
        })
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
        self.buffer.adapt();
        match self.phase {
            Phase::Role => self.role(),
            Phase::Frames => self.batch(),
            Phase::Silence if self.buffer.as_bytes().is_empty() => Ok(None),
            Phase::Silence => Err(self.fail(ProtocolError::UnexpectedData)),
            Phase::Version2(link) => self.frames(link),
            Phase::Refused => {
                self.buffer.clear();
                Ok(None)
            }
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
            Phase::Role if self.buffer.as_bytes().is_empty() => Ok(()),
            Phase::Role => Err(self.fail(ProtocolError::TruncatedRoleLine)),
            Phase::Frames if !self.buffer.as_bytes().is_empty() => {
                Err(self.fail(ProtocolError::TruncatedFrame))
            }
            Phase::Version2(_) if !self.buffer.as_bytes().is_empty() => {
                Err(self.fail(ProtocolError::TruncatedFrame))
            }
            Phase::Frames | Phase::Silence | Phase::Version2(_) | Phase::Refused => Ok(()),
            Phase::Failed(error) => Err(error),
        }
    }

    fn role(&mut self) -> Result<Option<Decoded>, ProtocolError> {
        match RoleLine::parse(self.buffer.as_bytes(), self.config.role_line_bytes) {
            Ok(None) => Ok(None),
            Ok(Some(line)) => {
                let (role, size) = (line.role, line.size);
                let decoded = match line.options {
                    None => Decoded::Role(role),
                    Some(options) => {
                        let options = &self.buffer.as_bytes()[options];
                        RoleOptions::parse(role, options)
                            .map_or_else(Decoded::BadOptions, Decoded::Options)
                    }
                };
                self.buffer.advance(size);
                let waits = matches!(&decoded, Decoded::Options(RoleOptions::Producer(it)) if it.identity.is_some());
                let is_early = waits && !self.buffer.as_bytes().is_empty();
                self.phase = match (&decoded, role) {
                    _ if is_early => Phase::Failed(ProtocolError::BadFrame(BadFrame::TooEarly)),
                    (Decoded::BadOptions(_), _) => Phase::Refused,
                    (Decoded::Options(_), Role::Producer) => Phase::Version2(Link::FromProducer),
                    (Decoded::Options(_), Role::Consumer) => Phase::Version2(Link::FromConsumer),
                    (_, Role::Producer) => Phase::Frames,
                    (_, Role::Consumer) => Phase::Silence,
                };
                Ok(Some(decoded))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn frames(&mut self, link: Link) -> Result<Option<Decoded>, ProtocolError> {
        match frames::next(link, &mut self.buffer) {
            Ok(Some(Frames::Batch(batch))) => {
                self.reported = 0;
                Ok(Some(Decoded::Batch(batch)))
            }
            Ok(Some(Frames::Control(control))) => Ok(Some(Decoded::Control(control))),
            Ok(None) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn batch(&mut self) -> Result<Option<Decoded>, ProtocolError> {
        let (mut messages, mut end) = (0, 0);
        loop {
            match frame::front(&self.buffer.as_bytes()[end..]) {
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
        self.reported = 0;
        let batch = self.buffer.take(messages, end);
        Ok(Some(Decoded::Batch(batch)))
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.phase = Phase::Failed(error);
        self.buffer.clear();
        error
    }
}

#[cfg(test)]
mod tests;
