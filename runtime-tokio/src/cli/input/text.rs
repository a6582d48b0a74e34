//! The bytes of an input as text: without a byte-order mark, and in UTF-8.

use super::error::InputError;
use super::sniff::{self, NotText};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};
use std::io::{self, Read, Seek};

/// The most that is asked of the input at once, in bytes.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// Stands for what was not valid in the input's encoding. No text in UTF-8 holds it.
const INVALID: u8 = 0xff;

/// Reads `source` and decodes what it gives.
///
/// UTF-8 is passed on as it is, so it may be invalid; of another encoding what is not valid
/// becomes bytes that are not valid UTF-8 either. Who needs valid text checks it line by line.
pub(super) struct Text<R> {
    source: R,
    /// The encoding that the user has named.
    named: Option<&'static Encoding>,
    /// The encoding that it is in.
    encoding: &'static Encoding,
    raw: Buffer,
    decoding: Option<Decoding>,
    /// How many bytes have been read.
    position: u64,
    /// The source has ended, and is not asked again: a terminal would go on.
    ended: bool,
}

/// The way from another encoding.
struct Decoding {
    decoder: Decoder,
    text: Buffer,
    /// The decoder was told of the end, and must not be asked again.
    finished: bool,
}

/// Bytes that were read and not yet consumed.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; READ_BYTES],
            start: 0,
            end: 0,
        }
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

impl<R: Read> Text<R> {
    /// Reads nothing yet: see [`begin`](Self::begin).
    pub(super) fn new(source: R, named: Option<&'static Encoding>) -> Self {
        Self {
            source,
            named,
            encoding: named.unwrap_or(UTF_8),
            raw: Buffer::new(),
            decoding: None,
            position: 0,
            ended: false,
        }
    }

    /// Reads the first line, or the beginning of it, and sees what it is.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), InputError> {
        let named = self.named;
        let sample = self.gather().map_err(|source| InputError::Read {
            name: name.to_owned(),
            source,
        })?;
        if let Some(what) = NotText::of(sample, named.is_some()) {
            let name = name.to_owned();
            return Err(InputError::NotText { name, what });
        }
        let mark = Encoding::for_bom(sample);
        let (encoding, mark_bytes) = mark.unwrap_or((named.unwrap_or(UTF_8), 0));
        self.raw.start += mark_bytes;
        self.encoding = encoding;
        self.decoding = (encoding != UTF_8).then(|| Decoding {
            decoder: encoding.new_decoder_without_bom_handling(),
            text: Buffer::new(),
            finished: false,
        });
        Ok(())
    }

    /// Reads until there is a sample, or the end.
    fn gather(&mut self) -> io::Result<&[u8]> {
        while sniff::sample(self.raw.filled()).is_none() {
            if self.read_raw()? == 0 {
                return Ok(self.raw.filled());
            }
        }
        Ok(sniff::sample(self.raw.filled()).unwrap_or_default())
    }

    /// Reads on, behind what is there. Returns how many bytes came: 0 at the end.
    fn read_raw(&mut self) -> io::Result<usize> {
        if self.raw.is_empty() {
            (self.raw.start, self.raw.end) = (0, 0);
        }
        if self.ended {
            return Ok(0);
        }
        loop {
            match self.source.read(&mut self.raw.bytes[self.raw.end..]) {
                Ok(size) => {
                    self.ended = size == 0;
                    self.raw.end += size;
                    self.position += size as u64;
                    return Ok(size);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The text that was read and not yet consumed.
    pub(super) fn buffer(&self) -> &[u8] {
        match &self.decoding {
            None => self.raw.filled(),
            Some(decoding) => decoding.text.filled(),
        }
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        match &mut self.decoding {
            None => self.raw.start += bytes,
            Some(decoding) => decoding.text.start += bytes,
        }
    }

    /// Reads on where all text has been consumed; this may take for ever. Returns whether any came.
    pub(super) fn read_more(&mut self) -> io::Result<bool> {
        if self.decoding.is_none() {
            return Ok(self.read_raw()? > 0);
        }
        let mut ended = false;
        loop {
            if self.decode(ended) {
                return Ok(true);
            }
            if ended {
                return Ok(false);
            }
            ended = self.read_raw()? == 0;
        }
    }

    /// Decodes what was read. Returns whether that gave any text.
    fn decode(&mut self, ended: bool) -> bool {
        let Some(decoding) = &mut self.decoding else {
            return false;
        };
        let Decoding {
            decoder,
            text,
            finished,
        } = decoding;
        (text.start, text.end) = (0, 0);
        // One place more is kept for the mark of what is not valid.
        while !*finished && text.end + 1 < text.bytes.len() {
            let last = text.bytes.len() - 1;
            let to = &mut text.bytes[text.end..last];
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(self.raw.filled(), to, ended);
            self.raw.start += read;
            text.end += written;
            match result {
                DecoderResult::InputEmpty => {
                    *finished = ended;
                    break;
                }
                DecoderResult::OutputFull => break,
                DecoderResult::Malformed(..) => {
                    text.bytes[text.end] = INVALID;
                    text.end += 1;
                }
            }
        }
        !text.is_empty()
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    /// Whether the text was in another encoding, so that it must be valid now.
    pub(super) fn is_decoded(&self) -> bool {
        self.decoding.is_some()
    }
}

impl<R: Read + Seek> Text<R> {
    /// Goes back to the beginning. The position goes on: it counts all rounds together.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.source.rewind()?;
        (self.raw.start, self.raw.end) = (0, 0);
        self.decoding = None;
        self.ended = false;
        Ok(())
    }
}
