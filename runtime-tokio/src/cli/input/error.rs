//! Why there is no input, or no more of it.

use super::sniff::NotText;
use encoding_rs::{Encoding, UTF_8};
use message_queue_core::ProtocolError;
use message_queue_core::log::BadImport;
use message_queue_core::wire::MAX_FRAME_BODY;
use std::fmt;
use std::io;

/// Why there is no input, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The caller's fault.
    #[error("--repeat: {name} can be read only once; name a regular file, or leave --repeat out")]
    NotRepeatable { name: String },
    /// The caller's fault.
    #[error("{flag} is not for --format {format}{}", only_for_csv(format))]
    NotForFormat {
        flag: &'static str,
        format: &'static str,
    },
    #[error("cannot read {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error("{name} {what}")]
    NotText { name: String, what: NotText },
    #[error("{name}: {bad_row}; --on-bad-row skip goes on without it")]
    BadRow { name: String, bad_row: BadRow },
    #[error("{name}: the header cannot be read: {bad_row}")]
    Header { name: String, bad_row: BadRow },
    #[error(
        "{name}: the quote that opens on line {line} is never closed, so all that follows is part \
         of one field"
    )]
    OpenQuote { name: String, line: u64 },
    #[error(
        "{name}: the header has one column, {column:?}, and looks like several with \
         --delimiter {}; name the delimiter (--delimiter , if it is one column)",
        shown(*delimiter)
    )]
    OtherDelimiter {
        name: String,
        column: String,
        delimiter: u8,
    },
    #[error(
        "{name}: the header names two columns {column:?}; a JSON object holds only one \
         (--unique-columns renames the others, --no-header takes the first row for data)"
    )]
    RepeatedColumn { name: String, column: String },
    #[error("{name}: after {frames} whole frames: {source}{}", compressed(source))]
    Frames {
        name: String,
        frames: u64,
        source: ProtocolError,
    },
    #[error("{name}: {source}")]
    Export { name: String, source: BadImport },
}

impl InputError {
    /// Whether the command was called in a way that is not allowed.
    pub(crate) fn is_bad_usage(&self) -> bool {
        matches!(self, Self::NotRepeatable { .. } | Self::NotForFormat { .. })
    }
}

fn only_for_csv(format: &str) -> &'static str {
    match format {
        "lines" => "; add --format csv if that is what it is",
        _ => "",
    }
}

/// A delimiter as a shell takes it.
fn shown(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        delimiter => format!("'{}'", char::from(delimiter)),
    }
}

/// What the first bytes are, where they were taken for the length of a frame.
fn compressed(error: &ProtocolError) -> String {
    let ProtocolError::FrameTooLarge { length } = error else {
        return String::new();
    };
    match NotText::compressed(&length.to_be_bytes()) {
        Some(what) => format!(" (it {what})"),
        None => String::new(),
    }
}

/// A row or line that cannot be a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// The line on which it begins, as an editor counts them: from 1.
    pub(super) line: u64,
    pub(super) problem: Problem,
}

/// What is wrong with a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Fields {
        found: usize,
        expected: usize,
    },
    TooLarge {
        /// The line of the quote that was open when the row became too large.
        open_quote: Option<u64>,
    },
    NotEncoded(&'static Encoding),
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} ", self.line)?;
        match self.problem {
            Problem::Fields { found, expected } => {
                let s = if found == 1 { "" } else { "s" };
                write!(f, "has {found} field{s} where the first row has {expected}")
            }
            Problem::TooLarge { open_quote } => {
                write!(f, "makes a message of more than {MAX_FRAME_BODY} bytes")?;
                match open_quote {
                    Some(line) => write!(f, " (a quote that opens on line {line} is not closed)"),
                    None => Ok(()),
                }
            }
            Problem::NotEncoded(encoding) if encoding == UTF_8 => write!(
                f,
                "is not UTF-8; name its encoding, as in --encoding windows-1252 (Latin-1)"
            ),
            Problem::NotEncoded(encoding) => write!(f, "is not {}", encoding.name()),
        }
    }
}

/// The rows that were left out.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) rows: u64,
    /// Some of them, to be shown.
    pub(crate) shown: Vec<BadRow>,
}
