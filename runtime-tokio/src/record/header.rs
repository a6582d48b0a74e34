//! The first line of a file: what it is.

use super::file::Malformed;
use super::payload::Payloads;
use std::fmt;

/// The version of the format. Another one is not read.
pub const FORMAT: u64 = 9;

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
        let fields = line.strip_prefix(MAGIC).ok_or(Malformed::NotARecording)?;
        let field = |name: &'static str| {
            let mut pairs = fields.split(' ').filter_map(|field| field.split_once('='));
            let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
            value.ok_or(Malformed::Header(name))
        };
        let number = |name| {
            let value = field(name)?.parse();
            value.map_err(|_| Malformed::Header(name))
        };
        let (format, program) = (field("format")?, field("program")?);
        if format != FORMAT.to_string() {
            return Err(Malformed::OtherFormat {
                format: format.to_owned(),
                program: program.to_owned(),
            });
        }
        Ok(Self {
            program: program.to_owned(),
            payloads: match field("payloads")? {
                "full" => Payloads::Full,
                "hash" => Payloads::Hash,
                _ => return Err(Malformed::Header("payloads")),
            },
            run: number("run")?,
            number: number("file")?,
            missed: number("missed")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            program: "0.2.0".to_owned(),
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
            "message-queue recording format=9 program=0.2.0 payloads=hash run=1795437696000 \
             file=3 missed=0\n"
        );
        assert_eq!(Header::parse(line.trim_end()), Ok(header()));
    }

    #[test]
    fn another_file_or_another_format_is_refused_by_name() {
        for (line, what) in [
            ("GIF89a", "this is not a recording"),
            (
                "message-queue recording format=1 program=0.0.9",
                "a recording with format=1, written by version 0.0.9; this version reads format=9 \
                 alone: replay it with the version that wrote it",
            ),
            (
                "message-queue recording format=9 program=0.2.0 payloads=half run=1 file=0 missed=0",
                "the first line has no valid payloads",
            ),
            (
                "message-queue recording format=9 program=0.2.0 payloads=full run=1 file=0",
                "the first line has no valid missed",
            ),
        ] {
            let error = Header::parse(line).unwrap_err();
            assert_eq!(error.to_string(), what);
        }
    }
}
