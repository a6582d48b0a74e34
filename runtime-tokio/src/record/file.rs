//! One file of a recording.
//!
//! ```text
//! message-queue recording format=1 program=0.1.0 payloads=hash run=1795437696000 file=3 missed=0\n
//! ┌────────┬──────────┬──────┬──────────────────────┐
//! │ length │ checksum │ kind │ body: `length` bytes │  a record; the first is a checkpoint
//! └────────┴──────────┴──────┴──────────────────────┘
//!   4        4          1
//! ```
//!
//! `length` and `checksum` are big-endian; the checksum is the low half of the XXH3 (64 bits) of
//! kind and body. What bodies look like: `codec.rs`, `checkpoint.rs`, `step.rs`.

use super::codec::{In, Malformed, Out};
use super::payload::{Kept, Payloads};
use super::step::Step;
use message_queue_core::Checkpoint;
use std::fmt;
use twox_hash::XxHash3_64;

/// The version of the format. Another one is not read.
pub const FORMAT: u64 = 1;

/// The bytes of a record before its body.
pub(super) const RECORD_HEAD: usize = 9;

/// What every recording begins with.
const MAGIC: &str = "message-queue recording";

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the program that wrote it. Only the same one is sure to replay it.
    pub program: String,
    /// What it keeps of messages.
    pub payloads: Payloads,
    /// The run of the broker: when it started, in milliseconds since 1970.
    pub run: u64,
    /// The place of this file in the run, from 0.
    pub number: u64,
    /// How many steps were not recorded since the file before.
    pub missed: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The state of the core: the first record of a file.
    Checkpoint(Box<Checkpoint>),
    /// What happened next.
    Step(Step),
    /// The last record: the next file goes on from here.
    Full,
    /// The last record: what happened next is not recorded.
    Gap(StopCause),
    /// The last record: the broker has ended in an orderly way.
    End,
}

/// Why something was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The disk was slower than the broker, for longer than the queue allows for.
    SlowDisk,
    /// More messages waited than a checkpoint may hold: a quarter of the ring.
    LargeState,
    /// A single step would have taken more than half of the ring.
    LargeStep,
}

impl StopCause {
    const ALL: [Self; 3] = [Self::SlowDisk, Self::LargeState, Self::LargeStep];
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowDisk => "the disk is slower than the broker",
            Self::LargeState => "more waits than a quarter of RECORD_BYTES holds",
            Self::LargeStep => "one step takes more than half of RECORD_BYTES",
        })
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program,
            payloads,
            run,
            number,
            missed,
        } = self;
        writeln!(
            f,
            "{MAGIC} format={FORMAT} program={program} payloads={payloads} run={run} file={number} \
             missed={missed}"
        )
    }
}

impl Header {
    /// Reads a first line, its line feed not included.
    ///
    /// # Errors
    /// What in it is missing or unknown.
    pub(super) fn parse(line: &str) -> Result<Self, Malformed> {
        let not_one = Malformed("file: not a recording");
        let fields = line.strip_prefix(MAGIC).ok_or(not_one)?;
        let field = |name: &str| {
            let mut pairs = fields.split(' ').filter_map(|field| field.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse().ok());
        if number("format") != Some(FORMAT) {
            return Err(Malformed("file: another version of the format"));
        }
        let payloads = [Payloads::Full, Payloads::Hash]
            .into_iter()
            .find(|payloads| field("payloads") == Some(payloads.as_str()));
        let bad_line = Malformed("first line");
        Ok(Self {
            program: field("program").ok_or(bad_line)?.to_owned(),
            payloads: payloads.ok_or(bad_line)?,
            run: number("run").ok_or(bad_line)?,
            number: number("file").ok_or(bad_line)?,
            missed: number("missed").ok_or(bad_line)?,
        })
    }
}

/// Begins a record. Its body is to be put into the same [`Out`], then [`finish`] called.
pub(super) fn begin(out: &mut Out, kind: u8) {
    out.0.clear();
    out.raw(&[0; RECORD_HEAD - 1]);
    out.byte(kind);
}

/// Fills in the length and the checksum of the record.
pub(super) fn finish(out: &mut Out) {
    let length = (out.0.len() - RECORD_HEAD) as u32;
    let checksum = checksum(&out.0[RECORD_HEAD - 1..]);
    out.0[..4].copy_from_slice(&length.to_be_bytes());
    out.0[4..8].copy_from_slice(&checksum.to_be_bytes());
}

/// The checksum of a record's kind and body.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    XxHash3_64::oneshot(bytes) as u32
}

impl Kept {
    /// Puts a record that is whole into `out`, in place of what was there.
    pub(super) fn put_record(&self, out: &mut Out, record: &Record) {
        match record {
            Record::Checkpoint(checkpoint) => {
                begin(out, b'C');
                self.put_checkpoint(out, checkpoint);
            }
            Record::Step(step) => {
                begin(out, b'S');
                self.put_step(out, step);
            }
            Record::Full => begin(out, b'F'),
            Record::Gap(cause) => {
                begin(out, b'G');
                out.byte(*cause as u8);
            }
            Record::End => begin(out, b'E'),
        }
        finish(out);
    }

    /// Reads a record's kind and body.
    pub(super) fn record(&self, bytes: &[u8]) -> Result<Record, Malformed> {
        let mut input = In(bytes);
        let record = match input.byte()? {
            b'C' => Record::Checkpoint(Box::new(self.checkpoint(&mut input)?)),
            b'S' => Record::Step(self.step(&mut input)?),
            b'F' => Record::Full,
            b'G' => {
                let cause = StopCause::ALL.get(usize::from(input.byte()?));
                Record::Gap(*cause.ok_or(Malformed("cause of a gap"))?)
            }
            b'E' => Record::End,
            _ => return Err(Malformed("kind of record")),
        };
        if input.0.is_empty() {
            Ok(record)
        } else {
            Err(Malformed("record: longer than what it holds"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            program: "0.1.0".to_owned(),
            payloads: Payloads::Hash,
            run: 1_795_437_696_000,
            number: 3,
            missed: 0,
        }
    }

    #[test]
    fn the_first_line_says_what_the_file_is() {
        let line = header().to_string();
        assert_eq!(
            line,
            "message-queue recording format=1 program=0.1.0 payloads=hash run=1795437696000 \
             file=3 missed=0\n"
        );
        assert_eq!(Header::parse(line.trim_end()), Ok(header()));
    }

    #[test]
    fn another_file_or_another_format_is_refused_by_name() {
        for (line, what) in [
            ("GIF89a", "malformed file: not a recording"),
            (
                "message-queue recording format=2 program=9",
                "malformed file: another version of the format",
            ),
            (
                "message-queue recording format=1 program=0.1.0 payloads=half run=1 file=0 missed=0",
                "malformed first line",
            ),
        ] {
            let error = Header::parse(line).unwrap_err();
            assert_eq!(error.to_string(), what);
        }
    }

    #[test]
    fn records_come_back() {
        let causes = StopCause::ALL.map(Record::Gap).into_iter();
        for record in causes.chain([Record::Full, Record::End]) {
            let mut out = Out::default();
            Kept::Whole.put_record(&mut out, &record);
            assert_eq!(Kept::Whole.record(&out.0[RECORD_HEAD - 1..]), Ok(record));
        }
        assert!(Kept::Whole.record(b"E+").is_err());
        assert!(Kept::Whole.record(b"X").is_err());
    }
}
