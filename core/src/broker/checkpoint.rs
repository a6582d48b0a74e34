//! The whole state of a broker as plain data, to go on from elsewhere and later.
//!
//! A [`Checkpoint`] holds what cannot be worked out from the rest: sums, the members of groups and
//! the timers follow from it. Waiting messages are shared with the broker, not copied. What a
//! checkpoint looks like as bytes is the affair of whoever keeps it.

use super::backlog::Backlog;
use super::group::Group;
use super::timers::{Timeout, Timers};
use super::{Broker, Write};
use crate::config::{Config, ConfigError};
use crate::id::{ConnId, GroupId};
use crate::session::{Consumer, Outbox, Session, State};
use crate::stats::{Count, Flow, Stats};
use crate::time::Now;
use crate::wire::FrameBatch;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

/// The state of a [`Broker`] between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The settings.
    pub config: Config,
    /// The latest moment that was passed in.
    pub now: Now,
    /// The orderly end, once it has begun.
    pub drain: Option<DrainState>,
    /// The counters.
    pub stats: Stats,
    /// Connections that have not ended.
    pub connections: BTreeMap<ConnId, ConnectionState>,
    /// The groups.
    pub groups: BTreeMap<GroupId, GroupState>,
    /// What producers have parked, first parked first.
    pub parked: Vec<(ConnId, FrameBatch)>,
}

/// The orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainState {
    /// When it must be over.
    pub due: Now,
    /// Whether that has yet to be looked at.
    pub pending: bool,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionState {
    /// When it was opened.
    pub opened: Now,
    /// Its role, once it has one.
    pub role: RoleState,
}

/// What a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleState {
    /// Nothing yet.
    Awaited,
    /// A producer; blocked if it has something parked.
    Producer,
    /// A consumer.
    Consumer(ConsumerState),
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// The group it is a member of.
    pub group: GroupId,
    /// What its socket has taken in all.
    pub delivered: Count,
    /// When its write timer goes off next.
    pub timer: Option<Now>,
    /// The write in flight.
    pub in_flight: Option<InFlight>,
}

/// A write in flight to one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// What is written.
    pub write: Write,
    /// The position in the backlog of its first message; the others follow without a gap.
    pub position: u64,
    /// How many bytes of it the socket has taken; fewer than it has.
    pub taken: usize,
    /// When it was handed out.
    pub started: Now,
    /// Since when its oldest message has been waiting.
    pub waiting_since: Now,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Its members with no write in flight, the one that has waited longest first.
    pub idle: Vec<ConnId>,
    /// What became of the messages offered to it.
    pub flow: Flow,
    /// What waits, in order.
    pub backlog: Vec<Waiting>,
    /// The position of the next message.
    pub next_position: u64,
    /// How many of the first messages were handed back by a member that left.
    pub handed_back: usize,
}

/// A batch that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The messages; at least one.
    pub batch: FrameBatch,
    /// The position of the first of them.
    pub position: u64,
    /// Since when it has been waiting.
    pub since: Now,
}

/// Why no broker can go on from a checkpoint: it was not made by [`Broker::checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// The settings do not keep their bounds.
    Config(ConfigError),
    /// A consumer is a member of a group that is not there.
    NoSuchGroup(GroupId),
    /// A group waits to serve a connection that is not an idle member of it.
    NotIdle(ConnId),
    /// A connection that is not a producer has something parked.
    NotAProducer(ConnId),
    /// A batch that waits, or a write in flight, has no messages.
    EmptyBatch,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "the settings of the checkpoint: {error}"),
            Self::NoSuchGroup(group) => write!(f, "there are members of {group}, which is missing"),
            Self::NotIdle(conn) => write!(f, "{conn} is not an idle member of its group"),
            Self::NotAProducer(conn) => write!(f, "{conn} has parked messages and is no producer"),
            Self::EmptyBatch => f.write_str("a batch without messages waits"),
        }
    }
}

impl core::error::Error for CheckpointError {}

impl Broker {
    /// The state of the broker, to [`restore`](Self::restore) one that goes on as this one does.
    /// Takes a reference to every batch that waits; copies no message.
    ///
    /// # Panics
    /// If there is an output that was not polled: it would be lost.
    pub fn checkpoint(&self) -> Checkpoint {
        let Self {
            config,
            sessions,
            groups,
            parked,
            held_bytes: _,
            timers,
            outputs,
            stats,
            drain_due,
            now,
        } = self;
        assert!(outputs.is_empty(), "an output was not polled");
        let connections = sessions.iter().map(|(conn, it)| (*conn, connection(it)));
        Checkpoint {
            config: config.clone(),
            now: *now,
            drain: drain_due.map(|due| DrainState {
                due,
                pending: timers.is_set(due, Timeout::Drain),
            }),
            stats: stats.clone(),
            connections: connections.collect(),
            groups: groups.iter().map(|(id, it)| (*id, group(it))).collect(),
            parked: parked.iter().cloned().collect(),
        }
    }

    /// A broker in the state of `checkpoint`.
    ///
    /// Only what would keep it from being built is checked. Whether the parts fit together
    /// otherwise is for [`check_invariants`](Self::check_invariants) to say.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn restore(checkpoint: Checkpoint) -> Result<Self, CheckpointError> {
        checkpoint.check()?;
        let Checkpoint {
            config,
            now,
            drain,
            stats,
            connections,
            groups,
            parked,
        } = checkpoint;
        let mut broker = Self {
            sessions: BTreeMap::new(),
            groups: BTreeMap::new(),
            parked: parked.into(),
            held_bytes: 0,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            stats,
            drain_due: drain.map(|drain| drain.due),
            now,
            config,
        };
        if let Some(drain) = drain.filter(|drain| drain.pending) {
            broker.timers.set(drain.due, Timeout::Drain);
        }
        for (id, state) in groups {
            let group = broker.restored_group(state);
            broker.held_bytes += group.backlog.bytes();
            broker.groups.insert(id, group);
        }
        for (conn, state) in connections {
            let session = broker.restored_session(conn, state);
            broker.sessions.insert(conn, session);
        }
        Ok(broker)
    }

    fn restored_group(&self, state: GroupState) -> Group {
        let empty = Backlog::new(self.config.backlog_messages(), self.config.backlog_bytes);
        let backlog = empty.restored(state.backlog, state.next_position, state.handed_back);
        let mut group = Group::new(backlog);
        group.idle = state.idle.into();
        group.flow = state.flow;
        group
    }

    /// A session; its timers are set and it joins its group.
    fn restored_session(&mut self, conn: ConnId, connection: ConnectionState) -> Session {
        let ConnectionState { opened, role } = connection;
        match role {
            RoleState::Awaited => {
                let due = opened + self.config.role_timeout;
                self.timers.set(due, Timeout::Role(conn));
                Session::restored(State::AwaitingRole, opened, None)
            }
            RoleState::Producer => {
                let blocked = self.parked.iter().any(|(parked, _)| *parked == conn);
                let state = if blocked {
                    State::Blocked
                } else {
                    State::Producing
                };
                Session::restored(state, opened, None)
            }
            RoleState::Consumer(consumer) => {
                if let Some(due) = consumer.timer {
                    self.timers.set(due, Timeout::Write(conn));
                }
                self.group(consumer.group).members.insert(conn);
                let state = if consumer.in_flight.is_some() {
                    State::Writing
                } else {
                    State::Idle
                };
                let (group, outbox) = (consumer.group, Outbox::restored(consumer));
                Session::restored(state, opened, Some(Consumer { group, outbox }))
            }
        }
    }
}

impl Checkpoint {
    fn check(&self) -> Result<(), CheckpointError> {
        self.config.check().map_err(CheckpointError::Config)?;
        for connection in self.connections.values() {
            let RoleState::Consumer(consumer) = &connection.role else {
                continue;
            };
            if !self.groups.contains_key(&consumer.group) {
                return Err(CheckpointError::NoSuchGroup(consumer.group));
            }
            let in_flight = consumer.in_flight.as_ref();
            if in_flight.is_some_and(|flight| flight.write.count().is_zero()) {
                return Err(CheckpointError::EmptyBatch);
            }
        }
        for (id, group) in &self.groups {
            if group.backlog.iter().any(|it| it.batch.is_empty()) {
                return Err(CheckpointError::EmptyBatch);
            }
            if let Some(conn) = group.idle.iter().find(|conn| !self.is_idle(**conn, *id)) {
                return Err(CheckpointError::NotIdle(*conn));
            }
        }
        let is_producer = |conn: &ConnId| {
            let connection = self.connections.get(conn);
            connection.is_none_or(|connection| connection.role == RoleState::Producer)
        };
        match self.parked.iter().find(|(conn, _)| !is_producer(conn)) {
            Some((conn, _)) => Err(CheckpointError::NotAProducer(*conn)),
            None => Ok(()),
        }
    }

    fn is_idle(&self, conn: ConnId, group: GroupId) -> bool {
        match self.connections.get(&conn).map(|it| &it.role) {
            Some(RoleState::Consumer(it)) => it.group == group && it.in_flight.is_none(),
            Some(RoleState::Awaited | RoleState::Producer) | None => false,
        }
    }
}

fn connection(session: &Session) -> ConnectionState {
    let role = match (&session.consumer, session.state()) {
        (Some(consumer), _) => RoleState::Consumer(consumer.outbox.state(consumer.group)),
        (None, State::AwaitingRole) => RoleState::Awaited,
        (None, State::Producing | State::Blocked | State::Idle | State::Writing) => {
            RoleState::Producer
        }
    };
    ConnectionState {
        opened: session.opened,
        role,
    }
}

fn group(group: &Group) -> GroupState {
    let Group {
        backlog,
        members: _,
        idle,
        flow,
    } = group;
    let (waiting, next_position, handed_back) = backlog.state();
    GroupState {
        idle: idle.iter().copied().collect(),
        flow: *flow,
        backlog: waiting,
        next_position,
        handed_back,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Role;
    use crate::{DeliveryMode, Input, Output};
    use core::time::Duration;

    /// A broker of which every part is in use: messages wait, are in flight and are parked, and it
    /// is draining.
    fn busy() -> Broker {
        let mut broker = Broker::new(Config {
            delivery: DeliveryMode::Queue,
            overflow: crate::Overflow::Block,
            queue_capacity: 1,
            ..Config::default()
        });
        let batch = FrameBatch::encode(["one", "two", "three"]).expect("small messages");
        for (conn, role) in [(1, Role::Consumer), (2, Role::Producer)] {
            broker.handle_input(ConnId(conn), Input::Opened, Now::START);
            broker.handle_input(ConnId(conn), Input::Role(role), Now::START);
        }
        broker.handle_input(ConnId(3), Input::Opened, Now::START);
        broker.handle_input(ConnId(2), Input::Batch(batch), Now::START);
        broker.handle_input(ConnId(1), Input::Written(3), Now::START);
        broker.drain(Duration::from_secs(9), Now::START);
        drop(outputs(&mut broker));
        broker
    }

    fn outputs(broker: &mut Broker) -> Vec<alloc::string::String> {
        let outputs = core::iter::from_fn(|| broker.poll_output());
        outputs
            .map(|output| {
                let batches = if let Output::Write { write, .. } = &output {
                    write.batches()
                } else {
                    &[]
                };
                alloc::format!(
                    "{output:?} {:?}",
                    batches.iter().map(FrameBatch::as_bytes).collect::<Vec<_>>()
                )
            })
            .collect()
    }

    #[test]
    fn a_restored_broker_goes_on_as_the_first_would_have() {
        let mut first = busy();
        let checkpoint = first.checkpoint();
        assert!(!checkpoint.parked.is_empty());
        assert!(!checkpoint.groups[&GroupId::Shared].backlog.is_empty());
        let mut second = Broker::restore(checkpoint.clone()).expect("it was just made");
        second.check_invariants();
        assert_eq!(second.checkpoint(), checkpoint);
        for broker in [&mut first, &mut second] {
            broker.handle_input(ConnId(1), Input::Written(4), Now::START);
            broker.handle_timeout(Now::at(Duration::from_secs(9)));
        }
        let did = outputs(&mut first);
        assert!(did.len() > 3, "{did:?}");
        assert_eq!(outputs(&mut second), did);
        assert_eq!(second.checkpoint(), first.checkpoint());
    }

    #[test]
    fn what_no_broker_can_be_built_from_is_refused() {
        type Spoil = fn(&mut Checkpoint);
        let spoils: [(Spoil, CheckpointError); 5] = [
            (
                |it| it.config.write_bytes = 0,
                CheckpointError::Config(ConfigError {
                    field: "write_bytes",
                    at_least: 1,
                }),
            ),
            (
                |it| it.groups.clear(),
                CheckpointError::NoSuchGroup(GroupId::Shared),
            ),
            (
                |it| {
                    let group = it.groups.get_mut(&GroupId::Shared).expect("it is there");
                    group.idle.push(ConnId(1));
                },
                CheckpointError::NotIdle(ConnId(1)),
            ),
            (
                |it| it.parked[0].0 = ConnId(1),
                CheckpointError::NotAProducer(ConnId(1)),
            ),
            (
                |it| {
                    let group = it.groups.get_mut(&GroupId::Shared).expect("it is there");
                    group.backlog[0].batch = FrameBatch::encode([""; 0]).expect("nothing");
                },
                CheckpointError::EmptyBatch,
            ),
        ];
        for (spoil, expected) in spoils {
            let mut checkpoint = busy().checkpoint();
            spoil(&mut checkpoint);
            assert_eq!(Broker::restore(checkpoint).err(), Some(expected));
        }
    }
}
