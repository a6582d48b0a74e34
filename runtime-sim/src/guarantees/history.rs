//! What happened in a run: all that the checker sees.

use super::plan::{Begin, Consumer, Settings};
use super::rights::Rights;
use crate::history::hash_of;
use crate::plan::Micros;
use message_queue_core::wire::control::{Control, Origin, Range};
use message_queue_core::wire::handshake::Accepted;
use message_queue_core::{CloseReason, ConnId, DropReason};
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
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: Micros,
    /// In which step: one call of the broker and all that came of it.
    pub step: u64,
    /// What.
    pub event: Event,
}

/// What a client asks for when it connects.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To send.
    ToSend {
        /// Where.
        topic: String,
        /// Its name and the life that it leads under it.
        life: Option<(String, String)>,
        /// Whether it asks for confirms.
        confirms: bool,
    },
    /// To receive.
    ToReceive {
        /// As it is in the plan, but for what it has said since.
        consumer: Consumer,
        /// The name of its group.
        group: String,
    },
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client connected.
    Connected {
        /// Its connection.
        conn: ConnId,
        /// Its number.
        client: usize,
        /// What it will ask for.
        asked: Asked,
    },
    /// An application gave messages to its producer.
    Given {
        /// The producer's number.
        client: usize,
        /// Their topic.
        topic: String,
        /// Whether the producer has a name.
        named: bool,
        /// Whether it asks for confirms.
        confirms: bool,
        /// The messages.
        bodies: Vec<String>,
    },
    /// An application was told that messages are safe.
    Safe {
        /// The producer's number.
        client: usize,
        /// The messages.
        bodies: Vec<String>,
    },
    /// An application was told that messages are safe, by a broker that has died since.
    WasSafe {
        /// The producer's number.
        client: usize,
        /// The messages.
        bodies: Vec<String>,
    },
    /// An application was told that messages were not taken.
    NotTaken {
        /// The producer's number.
        client: usize,
        /// The messages.
        bodies: Vec<String>,
    },
    /// An application forgot everything: what it was not told of is nobody's business any more.
    Forgot {
        /// The producer's number.
        client: usize,
    },
    /// A client saw what no client should see.
    Complaint {
        /// Its number.
        client: usize,
        /// What.
        text: String,
    },

    /// The broker is told who a client is, and what it may do; or that it may do something else now.
    Identified {
        /// The connection.
        conn: ConnId,
        /// The client's principal.
        principal: String,
        /// What it may do.
        rights: Rights,
        /// When that ends; none: never.
        until: Option<Micros>,
    },
    /// The broker is told that a client is nobody it knows.
    Disowned {
        /// The connection.
        conn: ConnId,
    },
    /// The broker read something.
    Read {
        /// The connection.
        conn: ConnId,
    },
    /// The broker was given messages.
    Published {
        /// The producer's connection.
        conn: ConnId,
        /// The messages.
        bodies: Vec<String>,
    },
    /// The broker was given a control frame.
    Heard {
        /// The connection.
        conn: ConnId,
        /// The frame.
        control: Control,
    },
    /// The broker saw the end of a connection.
    Ended {
        /// The connection.
        conn: ConnId,
    },

    /// The broker accepted a connection.
    Accepted {
        /// The connection.
        conn: ConnId,
        /// Its answer.
        answer: Accepted,
    },
    /// The broker began to write.
    WriteStarted {
        /// The connection.
        conn: ConnId,
    },
    /// A control frame of that write.
    Told {
        /// The connection.
        conn: ConnId,
        /// The frame.
        control: Control,
    },
    /// A message of that write.
    HandedOut {
        /// The connection.
        conn: ConnId,
        /// The message.
        body: String,
    },
    /// The socket has taken all of the write.
    WriteDone {
        /// The connection.
        conn: ConnId,
    },
    /// The broker does not read from a producer any more.
    Paused {
        /// The connection.
        conn: ConnId,
    },
    /// The broker reads from a producer again.
    Resumed {
        /// The connection.
        conn: ConnId,
    },
    /// The broker closed a connection.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// The socket of a closed connection takes nothing more.
    Sealed {
        /// The connection.
        conn: ConnId,
        /// How many messages of the last write it has not taken whole.
        unwritten: usize,
    },
    /// The broker dropped messages.
    Dropped {
        /// The topic and the group that lost them; none: there was none.
        whence: Option<(String, String)>,
        /// Why.
        reason: DropReason,
        /// How many.
        messages: u64,
    },

    /// The broker was told the time.
    Time,
    /// Something goes wrong from now on, for a while.
    Struck {
        /// What, in words.
        fault: String,
    },
    /// The broker asks its store for something, or is answered.
    Store {
        /// What, in words.
        text: String,
    },
    /// Something about the engine that other brokers share.
    Engine {
        /// The topic.
        topic: String,
        /// What.
        event: EngineEvent,
    },
    /// The store of the broker has failed: the broker ends.
    StoreFailed,
    /// The broker is gone without a word, and with it what was not stored.
    Killed,
    /// The broker does not start again from what is stored.
    NotOpened {
        /// Why.
        error: String,
    },
    /// The broker holds more bytes than it may.
    TooMuch {
        /// What it holds.
        held_bytes: usize,
        /// What it may hold.
        most: usize,
    },
    /// The operator has other rules read in.
    Rules {
        /// The settings with them.
        settings: Settings,
    },
    /// The operator ends a group.
    Deleting {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
    },
    /// It is gone; or there was none.
    Deleted {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// Whether there was one.
        existed: bool,
    },
    /// From now on everything goes well.
    Healed,
    /// All that was sent has come to its end; or the time for that is over.
    Settled {
        /// The bytes that the broker holds.
        held_bytes: usize,
        /// Producers that still have something unconfirmed.
        unfinished: usize,
    },
    /// The broker was told to come to an orderly end.
    Draining,
    /// The run is over.
    Over {
        /// The bytes that the broker holds.
        held_bytes: usize,
        /// Whether the orderly end is over, as the broker says.
        is_drained: bool,
    },
}

/// What happens in an engine that other brokers share, or is asked of it.
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// Messages are there now.
    Kept {
        /// The messages.
        bodies: Vec<String>,
        /// For a dead letter: where it came from.
        origin: Option<Origin>,
        /// Whether another broker has sent them.
        is_of_others: bool,
    },
    /// The broker asks for a group, which is to begin there if the engine does not know it.
    Opening {
        /// The group.
        group: String,
        /// Where.
        from: Begin,
    },
    /// A group is open: what it is delivered begins at this sequence.
    Opened {
        /// The group.
        group: String,
        /// The sequence.
        next: u64,
    },
    /// A message was delivered to this broker for a group.
    Delivered {
        /// The group.
        group: String,
        /// Its sequence there.
        sequence: u64,
        /// What it is in the group, under whatever sequence.
        copy: u64,
        /// How often it was delivered before, as far as the engine says.
        attempts: u32,
        /// The message.
        body: String,
    },
    /// The broker asks to have it noted that a group has settled this.
    Saving {
        /// The group.
        group: String,
        /// All up to this sequence.
        up_to: u64,
        /// And these.
        above: Vec<Range>,
    },
    /// That is noted.
    Settled {
        /// The group.
        group: String,
        /// The sequences.
        sequences: Vec<u64>,
    },
    /// The broker asks to close a group: it has no members.
    Closing {
        /// The group.
        group: String,
    },
    /// What the broker had of a group, and has not settled, is for whoever comes next.
    Lost {
        /// The group.
        group: String,
    },
    /// Another broker has settled these.
    SettledElsewhere {
        /// The group.
        group: String,
        /// The messages.
        bodies: Vec<String>,
    },
    /// In the end: what of lasting groups nobody has settled, and what the broker says it has not fetched.
    Left {
        /// Messages in the engine.
        unsettled: usize,
        /// Messages that the broker is behind by.
        behind: u64,
    },
}

impl fmt::Display for EngineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept {
                bodies,
                is_of_others,
                ..
            } => {
                let whose = if *is_of_others { "others'" } else { "ours" };
                write!(f, "keeps {whose}: {}", List(bodies))
            }
            Self::Opening { group, from } => write!(f, "is asked for {group} from {from:?}"),
            Self::Opened { group, next } => write!(f, "{group} OPEN from {next}"),
            Self::Delivered {
                group,
                sequence,
                copy,
                attempts,
                body,
            } => {
                let body = body.trim_end_matches('x');
                write!(
                    f,
                    "{group} gets {sequence}: {body}, copy {copy}, {attempts} before"
                )
            }
            Self::Saving {
                group,
                up_to,
                above,
            } => {
                write!(f, "{group} is to be saved: {up_to}")?;
                let mut above = above.iter();
                above.try_for_each(|it| write!(f, " {}-{}", it.from, it.to))
            }
            Self::Settled { group, sequences } => write!(f, "{group} saved: {sequences:?}"),
            Self::Closing { group } => write!(f, "{group} is to be closed"),
            Self::Lost { group } => write!(f, "{group} LOST"),
            Self::SettledElsewhere { group, bodies } => {
                write!(f, "{group} elsewhere: {}", List(bodies))
            }
            Self::Left { unsettled, behind } => {
                write!(f, "{unsettled} not settled, the broker is {behind} behind")
            }
        }
    }
}

impl History {
    /// A number that is the same for the same history, and in practice only for that.
    pub fn hash(&self) -> u64 {
        hash_of(&self.records)
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
                asked,
            } => match asked {
                Asked::ToSend {
                    topic,
                    life,
                    confirms,
                } => {
                    write!(f, "client {client} connects as {conn}, to send to {topic}")?;
                    f.write_str(if *confirms { "" } else { ", confirm=0" })?;
                    match life {
                        Some((name, session)) => write!(f, " as {name}, session {session}"),
                        None => Ok(()),
                    }
                }
                Asked::ToReceive { consumer, group } => {
                    let topic = &consumer.topic;
                    write!(f, "client {client} connects as {conn}, to {topic} {group}")?;
                    let (most, workers) = (consumer.prefetch, consumer.workers);
                    write!(f, ", ack={}, prefetch={most}", u8::from(consumer.ack))?;
                    write!(f, ", {} B, workers={workers}", consumer.prefetch_bytes)?;
                    f.write_str(if consumer.share_one {
                        ", share=one"
                    } else {
                        ""
                    })
                }
            },
            Self::Given {
                client,
                topic,
                bodies,
                ..
            } => write!(f, "client {client} is to send to {topic}: {}", List(bodies)),
            Self::Safe { client, bodies } => {
                write!(f, "client {client} hears: safe: {}", List(bodies))
            }
            Self::WasSafe { client, bodies } => {
                write!(f, "client {client} hears late: safe: {}", List(bodies))
            }
            Self::NotTaken { client, bodies } => {
                write!(f, "client {client} hears: not taken: {}", List(bodies))
            }
            Self::Forgot { client } => write!(f, "client {client} forgets everything"),
            Self::Complaint { client, text } => write!(f, "client {client} COMPLAINS: {text}"),
            Self::Identified {
                conn,
                principal,
                rights,
                until,
            } => {
                write!(f, "runtime: {conn} is {principal}: {rights}")?;
                until.map_or(Ok(()), |until| write!(f, ", until {until} us"))
            }
            Self::Disowned { conn } => write!(f, "runtime: {conn} is nobody known"),
            Self::Read { conn } => write!(f, "  {conn} ─▶ some bytes"),
            Self::Published { conn, bodies } => write!(f, "  {conn} ─▶ {}", List(bodies)),
            Self::Heard { conn, control } => write!(f, "  {conn} ─▶ {}", Frame(control)),
            Self::Ended { conn } => write!(f, "  {conn} ─▶ end"),
            Self::Accepted { conn, answer } => {
                write!(f, "  {conn} ◀─ OK")?;
                if let (Some(accepted), Some(resumed)) = (answer.accepted, answer.resumed) {
                    let resumed = u8::from(resumed);
                    write!(f, " accepted={accepted} resumed={resumed}")?;
                }
                if let Some(created) = answer.created {
                    write!(f, " created={}", u8::from(created))?;
                }
                Ok(())
            }
            Self::WriteStarted { conn } => write!(f, "  {conn} ◀─ a write"),
            Self::Told { conn, control } => write!(f, "  {conn} ◀─ {}", Frame(control)),
            Self::HandedOut { conn, body } => write!(f, "  {conn} ◀─ {body}"),
            Self::WriteDone { conn } => write!(f, "  {conn} has taken the write"),
            Self::Paused { conn } => write!(f, "broker: {conn} is not read from"),
            Self::Resumed { conn } => write!(f, "broker: {conn} is read from again"),
            Self::Closed { conn, reason } => write!(f, "broker: {conn} closed: {reason}"),
            Self::Sealed { conn, unwritten: 0 } => write!(f, "  {conn} is sealed"),
            Self::Sealed { conn, unwritten } => {
                write!(f, "  {conn} is sealed, {unwritten} messages not written")
            }
            Self::Dropped {
                whence,
                reason,
                messages,
            } => {
                write!(f, "broker: {messages} LOST: {reason}")?;
                match whence {
                    Some((topic, group)) => write!(f, ", by {topic} {group}"),
                    None => Ok(()),
                }
            }
            Self::Time => f.write_str("time"),
            Self::Struck { fault } => write!(f, "FAULT: {fault}"),
            Self::Store { text } => write!(f, "  store {text}"),
            Self::Engine { topic, event } => write!(f, "  engine, {topic}: {event}"),
            Self::StoreFailed => f.write_str("STORE FAILED"),
            Self::Killed => f.write_str("KILLED"),
            Self::NotOpened { error } => write!(f, "NOT OPENED: {error}"),
            Self::TooMuch { held_bytes, most } => {
                write!(f, "TOO MUCH: {held_bytes} B of {most}")
            }
            Self::Rules { settings } => write!(f, "operator: {settings:?}"),
            Self::Deleting { topic, group } => write!(f, "operator: delete {topic} {group}"),
            Self::Deleted {
                topic,
                group,
                existed,
            } => {
                let what = if *existed { "is gone" } else { "was not there" };
                write!(f, "operator: {topic} {group} {what}")
            }
            Self::Healed => f.write_str("HEALED"),
            Self::Settled {
                held_bytes,
                unfinished,
            } => {
                write!(f, "SETTLED: {held_bytes} B held, {unfinished} unfinished")
            }
            Self::Draining => f.write_str("DRAINING"),
            Self::Over {
                held_bytes,
                is_drained,
            } => {
                write!(f, "OVER: {held_bytes} B held, drained: {is_drained}")
            }
        }
    }
}

/// Messages, by their beginnings.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, body) in self.0.iter().enumerate() {
            let name = body.trim_end_matches('x');
            write!(f, "{}{name}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// A control frame, in short.
struct Frame<'a>(&'a Control);

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Control::Run { first, attempt, .. } => write!(f, "RUN {first}, attempt {attempt}"),
            Control::Topic(name) => write!(f, "TOPIC {name}"),
            Control::Confirmed { position, .. } => write!(f, "CONFIRMED {position}"),
            Control::Refused(range, reason) => {
                write!(f, "REFUSED {} {}", Ranges(&[*range]), reason.code)
            }
            Control::Settle {
                outcome,
                delay_ms,
                ranges,
            } => write!(f, "SETTLE {outcome:?} {} +{delay_ms} ms", Ranges(ranges)),
            Control::Revoked { ranges, .. } => write!(f, "REVOKED {}", Ranges(ranges)),
            Control::Gap(range, reason) => {
                write!(f, "GAP {} {}", Ranges(&[*range]), reason.code)
            }
            Control::Credit { messages, bytes } => write!(f, "CREDIT {messages}, {bytes} B"),
            Control::Blocked { blocked, text } => write!(f, "BLOCKED {blocked} {text}"),
            Control::Error(reason) => write!(f, "ERROR {}", reason.code),
            Control::Origin(origin) => write!(
                f,
                "ORIGIN {} {} {}: {} failures, {}",
                origin.topic, origin.group, origin.sequence, origin.failures, origin.reason
            ),
            other @ (Control::Ping(_)
            | Control::Pong(..)
            | Control::Flush(_)
            | Control::Flushed(_)
            | Control::GoAway { .. }
            | Control::Bye
            | Control::Check { .. }
            | Control::Segment { .. }) => write!(f, "{other:?}"),
        }
    }
}

struct Ranges<'a>(&'a [Range]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}-{}", range.from, range.to)?;
        }
        Ok(())
    }
}
