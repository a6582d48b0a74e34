//! What is stored, as a stream: out of one log and into another.
//!
//! The stream is what a consumer of wire version 2 may be sent: CHECK and RUN frames with messages, and CHECK and GAP
//! frames. A segment is such a stream, too.

use super::content::{self, Content};
use super::reading::Stored;
use super::record::{self, Next};
use crate::wire::control::Range;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt;

/// How many bytes of a stream are read at once: 256 KiB, or more where a record is larger.
const CHUNK: usize = super::scan::CHUNK;

impl Stored {
    /// Its sequences.
    pub fn sequences(&self) -> Range {
        match self {
            Self::Run { first, batch, .. } => Range {
                from: *first,
                to: first + (batch.messages() as u64).saturating_sub(1),
            },
            Self::Gap(range) => *range,
        }
    }

    /// The part of it that has these sequences; none if there is none.
    pub fn within(self, wanted: Range) -> Option<Self> {
        let all = self.sequences();
        let part = Range::new(all.from.max(wanted.from), all.to.min(wanted.to))?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no more than there are messages"
        )]
        Some(match self {
            Self::Gap(_) => Self::Gap(part),
            Self::Run {
                first,
                published,
                mut batch,
                producers,
                origin,
            } => {
                drop(batch.split_to((part.from - first) as usize));
                let batch = batch.split_to((part.to - part.from + 1) as usize);
                // A mark says the position of the last message.
                let producers = if part.to == all.to {
                    producers
                } else {
                    Vec::new()
                };
                Self::Run {
                    first: part.from,
                    published,
                    batch,
                    producers,
                    origin,
                }
            }
        })
    }

    /// The frames of it: a CHECK frame, and what that covers.
    pub fn encode(&self) -> Vec<Bytes> {
        let safe = self.sequences().from - 1;
        match self {
            Self::Run {
                first,
                published,
                batch,
                producers,
                origin,
            } => {
                let mut out = BytesMut::new();
                let run = (*first, *published);
                let head = content::head_of_run(
                    &mut out,
                    run,
                    batch,
                    safe,
                    producers.clone(),
                    origin.as_deref(),
                );
                [head, batch.as_bytes().clone()].into()
            }
            Self::Gap(range) => [content::gap(*range, safe)].into(),
        }
    }
}

/// Reads a stream and verifies every sum in it.
///
/// Use: call [`next`](Self::next) until it is [`Imported::End`], and [`read`](Self::read) where it says so.
#[derive(Debug)]
pub struct Import {
    bytes: Bytes,
    /// Where they begin in the stream.
    offset: u64,
    asked: usize,
    is_last: bool,
    /// Whether nothing but zeros may follow.
    is_over: bool,
    /// The last sequence.
    last: Option<u64>,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// So many bytes more are to be read. Fewer mean that the stream ends with them.
    Read(usize),
    /// This was stored.
    Stored(Stored),
    /// It is over.
    End,
}

/// What is wrong with a stream. What came before it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadImport {
    /// Where in the stream, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub kind: BadImportKind,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadImportKind {
    /// What stands there is not a CHECK frame.
    NoCheck,
    /// The sum of the CHECK frame there is wrong, or what it covers is not what a consumer is sent.
    Damaged,
    /// It ends in the middle of what the CHECK frame there covers.
    Cut,
    /// These sequences are missing there, or were there before.
    Hole {
        /// The sequence that should follow.
        expected: u64,
        /// The sequence that does.
        found: u64,
    },
}

impl fmt::Display for BadImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match self.kind {
            BadImportKind::NoCheck => write!(
                f,
                "there is no CHECK frame at byte {offset}: it is not the export of a log, or is damaged there"
            ),
            BadImportKind::Damaged => write!(f, "it is damaged behind byte {offset}"),
            BadImportKind::Cut => write!(f, "it is cut off behind byte {offset}"),
            BadImportKind::Hole { expected, found } => write!(
                f,
                "message {found} is at byte {offset}, where message {expected} should be"
            ),
        }
    }
}

impl core::error::Error for BadImport {}

impl Default for Import {
    fn default() -> Self {
        Self {
            bytes: Bytes::new(),
            offset: 0,
            asked: 0,
            is_last: false,
            is_over: false,
            last: None,
        }
    }
}

impl Import {
    /// How many bytes of the stream it has got behind it.
    pub const fn position(&self) -> u64 {
        self.offset
    }

    /// What was to be read.
    pub fn read(&mut self, bytes: &[u8]) {
        self.is_last = bytes.len() < self.asked;
        let mut all = BytesMut::with_capacity(self.bytes.len() + bytes.len());
        all.extend_from_slice(&self.bytes);
        all.extend_from_slice(bytes);
        self.bytes = all.freeze();
    }

    /// What comes next.
    ///
    /// # Errors
    /// See [`BadImport`].
    #[expect(
        clippy::should_implement_trait,
        reason = "it borrows nothing and may fail"
    )]
    pub fn next(&mut self) -> Result<Imported, BadImport> {
        loop {
            let is_end = self.is_last && self.bytes.is_empty();
            match record::next(&self.bytes) {
                Next::Nothing if is_end => return Ok(Imported::End),
                // Room in a segment that is not used yet. Nothing may stand behind it.
                Next::Nothing if self.is_last || self.bytes.len() >= record::MIN_CHECK => {
                    if !record::is_zero(&self.bytes) {
                        return Err(self.bad(BadImportKind::NoCheck));
                    }
                    self.is_over = true;
                    self.pass(self.bytes.len());
                }
                Next::Nothing => return Ok(self.ask(0)),
                Next::Record(..) | Next::Partial(_) | Next::Damaged if self.is_over => {
                    return Err(self.bad(BadImportKind::NoCheck));
                }
                Next::Record(record, size) => {
                    let Some(content) = Content::of(&record) else {
                        return Err(self.bad(BadImportKind::Damaged));
                    };
                    self.follows(&content)?;
                    self.pass(size);
                    match content {
                        Content::Head(_) | Content::Producers => {}
                        Content::Run {
                            first,
                            published,
                            batch,
                            origin,
                        } => {
                            return Ok(Imported::Stored(Stored::Run {
                                first,
                                published,
                                batch,
                                producers: record.producers,
                                origin,
                            }));
                        }
                        Content::Gap(range) => return Ok(Imported::Stored(Stored::Gap(range))),
                    }
                }
                Next::Partial(_) if self.is_last => return Err(self.bad(BadImportKind::Cut)),
                Next::Partial(size) => return Ok(self.ask(size)),
                Next::Damaged => {
                    let is_check = record::announced(&self.bytes).is_some();
                    return Err(self.bad(if is_check {
                        BadImportKind::Damaged
                    } else {
                        BadImportKind::NoCheck
                    }));
                }
            }
        }
    }

    fn follows(&mut self, content: &Content) -> Result<(), BadImport> {
        let Some(range) = content.range() else {
            return Ok(());
        };
        let expected = self.last.map_or(range.from, |it| it + 1);
        if range.from != expected {
            return Err(self.bad(BadImportKind::Hole {
                expected,
                found: range.from,
            }));
        }
        self.last = Some(range.to);
        Ok(())
    }

    fn pass(&mut self, bytes: usize) {
        drop(self.bytes.split_to(bytes));
        self.offset += bytes as u64;
    }

    fn ask(&mut self, size: usize) -> Imported {
        let wanted = size.max(CHUNK);
        self.asked = wanted.saturating_sub(self.bytes.len()).max(1);
        Imported::Read(self.asked)
    }

    const fn bad(&self, kind: BadImportKind) -> BadImport {
        BadImport {
            offset: self.offset,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameBatch;
    use crate::wire::control::Mark;

    fn run(first: u64, bodies: &[&str]) -> Stored {
        Stored::Run {
            first,
            published: 7,
            batch: FrameBatch::encode(bodies).expect("small"),
            producers: Vec::new(),
            origin: None,
        }
    }

    fn stream(all: &[Stored]) -> Vec<u8> {
        let pieces = all.iter().flat_map(Stored::encode);
        pieces.flat_map(|it| it.to_vec()).collect()
    }

    /// What is in a stream that is read in pieces of this size at most.
    fn import(mut stream: &[u8], size: usize) -> Result<Vec<Stored>, BadImport> {
        let mut import = Import::default();
        let mut all = Vec::new();
        loop {
            match import.next()? {
                Imported::Read(asked) => {
                    let (bytes, rest) = stream.split_at(stream.len().min(asked));
                    assert!(asked > 0 && bytes.len() <= size);
                    import.read(bytes);
                    stream = rest;
                }
                Imported::Stored(stored) => all.push(stored),
                Imported::End => return Ok(all),
            }
        }
    }

    #[test]
    fn what_goes_out_comes_in_also_with_zeros_behind_it() {
        let gap = Stored::Gap(Range { from: 6, to: 9 });
        let large = "x".repeat(CHUNK);
        let all = [run(4, &["a", "b"]), gap, run(10, &[&large, &large, ""])];
        let mut bytes = stream(&all);
        assert_eq!(import(&bytes, 3 * CHUNK), Ok(all.to_vec()));
        for zeros in [1, 13, 1000, CHUNK + 1] {
            bytes.resize(bytes.len() + zeros, 0);
            assert_eq!(import(&bytes, 3 * CHUNK), Ok(all.to_vec()), "{zeros}");
        }
        assert_eq!(import(&[], CHUNK), Ok(Vec::new()));
        bytes.push(1);
        let bad = import(&bytes, 3 * CHUNK).expect_err("zeros in the middle");
        assert_eq!(bad.kind, BadImportKind::NoCheck);
    }

    #[test]
    fn nothing_that_is_missing_or_has_changed_is_taken() {
        let whole = stream(&[run(1, &["first"]), run(2, &["second"])]);
        let second = stream(&[run(1, &["first"])]).len();
        for cut in 1..whole.len() {
            let bad = import(&whole[..cut], CHUNK).err();
            let kind = bad.map(|it| (it.offset as usize, it.kind));
            let begin = if cut > second { second } else { 0 };
            let expected = (cut != second).then_some((begin, BadImportKind::Cut));
            assert_eq!(kind, expected, "{cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            let bad = import(&changed, CHUNK).expect_err("it has changed");
            let begin = if at < second { 0 } else { second };
            assert_eq!(bad.offset as usize, begin, "{at}: {bad}");
        }
        let hole = stream(&[run(1, &["first"]), run(3, &["third"])]);
        let bad = import(&hole, CHUNK).expect_err("a hole");
        let kind = BadImportKind::Hole {
            expected: 2,
            found: 3,
        };
        assert_eq!((bad.offset as usize, bad.kind), (second, kind));
    }

    #[test]
    fn a_part_is_what_lies_within_and_a_mark_is_of_the_last_message() {
        let mark = Mark {
            name: "p".into(),
            session: "s".into(),
            position: 9,
        };
        let whole = Stored::Run {
            first: 5,
            published: 7,
            batch: FrameBatch::encode(["a", "b", "c"]).expect("small"),
            producers: [mark.clone()].into(),
            origin: None,
        };
        let part = |from, to| whole.clone().within(Range { from, to });
        assert_eq!(part(1, u64::MAX), Some(whole.clone()));
        assert_eq!(part(1, 4), None);
        assert_eq!(part(8, 9), None);
        assert_eq!(part(6, 6), Some(run(6, &["b"])));
        let Some(Stored::Run { producers, .. }) = part(6, 9) else {
            panic!("there is one");
        };
        assert_eq!(producers, [mark]);
        let gap = Stored::Gap(Range { from: 5, to: 7 });
        let part = gap.within(Range { from: 7, to: 9 });
        assert_eq!(part, Some(Stored::Gap(Range { from: 7, to: 7 })));
    }
}
