//! What a log asks of a disk, and what a disk answers.

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// An operation that was asked for. Numbers rise and are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// A file of a log, in the log's own folder. [`fmt::Display`] writes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The journal with this number: `00000000000000000001.journal`.
    Journal(u64),
    /// A journal that is not complete yet: `00000000000000000001.journal.new`.
    NewJournal(u64),
    /// The segment that begins at this sequence: `00000000000000000001.log`.
    Segment(u64),
    /// What the segment behind the one of this sequence is made of, before it has a name of its own; beside 0, the first
    /// one: `00000000000000000001.spare`.
    Spare(u64),
    /// The journal of a log that is being deleted: `00000000000000000001.deleted`.
    Deleted(u64),
    /// The index of that segment: `00000000000000000001.index`.
    Index(u64),
}

/// What a disk is to do. The runtime may carry out several at a time, in any order: those whose order matters are
/// asked for one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Tell all files there are. Names that [`File::parse`] does not know are left out. Answer: [`Done::Listed`].
    List,
    /// Make an empty file, or empty the one that is there, and fill it with `size` zeros.
    Create {
        /// The file.
        file: File,
        /// Bytes, so that later writes need no new room. Zeros that are written, not a hole.
        size: u64,
    },
    /// Write these pieces one after the other. Answer: [`Done::Wrote`].
    Write {
        /// The file.
        file: File,
        /// Where the first piece begins.
        offset: u64,
        /// At least one byte in all.
        pieces: Vec<Bytes>,
    },
    /// Read. Answer: [`Done::Read`].
    Read {
        /// The file.
        file: File,
        /// Where to begin.
        offset: u64,
        /// How many bytes. Fewer come only where the file ends.
        length: usize,
    },
    /// Cut the file to this size.
    Truncate {
        /// The file.
        file: File,
        /// Bytes.
        size: u64,
    },
    /// Make safe all that was written to the file before this was asked for, and its size (`fdatasync`).
    Sync {
        /// The file.
        file: File,
    },
    /// Make safe which files there are (`fsync` of the folder).
    SyncDir,
    /// Give a file another name, in place of the file that has it.
    Rename {
        /// The file.
        from: File,
        /// Its new name.
        to: File,
    },
    /// Delete a file. One that is not there is no error.
    Delete {
        /// The file.
        file: File,
    },
}

/// What became of an operation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Done,
    /// The files there are, in any order, and their sizes in bytes.
    Listed(Vec<(File, u64)>),
    /// So many bytes were written; where it is fewer than were asked for, the rest is asked for again.
    Wrote(u64),
    /// What was read.
    Read(Bytes),
}

/// Why an operation was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// There is no room, or the quota is used up. A create or a write is asked for again a second later.
    NoSpace,
    /// There is no such file.
    NotFound,
    /// Anything else.
    Failed,
}

impl File {
    /// The file of this name, if it is one of a log.
    pub fn parse(name: &str) -> Option<Self> {
        let (number, kind) = name.split_once('.')?;
        if number.len() != 20 || !number.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let number = number.parse().ok()?;
        Some(match kind {
            "journal" => Self::Journal(number),
            "journal.new" => Self::NewJournal(number),
            "deleted" => Self::Deleted(number),
            "log" => Self::Segment(number),
            "spare" => Self::Spare(number),
            "index" => Self::Index(number),
            _ => return None,
        })
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(number) => write!(f, "{number:020}.journal"),
            Self::NewJournal(number) => write!(f, "{number:020}.journal.new"),
            Self::Deleted(number) => write!(f, "{number:020}.deleted"),
            Self::Segment(first) => write!(f, "{first:020}.log"),
            Self::Spare(before) => write!(f, "{before:020}.spare"),
            Self::Index(first) => write!(f, "{first:020}.index"),
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "there is no room on the disk",
            Self::NotFound => "there is no such file",
            Self::Failed => "the disk has failed",
        })
    }
}

impl core::error::Error for DiskError {}

impl Operation {
    /// The file that it is about; none for the folder.
    pub const fn file(&self) -> Option<File> {
        match self {
            Self::List | Self::SyncDir => None,
            Self::Create { file, .. }
            | Self::Write { file, .. }
            | Self::Read { file, .. }
            | Self::Truncate { file, .. }
            | Self::Sync { file }
            | Self::Rename { from: file, .. }
            | Self::Delete { file } => Some(*file),
        }
    }

    /// What it is called in messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Create { .. } => "create",
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::Truncate { .. } => "truncate",
            Self::Sync { .. } => "sync",
            Self::SyncDir => "sync of the folder",
            Self::Rename { .. } => "rename",
            Self::Delete { .. } => "delete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::File;
    use alloc::string::ToString;

    #[test]
    fn every_file_has_a_name_that_says_which_it_is() {
        for file in [
            File::Journal(7),
            File::NewJournal(7),
            File::Deleted(7),
            File::Segment(u64::MAX),
            File::Spare(0),
            File::Index(1),
        ] {
            assert_eq!(File::parse(&file.to_string()), Some(file));
        }
        for name in [
            "",
            "1.log",
            "00000000000000000001",
            "99999999999999999999.log",
            "lost+found",
        ] {
            assert_eq!(File::parse(name), None);
        }
    }
}
