//! Messages on their way from the input to whoever sends them.

use super::args::OnBadRow;
use super::error::{BadRow, InputError, Problem, Skipped};
use crate::client::BATCH_BYTES;
use message_queue_core::wire::{Encoder, FrameBatch};
use std::io;
use std::mem;
use tokio::sync::mpsc;

/// How many of the rows that were left out are shown.
const SHOWN_ROWS: u64 = 5;

/// Messages that were read together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) frames: FrameBatch,
    /// How many bytes of input had been read when they were complete, all rounds together.
    pub(crate) position: u64,
    /// What was left out since the last chunk.
    pub(crate) skipped: Skipped,
}

/// Takes messages one by one and sends them on in batches.
///
/// Before the input is read again, which may take for ever, all there is is to be flushed: so a
/// line that comes alone is sent at once, and lines that come in bulk are sent in bulk.
pub(super) struct Feed<'a> {
    name: &'a str,
    on_bad_row: OnBadRow,
    chunks: mpsc::Sender<Result<Chunk, InputError>>,
    pending: Encoder,
    /// How many bytes had been read when the last message was complete.
    position: u64,
    /// How many messages have been sent.
    messages: u64,
    /// What was left out since the last chunk.
    skipped: Skipped,
    /// How many rows have been left out and shown.
    shown: u64,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        name: &'a str,
        on_bad_row: OnBadRow,
        chunks: mpsc::Sender<Result<Chunk, InputError>>,
    ) -> Self {
        Self {
            name,
            on_bad_row,
            chunks,
            pending: Encoder::new(),
            position: 0,
            messages: 0,
            skipped: Skipped::default(),
            shown: 0,
        }
    }

    /// What errors call the input.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// How many messages have been sent.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Notes how much of the input has been read: what is pushed from now on lies before that.
    pub(super) fn reached(&mut self, position: u64) {
        self.position = position;
    }

    /// Adds a message that begins on `line` of the input.
    pub(super) fn push(&mut self, message: &[u8], line: u64) -> Result<(), InputError> {
        if self.pending.push(message).is_err() {
            return self.bad_row(line, Problem::TooLarge { open_quote: None });
        }
        if self.pending.byte_len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Leaves out the row that begins on `line`, or ends with it, as the user wants.
    pub(super) fn bad_row(&mut self, line: u64, problem: Problem) -> Result<(), InputError> {
        let bad_row = BadRow { line, problem };
        if self.stops_at_bad_rows() {
            let name = self.name.to_owned();
            return Err(InputError::BadRow { name, bad_row });
        }
        self.skipped.rows += 1;
        if self.shown < SHOWN_ROWS {
            self.shown += 1;
            self.skipped.shown.push(bad_row);
        }
        Ok(())
    }

    pub(super) fn stops_at_bad_rows(&self) -> bool {
        self.on_bad_row == OnBadRow::Stop
    }

    /// Sends what there is.
    pub(super) fn flush(&mut self) -> Result<(), InputError> {
        if self.pending.is_empty() && self.skipped.rows == 0 {
            return Ok(());
        }
        let batch = self.pending.take();
        self.send(batch)
    }

    /// Sends messages that are a batch already.
    pub(super) fn send(&mut self, frames: FrameBatch) -> Result<(), InputError> {
        self.messages += frames.messages() as u64;
        let chunk = Chunk {
            frames,
            position: self.position,
            skipped: mem::take(&mut self.skipped),
        };
        // The command has ended; this ends the thread.
        self.chunks
            .blocking_send(Ok(chunk))
            .map_err(|_| self.failed(io::ErrorKind::BrokenPipe.into()))
    }

    /// The input cannot be read.
    pub(super) fn failed(&self, source: io::Error) -> InputError {
        InputError::Read {
            name: self.name.to_owned(),
            source,
        }
    }
}
