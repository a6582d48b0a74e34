//! Scripts: what happens on a broker's sockets, one thing a line, as text.
//!
//! ```text
//! config delivery=queue queue_capacity=2
//! # Lines like this one are for the reader.
//! c1 opens
//! c1 sends "CONSUMER\n"
//! c2 opens
//! c2 sends "PRODUCER\n" frames "a" "b"*3 "" cut at 3 12
//! c2 sends frames "c" "d" frame by frame
//! c2 sends "\0\0\0\x05only" byte by byte
//! c1's socket takes 9 bytes
//! c1's socket takes all
//! 1.5s pass
//! 1.5s pass unnoticed
//! drain 5s
//! purge
//! c3 is ended by an operator
//! c2 has nothing to read
//! c2 stalls
//! c2 resets
//! c1 closes
//! ```
//!
//! - `config` comes first, if at all; what it does not name has its default.
//! - A string in quotes is bytes, with Rust's escapes `\n \r \t \0 \\ \" \xNN`; `*3` repeats it.
//!   After `frames`, each is the body of a frame; after `bytes`, they are sent as they are.
//! - What is sent in one line arrives in one read, unless it is cut.
//! - Time passes as the broker asked to be told. Unnoticed, it is told when it next passes noticed,
//!   as by a runtime that is late.
//! - What cannot happen (a socket that takes what was never written to it, a second opening) does
//!   not, so any lines in any order make a script.
//!
//! [`play`] runs a script. `text.rs` reads and writes scripts, `literal.rs` their strings,
//! `lockstep.rs` runs the core and the model side by side, `socket.rs` is what stands between a
//! script's bytes and the core's inputs, `settings.rs` the `config` line.

mod literal;
mod lockstep;
mod settings;
mod socket;
mod text;

pub use literal::Literal;
pub use lockstep::{play, play_restored};
pub use text::ParseError;

use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, ConnId};
use std::time::Duration;

/// What happens to a broker with these settings, step by step. Its text is its [`Display`] and its
/// [`FromStr`]; it is its [`Debug`] too, so that a failing test prints what can be pasted.
///
/// [`Display`]: std::fmt::Display
/// [`FromStr`]: std::str::FromStr
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// The broker's settings.
    pub config: Config,
    /// The decoders' settings.
    pub decoder: DecoderConfig,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: a word to the reader.
    Remark(String),
    /// Something on a connection.
    On(ConnId, Action),
    /// Time, of which the broker is told.
    Pass(Duration),
    /// Time, of which the broker is not told yet.
    PassUnnoticed(Duration),
    /// The broker is told to come to an orderly end within this time.
    Drain(Duration),
    /// An operator empties the queue.
    Purge,
}

/// What happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A peer connects.
    Opens,
    /// The peer sends.
    Sends(Bytes),
    /// The broker's side of the socket takes this many more bytes of what is written to it; all
    /// there is, if there are fewer.
    Takes(usize),
    /// The same, all there is.
    TakesAll,
    /// When the broker closes the connection, the socket is not sealed at once, as it is otherwise.
    IsSealedLate,
    /// The socket that was closed takes nothing more, and the broker is told what it has taken.
    IsSealed,
    /// While draining: a read would wait.
    HasNothingToRead,
    /// An operator wants the connection closed.
    IsEndedByOperator,
    /// It has begun a frame, and nothing more of it has come for too long.
    Stalls,
    /// The peer ends its side of the stream. Everything it sent arrives first.
    Closes,
    /// The connection is reset. What it sent and was not read yet is lost.
    Resets,
}

/// Bytes, and the reads in which they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// What is sent.
    pub parts: Vec<Part>,
    /// How it is cut into reads.
    pub reads: Reads,
}

/// A part of what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Raw(Literal),
    /// A frame with this body.
    Frame(Literal),
}

/// How bytes are cut into reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Not at all.
    Whole,
    /// Before the bytes with these numbers; the first byte is number 0.
    At(Vec<usize>),
    /// After every frame.
    FrameByFrame,
    /// After every byte.
    ByteByByte,
}

impl Bytes {
    /// The reads in which they arrive.
    pub fn reads(&self) -> Vec<Vec<u8>> {
        let parts: Vec<Vec<u8>> = self.parts.iter().map(Part::bytes).collect();
        let all = parts.concat();
        match &self.reads {
            Reads::Whole => vec![all],
            Reads::FrameByFrame => parts,
            Reads::ByteByByte => all.iter().map(|byte| vec![*byte]).collect(),
            Reads::At(cuts) => {
                let mut reads = Vec::new();
                let mut start = 0;
                for end in cuts.iter().copied().chain([all.len()]) {
                    let end = end.clamp(start, all.len());
                    reads.push(all[start..end].to_vec());
                    start = end;
                }
                reads
            }
        }
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Raw(literal) => literal.bytes(),
            Self::Frame(literal) => {
                let body = literal.bytes();
                let length = u32::try_from(body.len()).expect("a body shorter than 4 GiB");
                [&length.to_be_bytes(), &body[..]].concat()
            }
        }
    }
}
