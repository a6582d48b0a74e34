//! The file `.env`: more settings, as `KEY=value` lines.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// The broker that the clients of the command line connect to: the one variable that is not a
/// setting of the broker.
pub(super) const BROKER_ADDR: &str = "BROKER_ADDR";

/// What a line of `.env` is: the end of an error.
const FORM: &str = "a line is KEY=value or a comment after #; \
                    a value with spaces needs quotes, and quotes must be closed";

/// What is wrong with a `.env` file. The lines are not shown: such files hold passwords too.
#[derive(Debug, thiserror::Error)]
pub enum DotEnvError {
    /// The file is there but cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The line of one of our variables is not UTF-8.
    #[error("{path}: line {line} is not valid UTF-8")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// The line of one of our variables is not of the form that is understood.
    #[error("{path}: line {line} is not allowed: {FORM}")]
    Malformed {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
}

/// What a `.env` file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct DotEnv {
    pub(super) variables: BTreeMap<String, String>,
    /// The lines, from 1, that are not understood and set none of our variables.
    pub(super) ignored: Vec<usize>,
}

/// Reads the variables in the file at `path`; none, if there is no such file. Of several values
/// for one name the last counts, as in a shell. `$NAME` in a value is replaced, by the process's
/// environment first; the process's environment is only read.
///
/// # Errors
/// Where the file cannot be read, or a line is not understood that sets a variable which is `ours`.
/// Such a file may serve other programs too, so other lines are ignored.
pub(super) fn read(path: &Path, ours: &dyn Fn(&str) -> bool) -> Result<DotEnv, DotEnvError> {
    // A directory of this name is nothing wrong: Python's virtual environments are often called so.
    if path.is_dir() {
        return Ok(DotEnv::default());
    }
    match fs::read(path) {
        Ok(bytes) => parse(&path.display().to_string(), &bytes, ours),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DotEnv::default()),
        Err(source) => Err(DotEnvError::Unreadable {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn parse(path: &str, bytes: &[u8], ours: &dyn Fn(&str) -> bool) -> Result<DotEnv, DotEnvError> {
    let path = || path.to_owned();
    let mut ignored = BTreeSet::new();
    let mut lines = Vec::new();
    // Some editors begin a file with a byte order mark; the parser takes it for a part of a name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (bytes, line) in bytes.split(|&byte| byte == b'\n').zip(1..) {
        match std::str::from_utf8(bytes) {
            Ok(text) => lines.push(text),
            Err(_) if ours(name_in(&String::from_utf8_lossy(bytes))) => {
                return Err(DotEnvError::NotUtf8 { path: path(), line });
            }
            Err(_) => {
                ignored.insert(line);
                lines.push("");
            }
        }
    }
    loop {
        let mut begun_again = false;
        let mut variables = BTreeMap::new();
        // The parser takes white space at the very end for an unfinished value; a line feed ends it.
        let text = lines.join("\n") + "\n";
        let lines_read = Cell::new(0);
        let reader = LineByLine {
            rest: text.as_bytes(),
            lines_read: &lines_read,
        };
        for entry in dotenvy::from_read_iter(reader) {
            match entry {
                Ok((name, value)) => {
                    variables.insert(name, value);
                }
                Err(dotenvy::Error::LineParse(entry, _)) => {
                    // An entry in quotes may span lines; name the one where it begins.
                    let spans = entry.lines().count().max(1);
                    let line = lines_read.get() + 1 - spans;
                    if ours(name_in(lines[line - 1])) {
                        return Err(DotEnvError::Malformed { path: path(), line });
                    }
                    ignored.insert(line);
                    if spans > 1 {
                        // It has swallowed the lines after it: once more, without its first.
                        lines[line - 1] = "";
                        begun_again = true;
                        break;
                    }
                }
                Err(error) => {
                    return Err(DotEnvError::Unreadable {
                        path: path(),
                        source: io::Error::other(error),
                    });
                }
            }
        }
        if !begun_again {
            let ignored = ignored.into_iter().collect();
            return Ok(DotEnv { variables, ignored });
        }
    }
}

/// The name that a line seems to set.
fn name_in(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.split(|c| !is_name(c)).next().unwrap_or_default()
}

/// Hands out at most one line for each read, so that a parser that reads as it goes has read no
/// further than the line that it stumbled over: its errors do not tell which one that was.
struct LineByLine<'a> {
    rest: &'a [u8],
    lines_read: &'a Cell<usize>,
}

impl Read for LineByLine<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let line = self
            .rest
            .split_inclusive(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        let n = line.len().min(buf.len());
        buf[..n].copy_from_slice(&line[..n]);
        self.rest = &self.rest[n..];
        if buf[..n].ends_with(b"\n") {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<DotEnv, DotEnvError> {
        super::parse(".env", text.as_ref(), &|name| name.starts_with("OUR"))
    }

    fn variables(text: &str) -> Vec<(String, String)> {
        let DotEnv { variables, ignored } = parse(text).unwrap();
        assert!(ignored.is_empty(), "{ignored:?}");
        variables.into_iter().collect()
    }

    /// The lines that are ignored, and the names that are set.
    fn ignored(text: impl AsRef<[u8]>) -> (Vec<usize>, String) {
        let DotEnv { variables, ignored } = parse(text).unwrap();
        let names: Vec<_> = variables.into_keys().collect();
        (ignored, names.join(" "))
    }

    fn malformed_line(text: &str) -> usize {
        match parse(text) {
            Err(DotEnvError::Malformed { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_read_as_a_shell_would() {
        assert_eq!(
            variables("# ports\nB=2 # two\nexport A='x y'\n\nC=\nB=3\nD=\"p\nq\"\r\n"),
            [("A", "x y"), ("B", "3"), ("C", ""), ("D", "p\nq")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_editors_add_is_harmless() {
        for text in ["\u{feff}A=1", "A=1 ", "A=1\r\n", "A=1\n \n\t", " A = 1"] {
            assert_eq!(
                variables(text),
                [("A".to_owned(), "1".to_owned())],
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_line_at_fault_is_named() {
        assert_eq!(malformed_line("OUR"), 1);
        assert_eq!(malformed_line("FOO=1\n# FOO\n\nOUR\nBAR=2\n"), 4);
        assert_eq!(malformed_line("A=1\nOURS=two words\n"), 2);
        assert_eq!(malformed_line("A=1\n\n export OURS='open\nC=3\nD=4"), 3);
        assert_eq!(malformed_line("A='1\n2\n3'\nOURS='p\nq' r\nC=3\n"), 4);
        let long = format!("A={}\nOUR B\n", "x".repeat(100_000));
        assert_eq!(malformed_line(&long), 2);
    }

    #[test]
    fn lines_of_others_stop_nothing_and_swallow_nothing() {
        let all = |names: &str| names.to_owned();
        assert_eq!(ignored("FOO\nOURS=1\n"), (vec![1], all("OURS")));
        assert_eq!(
            ignored("A=two words\nOURS=1\nB b\n"),
            (vec![1, 3], all("OURS"))
        );
        assert_eq!(
            ignored("A=1\nB='open\nOURS=3\nC=\"open\nOURTOO=4\nD d"),
            (vec![2, 4, 6], all("A OURS OURTOO"))
        );
        assert_eq!(ignored(b"A=1\nB=\xff\nOURS=2\n"), (vec![2], all("A OURS")));
    }

    #[test]
    fn errors_are_one_line_and_keep_secrets() {
        let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(
            error(b"A=1\nOUR_PASSWORD top secret\n"),
            ".env: line 2 is not allowed: a line is KEY=value or a comment after #; \
             a value with spaces needs quotes, and quotes must be closed"
        );
        assert_eq!(
            error(b"A=1\n\nOURS=\xff\n"),
            ".env: line 3 is not valid UTF-8"
        );
    }

    #[test]
    fn a_file_that_is_absent_or_a_directory_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let read = |path: &Path| read(path, &|_| true).unwrap().variables;
        assert!(read(&directory.path().join(".env")).is_empty());
        assert!(read(directory.path()).is_empty());
        let file = directory.path().join(".env");
        fs::write(&file, "A=1\n").unwrap();
        assert_eq!(read(&file)["A"], "1");
    }
}
