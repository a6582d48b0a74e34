//! Reading a recording.

use super::file::{Malformed, RECORD_HEAD, Record, checksum};
use super::header::Header;
use super::payload::Kept;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest first line that is looked at, in bytes.
const HEADER_LINE: u64 = 512;

/// The records of one file, first to last.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    header: Header,
    kept: Kept,
    file: BufReader<File>,
    /// Where the next record begins.
    at: u64,
    /// How long the file was when it was opened.
    size: u64,
}

/// Why a recording cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file ends within a record, or its last record is damaged: the broker was killed while
    /// it wrote, or the machine lost power. All before it is sound.
    #[error("{}: torn at byte {at}: {left} bytes are left of a record", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// A record in the middle of the file is not as it was written.
    #[error("{}: damaged at byte {at}: the checksum of a record is wrong", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
    },
    /// This program does not know what the file says.
    #[error("{}: byte {at}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
        /// What is wrong with it.
        source: Malformed,
    },
}

impl Reader {
    /// Opens a file and reads its first line.
    ///
    /// # Errors
    /// The file cannot be read or is not a recording.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        let mut limited = file.by_ref().take(HEADER_LINE);
        limited.read_until(b'\n', &mut line).map_err(failed)?;
        let at = line.len() as u64;
        let text = str::from_utf8(&line).unwrap_or_default();
        let header = Header::parse(text.strip_suffix('\n').unwrap_or_default());
        let header = header.map_err(|source| ReadError::Malformed {
            path: path.to_owned(),
            at: 0,
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            kept: Kept::replaying(header.payloads),
            header,
            file,
            at,
            size,
        })
    }

    /// The first line.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How messages are kept in this file.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The next record; none at the end of the file.
    ///
    /// # Errors
    /// See [`ReadError`]. There is nothing more to read then.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        let left = self.size.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let at = self.at;
        let torn = |path: &Path| ReadError::Torn {
            path: path.to_owned(),
            at,
            left,
        };
        if left < RECORD_HEAD as u64 {
            return Err(torn(&self.path));
        }
        let mut head = [0; RECORD_HEAD];
        self.read(&mut head)?;
        let [a, b, c, d, checksum_bytes @ ..] = head;
        let size = RECORD_HEAD as u64 + u64::from(u32::from_be_bytes([a, b, c, d]));
        // Nothing is allocated before it is known to be there.
        if size > left {
            return Err(torn(&self.path));
        }
        let mut body = vec![0; size as usize - RECORD_HEAD];
        self.read(&mut body)?;
        if checksum(&body) != u32::from_be_bytes(checksum_bytes) {
            let path = self.path.clone();
            return Err(if size == left {
                torn(&path)
            } else {
                ReadError::Damaged { path, at }
            });
        }
        self.at += size;
        let record = Record::read(&body, &self.kept);
        record.map(Some).map_err(|source| ReadError::Malformed {
            path: self.path.clone(),
            at,
            source,
        })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        let read = self.file.read_exact(bytes);
        read.map_err(|source| ReadError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::StopCause;
    use super::super::payload::Payloads;
    use super::*;

    /// The file's bytes, and where each of its three records begins.
    fn recording() -> (Vec<u8>, Vec<usize>) {
        let header = Header {
            program: "0.2.0".to_owned(),
            payloads: Payloads::Full,
            run: 1,
            number: 0,
            missed: 0,
        };
        let mut bytes = header.to_string().into_bytes();
        let mut begins = Vec::new();
        for record in [Record::Gap(StopCause::SlowDisk), Record::Full, Record::End] {
            begins.push(bytes.len());
            let mut out = Vec::new();
            record.write(&Kept::Whole, &mut out);
            bytes.extend(out);
        }
        (bytes, begins)
    }

    /// How many records are read, and why no more.
    fn read(bytes: &[u8]) -> (usize, Result<(), ReadError>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = match Reader::open(file.path()) {
            Ok(reader) => reader,
            Err(error) => return (0, Err(error)),
        };
        let mut records = 0;
        loop {
            match reader.next_record() {
                Ok(Some(_)) => records += 1,
                Ok(None) => return (records, Ok(())),
                Err(error) => return (records, Err(error)),
            }
        }
    }

    #[test]
    fn a_torn_last_record_costs_that_record_alone_wherever_it_is_torn() {
        let (bytes, begins) = recording();
        assert!(matches!(read(&bytes), (3, Ok(()))));
        for length in begins[2] + 1..bytes.len() {
            let torn = read(&bytes[..length]);
            assert!(matches!(torn, (2, Err(ReadError::Torn { .. }))), "{torn:?}");
        }
        // The length had reached the disk when the power failed, the rest had not.
        let mut zeroes = bytes;
        zeroes[begins[2] + 4..].fill(0);
        let torn = read(&zeroes);
        assert!(matches!(torn, (2, Err(ReadError::Torn { .. }))), "{torn:?}");
    }

    #[test]
    fn any_bit_that_changes_is_found() {
        let (bytes, begins) = recording();
        for at in begins[0]..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let (records, end) = read(&changed);
                assert!(records < 3 && end.is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_that_is_no_recording_is_named() {
        let (_, error) = read(b"\x7fELF");
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("this is not a recording"), "{error}");
    }
}
