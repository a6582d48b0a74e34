//! What happened in a run: one format for every simulator, and all that the checker sees.
//!
//! A simulator records what the clients did and saw, and what went into the broker and came out
//! of it. Nothing here is asked of the broker itself but its counters and what it says it holds.

use crate::message::{MessageId, Named};
use crate::plan::{Micros, Settings};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, DropReason, GroupId};
use std::fmt;

/// A run, as it was seen.
#[derive(Clone, Debug)]
pub struct History {
    /// The settings that the broker had.
    pub settings: Settings,
    /// What happened, in order.
    pub records: Vec<Record>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Micros,
    /// In which step: one input to the broker and all that came of it, or one act of a client.
    /// Grows from step to step. What the broker promises between two inputs is checked where one
    /// step ends.
    pub step: u64,
    /// What.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client connected.
    Connected {
        /// Its connection.
        conn: ConnId,
        /// The client.
        client: u32,
        /// What it will do to the protocol.
        manners: Manners,
    },
    /// A producer gave the last byte of a message to its socket.
    Sent {
        /// Its connection.
        conn: ConnId,
        /// The message; none if it is too short to hold a name.
        message: Option<MessageId>,
    },
    /// A consumer read the last byte of a message.
    Received {
        /// Its connection.
        conn: ConnId,
        /// What its bytes say.
        message: Named,
    },
    /// A client gave up its connection: what it had not read is lost.
    Gone {
        /// Its connection.
        conn: ConnId,
    },

    /// The broker was told of a connection.
    Opened {
        /// The connection.
        conn: ConnId,
    },
    /// The broker gave a connection its role.
    Registered {
        /// The connection.
        conn: ConnId,
        /// The role.
        role: Role,
    },
    /// The broker was given a batch from a producer: its next messages, in the order sent.
    Accepted {
        /// The producer's connection.
        conn: ConnId,
        /// How much.
        count: Count,
    },
    /// The broker's counter of messages received grew. Recorded last in its step. With
    /// [`Overflow::Block`](message_queue_core::Overflow::Block) that may be later than they were
    /// accepted; the order is the same.
    Admitted {
        /// By how much.
        count: Count,
    },
    /// The broker asked for a write.
    WriteStarted {
        /// To this consumer.
        conn: ConnId,
        /// Of this much.
        count: Count,
    },
    /// The broker was told that a socket has taken more of a write.
    WriteProgressed {
        /// The consumer.
        conn: ConnId,
    },
    /// A write is over: it was taken whole, or its connection ends. The socket's own view.
    WriteEnded {
        /// The consumer.
        conn: ConnId,
        /// What the socket took, whole messages only.
        taken: Count,
        /// What it did not take.
        left: Count,
        /// The messages that it did not take, as far as they have names.
        left_messages: Vec<MessageId>,
    },
    /// The broker said that it dropped messages.
    Dropped {
        /// Whose; none if there was no group.
        group: Option<GroupId>,
        /// Why.
        reason: DropReason,
        /// How much.
        count: Count,
    },
    /// The broker asked not to read from a producer.
    Paused {
        /// The producer.
        conn: ConnId,
    },
    /// The broker asked to read from a producer again.
    Resumed {
        /// The producer.
        conn: ConnId,
    },
    /// The broker ended a connection.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },

    /// An operator had a connection ended that the broker held.
    EndOrdered {
        /// The connection.
        conn: ConnId,
    },
    /// An operator had the queue emptied.
    Purged {
        /// How much the broker said that it dropped for that; none if it has no queue.
        count: Option<Count>,
    },

    /// A fault struck.
    Struck {
        /// Which, in words.
        fault: String,
    },
    /// The broker was killed: what it held is gone, and so are all connections.
    Killed,
    /// All faults are over and everybody is back or coming back.
    Healed,
    /// The time allowed for getting over the faults has passed, or nothing was left to do.
    Settled {
        /// What the broker still holds.
        held: Held,
        /// Producers that still have messages to publish.
        unfinished: u32,
    },
    /// The broker was told to come to an orderly end.
    Draining,
    /// The run is over.
    Ended {
        /// What the broker still holds.
        held: Held,
    },
}

/// How much a broker holds, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// In all backlogs and in all writes in flight.
    pub waiting: Count,
    /// Parked by producers that wait for room.
    pub parked: Count,
}

/// What a client does to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It keeps to it.
    Good,
    /// It never sends a whole role line.
    NoRole,
    /// It breaks the protocol, and is to be told apart by this.
    Breaks(CloseReason),
}

impl History {
    /// A number that is the same for the same history, and in practice only for that.
    pub fn hash(&self) -> u64 {
        hash_of(&self.records)
    }
}

/// The hash of these records as text.
pub(crate) fn hash_of(records: &[impl fmt::Display]) -> u64 {
    let mut hash = Fnv::default();
    for record in records {
        // Writing to a hash cannot fail.
        let _ = fmt::Write::write_fmt(&mut hash, format_args!("{record}\n"));
    }
    hash.0
}

/// FNV-1a over text.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Ok(())
    }
}

/// A history as a trace for people: one line for each record.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            writeln!(f, "{record}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        write!(f, "{seconds:3}.{micros:06} {:6} {}", self.step, self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected {
                conn,
                client,
                manners,
            } => match manners {
                Manners::Good => write!(f, "client {client} connects as {conn}"),
                Manners::NoRole => write!(f, "client {client} connects as {conn}, without a role"),
                Manners::Breaks(reason) => {
                    write!(f, "client {client} connects as {conn}, for {reason}")
                }
            },
            Self::Sent { conn, message } => match message {
                Some(id) => write!(f, "  {conn} sends {id}"),
                None => write!(f, "  {conn} sends a short message"),
            },
            Self::Received { conn, message } => write!(f, "  {conn} receives {message}"),
            Self::Gone { conn } => write!(f, "  {conn} is given up by its client"),
            Self::Opened { conn } => write!(f, "broker: {conn} opened"),
            Self::Registered { conn, role } => write!(f, "broker: {conn} is a {role}"),
            Self::Accepted { conn, count } => write!(f, "broker: {} from {conn}", Text(*count)),
            Self::Admitted { count } => write!(f, "broker: {} received", Text(*count)),
            Self::WriteStarted { conn, count } => write!(f, "broker: {} to {conn}", Text(*count)),
            Self::WriteProgressed { conn } => write!(f, "broker: some is taken by {conn}"),
            Self::WriteEnded {
                conn, taken, left, ..
            } if left.is_zero() => write!(f, "broker: {} taken by {conn}", Text(*taken)),
            Self::WriteEnded {
                conn, taken, left, ..
            } => {
                let (taken, left) = (Text(*taken), Text(*left));
                write!(f, "broker: {taken} taken by {conn}, {left} left")
            }
            Self::Dropped {
                group,
                reason,
                count,
            } => match group {
                Some(group) => write!(f, "broker: {} LOST by {group}: {reason}", Text(*count)),
                None => write!(f, "broker: {} LOST: {reason}", Text(*count)),
            },
            Self::Paused { conn } => write!(f, "broker: {conn} waits for room"),
            Self::Resumed { conn } => write!(f, "broker: {conn} goes on"),
            Self::Closed { conn, reason } => write!(f, "broker: {conn} closed: {reason}"),
            Self::EndOrdered { conn } => write!(f, "operator: end {conn}"),
            Self::Purged { count } => match count {
                Some(count) => write!(f, "operator: empty the queue: {}", Text(*count)),
                None => f.write_str("operator: empty the queue: there is none"),
            },
            Self::Struck { fault } => write!(f, "FAULT {fault}"),
            Self::Killed => f.write_str("BROKER KILLED"),
            Self::Healed => f.write_str("HEALED"),
            Self::Settled { held, unfinished } => {
                write!(f, "SETTLED: {held}, {unfinished} producers unfinished")
            }
            Self::Draining => f.write_str("DRAINING"),
            Self::Ended { held } => write!(f, "ENDED: {held}"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} waiting, {} parked",
            Text(self.waiting),
            Text(self.parked)
        )
    }
}

/// A count, in words.
pub(crate) struct Text(pub(crate) Count);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { messages, bytes } = self.0;
        let plural = if messages == 1 { "" } else { "s" };
        write!(f, "{messages} message{plural} ({bytes} B)")
    }
}
