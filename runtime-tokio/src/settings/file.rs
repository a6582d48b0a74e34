//! Files in TOML that settings name: how they are read, and how it is told what is wrong with them.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// The longest file. A table in it takes some hundred bytes.
const LONGEST: u64 = 1 << 20;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{setting}: {path}: cannot be read: {source}")]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What it says is not allowed, one line for each problem; at least one.
    #[error("{}", lines(setting, path, problems))]
    NotAllowed {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// In the order of the file, as a rule.
        problems: Vec<Problem>,
    },
}

/// Something that is wrong at one place in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    pub(super) what: String,
}

/// Reads the file that a setting names.
///
/// # Errors
/// See [`FileError`].
pub(super) fn read<T>(
    setting: &'static str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, Vec<Problem>>,
) -> Result<T, FileError> {
    let shown = || path.display().to_string().escape_debug().to_string();
    let text = contents(path).map_err(|source| FileError::Unreadable {
        setting,
        path: shown(),
        source,
    })?;
    parse(&text).map_err(|problems| FileError::NotAllowed {
        setting,
        path: shown(),
        problems,
    })
}

fn contents(path: &Path) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    // Opening a pipe would wait for somebody to write.
    if !path.metadata()?.is_file() {
        return Err(invalid("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(invalid("it is longer than 1MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|it| **it == b'\n')
            .count();
        invalid(&format!("line {line} is not valid UTF-8"))
    })
}

/// What is said of a name that there is not among `names`, which are those of `whose` keys.
pub(super) fn unknown<'a>(
    name: &str,
    whose: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let nearest = names
        .clone()
        .map(|ours| (strsim::osa_distance(&name.to_ascii_lowercase(), ours), ours))
        .filter(|(slips, ours)| *slips <= (ours.len() / 3).max(1))
        .min();
    match nearest {
        Some((_, ours)) => format!("{name:?} is no key of {whose}: did you mean {ours}?"),
        None => {
            let names: Vec<_> = names.collect();
            format!("{name:?} is no key of {whose}: use {}", names.join(", "))
        }
    }
}

impl Problem {
    /// One that begins where `span` of `text` does.
    pub(super) fn at(text: &str, span: Range<usize>, what: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let (line, rest) = match before.rsplit_once('\n') {
            Some((lines, rest)) => (lines.matches('\n').count() + 2, rest),
            None => (1, before),
        };
        Self {
            line,
            column: rest.chars().count() + 1,
            what,
        }
    }

    /// What the parser of TOML has to say of `text`.
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let what = error.message().replace('\n', ", ");
        Self::at(text, error.span().unwrap_or_default(), what)
    }
}

fn lines(setting: &str, path: &str, problems: &[Problem]) -> String {
    let line = |it: &Problem| {
        let Problem { line, column, what } = it;
        format!("{setting}: {path}: line {line}, column {column}: {what}")
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
