//! What will happen in a run: settings, clients and faults, all of it listed. A seed expands into
//! a plan ([`Plan::of_seed`]); a run is a function of its plan alone.

mod expand;
mod file;
mod packets;
mod validate;

pub(crate) use expand::faults;
pub use file::PlanFile;
pub(crate) use packets::packet_faults;
pub use packets::{Direction, PacketFault, PacketFaultKind, Packets};
pub use validate::PlanError;
pub(crate) use validate::within;

use message_queue_core::{Config, DeliveryMode, Overflow};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Microseconds: a moment since the start of the run, or a span of simulated time.
pub type Micros = u64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// One millisecond.
pub const MILLISECOND: Micros = 1_000;

/// A run, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed that it was expanded from.
    pub seed: u64,
    /// How long clients publish and faults strike. Then all is healed. Up to one hour.
    pub duration_us: Micros,
    /// How it ends.
    pub ending: Ending,
    /// The broker's settings.
    pub settings: Settings,
    /// The network when nothing is wrong with it.
    pub network: Network,
    /// Who takes part.
    pub clients: Vec<Client>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What goes wrong with packets and hosts. For the whole stack only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<Packets>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All faults are healed and everybody comes back; what was published must get through. Then
    /// the broker is drained.
    HealThenDrain,
    /// The broker is drained in the middle of it all.
    DrainUnderLoad,
}

/// The broker's settings; see [`Config`], whose bounds they must keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// To whom a message goes.
    #[serde(with = "DeliveryName")]
    pub delivery: DeliveryMode,
    /// What happens to a message for which there is no room.
    #[serde(with = "OverflowName")]
    pub overflow: Overflow,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most consumers at a time.
    pub max_consumers: usize,
    /// The most messages in one backlog.
    pub backlog_messages: usize,
    /// The most bytes in one backlog.
    pub backlog_bytes: usize,
    /// The most bytes in all backlogs.
    pub broker_bytes: usize,
    /// The most bytes in one write.
    pub write_bytes: usize,
    /// The time allowed for the role line.
    pub role_timeout_us: Micros,
    /// How long a socket may take nothing of a write.
    pub write_timeout_us: Micros,
    /// The least rate of a consumer, in bytes a second; 0 for none.
    pub min_consumer_rate: usize,
    /// The time allowed for the orderly end.
    pub drain_timeout_us: Micros,
    /// The longest role line, in bytes.
    pub role_line_bytes: usize,
    /// The largest read, in bytes.
    pub read_bytes: usize,
}

impl Settings {
    /// The same, as the core takes them.
    pub fn config(&self) -> Config {
        Config {
            delivery: self.delivery,
            overflow: self.overflow,
            max_connections: self.max_connections,
            max_consumers: self.max_consumers,
            consumer_backlog: self.backlog_messages,
            queue_capacity: self.backlog_messages,
            backlog_bytes: self.backlog_bytes,
            broker_bytes: self.broker_bytes,
            role_timeout: Duration::from_micros(self.role_timeout_us),
            write_timeout: Duration::from_micros(self.write_timeout_us),
            min_consumer_rate: self.min_consumer_rate,
            write_bytes: self.write_bytes,
            ..Config::default()
        }
    }
}

/// The names of the delivery modes in a plan.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DeliveryMode", rename_all = "snake_case")]
enum DeliveryName {
    Broadcast,
    Queue,
}

/// The names of the overflow policies in a plan.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Overflow", rename_all = "snake_case")]
pub(crate) enum OverflowName {
    Drop,
    Block,
    Reject,
    DropOldest,
}

/// The network when nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The shortest way from one end to the other.
    pub latency_min_us: Micros,
    /// The longest; at least the shortest.
    pub latency_max_us: Micros,
    /// The most bytes that one read or write moves; at least 1.
    pub chunk_bytes: usize,
    /// Bytes on the way from a client to the broker, in all buffers; at least 1.
    pub upward_bytes: usize,
    /// Whether the broker is told of each part of a write that a socket takes, or only when it
    /// must be.
    pub reports_progress: bool,
}

/// Somebody who connects to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its number: no other client has it.
    pub id: u32,
    /// When it first connects.
    pub starts_us: Micros,
    /// What its small change is drawn from: sizes of messages, of reads, and latencies. A number
    /// for each client, so that the others stay what they are when one is removed.
    pub stream: u64,
    /// What it does.
    pub conduct: Conduct,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conduct {
    /// Publishes.
    Producer(Producer),
    /// Receives.
    Consumer(Consumer),
    /// Misbehaves. Connects once.
    Hostile(Hostile),
}

/// A client that publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// How many messages in all.
    pub messages: u32,
    /// The smallest message, in bytes.
    pub size_min: usize,
    /// The largest; at least the smallest, at most 1 MiB.
    pub size_max: usize,
    /// How many it publishes at once; at least 1.
    pub burst: u32,
    /// How long it waits before it publishes as many again.
    pub every_us: Micros,
    /// Whether it stays connected when it has published all.
    pub stays: bool,
}

/// A client that receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The most that it reads at once, in bytes; at least 1.
    pub read_bytes: usize,
    /// How long it waits after each read. Once all is healed it does not.
    pub every_us: Micros,
    /// Bytes on the way from the broker to it, in all buffers; at least 1.
    pub buffer_bytes: usize,
}

/// How a client misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hostile {
    /// Connects and says nothing.
    Silent,
    /// Sends the first bytes of a role line, one at a time, and never ends it.
    DripsRole {
        /// The time between two bytes.
        every_us: Micros,
    },
    /// Sends a line that is no role.
    UnknownRole,
    /// Sends a role line that does not end.
    EndlessRole,
    /// Publishes, then ends the stream inside a frame.
    TruncatesFrame {
        /// How many whole messages it publishes.
        messages: u32,
    },
    /// Publishes, then announces a frame larger than any may be.
    OversizesFrame {
        /// How many whole messages it publishes.
        messages: u32,
        /// The length that it announces.
        length: u32,
    },
    /// A consumer that sends something.
    Talks,
}

/// Something that goes wrong at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at_us: Micros,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong. A fault that names a client which is not connected has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A client's connection is reset. It comes back.
    Reset {
        /// Whose.
        client: u32,
        /// After how long it comes back.
        away_us: Micros,
    },
    /// A client ends its side of the stream between two messages. It comes back.
    Leave {
        /// Who.
        client: u32,
        /// After how long it comes back.
        away_us: Micros,
    },
    /// A client does nothing: publishes nothing, reads nothing.
    Stall {
        /// Who.
        client: u32,
        /// For how long.
        for_us: Micros,
    },
    /// Nothing gets through between a client and the broker; nothing is lost either, as with a
    /// partition that TCP outlives.
    Hold {
        /// Whose connection.
        client: u32,
        /// For how long.
        for_us: Micros,
    },
    /// Everything takes longer, as when segments are lost and sent again.
    Lag {
        /// How much longer at the most.
        extra_us: Micros,
        /// For how long.
        for_us: Micros,
    },
    /// The broker is killed and starts anew, without anything that it held.
    Restart {
        /// After how long it is back.
        down_us: Micros,
    },
    /// An operator has a client's connection ended. It comes back. For the core alone.
    EndedByOperator {
        /// Whose.
        client: u32,
    },
    /// An operator empties the queue, if there is one. For the core alone.
    Purge,
}
