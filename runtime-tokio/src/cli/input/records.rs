//! CSV records out of text, each with the line on which it begins.

use super::error::{InputError, Problem};
use super::feed::Feed;
use super::text::Text;
use csv_core::ReadFieldResult;
use message_queue_core::wire::MAX_FRAME_BODY;
use std::io::Read;

/// The most fields of a record that can be a message: each takes so many bytes at least (`"",`).
const MAX_FIELDS: usize = MAX_FRAME_BODY / 3;

/// Room for the fields of a usual record.
const FIELDS_BYTES: usize = 4096;

/// Takes text apart into records, one after another.
///
/// Memory is bounded by one message: of a record that is too large for one nothing is kept.
pub(super) struct Records {
    parser: csv_core::Reader,
    lines: LineCount,
    fields: Fields,
    /// The text of the first record, or its beginning.
    first: Option<Vec<u8>>,
    /// There is no more input.
    ended: bool,
}

impl Records {
    pub(super) fn new(delimiter: u8) -> Self {
        let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // It looks for a byte-order mark in what it is given first. There is none any more.
        parser.read_field(b"\n", &mut [0]);
        Self {
            parser,
            lines: LineCount::default(),
            fields: Fields::default(),
            first: Some(Vec::new()),
            ended: false,
        }
    }

    /// Leaves out the first `lines` lines of the text.
    pub(super) fn skip_lines<R: Read>(
        &mut self,
        lines: u64,
        text: &mut Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<(), InputError> {
        while self.lines.passed < lines && !self.fill(text, feed)?.is_empty() {
            let buffer = text.buffer();
            let end = memchr::memchr2(b'\r', b'\n', buffer).map_or(buffer.len(), |end| end + 1);
            self.lines.pass(&buffer[..end]);
            text.consume(end);
        }
        Ok(())
    }

    /// Reads the next record into [`fields`](Self::fields). Returns whether there is one. Each ends
    /// with a line end or the input; empty lines are none.
    pub(super) fn read<R: Read>(
        &mut self,
        text: &mut Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<bool, InputError> {
        self.skip_empty_lines(text, feed)?;
        self.fields.clear(self.lines.current());
        if self.ended {
            return Ok(false);
        }
        loop {
            let input = self.fill(text, feed)?;
            if input.is_empty() {
                if self.is_in_quotes() {
                    let name = feed.name().to_owned();
                    let line = self.fields.field_line;
                    return Err(InputError::OpenQuote { name, line });
                }
                self.fields.end_field(self.lines.current());
                return Ok(true);
            }
            let (result, read, written) = self.parser.read_field(input, self.fields.room());
            self.lines.pass(&input[..read]);
            if let Some(first) = self.first.as_mut().filter(|it| it.len() < MAX_FRAME_BODY) {
                first.extend_from_slice(&input[..read]);
            }
            text.consume(read);
            self.fields.used += written;
            match result {
                ReadFieldResult::InputEmpty => {}
                ReadFieldResult::OutputFull => self.fields.grow(),
                ReadFieldResult::Field { record_end } => {
                    self.fields.end_field(self.lines.current());
                    if record_end {
                        return Ok(true);
                    }
                }
                ReadFieldResult::End => return Ok(false),
            }
            if self.fields.too_large && feed.stops_at_bad_rows() {
                // The rest of it may be the rest of the input, and is of no use.
                if self.is_in_quotes() {
                    self.fields.open_quote = Some(self.fields.field_line);
                }
                return Ok(true);
            }
        }
    }

    /// So the line on which a record begins is its own.
    fn skip_empty_lines<R: Read>(
        &mut self,
        text: &mut Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<(), InputError> {
        loop {
            let buffer = self.fill(text, feed)?;
            let is_text = |byte: &u8| !matches!(byte, b'\r' | b'\n');
            let end = buffer.iter().position(is_text);
            self.lines.pass(&buffer[..end.unwrap_or(buffer.len())]);
            let size = buffer.len();
            text.consume(end.unwrap_or(size));
            if end.is_some() || size == 0 {
                return Ok(());
            }
        }
    }

    /// The text that comes next, empty only at the end.
    fn fill<'t, R: Read>(
        &mut self,
        text: &'t mut Text<R>,
        feed: &mut Feed<'_>,
    ) -> Result<&'t [u8], InputError> {
        if text.buffer().is_empty() && !self.ended {
            feed.flush()?;
            let more = text.read_more().map_err(|source| feed.failed(source))?;
            feed.reached(text.position());
            self.ended = !more;
        }
        Ok(text.buffer())
    }

    /// The record that was read last.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What makes the record that was read last too large for a message, if it is.
    pub(super) fn too_large(&self) -> Option<Problem> {
        self.fields.too_large.then_some(Problem::TooLarge {
            open_quote: self.fields.open_quote,
        })
    }

    /// Whether a line end is part of a field here. It is put there to see: a parser does not tell,
    /// and a clone of one (of csv-core 0.1.13) does not work. So nothing can be read after that.
    fn is_in_quotes(&mut self) -> bool {
        let (result, ..) = self.parser.read_field(b"\n", &mut [0; 2]);
        !matches!(result, ReadFieldResult::Field { .. })
    }

    /// The text of the first record, once, after it was read.
    pub(super) fn take_first(&mut self) -> Vec<u8> {
        self.first.take().unwrap_or_default()
    }
}

/// The fields of one record, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
    used: usize,
    ends: Vec<usize>,
    /// The line on which the record begins.
    line: u64,
    /// The line on which the field begins that is being read.
    field_line: u64,
    too_large: bool,
    /// The line of the quote that was open when it became too large, if that is where it ended.
    open_quote: Option<u64>,
}

impl Fields {
    fn clear(&mut self, line: u64) {
        self.used = 0;
        self.ends.clear();
        (self.line, self.field_line) = (line, line);
        self.too_large = false;
        self.open_quote = None;
    }

    /// Where the parser writes to.
    fn room(&mut self) -> &mut [u8] {
        if self.too_large {
            self.used = 0;
        }
        if self.bytes.is_empty() {
            self.bytes.resize(FIELDS_BYTES, 0);
        }
        &mut self.bytes[self.used..]
    }

    fn grow(&mut self) {
        if self.bytes.len() < MAX_FRAME_BODY {
            self.bytes.resize(2 * self.bytes.len(), 0);
        } else {
            self.too_large = true;
        }
    }

    fn end_field(&mut self, line: u64) {
        self.field_line = line;
        if self.ends.len() < MAX_FIELDS {
            self.ends.push(self.used);
        } else {
            self.too_large = true;
        }
    }

    /// The line on which the record begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The fields as text. None if one is not valid UTF-8.
    pub(super) fn as_text(&self) -> Option<impl Iterator<Item = &str>> {
        let text = str::from_utf8(&self.bytes[..self.used]).ok()?;
        // Two fields may be valid only together.
        if !self.ends.iter().all(|end| text.is_char_boundary(*end)) {
            return None;
        }
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        Some(ranges.map(move |(start, end)| &text[start..*end]))
    }
}

/// Counts lines as an editor does: a line feed ends one, and a carriage return, and both together.
#[derive(Debug, Default)]
struct LineCount {
    /// How many lines have ended.
    passed: u64,
    /// The last byte was a carriage return: a line feed belongs to it.
    after_return: bool,
}

impl LineCount {
    fn current(&self) -> u64 {
        self.passed + 1
    }

    fn pass(&mut self, text: &[u8]) {
        let Some(last) = text.last() else { return };
        for end in memchr::memchr2_iter(b'\r', b'\n', text) {
            let after_return = match end {
                0 => self.after_return,
                end => text[end - 1] == b'\r',
            };
            self.passed += u64::from(text[end] == b'\r' || !after_return);
        }
        self.after_return = *last == b'\r';
    }
}

/// How many fields the first record of `text` has with another delimiter.
pub(super) fn count_fields(text: &[u8], delimiter: u8) -> usize {
    let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    let mut rest = text;
    let mut fields = 0;
    loop {
        match parser.read_field(rest, &mut [0; 1024]) {
            (ReadFieldResult::Field { record_end: false }, read, _) => {
                fields += 1;
                rest = &rest[read..];
            }
            (ReadFieldResult::Field { record_end: true }, ..) => return fields + 1,
            (ReadFieldResult::End, ..) => return fields,
            (ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull, read, _) => {
                rest = &rest[read..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_an_editor_does_however_they_come() {
        for (text, lines) in [
            ("", 0),
            ("a", 0),
            ("a\nb", 1),
            ("a\r\nb\r\n\r\n", 3),
            ("a\rb\r\r\n\n\r", 5),
            ("\n\r", 2),
        ] {
            for size in 1..=text.len().max(1) {
                let mut count = LineCount::default();
                let pieces = text.as_bytes().chunks(size);
                pieces.for_each(|piece| count.pass(piece));
                assert_eq!(count.passed, lines, "{text:?} in pieces of {size}");
            }
        }
    }
}
