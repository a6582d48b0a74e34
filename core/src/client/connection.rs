//! What a connection is to either client: it begins with a role line and its answer, is watched by heartbeats, and
//! carries control frames.

use super::Ended;
use super::liveness::{Due, Liveness};
use crate::time::Now;
use crate::wire::control::{Control, Link, Reason};
use crate::wire::handshake::{Accepted, Answer, RoleOptions};
use crate::wire::{FrameReader, Received};
use bytes::{Bytes, BytesMut};

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Connection {
    reader: FrameReader,
    liveness: Liveness,
    /// The role line and control frames that are to be written, before any message.
    outgoing: BytesMut,
    /// Whether the broker has accepted it.
    is_open: bool,
    /// The number of the last PING.
    asked: u64,
}

impl Connection {
    /// A connection that has just been made; its role line is to be written.
    pub(super) fn new(link: Link, read_bytes: usize, options: &RoleOptions, now: Now) -> Self {
        let (heartbeat, verifies) = match options {
            RoleOptions::Producer(options) => (options.common.heartbeat, false),
            RoleOptions::Consumer(options) => (options.common.heartbeat, options.check),
        };
        let reader = FrameReader::new(link, read_bytes);
        Self {
            reader: if verifies { reader.verifying() } else { reader },
            liveness: Liveness::new(heartbeat, now),
            outgoing: BytesMut::from(options.line().as_bytes()),
            is_open: false,
            asked: 0,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn recv_buf(&mut self) -> &mut BytesMut {
        self.reader.recv_buf()
    }

    /// What has arrived next.
    pub(super) fn receive(&mut self, now: Now) -> Result<Option<Received>, Ended> {
        self.liveness.received(now);
        Ok(self.reader.next()?)
    }

    /// The answer to the role line has come.
    pub(super) fn answered(&mut self, line: &str, now: Now) -> Result<Accepted, Ended> {
        match Answer::parse(line.as_bytes())? {
            Answer::Ok(accepted) => {
                self.is_open = true;
                self.liveness = Liveness::new(accepted.heartbeat, now);
                Ok(accepted)
            }
            Answer::Error { code, text } => Err(Ended::Refused(Reason { code, text })),
        }
    }

    /// Where control frames are to be appended.
    pub(super) const fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// The role line and the control frames to write next.
    pub(super) fn take_outgoing(&mut self) -> Option<Bytes> {
        (!self.outgoing.is_empty()).then(|| self.outgoing.split().freeze())
    }

    /// Bytes were handed out to be written.
    pub(super) const fn sent(&mut self, now: Now) {
        self.liveness.sent(now);
    }

    pub(super) fn next_timeout(&self) -> Option<Now> {
        self.liveness.next()
    }

    /// Does what is due: asks a side that is silent, and gives it up.
    pub(super) fn handle_timeout(&mut self, now: Now) -> Result<(), Ended> {
        match self.liveness.due(now) {
            Due::Nothing => {}
            Due::Silent => return Err(Ended::Silent),
            Due::Ping => {
                self.liveness.sent(now);
                // Before the answer there is nothing to ask: it is what is waited for.
                if self.is_open {
                    self.ask();
                }
            }
        }
        Ok(())
    }

    /// Asks the broker for a PONG. Returns its number.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        Control::Ping(self.asked).encode(&mut self.outgoing);
        self.asked
    }
}
