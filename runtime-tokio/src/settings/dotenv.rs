//! The file `.env`: more settings, as `KEY=value` lines.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

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
    /// A line is not UTF-8.
    #[error("{path}: line {line} is not valid UTF-8")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A line is not of the form that is understood.
    #[error(
        "{path}: line {line} is not allowed: a line is KEY=value or a comment after #; \
         a value with spaces needs quotes, and quotes must be closed"
    )]
    Malformed {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
}

/// Reads the variables in the file at `path`; none, if there is no such file. Of several values
/// for one name the last counts, as in a shell. `$NAME` in a value is replaced, by the process's
/// environment first; the process's environment is only read.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, DotEnvError> {
    // A directory of this name is nothing wrong: Python's virtual environments are often called so.
    if path.is_dir() {
        return Ok(BTreeMap::new());
    }
    match fs::read(path) {
        Ok(bytes) => parse(&path.display().to_string(), bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(DotEnvError::Unreadable {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn parse(path: &str, bytes: Vec<u8>) -> Result<BTreeMap<String, String>, DotEnvError> {
    let path = path.to_owned();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
            return Err(DotEnvError::NotUtf8 { path, line });
        }
    };
    // The parser takes white space at the very end for an unfinished value; a line feed ends it.
    // It also takes a byte order mark, which some editors write, for a part of the first name.
    let text = format!("{}\n", text.trim_start_matches('\u{feff}'));
    let lines_read = Cell::new(0);
    let reader = LineByLine {
        rest: text.as_bytes(),
        lines_read: &lines_read,
    };
    let mut variables = BTreeMap::new();
    for entry in dotenvy::from_read_iter(reader) {
        match entry {
            Ok((name, value)) => {
                variables.insert(name, value);
            }
            Err(dotenvy::Error::LineParse(entry, _)) => {
                // An entry in quotes may span lines; name the one where it begins.
                let line = lines_read.get() + 1 - entry.lines().count().max(1);
                return Err(DotEnvError::Malformed { path, line });
            }
            Err(error) => {
                return Err(DotEnvError::Unreadable {
                    path,
                    source: io::Error::other(error),
                });
            }
        }
    }
    Ok(variables)
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

    fn variables(text: &str) -> Vec<(String, String)> {
        parse(".env", text.into()).unwrap().into_iter().collect()
    }

    fn error(bytes: &[u8]) -> String {
        parse(".env", bytes.to_vec()).unwrap_err().to_string()
    }

    fn malformed_line(text: &str) -> usize {
        match parse(".env", text.into()) {
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
        assert_eq!(malformed_line("FOO"), 1);
        assert_eq!(malformed_line("FOO=1\n# FOO\n\nFOO\nBAR=2\n"), 4);
        assert_eq!(malformed_line("A=1\nB=two words\n"), 2);
        assert_eq!(malformed_line("A=1\n\nB='open\nC=3\nD=4"), 3);
        assert_eq!(malformed_line("A='1\n2\n3'\nB='p\nq' r\nC=3\n"), 4);
        let long = format!("A={}\nB B\n", "x".repeat(100_000));
        assert_eq!(malformed_line(&long), 2);
    }

    #[test]
    fn errors_are_one_line_and_keep_secrets() {
        let message = error(b"A=1\nPASSWORD top secret\n");
        assert_eq!(
            message,
            ".env: line 2 is not allowed: a line is KEY=value or a comment after #; \
             a value with spaces needs quotes, and quotes must be closed"
        );
        assert_eq!(error(b"A=1\n\nB=\xff\n"), ".env: line 3 is not valid UTF-8");
    }

    #[test]
    fn a_file_that_is_absent_or_a_directory_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(&directory.path().join(".env")).unwrap().is_empty());
        assert!(read(directory.path()).unwrap().is_empty());
        let file = directory.path().join(".env");
        fs::write(&file, "A=1\n").unwrap();
        assert_eq!(read(&file).unwrap()["A"], "1");
    }
}
