//! A connection between the broker and a client: bytes on their way, in both directions.

use message_queue_core::wire::{Decoder, DecoderConfig, FrameReader, Write, control::Link as Way};
use message_queue_core::{CloseReason, ConnId};
use std::collections::VecDeque;

pub(super) struct Link {
    pub(super) conn: ConnId,
    /// The client's number.
    pub(super) client: usize,
    /// Whether its client has given it up, and the broker has not heard of that.
    pub(super) is_given_up: bool,
    /// What the client has written and the broker has not read.
    pub(super) to_broker: VecDeque<u8>,
    /// What the broker's socket has taken and the client has not read.
    pub(super) to_client: VecDeque<u8>,
    pub(super) decoder: Decoder,
    /// Whether the broker chose not to read from it.
    pub(super) is_paused: bool,
    /// The write in flight, and how much of it the socket has taken.
    write: Option<(Vec<u8>, usize)>,
    /// How many bytes the socket has taken in all.
    pub(super) written: u64,
    /// What the broker has written, taken apart for the history.
    pub(super) told: FrameReader,
    /// The principal that the broker takes the client for.
    pub(super) known_as: Option<String>,
    pub(super) closed: Option<CloseReason>,
    /// The client has ended its side.
    pub(super) is_ending: bool,
    pub(super) end_was_read: bool,
}

impl Link {
    pub(super) fn new(conn: ConnId, client: usize, way: Way, read_bytes: usize) -> Self {
        Self {
            conn,
            client,
            is_given_up: false,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            decoder: Decoder::new(DecoderConfig {
                read_bytes,
                ..DecoderConfig::default()
            }),
            is_paused: false,
            write: None,
            written: 0,
            told: FrameReader::new(way, 1 << 16),
            known_as: None,
            closed: None,
            is_ending: false,
            end_was_read: false,
        }
    }

    /// Whether a write is in flight.
    pub(super) const fn is_busy(&self) -> bool {
        self.write.is_some()
    }

    /// The broker asks for a write. Returns its bytes.
    pub(super) fn start(&mut self, write: &Write) -> Vec<u8> {
        let pieces = write.pieces().iter();
        let bytes: Vec<u8> = pieces.flat_map(|piece| piece.as_bytes().to_vec()).collect();
        self.write = Some((bytes.clone(), 0));
        bytes
    }

    /// The socket takes up to so many bytes of the write in flight. Returns what it has taken in all, if it took
    /// any.
    pub(super) fn take(&mut self, most: usize) -> Option<u64> {
        let (bytes, taken) = self.write.as_mut()?;
        let more = most.min(bytes.len() - *taken);
        if !self.is_given_up {
            self.to_client.extend(&bytes[*taken..*taken + more]);
        }
        *taken += more;
        if *taken == bytes.len() {
            self.write = None;
        }
        self.written += more as u64;
        (more > 0).then_some(self.written)
    }

    /// How many messages of the write in flight the socket has not taken whole.
    pub(super) fn unwritten(&self) -> usize {
        let write = self.write.as_ref();
        write.map_or(0, |(bytes, taken)| not_taken(bytes, *taken))
    }
}

/// How many messages of a write a socket has not taken whole that has taken so many bytes of it.
pub(crate) fn not_taken(bytes: &[u8], taken: usize) -> usize {
    // The answer to a role line is a line.
    let line = bytes.iter().position(|byte| *byte == b'\n');
    let mut at = match line {
        Some(end) if bytes.starts_with(b"OK ") => end + 1,
        Some(_) | None => 0,
    };
    let mut unwritten = 0;
    while let Some(header) = bytes.get(at..at + 4) {
        let header = header
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let end = at + 4 + (header & !(1 << 31)) as usize;
        unwritten += usize::from(header >> 31 == 0 && end > taken);
        at = end;
    }
    unwritten
}
