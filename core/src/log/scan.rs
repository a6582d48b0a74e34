//! The records of a file, one after the other, read in chunks.

use super::disk::{File, Operation};
use super::record::{self, MAX_CONTENT, MIN_CHECK, Next, Record};
use crate::wire::check::LENGTH_END;
use crate::wire::control::MAX_CONTROL_BODY;
use bytes::{Buf, Bytes};

/// How much is read at once where nothing else is said, in bytes: 256 KiB.
pub(super) const CHUNK: usize = 256 << 10;

/// The largest record, in bytes.
const MAX_RECORD: usize = MAX_CONTENT + MAX_CONTROL_BODY + 4;

/// After so many bytes in vain that look like a record in a torn tail, they are taken for one.
const MAX_SUSPECTS: u32 = 1000;

/// A walk over the records of a file.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    /// Where the next record begins.
    offset: u64,
    /// What was read from there on.
    bytes: Bytes,
    /// How much is read at once, about.
    at_once: usize,
    /// What the next record takes, if that is known and nothing of it is here.
    upcoming: usize,
    /// Nothing is written behind this.
    end: u64,
    asked: usize,
    /// Whether the file ends with these bytes.
    is_last: bool,
}

/// What comes next in a walk.
#[derive(Debug)]
pub(super) enum Found {
    /// A record, and where it begins.
    Record(Record, u64),
    /// This is to be read first.
    Read(Operation),
    /// Nothing was written from here on, as far as the next bytes tell.
    End,
    /// What stands here is no record.
    Damaged,
}

impl Scan {
    pub(super) const fn new(file: File, offset: u64) -> Self {
        Self::by(CHUNK, 0, file, offset)
    }

    /// A walk that reads about so many bytes at once, or one record. The first needs `upcoming` bytes, if that is known.
    pub(super) const fn by(at_once: usize, upcoming: usize, file: File, offset: u64) -> Self {
        Self {
            file,
            offset,
            bytes: Bytes::new(),
            at_once,
            upcoming,
            end: u64::MAX,
            asked: 0,
            is_last: false,
        }
    }

    pub(super) const fn file(&self) -> File {
        self.file
    }

    /// How many bytes the records that were read last keep alive.
    pub(super) const fn pinned(&self) -> usize {
        self.asked
    }

    /// Where the next record begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Nothing was written behind `end` by now.
    pub(super) const fn ends_at(&mut self, end: u64) {
        self.end = end;
    }

    /// How many bytes to read for the next record, and for knowing as much of the one behind it; 0 if that is not known.
    pub(super) fn upcoming(&self) -> usize {
        record::announced(&self.bytes).map_or(self.upcoming, |size| size + LENGTH_END)
    }

    /// What was to be read.
    pub(super) fn read(&mut self, bytes: Bytes) {
        self.is_last = bytes.len() < self.asked;
        self.bytes = bytes;
        self.upcoming = 0;
    }

    pub(super) fn next(&mut self) -> Found {
        match record::next(&self.bytes) {
            Next::Record(record, size) => {
                let offset = self.offset;
                self.bytes.advance(size);
                self.offset += size as u64;
                Found::Record(record, offset)
            }
            Next::Partial(size) if !self.is_last => self.ask(size),
            Next::Nothing if self.bytes.len() < MIN_CHECK && !self.is_last => self.ask(0),
            Next::Nothing => Found::End,
            Next::Partial(_) | Next::Damaged => Found::Damaged,
        }
    }

    /// Asks for the record that stands here, and for as many of the same size as fit: where there is much to read, records
    /// are often of one size, and what is not whole is read again.
    fn ask(&mut self, size: usize) -> Found {
        let written = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let at_once = match self.upcoming() {
            0 => self.at_once,
            record => record * (self.at_once / record).max(1),
        };
        let at_once = at_once.min(written);
        self.asked = size.max(at_once).max(MIN_CHECK);
        Found::Read(Operation::Read {
            file: self.file,
            offset: self.offset,
            length: self.asked,
        })
    }
}

/// A search for a witness: a record behind the place where the records end that says that what is missing there was
/// safe. If there is one, the file is damaged; if there is none, the end is what was being written when the power went.
#[derive(Debug)]
pub(super) struct Search {
    file: File,
    /// What a witness has to call safe.
    number: u64,
    /// Where the records end.
    begins: u64,
    /// Where the bytes to be looked at next begin.
    offset: u64,
    asked: usize,
    /// Whether a record is expected right at `offset`.
    is_suspect: bool,
    suspects: u32,
    /// The end of what is not zero.
    end: u64,
}

/// What comes next in a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is to be read first.
    Read(Operation),
    /// There is a witness.
    Damaged,
    /// There is none; what is not zero ends here.
    Torn(u64),
}

impl Search {
    /// A search behind `offset`.
    pub(super) const fn new(file: File, offset: u64, number: u64) -> Self {
        Self {
            file,
            number,
            begins: offset,
            offset,
            asked: 0,
            is_suspect: false,
            suspects: 0,
            end: offset,
        }
    }

    pub(super) const fn file(&self) -> File {
        self.file
    }

    /// Where the records end.
    pub(super) const fn begins(&self) -> u64 {
        self.begins
    }

    pub(super) fn begin(&mut self) -> Verdict {
        self.ask(CHUNK)
    }

    fn ask(&mut self, length: usize) -> Verdict {
        self.asked = length;
        Verdict::Read(Operation::Read {
            file: self.file,
            offset: self.offset,
            length,
        })
    }

    /// What was to be read.
    pub(super) fn read(&mut self, bytes: &Bytes) -> Verdict {
        if self.is_suspect {
            if matches!(record::next(bytes), Next::Record(..)) {
                return Verdict::Damaged;
            }
            self.is_suspect = false;
            self.offset += 1;
            return self.ask(CHUNK);
        }
        if !record::is_zero(bytes) {
            let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            self.end = self.end.max(self.offset + last as u64 + 1);
            if let Some(at) = record::find_witness(bytes, 0, self.number) {
                self.offset += at as u64;
                self.suspects += 1;
                if self.suspects > MAX_SUSPECTS {
                    return Verdict::Damaged;
                }
                self.is_suspect = true;
                return self.ask(MAX_RECORD);
            }
        }
        if bytes.len() < self.asked {
            return Verdict::Torn(self.end);
        }
        self.offset += (bytes.len() - (MIN_CHECK - 1)) as u64;
        self.ask(CHUNK)
    }
}
