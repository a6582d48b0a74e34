//! Why a log stops, in words for whoever has to act.

use super::disk::{DiskError, File, Operation};
use core::fmt;

/// Why a log has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The disk has not carried out an operation.
    Disk {
        /// The operation, in a word.
        operation: &'static str,
        /// The file; none for the folder.
        file: Option<File>,
        /// The error.
        error: DiskError,
    },
    /// What is on the disk is not what was written.
    Damaged(Damage),
}

/// Where a log is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: File,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It is not there.
    Missing,
    /// It is there, and the log has no journal.
    NoJournal,
    /// What stands there is no record, and it is not the torn end of what was being written.
    NotARecord,
    /// The record there is whole, and does not belong there: it is of another log, or follows upon another one.
    Misplaced,
    /// It is of a later version of this program, which writes this format.
    NewerFormat(u32),
    /// It ends before this sequence, which was safe.
    EndsBefore(u64),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk {
                operation,
                file: Some(file),
                error,
            } => write!(f, "{operation} of {file}: {error}"),
            Self::Disk {
                operation, error, ..
            } => write!(f, "{operation}: {error}"),
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl core::error::Error for Stop {}

impl From<(Operation, DiskError)> for Stop {
    fn from((operation, error): (Operation, DiskError)) -> Self {
        Self::Disk {
            operation: operation.name(),
            file: operation.file(),
            error,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, .. } = self;
        match self.kind {
            DamageKind::Missing => write!(
                f,
                "{file} is missing; put it back from a backup, or repair the log"
            ),
            DamageKind::NoJournal => write!(
                f,
                "{file} is there, and no journal says of which log and how far its groups are; put the journal back from a backup, or repair the log"
            ),
            DamageKind::NotARecord => write!(
                f,
                "{file} is damaged at byte {offset}, where a record was safe; put the file back from a backup, or repair the log"
            ),
            DamageKind::Misplaced => write!(
                f,
                "{file} holds at byte {offset} what does not belong there; put the right file back, or repair the log"
            ),
            DamageKind::NewerFormat(format) => write!(
                f,
                "{file} has format {format}, which only a later version of this program reads"
            ),
            DamageKind::EndsBefore(sequence) => write!(
                f,
                "{file} ends at byte {offset}, before message {sequence}, which was safe; put the file back from a backup, or repair the log"
            ),
        }
    }
}

impl core::error::Error for Damage {}
