//! The files of a recording on disk: named in order, the oldest deleted to make room.

use super::header::Header;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The most files in the ring, whatever their size: a broker that starts again and again leaves
/// small ones.
const MOST_FILES: usize = 64;

/// The end of every name.
const EXTENSION: &str = ".recording";

/// Held locked while a broker records here.
const LOCK: &str = "lock";

/// A file of a recording. Ordered by run, then by place in the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordedFile {
    /// The run of the broker: [`Header::run`].
    pub run: u64,
    /// Its place in the run, from 0.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// The files of all recordings in a directory, oldest first. Other files are passed over.
///
/// # Errors
/// The directory cannot be read.
pub fn recorded_files(directory: &Path) -> io::Result<Vec<RecordedFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((run, number)) = name.and_then(parse_name) {
            files.push(RecordedFile { run, number, path });
        }
    }
    files.sort();
    Ok(files)
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (run, number) = name.strip_suffix(EXTENSION)?.split_once('-')?;
    Some((run.parse().ok()?, number.parse().ok()?))
}

fn name(run: u64, number: u64) -> String {
    format!("{run:013}-{number:06}{EXTENSION}")
}

/// The files in one directory, those of earlier runs included.
#[derive(Debug)]
pub(super) struct Ring {
    directory: PathBuf,
    /// The most bytes that all files may take.
    limit: u64,
    /// Oldest first, with their sizes. The last is the one being written.
    files: VecDeque<(PathBuf, u64)>,
    /// The bytes of all of them.
    bytes: u64,
    /// Greater than that of every run before.
    run: u64,
    _lock: File,
}

impl Ring {
    /// Takes a directory, which is made if it is not there, for a run that began at `started`
    /// (milliseconds since 1970).
    pub(super) fn open(directory: &Path, limit: u64, started: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(ErrorKind::ResourceBusy, "another broker records there")
            }
            TryLockError::Error(error) => error,
        })?;
        let (mut files, mut bytes, mut run) = (VecDeque::new(), 0, started);
        for file in recorded_files(directory)? {
            let size = fs::metadata(&file.path)?.len();
            files.push_back((file.path, size));
            bytes += size;
            // A clock that was set back must not put this run before earlier ones.
            run = run.max(file.run.saturating_add(1));
        }
        Ok(Self {
            directory: directory.to_owned(),
            limit,
            files,
            bytes,
            run,
            _lock: lock,
        })
    }

    pub(super) const fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Begins the next file. It is empty.
    pub(super) fn create(&mut self, header: &Header) -> io::Result<File> {
        while self.files.len() >= MOST_FILES {
            self.delete_oldest()?;
        }
        let path = self.directory.join(name(header.run, header.number));
        let file = File::create_new(&path)?;
        self.files.push_back((path, 0));
        Ok(file)
    }

    /// Makes room for `bytes` that are about to be added to the last file.
    pub(super) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        while self.bytes + bytes > self.limit && self.files.len() > 1 {
            self.delete_oldest()?;
        }
        if let Some((_, size)) = self.files.back_mut() {
            *size += bytes;
        }
        self.bytes += bytes;
        Ok(())
    }

    fn delete_oldest(&mut self) -> io::Result<()> {
        let Some((path, size)) = self.files.pop_front() else {
            return Ok(());
        };
        self.bytes -= size;
        match fs::remove_file(path) {
            // Somebody has tidied up.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Payloads;
    use super::*;

    fn header(ring: &Ring, number: u64) -> Header {
        Header {
            program: String::new(),
            payloads: Payloads::Full,
            run: ring.run(),
            number,
            missed: 0,
        }
    }

    fn numbers(directory: &Path) -> Vec<(u64, u64)> {
        let files = recorded_files(directory).unwrap();
        files.iter().map(|file| (file.run, file.number)).collect()
    }

    #[test]
    fn the_oldest_make_room_and_the_last_stays() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("notes.txt"), "not ours").unwrap();
        let mut ring = Ring::open(directory.path(), 100, 7).unwrap();
        for number in 0..4 {
            let file = ring.create(&header(&ring, number)).unwrap();
            ring.grow(40).unwrap();
            file.set_len(40).unwrap();
        }
        assert_eq!(numbers(directory.path()), [(7, 2), (7, 3)]);
        ring.grow(60).unwrap();
        assert_eq!(numbers(directory.path()), [(7, 3)]);
        assert!(directory.path().join("notes.txt").exists());
    }

    #[test]
    fn files_of_earlier_runs_are_part_of_the_ring_and_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Ring::open(directory.path(), 100, 900).unwrap();
        let file = first.create(&header(&first, 0)).unwrap();
        file.set_len(70).unwrap();
        drop(first);
        let mut second = Ring::open(directory.path(), 100, 5).unwrap();
        assert_eq!(second.run(), 901);
        second.create(&header(&second, 0)).unwrap();
        second.grow(30).unwrap();
        assert_eq!(numbers(directory.path()), [(900, 0), (901, 0)]);
        second.grow(1).unwrap();
        assert_eq!(numbers(directory.path()), [(901, 0)]);
    }

    #[test]
    fn many_small_files_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(directory.path(), 100, 0).unwrap();
        for number in 0..100 {
            ring.create(&header(&ring, number)).unwrap();
        }
        let left = numbers(directory.path());
        assert_eq!((left.len(), left[0]), (MOST_FILES, (0, 36)));
    }

    #[test]
    fn two_brokers_do_not_record_in_one_place() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Ring::open(directory.path(), 100, 0).unwrap();
        let second = Ring::open(directory.path(), 100, 0).unwrap_err();
        assert_eq!(second.to_string(), "another broker records there");
    }
}
