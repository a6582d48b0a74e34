//! The records of a file, those behind damage included.

use crate::log::disk::{File, Operation};
use crate::log::record::{self, MIN_CHECK, Record};
use crate::log::scan::{CHUNK, Found, Scan, Search, Verdict};
use bytes::Bytes;
use core::ops::Range;

/// A walk over a file. Where something is no record, it looks for the next one behind it.
#[derive(Debug)]
pub(super) struct Walk {
    /// If its end may be torn: what is missing above this number, and no record behind calls safe, is no damage.
    torn_above: Option<u64>,
    scan: Scan,
    way: Way,
    /// How far it has got, in bytes.
    walked: u64,
}

#[derive(Debug)]
enum Way {
    /// It reads record after record.
    Records,
    /// What stands here is no record: is it torn or damaged?
    Asking(Search, Verdict),
    /// It looks for the next record.
    Hunting(Hunt),
    /// This was found behind damage.
    Resuming(Record, Range<u64>),
    /// No record follows.
    Ended,
}

/// What comes next in a walk. Places are in bytes.
#[derive(Debug)]
pub(super) enum Walked {
    /// This is to be read first.
    Read(Operation),
    /// A record stands here.
    Record(Record, Range<u64>),
    /// Here is none, and it is damage.
    Damaged(Range<u64>),
    /// The records end at the beginning of this range; the rest of it is torn.
    End(Range<u64>),
}

impl Walk {
    pub(super) const fn new(file: File, torn_above: Option<u64>) -> Self {
        Self {
            torn_above,
            scan: Scan::new(file, 0),
            way: Way::Records,
            walked: 0,
        }
    }

    pub(super) const fn file(&self) -> File {
        self.scan.file()
    }

    /// How many bytes of the file it has seen.
    pub(super) const fn walked(&self) -> u64 {
        self.walked
    }

    /// What was to be read.
    pub(super) fn read(&mut self, bytes: Bytes) {
        match &mut self.way {
            Way::Records => self.scan.read(bytes),
            Way::Asking(search, verdict) => *verdict = search.read(&bytes),
            Way::Hunting(hunt) => hunt.read(bytes),
            Way::Resuming(..) | Way::Ended => {}
        }
    }

    /// Where a record is missing, its number is `number`. A record behind damage is one if it `fits`.
    pub(super) fn next(&mut self, number: u64, fits: impl Fn(&Record) -> bool) -> Walked {
        loop {
            let begin = self.scan.offset();
            self.walked = self.walked.max(begin);
            match core::mem::replace(&mut self.way, Way::Ended) {
                Way::Records => match self.scan.next() {
                    Found::Record(record, offset) => {
                        self.way = Way::Records;
                        return Walked::Record(record, offset..self.scan.offset());
                    }
                    Found::Read(operation) => {
                        self.way = Way::Records;
                        return Walked::Read(operation);
                    }
                    Found::End | Found::Damaged
                        if self.torn_above.is_some_and(|it| it < number) =>
                    {
                        let mut search = Search::new(self.file(), begin, number);
                        let verdict = search.begin();
                        self.way = Way::Asking(search, verdict);
                    }
                    Found::End | Found::Damaged => self.way = Way::Hunting(Hunt::new(begin)),
                },
                Way::Asking(search, verdict) => match verdict {
                    Verdict::Read(ref operation) => {
                        let operation = operation.clone();
                        self.way = Way::Asking(search, verdict);
                        return Walked::Read(operation);
                    }
                    Verdict::Damaged => self.way = Way::Hunting(Hunt::new(begin)),
                    Verdict::Torn(end) => return Walked::End(begin..end),
                },
                Way::Hunting(mut hunt) => match hunt.next(self.file(), &fits) {
                    Hunted::Read(operation) => {
                        self.walked = self.walked.max(hunt.at);
                        self.way = Way::Hunting(hunt);
                        return Walked::Read(operation);
                    }
                    Hunted::Found(scan, record, place) => {
                        let damaged = begin..place.start;
                        self.scan = scan;
                        self.way = Way::Resuming(record, place);
                        return Walked::Damaged(damaged);
                    }
                    Hunted::Nothing(end) if end > begin => return Walked::Damaged(begin..end),
                    Hunted::Nothing(_) => {}
                },
                Way::Resuming(record, place) => {
                    self.way = Way::Records;
                    return Walked::Record(record, place);
                }
                Way::Ended => return Walked::End(begin..begin),
            }
        }
    }
}

/// A search for the next record behind damage: where the damaged one would end, if its length is right, then at every
/// byte.
#[derive(Debug)]
struct Hunt {
    /// Where the damage begins.
    begin: u64,
    /// Where to look next.
    at: u64,
    /// What was read, and where that begins.
    chunk: Bytes,
    chunk_at: u64,
    is_last: bool,
    is_zero: bool,
    has_read: bool,
    /// What may be a record.
    suspect: Option<Scan>,
    /// The end of what is not zero.
    end: u64,
}

enum Hunted {
    Read(Operation),
    Found(Scan, Record, Range<u64>),
    /// There is none; what is not zero ends here.
    Nothing(u64),
}

impl Hunt {
    const fn new(begin: u64) -> Self {
        Self {
            begin,
            at: begin,
            chunk: Bytes::new(),
            chunk_at: begin,
            is_last: false,
            is_zero: false,
            has_read: false,
            suspect: None,
            end: begin,
        }
    }

    fn read(&mut self, bytes: Bytes) {
        if let Some(suspect) = &mut self.suspect {
            suspect.read(bytes);
            return;
        }
        self.is_zero = record::is_zero(&bytes);
        if !self.is_zero
            && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        {
            self.end = self.end.max(self.at + last as u64 + 1);
        }
        self.is_last = bytes.len() < CHUNK;
        self.has_read = true;
        self.chunk_at = self.at;
        self.chunk = bytes;
    }

    fn next(&mut self, file: File, fits: impl Fn(&Record) -> bool) -> Hunted {
        loop {
            if let Some(mut suspect) = self.suspect.take() {
                match suspect.next() {
                    Found::Read(operation) => {
                        self.suspect = Some(suspect);
                        return Hunted::Read(operation);
                    }
                    Found::Record(record, offset) if fits(&record) => {
                        let place = offset..suspect.offset();
                        return Hunted::Found(suspect, record, place);
                    }
                    Found::Record(..) | Found::End | Found::Damaged => {}
                }
            }
            if !self.has_read {
                return Hunted::Read(Operation::Read {
                    file,
                    offset: self.at,
                    length: CHUNK,
                });
            }
            if self.at == self.begin {
                self.at += 1;
                if let Some(size) = record::announced(&self.chunk) {
                    self.suspect = Some(Scan::new(file, self.begin + size as u64));
                    continue;
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "within the chunk")]
            let from = (self.at - self.chunk_at) as usize;
            if !self.is_zero
                && let Some(found) = record::find_witness(&self.chunk, from, 0)
            {
                let found = self.chunk_at + found as u64;
                self.suspect = Some(Scan::new(file, found));
                self.at = found + 1;
            } else if self.is_last {
                return Hunted::Nothing(self.end);
            } else {
                // A record may begin in what is too short to tell.
                self.at = self.chunk_at + (CHUNK - (MIN_CHECK - 1)) as u64;
                self.has_read = false;
            }
        }
    }
}
