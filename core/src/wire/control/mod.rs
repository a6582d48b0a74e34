//! Control frames of wire version 2 (PROTOCOL.md, section "Control frames"): all that is said between runs of
//! messages.
//!
//! ```text
//!  0       1       2       3       4       5               4 + length
//! ┌───────┬───────┬───────┬───────┬───────┬───────────────┐
//! │ 1, then length: 31 bits       │ kind  │ fields        │     length: 1 to 65,536
//! └───────┴───────┴───────┴───────┴───────┴───────────────┘
//! ```
//!
//! [`table::KINDS`] lists every kind with its fields and who may send it. The decoder asks it for the
//! direction, and tests hold the encoder, the decoder and PROTOCOL.md to it.

mod decode;
mod encode;
pub mod table;
#[cfg(test)]
mod tests;

pub use decode::BadFrame;
pub use table::{Field, Kind, Link};

use alloc::string::String;
use alloc::vec::Vec;

/// The bit of a header that makes it a control frame's.
pub const CONTROL_BIT: u32 = 1 << 31;

/// The longest body of a control frame, in bytes, its kind included.
pub const MAX_CONTROL_BODY: usize = 65_536;

/// From this kind on a receiver that does not know a kind skips it.
pub const FIRST_SKIPPABLE: u8 = 0x80;

/// Positions or sequences from one to another; both ends belong to it, and the first is not behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Range {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// A code that a program can act upon, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reason {
    /// One word of `a-z` and `_`. PROTOCOL.md lists them.
    pub code: String,
    /// The rest; may be empty.
    pub text: String,
}

/// What became of messages, as a consumer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Outcome {
    /// The work is done.
    Done = 1,
    /// Not my fault and not its own: back at once.
    Return = 2,
    /// It failed: again after the delay.
    Failed = 3,
    /// It can never succeed: dead letter now.
    Reject = 4,
    /// Still at work: its clock starts anew.
    Working = 5,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Return,
        Self::Failed,
        Self::Reject,
        Self::Working,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| *outcome as u8 == code)
    }
}

/// What waits for a consumer's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lag {
    /// Messages.
    pub messages: u64,
    /// For how long the oldest of them has been waiting, in milliseconds.
    pub oldest_ms: u32,
}

/// Where the next message of a dead-letter topic came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Origin {
    /// Its sequence in the topic.
    pub sequence: u64,
    /// How often it had failed.
    pub failures: u32,
    /// When it was published, in milliseconds since 1970.
    pub published: u64,
    /// The topic.
    pub topic: String,
    /// The group that gave up.
    pub group: String,
    /// Why.
    pub reason: String,
}

/// How far a producer had got in a stored topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mark {
    /// Its name; at most 255 bytes.
    pub name: String,
    /// What it calls this life; at most 255 bytes.
    pub session: String,
    /// The position of its last message.
    pub position: u64,
}

/// A control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Control {
    /// The messages that follow belong to this topic.
    Topic(String),
    /// Answer with [`Control::Pong`] and the same number.
    Ping(u64),
    /// The answer; from the broker to a consumer with what waits for its group.
    Pong(u64, Option<Lag>),
    /// Answer with [`Control::Flushed`] and the same number once all that was sent before has taken effect.
    Flush(u64),
    /// The answer.
    Flushed(u64),
    /// The last frame before the broker closes.
    Error(Reason),
    /// Finish, and connect elsewhere.
    GoAway {
        /// Milliseconds until the broker closes.
        left_ms: u32,
        /// Milliseconds to wait before connecting again.
        wait_ms: u32,
        /// For people.
        text: String,
    },
    /// I leave in an orderly way: what I hold goes back and nothing of it has failed.
    Bye,
    /// All up to `position` is safe, or was refused before.
    Confirmed {
        /// The position.
        position: u64,
        /// How many messages in all, on this connection, found no group to go to.
        unrouted: u64,
    },
    /// These positions were not taken and will not be.
    Refused(Range, Reason),
    /// I am not reading from you, or I am again.
    Blocked {
        /// Whether the broker is not reading.
        blocked: bool,
        /// Which topic and group are full.
        text: String,
    },
    /// The messages that follow have consecutive sequences.
    Run {
        /// The sequence of the first.
        first: u64,
        /// When they were published, in milliseconds since 1970.
        published: u64,
        /// Which hand-out this is for their group, from 1.
        attempt: u32,
    },
    /// These sequences will not come.
    Gap(Range, Reason),
    /// Where the next message came from.
    Origin(Origin),
    /// These positions are no longer yours.
    Revoked {
        /// Why, in one word.
        code: String,
        /// The positions; at least one range.
        ranges: Vec<Range>,
    },
    /// What became of messages.
    Settle {
        /// The outcome.
        outcome: Outcome,
        /// For [`Outcome::Failed`]: the least delay before they are handed out again, in milliseconds.
        delay_ms: u32,
        /// Their positions; at least one range.
        ranges: Vec<Range>,
    },
    /// How much may be unsettled from now on; replaces the prefetch.
    Credit {
        /// Messages; 0 pauses.
        messages: u32,
        /// Bytes.
        bytes: u32,
    },
    /// The checksum of what follows in a stored topic.
    Check {
        /// CRC-32C of the fields behind this one and of the `length` bytes that follow the frame.
        crc32c: u32,
        /// How many bytes follow that belong to it.
        length: u32,
        /// When this was written, all messages up to this sequence were safe.
        safe: u64,
        /// Who published what follows, and how far each had got with it.
        producers: Vec<Mark>,
    },
    /// A file of a stored topic begins.
    Segment {
        /// How the file is to be read.
        format: u32,
        /// The life of the topic's sequences.
        epoch: u64,
        /// The sequence of the file's first message.
        first: u64,
        /// The sequence at which the file before it begins; 0 if there was none.
        previous: u64,
        /// When the last message before it was published, in milliseconds since 1970; 0 if there was none.
        published: u64,
    },
}

impl Range {
    /// From `from` to `to`; none if the first is behind the last.
    pub const fn new(from: u64, to: u64) -> Option<Self> {
        if from <= to {
            Some(Self { from, to })
        } else {
            None
        }
    }
}

impl Reason {
    /// The one word and the rest of `line`.
    fn parse(line: &str) -> Self {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Self {
            code: code.into(),
            text: text.into(),
        }
    }
}

impl Control {
    /// Its row in the table.
    pub fn kind(&self) -> &'static Kind {
        table::kind(self.code())
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Topic(_) => 0x01,
            Self::Ping(_) => 0x02,
            Self::Pong(..) => 0x03,
            Self::Flush(_) => 0x04,
            Self::Flushed(_) => 0x05,
            Self::Error(_) => 0x06,
            Self::GoAway { .. } => 0x07,
            Self::Bye => 0x08,
            Self::Confirmed { .. } => 0x10,
            Self::Refused(..) => 0x11,
            Self::Blocked { .. } => 0x12,
            Self::Run { .. } => 0x20,
            Self::Gap(..) => 0x21,
            Self::Origin(_) => 0x22,
            Self::Revoked { .. } => 0x23,
            Self::Settle { .. } => 0x30,
            Self::Credit { .. } => 0x31,
            Self::Check { .. } => 0x80,
            Self::Segment { .. } => 0x81,
        }
    }
}
