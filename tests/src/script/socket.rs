//! One connection: bytes in, inputs out.

use super::Bytes;
use message_queue_core::Input;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, SpareBuffers};
use std::collections::VecDeque;

/// The broker's end of a connection, and what is on its way to it.
#[derive(Debug)]
pub(super) struct Socket {
    decoder: Decoder,
    /// What has arrived and was not read yet.
    arrived: VecDeque<Arrival>,
    /// Whether the decoder may hold something that it was not asked for yet.
    decoding: bool,
    /// Whether the broker has asked not to read.
    pub(super) paused: bool,
    /// Whether the broker has closed it.
    pub(super) closed: bool,
    /// How many bytes were written to it that the peer's side has not taken.
    pub(super) in_flight: usize,
    /// How many it has taken in all.
    pub(super) taken: u64,
    /// Whether it is not sealed at once when it is closed.
    pub(super) sealed_late: bool,
    /// Whether it takes nothing more.
    pub(super) sealed: bool,
}

#[derive(Debug)]
enum Arrival {
    /// These bytes, of which so many were read.
    Bytes {
        bytes: Vec<u8>,
        read: usize,
    },
    End,
}

impl Socket {
    pub(super) fn new(config: DecoderConfig) -> Self {
        Self {
            decoder: Decoder::new(config),
            arrived: VecDeque::new(),
            decoding: false,
            paused: false,
            closed: false,
            in_flight: 0,
            taken: 0,
            sealed_late: false,
            sealed: false,
        }
    }

    /// The peer sends.
    pub(super) fn send(&mut self, bytes: &Bytes) {
        let reads = bytes.reads().into_iter().filter(|read| !read.is_empty());
        let reads = reads.map(|bytes| Arrival::Bytes { bytes, read: 0 });
        self.arrived.extend(reads);
    }

    /// The peer ends its side.
    pub(super) fn end(&mut self) {
        self.arrived.push_back(Arrival::End);
    }

    /// Whether nothing more can arrive.
    pub(super) fn has_ended(&self) -> bool {
        self.closed || matches!(self.arrived.back(), Some(Arrival::End))
    }

    /// Whether a read is wanted and would wait.
    pub(super) fn would_wait(&self) -> bool {
        !self.paused && self.arrived.is_empty() && !self.decoding
    }

    /// Whether part of a frame has come and the rest has not.
    pub(super) fn is_mid_frame(&self) -> bool {
        !self.closed && self.decoder.is_mid_frame()
    }

    /// Reads and decodes until there is an input for the broker; none if it takes more to go on,
    /// or if the broker wants none and knows what is kept meanwhile.
    pub(super) fn next_input(&mut self) -> Option<Input> {
        while !self.paused && !self.closed {
            if !self.decoding {
                let Some(arrival) = self.arrived.front_mut() else {
                    break;
                };
                match arrival {
                    Arrival::Bytes { bytes, read } => {
                        *read += receive(&bytes[*read..], &mut self.decoder);
                        if *read == bytes.len() {
                            self.arrived.pop_front();
                        }
                    }
                    Arrival::End => {
                        self.arrived.pop_front();
                        return Some(self.finish());
                    }
                }
            }
            let input = self.decode();
            self.decoding = input.is_some();
            if input.is_some() {
                return input;
            }
        }
        if self.closed {
            return None;
        }
        self.decoder.park(&mut SpareBuffers::default());
        let bytes = self.decoder.report_partial()?;
        Some(Input::Partial { bytes })
    }

    fn decode(&mut self) -> Option<Input> {
        match self.decoder.next() {
            Ok(None) => None,
            // The model knows version 1 alone.
            Ok(Some(Decoded::Options(_) | Decoded::BadOptions(_))) => Some(Input::PeerReset),
            Ok(Some(decoded)) => Some(decoded.into()),
            Err(error) => Some(Input::Broke(error)),
        }
    }

    fn finish(&mut self) -> Input {
        match self.decoder.finish() {
            Ok(()) => Input::PeerClosed,
            Err(error) => Input::Broke(error),
        }
    }
}

/// One read: as much as the decoder's buffer has room for. Returns how much that was.
fn receive(bytes: &[u8], decoder: &mut Decoder) -> usize {
    let buf = decoder.recv_buf();
    let read = bytes.len().min(buf.capacity() - buf.len());
    buf.extend_from_slice(&bytes[..read]);
    read
}
