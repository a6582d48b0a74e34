//! What comes out of a log.

use super::damage::Stop;
use super::disk::{OpId, Operation};
use super::progress::Progress;
use super::reading::{Chunk, ReadError};
use crate::wire::control::{Mark, Range};
use alloc::string::String;
use alloc::vec::Vec;

/// What a log wants done, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be carried out; then [`Log::completed`](super::Log::completed) is called with its number.
    Disk(OpId, Operation),
    /// To be acted upon.
    Event(Event),
}

/// A read that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// A change of a group that was to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaveId(pub u64);

/// What has happened to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The log is open. Comes once, and what comes before it is [`Event::Full`], [`Event::HasRoom`] or
    /// [`Event::Stopped`].
    Recovered(Recovered),
    /// All messages up to this sequence are stored as well as [`Fsync`](super::Fsync) says. Cumulative.
    Appended {
        /// The sequence.
        up_to: u64,
    },
    /// All changes of groups up to this one are stored, or later ones of the same group are. Cumulative.
    Saved {
        /// The change.
        up_to: SaveId,
    },
    /// The answer to a read.
    Read {
        /// Which.
        id: ReadId,
        /// What was read.
        result: Result<Chunk, ReadError>,
    },
    /// The log begins at this sequence from now on.
    Trimmed {
        /// The sequence.
        first: u64,
    },
    /// There is no room on the disk. What was appended waits, and is written when there is room again.
    Full,
    /// There is room again.
    HasRoom,
    /// The log and its files are gone. Nothing follows.
    Deleted,
    /// The log has stopped. Nothing that was not reported is safe, nothing more is done, and nothing follows. What the
    /// disk has is found out by opening it again.
    Stopped(Stop),
}

/// What was found in a log when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The life of the topic's sequences.
    pub epoch: u64,
    /// The sequence of the first message kept; [`next`](Self::next) if there is none.
    pub first: u64,
    /// The sequence of the next message.
    pub next: u64,
    /// When the last message was published, in milliseconds since 1970.
    pub published: u64,
    /// Every group and how far it has got, by name.
    pub groups: Vec<(String, Progress)>,
    /// Every producer that is remembered and how far it has got, by name.
    pub producers: Vec<Mark>,
    /// Sequences that groups have had and a power cut has taken: with any [`Fsync`](super::Fsync) but `Always`. A gap
    /// stands for them in the log.
    pub lost: Option<Range>,
    /// How many bytes of a torn tail were dropped. Nothing of it had been reported as safe.
    pub torn_bytes: u64,
}
