//! Lines as messages.

use super::error::{InputError, Problem};
use super::feed::Feed;
use super::text::Text;
use message_queue_core::wire::MAX_FRAME_BODY;
use std::io::Read;

/// The most that is kept of a line: a message, a carriage return, and what shows that it is longer.
const MOST_KEPT: usize = MAX_FRAME_BODY + 2;

/// Reads `text` to its end, without its first `skipped` lines.
pub(super) fn read<R: Read>(
    text: &mut Text<R>,
    feed: &mut Feed<'_>,
    skipped: u64,
) -> Result<(), InputError> {
    let mut line = Line::new(skipped);
    loop {
        let buffer = text.buffer();
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            let size = buffer.len();
            line.keep(buffer);
            if line.is_too_long() && feed.stops_at_bad_rows() && line.is_wanted() {
                return feed.bad_row(line.number, Problem::TooLarge { open_quote: None });
            }
            text.consume(size);
            feed.flush()?;
            let more = text.read_more().map_err(|source| feed.failed(source))?;
            feed.reached(text.position());
            if more {
                continue;
            }
            return line.end_of_input(text, feed);
        };
        line.end(&buffer[..end], text, feed)?;
        text.consume(end + 1);
    }
}

/// The line that is being read.
struct Line {
    /// From 1.
    number: u64,
    /// How many lines are left out.
    skipped: u64,
    /// What came of it before the text that is there now.
    kept: Vec<u8>,
}

impl Line {
    fn new(skipped: u64) -> Self {
        Self {
            number: 1,
            skipped,
            kept: Vec::new(),
        }
    }

    fn is_wanted(&self) -> bool {
        self.number > self.skipped
    }

    /// It is, whatever its end.
    fn is_too_long(&self) -> bool {
        self.kept.len() == MOST_KEPT
    }

    /// Keeps a part of it, as far as that can matter.
    fn keep(&mut self, part: &[u8]) {
        let room = MOST_KEPT - self.kept.len();
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Ends it with its last part, before a line feed.
    fn end<R: Read>(
        &mut self,
        part: &[u8],
        text: &Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<(), InputError> {
        let without_return = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).len();
        if !self.is_wanted() {
        } else if self.kept.is_empty() {
            self.push(&part[..without_return(part)], text, feed)?;
        } else {
            self.keep(part);
            // Where it is too long its last byte is not that of the line.
            let size = if self.is_too_long() {
                MOST_KEPT
            } else {
                without_return(&self.kept)
            };
            self.push(&self.kept[..size], text, feed)?;
        }
        self.kept.clear();
        self.number += 1;
        Ok(())
    }

    /// Ends it where the input ends without a line feed.
    fn end_of_input<R: Read>(self, text: &Text<R>, feed: &mut Feed<'_>) -> Result<(), InputError> {
        if self.kept.is_empty() || !self.is_wanted() {
            return Ok(());
        }
        self.push(&self.kept, text, feed)
    }

    fn push<R: Read>(
        &self,
        message: &[u8],
        text: &Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<(), InputError> {
        if text.is_decoded() && str::from_utf8(message).is_err() {
            return feed.bad_row(self.number, Problem::NotEncoded(text.encoding()));
        }
        feed.push(message, self.number)
    }
}
