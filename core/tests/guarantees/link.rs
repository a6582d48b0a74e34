//! A connection between the broker and a client: bytes on their way, in both directions.

use message_queue_core::wire::{Decoder, DecoderConfig, FrameReader, Write, control::Link as Way};
use message_queue_core::{CloseReason, ConnId};
use std::collections::VecDeque;

pub(crate) struct Link {
    pub(crate) conn: ConnId,
    /// What the client has written and the broker has not read.
    pub(crate) to_broker: VecDeque<u8>,
    /// What the broker's socket has taken and the client has not read.
    pub(crate) to_client: VecDeque<u8>,
    pub(crate) decoder: Decoder,
    /// Whether the broker reads from it.
    pub(crate) is_paused: bool,
    /// The write in flight, and how much of it the socket has taken.
    pub(crate) write: Option<(Vec<u8>, usize)>,
    /// How many bytes the socket has taken in all.
    pub(crate) written: u64,
    /// What the broker has written, for the ledger.
    pub(crate) told: FrameReader,
    pub(crate) closed: Option<CloseReason>,
    /// The client has ended its side.
    pub(crate) is_ending: bool,
    pub(crate) end_was_read: bool,
}

impl Link {
    pub(crate) fn new(conn: ConnId, way: Way, read_bytes: usize) -> Self {
        Self {
            conn,
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
            closed: None,
            is_ending: false,
            end_was_read: false,
        }
    }

    pub(crate) fn start(&mut self, write: &Write) {
        assert!(self.write.is_none(), "one write at a time");
        let pieces = write.pieces().iter();
        let bytes: Vec<u8> = pieces.flat_map(|piece| piece.as_bytes().to_vec()).collect();
        assert_eq!(bytes.len(), write.byte_len());
        self.write = Some((bytes, 0));
    }

    /// The socket takes up to so many bytes of the write in flight. Returns what it has taken in all, if it took
    /// any.
    pub(crate) fn take(&mut self, most: usize) -> Option<u64> {
        let (bytes, taken) = self.write.as_mut()?;
        let more = most.min(bytes.len() - *taken);
        self.to_client.extend(&bytes[*taken..*taken + more]);
        *taken += more;
        if *taken == bytes.len() {
            self.write = None;
        }
        self.written += more as u64;
        (more > 0).then_some(self.written)
    }

    /// How many messages of the write in flight the socket has not taken whole.
    pub(crate) fn unwritten(&self) -> usize {
        let Some((bytes, taken)) = &self.write else {
            return 0;
        };
        let (mut at, mut unwritten) = (0, 0);
        // The answer to a role line is a line; it comes first, in a write without messages.
        if bytes.starts_with(b"OK ") {
            return 0;
        }
        while at < bytes.len() {
            let header = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let end = at + 4 + (header & !(1 << 31)) as usize;
            if header >> 31 == 0 && end > *taken {
                unwritten += 1;
            }
            at = end;
        }
        unwritten
    }
}
