//! An input taken apart into messages: lines, CSV rows or frames.

use super::input::{Chunk, InputError, InputFormat};
use super::rows;
use crate::client::BATCH_BYTES;
use message_queue_core::wire::{
    Decoded, Decoder, DecoderConfig, Encoder, FrameBatch, MAX_FRAME_BODY,
};
use std::io::{self, BufRead, BufReader, Read, Seek};
use tokio::sync::mpsc;

/// The most that is asked of the input at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Sits between an input and whoever takes it apart, and sends on what they make of it.
///
/// Before the input is read again, which may take for ever, it sends all there is: so a line
/// that comes alone is sent at once, and lines that come in bulk are sent in bulk.
pub(crate) struct Feed<'a, R> {
    name: &'a str,
    source: R,
    chunks: mpsc::Sender<Result<Chunk, InputError>>,
    pending: Encoder,
    /// How many bytes have been read.
    position: u64,
    /// How many messages have been sent.
    messages: u64,
}

impl<'a, R: Read> Feed<'a, R> {
    pub(crate) fn new(
        name: &'a str,
        source: R,
        chunks: mpsc::Sender<Result<Chunk, InputError>>,
    ) -> Self {
        Self {
            name,
            source,
            chunks,
            pending: Encoder::new(),
            position: 0,
            messages: 0,
        }
    }

    /// Reads to the end of the input. What came before an error is sent before it.
    pub(crate) fn read_as(&mut self, format: InputFormat) -> Result<(), InputError> {
        let outcome = match format {
            InputFormat::Lines => self.read_lines(),
            InputFormat::Csv => self.read_csv(),
            InputFormat::Frames => self.read_frames(),
        };
        self.flush().map_err(|source| self.failed(source))?;
        outcome
    }

    fn read_lines(&mut self) -> Result<(), InputError> {
        // What shows a line to be too long, whatever its end: no more of it is kept.
        const LIMIT: u64 = MAX_FRAME_BODY as u64 + 3;
        let name = self.name;
        let failed = |source| InputError::Read {
            name: name.to_owned(),
            source,
        };
        let mut reader = BufReader::with_capacity(READ_BYTES, self);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let size = reader
                .by_ref()
                .take(LIMIT)
                .read_until(b'\n', &mut text)
                .map_err(failed)?;
            if size == 0 {
                break;
            }
            reader.get_mut().push(without_line_end(&text), line)?;
        }
        Ok(())
    }

    fn read_csv(&mut self) -> Result<(), InputError> {
        let name = self.name;
        let failed = |source| InputError::Csv {
            name: name.to_owned(),
            source,
        };
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(READ_BYTES)
            .from_reader(self);
        let columns = reader.headers().map_err(failed)?.clone();
        if let Some(column) = rows::repeated_column(&columns) {
            let column = column.to_owned();
            return Err(InputError::RepeatedColumn {
                name: name.to_owned(),
                column,
            });
        }
        let mut row = csv::StringRecord::new();
        let mut object = Vec::new();
        while reader.read_record(&mut row).map_err(failed)? {
            object.clear();
            rows::write_object(&mut object, &columns, &row).map_err(|source| InputError::Read {
                name: name.to_owned(),
                source,
            })?;
            let line = row.position().map_or(0, csv::Position::line);
            reader.get_mut().push(&object, line)?;
        }
        Ok(())
    }

    fn read_frames(&mut self) -> Result<(), InputError> {
        let mut decoder = Decoder::frames_only(DecoderConfig::default());
        let mut bytes = vec![0; READ_BYTES];
        let before = self.messages;
        loop {
            let buf = decoder.recv_buf();
            let room = (buf.capacity() - buf.len()).min(bytes.len());
            let size = match self.source.read(&mut bytes[..room]) {
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            buf.extend_from_slice(&bytes[..size]);
            self.position += size as u64;
            let bad = |source, feed: &Self| InputError::Frames {
                name: feed.name.to_owned(),
                frames: feed.messages - before,
                source,
            };
            while let Some(decoded) = decoder.next().map_err(|source| bad(source, self))? {
                match decoded {
                    Decoded::Batch(batch) => {
                        self.send(batch).map_err(|source| self.failed(source))?;
                    }
                    Decoded::Role(_) => unreachable!("the decoder looks for frames only"),
                }
            }
            if size == 0 {
                return decoder.finish().map_err(|source| bad(source, self));
            }
        }
    }

    /// Adds a message that `line` of the input ends or begins.
    fn push(&mut self, message: &[u8], line: u64) -> Result<(), InputError> {
        if self.pending.push(message).is_err() {
            return Err(InputError::MessageTooLarge {
                name: self.name.to_owned(),
                line,
            });
        }
        if self.pending.byte_len() >= BATCH_BYTES {
            self.flush().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = self.pending.take();
        self.send(batch)
    }

    fn send(&mut self, frames: FrameBatch) -> io::Result<()> {
        self.messages += frames.messages() as u64;
        let chunk = Chunk {
            frames,
            position: self.position,
        };
        // The command has ended; this ends the thread.
        self.chunks
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn failed(&self, source: io::Error) -> InputError {
        InputError::Read {
            name: self.name.to_owned(),
            source,
        }
    }
}

impl<R: Read + Seek> Feed<'_, R> {
    /// Reads from the beginning to the end so many times; 0 is for ever.
    pub(crate) fn read_rounds(
        &mut self,
        format: InputFormat,
        rounds: u64,
    ) -> Result<(), InputError> {
        let mut round = 0;
        // An input without a message in it would be read for ever and give nothing.
        while (rounds == 0 || round < rounds) && self.messages >= round {
            self.source.rewind().map_err(|source| self.failed(source))?;
            self.read_as(format)?;
            round += 1;
        }
        Ok(())
    }
}

impl<R: Read> Read for Feed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        let size = self.source.read(buf)?;
        self.position += size as u64;
        Ok(size)
    }
}

/// A line without the line feed, or carriage return and line feed, at its end.
fn without_line_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ProtocolError;
    use std::collections::VecDeque;

    /// Gives one piece a read.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.pop_front().unwrap_or_default();
            buf[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    /// The messages of each chunk, and how the input ended.
    fn read(
        format: InputFormat,
        pieces: &[impl AsRef<[u8]>],
    ) -> (Vec<Vec<String>>, Result<(), InputError>) {
        let pieces = Pieces(pieces.iter().map(|piece| piece.as_ref().to_vec()).collect());
        let (chunks, mut received) = mpsc::channel(1000);
        let outcome = Feed::new("test", pieces, chunks).read_as(format);
        let mut batches = Vec::new();
        while let Some(chunk) = received.blocking_recv() {
            let bodies = chunk
                .expect("errors are returned")
                .frames
                .bodies()
                .collect::<Vec<_>>();
            let text = |body: &bytes::Bytes| String::from_utf8_lossy(body).into_owned();
            batches.push(bodies.iter().map(text).collect());
        }
        (batches, outcome)
    }

    fn lines(text: &str) -> Vec<String> {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(READ_BYTES).collect();
        let (batches, outcome) = read(InputFormat::Lines, &pieces);
        outcome.expect("lines");
        batches.concat()
    }

    #[test]
    fn a_line_ends_with_a_line_feed_or_the_input() {
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a\nb\n"), ["a", "b"]);
        assert_eq!(lines("a\r\n\r\n\nb"), ["a", "", "", "b"]);
        assert_eq!(lines("a\rb\r\r\nc\r"), ["a\rb\r", "c\r"]);
    }

    #[test]
    fn lines_do_not_wait_for_what_comes_after_them() {
        let (batches, outcome) = read(InputFormat::Lines, &["a\nb\nc", "d\n", "e\r", "\n", "f"]);
        outcome.expect("lines");
        assert_eq!(batches, [&["a", "b"][..], &["cd"], &["e"], &["f"]]);
    }

    #[test]
    fn the_longest_line_is_a_message_and_a_longer_one_an_error_with_its_number() {
        let longest = "x".repeat(MAX_FRAME_BODY);
        for end in ["", "\n", "\r\n"] {
            assert_eq!(lines(&format!("{longest}{end}")), [longest.as_str()]);
        }
        for end in ["y", "y\n", "y\r\n", "yyyyyyyyyyyyyyyyy"] {
            let text = format!("first\n{longest}{end}");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
            let (batches, outcome) = read(InputFormat::Lines, &pieces);
            assert_eq!(batches.concat(), ["first"]);
            let error = outcome.expect_err("too long").to_string();
            assert_eq!(
                error,
                "test: line 2 makes a message of more than 1048576 bytes"
            );
        }
    }

    #[test]
    fn rows_do_not_wait_for_what_comes_after_them() {
        let pieces = [
            "\u{feff}id,say\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,",
            "\n",
            "\n3,\"\"",
        ];
        let (batches, outcome) = read(InputFormat::Csv, &pieces);
        outcome.expect("CSV");
        let first = r#"{"id":"1","say":"a, \"b\"\nc"}"#;
        let rows = [r#"{"id":"2","say":""}"#, r#"{"id":"3","say":""}"#];
        assert_eq!(batches, [&[first][..], &[rows[0]], &[rows[1]]]);
    }

    #[test]
    fn a_row_with_a_field_too_many_is_an_error_after_the_rows_before_it() {
        let (batches, outcome) = read(InputFormat::Csv, &["a,b\n1,2\n3,4,5\n"]);
        assert_eq!(batches.concat(), [r#"{"a":"1","b":"2"}"#]);
        let error = outcome.expect_err("three fields").to_string();
        assert!(
            error.starts_with("test: ") && error.contains("line: 3"),
            "{error}"
        );
    }

    #[test]
    fn two_columns_of_one_name_are_an_error() {
        let (_, outcome) = read(InputFormat::Csv, &["a,b,a\n1,2,3\n"]);
        assert!(matches!(outcome, Err(InputError::RepeatedColumn { column, .. }) if column == "a"));
    }

    #[test]
    fn frames_are_passed_on_until_one_is_not_whole_or_too_large() {
        let (batches, outcome) = read(InputFormat::Frames, &["\0\0\0\x01a\0\0\0\x02b", "c"]);
        outcome.expect("frames");
        assert_eq!(batches, [["a"], ["bc"]]);
        for (end, source) in [
            (&b"\0\0\0\x02b"[..], ProtocolError::TruncatedFrame),
            (
                b"\0\x10\0\x01",
                ProtocolError::FrameTooLarge { length: 1_048_577 },
            ),
        ] {
            let (batches, outcome) = read(
                InputFormat::Frames,
                &[&[&b"\0\0\0\x01a\0\0\0\0"[..], end].concat()],
            );
            assert_eq!(batches.concat(), ["a", ""]);
            let error = outcome.expect_err("no frame").to_string();
            assert_eq!(error, format!("test: after 2 whole frames: {source}"));
        }
    }
}
