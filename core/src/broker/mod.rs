//! The broker: inputs, outputs, and the way from one to the other.
//!
//! The rest of this directory: `lifecycle.rs` (connections come and go), `introduce.rs` (those of version 2 say
//! what they are), `access.rs` (and what they may do), `dispatch.rs` (what they bring goes to their topics, and from there to others), `control.rs`
//! (what they say beside it), `settle.rs` (what becomes of what a consumer holds), `topics.rs` (topics are made
//! and forgotten), `expire.rs` (what happens by itself), `drain.rs` (the orderly end), `operate.rs` (what an
//! operator may do), `views.rs` (what an operator may see), `checkpoint.rs` (the whole state), `invariants.rs`
//! (what always holds).

mod access;
mod checkpoint;
mod control;
mod dispatch;
mod drain;
mod expire;
mod introduce;
mod invariants;
mod lifecycle;
mod operate;
mod rules;
mod settle;
mod stored;
mod topics;
#[cfg(test)]
mod two_topics;
mod views;

pub use checkpoint::Checkpoint;
pub use rules::TopicChange;
pub use views::{Blocked, ConnectionView, ConsumerView, GroupView, TopicReport, TopicView};

use crate::access::Principal;
use crate::config::Config;
use crate::error::{CloseReason, DropReason, ProtocolError};
use crate::id::{ConnId, DEFAULT_TOPIC, GroupId, TopicId};
use crate::names::{Name, TopicName};
use crate::shared::Shared;
use crate::stats::{Count, Stats};
use crate::store::{Answer, Request, StoredTopic, first_epoch};
use crate::time::Now;
use crate::topic::Topic;
use crate::wire::control::Control;
use crate::wire::handshake::{BadOption, RoleOptions};
use crate::wire::{Decoded, FrameBatch, Role, Write};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// What happened on a connection. See [`Broker::handle_input`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// It was accepted. The first input of every connection; its number is new.
    Opened,
    /// Who its peer is: before its role, or later, where that has changed. What it does and has no right to do any
    /// more ends its connection, and so does the end of its [time](Principal::expires).
    Identified(Principal),
    /// Its peer could not show who it is, or is known no more.
    Unauthorized,
    /// Its role line arrived, of version 1.
    Role(Role),
    /// Its role line arrived, of version 2.
    Options(RoleOptions),
    /// Its role line arrived, with options that are not allowed.
    BadOptions(BadOption),
    /// A producer sent these messages. Not between [`Output::Pause`] and [`Output::Resume`].
    Batch(FrameBatch),
    /// A peer of version 2 sent this control frame. Not between [`Output::Pause`] and [`Output::Resume`].
    Control(Control),
    /// Bytes came that are no whole frame yet, or it was chosen not to read: a peer of version 2 counts as alive.
    Heard,
    /// A consumer's socket has taken this many bytes in all since the connection was opened.
    ///
    /// A total that is not above the last one changes nothing, so reports may come late, twice and
    /// in any order.
    Written(u64),
    /// The answer to [`Output::Close`]: the socket takes nothing more, and has taken this many
    /// bytes in all. What it was not given whole goes to another consumer, and its place is free.
    Sealed {
        /// As in [`Input::Written`]; 0 for a connection that is not a consumer's.
        written: u64,
    },
    /// The peer broke the protocol: what its [`Decoder`](crate::wire::Decoder) returned.
    Broke(ProtocolError),
    /// The peer ended its side of the stream, between frames.
    PeerClosed,
    /// The connection was reset or failed.
    PeerReset,
    /// While draining: a read of this producer (or of a connection without a role) would wait.
    NothingToRead,
    /// An operator wants it closed.
    EndedByOperator,
    /// A producer's decoder holds this many bytes of a frame that is not whole: what
    /// [`Decoder::report_partial`](crate::wire::Decoder::report_partial) returned. Stands until the next report
    /// or the next [`Input::Batch`].
    Partial {
        /// The bytes that count.
        bytes: usize,
    },
    /// A producer has begun a frame, and no byte more of it came for as long as is allowed.
    FrameStalled,
}

impl From<Decoded> for Input {
    fn from(decoded: Decoded) -> Self {
        match decoded {
            Decoded::Role(role) => Self::Role(role),
            // The token is for whoever authenticates. It goes no further.
            Decoded::Options(options) => Self::Options(options.without_token()),
            Decoded::BadOptions(bad) => Self::BadOptions(bad),
            Decoded::Batch(batch) => Self::Batch(batch),
            Decoded::Control(control) => Self::Control(control),
        }
    }
}

/// What the runtime has to do, or may want to tell. See [`Broker::poll_output`].
///
/// `W` is what is said of the messages of a write: the broker gives the messages themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Output<W = Write> {
    /// Write this to the consumer's socket, and report [`Input::Written`] as it is taken. Until
    /// the whole of it was reported, no other write is asked for on this connection.
    Write {
        /// The consumer.
        conn: ConnId,
        /// What to write.
        write: W,
    },
    /// The last that a peer of version 2 is told; [`Output::Close`] follows. To be written behind the write in flight
    /// if the socket takes that at once, and else to be left out. It counts in no [`Input::Written`] and no
    /// [`Input::Sealed`].
    ///
    /// Then the runtime reads and discards for up to a second, so that it is not lost in a reset.
    Farewell {
        /// The connection.
        conn: ConnId,
        /// What to write.
        bytes: Bytes,
    },
    /// Close the connection: make sure that its socket takes nothing more, then answer with
    /// [`Input::Sealed`]. Comes exactly once for each connection, and is the last output for it.
    ///
    /// Until the answer the connection keeps its place, and what is in flight to it stays there:
    /// only the answer says what the socket has taken. What the runtime does with the socket after
    /// that (send an error, linger) is its own affair.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Do not read from this producer until [`Output::Resume`].
    Pause {
        /// The producer.
        conn: ConnId,
    },
    /// Read from this producer again.
    Resume {
        /// The producer.
        conn: ConnId,
    },
    /// The connection has taken up its role.
    Registered {
        /// The connection.
        conn: ConnId,
        /// Its role.
        role: Role,
    },
    /// Messages were dropped.
    Dropped {
        /// Their topic; none if there is no such topic, and none is made.
        topic: Option<TopicName>,
        /// The group that lost them; none if there was no group.
        group: Option<GroupId>,
        /// The group's name, if it has one.
        name: Option<Name>,
        /// Why.
        reason: DropReason,
        /// How many.
        count: Count,
    },
    /// A stored topic wants something of its store: see [`store`](crate::store).
    Store {
        /// The topic.
        topic: TopicId,
        /// What it wants.
        request: Request,
    },
}

impl<W> Output<W> {
    /// The same output, with something else said of the messages of a write.
    pub fn map_write<V>(self, map: impl FnOnce(W) -> V) -> Output<V> {
        match self {
            Self::Write { conn, write } => Output::Write {
                conn,
                write: map(write),
            },
            Self::Farewell { conn, bytes } => Output::Farewell { conn, bytes },
            Self::Close { conn, reason } => Output::Close { conn, reason },
            Self::Pause { conn } => Output::Pause { conn },
            Self::Resume { conn } => Output::Resume { conn },
            Self::Registered { conn, role } => Output::Registered { conn, role },
            Self::Dropped {
                topic,
                group,
                name,
                reason,
                count,
            } => Output::Dropped {
                topic,
                group,
                name,
                reason,
                count,
            },
            Self::Store { topic, request } => Output::Store { topic, request },
        }
    }
}

/// The state machine. One object owns all connections.
///
/// - **Getters**: [`stats`](Self::stats), [`consumers`](Self::consumers),
///   [`groups`](Self::groups), [`is_draining`](Self::is_draining),
///   [`is_drained`](Self::is_drained), [`checkpoint`](Self::checkpoint).
/// - **What happened** goes in by [`handle_input`](Self::handle_input),
///   [`handle_timeout`](Self::handle_timeout), [`drain`](Self::drain) and [`purge`](Self::purge).
/// - **What to do** comes out of [`poll_output`](Self::poll_output), to be polled until there is
///   nothing after each call of the second kind, then [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use message_queue_core::{Broker, Config, ConnId, Input, Now, Output};
/// use message_queue_core::wire::{FrameBatch, Role};
///
/// let mut broker = Broker::new(Config::default());
/// let (consumer, producer, now) = (ConnId(1), ConnId(2), Now::START);
/// broker.handle_input(consumer, Input::Opened, now);
/// broker.handle_input(consumer, Input::Role(Role::Consumer), now);
/// broker.handle_input(producer, Input::Opened, now);
/// broker.handle_input(producer, Input::Role(Role::Producer), now);
/// broker.handle_input(producer, Input::Batch(FrameBatch::encode(["hello"])?), now);
///
/// let mut written = Vec::new();
/// while let Some(output) = broker.poll_output() {
///     if let Output::Write { conn, write } = output {
///         assert_eq!(conn, consumer);
///         written.extend(write.batches().flat_map(|batch| batch.bodies()));
///     }
/// }
/// assert_eq!(written, ["hello"]);
/// # Ok::<(), message_queue_core::wire::MessageTooLarge>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Broker {
    topics: BTreeMap<TopicId, Topic>,
    names: BTreeMap<TopicName, TopicId>,
    /// The topic of version 1, which is always there.
    default_topic: TopicId,
    /// The number of the next topic.
    next_topic: u32,
    shared: Shared,
}

impl Broker {
    /// A broker without connections.
    ///
    /// # Panics
    /// If the settings do not keep their bounds ([`Config::check`]).
    pub fn new(config: Config) -> Self {
        Self::with_stored(config, Vec::new(), Now::START)
    }

    /// A broker without connections, with the topics that were found in its store.
    ///
    /// # Panics
    /// If the settings do not keep their bounds ([`Config::check`]).
    pub fn with_stored(config: Config, stored: Vec<StoredTopic>, now: Now) -> Self {
        if let Err(error) = config.check() {
            panic!("{error}");
        }
        let mut broker = Self {
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            default_topic: DEFAULT_TOPIC,
            next_topic: DEFAULT_TOPIC.0,
            shared: Shared::new(config),
        };
        broker.shared.now = now;
        broker.shared.first_epoch = first_epoch(broker.wall_clock());
        broker.take_in_stored(stored);
        // A rule that names one topic declares it: it is there from the start, with its groups.
        broker.make_declared();
        broker
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The counters.
    pub const fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Takes note of what happened on a connection.
    ///
    /// Input for a connection that has ended, and any but [`Input::Written`] and
    /// [`Input::Sealed`] for one that is closing, is a normal race and is ignored.
    ///
    /// # Panics
    /// If the caller broke the contract: time ran backwards, a connection was opened twice or sealed
    /// before it was to be closed, more was written than was in flight, or the input cannot happen
    /// in the state that the connection is in.
    pub fn handle_input(&mut self, conn: ConnId, input: Input, now: Now) {
        self.advance_to(now);
        match input {
            Input::Opened => self.open(conn),
            _ if !self.shared.sessions.contains_key(&conn) => {}
            Input::Written(total) => self.written(conn, total),
            Input::Sealed { written } => self.sealed(conn, written),
            _ if self.shared.session(conn).is_closing() => {}
            Input::Identified(principal) => self.identify(conn, principal),
            Input::Unauthorized => self.turn_away(conn, CloseReason::Unauthorized),
            Input::Role(role) => self.register(conn, role),
            Input::Options(options) => self.introduce(conn, options),
            Input::BadOptions(bad) => self.refuse_options(conn, bad),
            Input::Batch(batch) => {
                self.heard(conn);
                self.publish(conn, batch);
            }
            Input::Control(control) => {
                self.heard(conn);
                self.control(conn, control);
            }
            Input::Heard => self.heard(conn),
            Input::Broke(error) => self.close(conn, CloseReason::Protocol(error)),
            Input::PeerClosed => self.peer_closed(conn),
            Input::PeerReset => self.close(conn, CloseReason::PeerReset),
            Input::NothingToRead => self.nothing_to_read(conn),
            Input::EndedByOperator => self.close(conn, CloseReason::EndedByOperator),
            Input::Partial { bytes } => self.hold_partial(conn, bytes),
            Input::FrameStalled => self.close(conn, CloseReason::FrameTimeout),
        }
        self.proceed_with_drain();
        self.tell();
    }

    /// Takes note of what a topic's store has done.
    ///
    /// # Panics
    /// If time ran backwards, or the store answered what it was not asked.
    pub fn handle_answer(&mut self, topic: TopicId, answer: Answer, now: Now) {
        self.advance_to(now);
        self.answered(topic, answer);
        self.proceed_with_drain();
        self.tell();
    }

    /// Does what is due. To be called when the moment that [`poll_timeout`](Self::poll_timeout)
    /// names has come; calling it at other times is harmless.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance_to(now);
        self.expire();
        self.proceed_with_drain();
        self.tell();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next to be called. It may turn out that
    /// nothing is due then; nothing is ever due earlier.
    pub fn poll_timeout(&self) -> Option<Now> {
        self.shared.timers.next()
    }

    /// The connections that [`handle_timeout`](Self::handle_timeout) may close at `now`. A runtime
    /// that may have been held up looks at their sockets first: what came in time, or was taken in
    /// time, is to be told before the time is judged.
    pub fn due(&self, now: Now) -> impl Iterator<Item = ConnId> {
        self.shared.timers.due(now)
    }

    /// The next thing to do. Outputs are in order: for one connection and between connections.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    fn advance_to(&mut self, now: Now) {
        assert!(
            now >= self.shared.now,
            "time ran backwards, from {} to {now}",
            self.shared.now
        );
        self.shared.now = now;
    }
}
