//! What is found in a log.

use crate::log::disk::{File, Operation};
use crate::log::progress::Progress;
use crate::log::reading::Stored;
use crate::wire::control::Mark;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What comes next of an inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be read; then [`Inspection::read`](super::Inspection::read) is called.
    Read(Operation),
    /// This record of a segment is whole and in its place.
    Record(Seen),
    /// All has been looked at. Said again by every further call.
    Done,
}

/// A record of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The file.
    pub file: File,
    /// Where in it, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it holds.
    pub content: SeenContent,
}

/// What a record of a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenContent {
    /// It begins the segment.
    Head,
    /// How far producers had got when the segment was begun.
    Producers(Vec<Mark>),
    /// Messages, or a gap.
    Stored(Stored),
}

/// What is worth to be known and is no damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The end was being written when the power went or the process ended. Nothing of it was reported as safe.
    Torn {
        /// The file.
        file: File,
        /// Where its records end, in bytes.
        offset: u64,
        /// How many bytes of it are dropped when the log is opened.
        bytes: u64,
    },
    /// A segment or a journal that was being made. It is made anew when the log is opened.
    Unfinished(File),
    /// A file that is not needed any more. It is deleted when the log is opened.
    Leftover(File),
    /// An index that is not whole or is wrong. Nothing hangs on it: it is made again when it is needed.
    BadIndex(File),
    /// The log has been deleted. What is left of it goes when it is opened.
    Deleted(File),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn {
                file,
                offset,
                bytes,
            } => write!(
                f,
                "{file} has a torn end of {bytes} bytes from byte {offset} on: it was being written, nothing of it was reported as safe, and it is dropped when the log is opened"
            ),
            Self::Unfinished(file) => write!(
                f,
                "{file} was being made; it is made anew when the log is opened"
            ),
            Self::Leftover(file) => write!(
                f,
                "{file} is not needed any more; it is deleted when the log is opened"
            ),
            Self::BadIndex(file) => write!(
                f,
                "{file} is not right; nothing hangs on it, and it is made again when it is needed"
            ),
            Self::Deleted(file) => write!(
                f,
                "{file} says that the log has been deleted; what is left of it goes when it is opened"
            ),
        }
    }
}

/// What is known of a log. As long as an inspection is not done, of what it has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The life of the topic's sequences; none if neither the journal nor a segment says it.
    pub epoch: Option<u64>,
    /// The sequence of the first message kept; [`next`](Self::next) if there is none.
    pub first: u64,
    /// The sequence of the next message.
    pub next: u64,
    /// When the first message kept and the last were published, in milliseconds since 1970; none if there is none.
    pub published: Option<(u64, u64)>,
    /// The segments, in order.
    pub segments: Vec<SegmentSummary>,
    /// Every group and how far it has got, by name.
    pub groups: Vec<(String, Progress)>,
    /// Every producer that is remembered and how far it has got, by name.
    pub producers: Vec<Mark>,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The file.
    pub file: File,
    /// The sequence that it begins at.
    pub first: u64,
    /// The sequence that the next one begins at, or will.
    pub next: u64,
    /// The size of the file in bytes, with zeros that wait to be written over.
    pub bytes: u64,
    /// When the last message before the next one was published, in milliseconds since 1970; 0 if there was none.
    pub published: u64,
}
