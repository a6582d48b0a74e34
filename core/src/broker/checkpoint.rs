//! The whole state of a broker as plain data, to go on from elsewhere and later.
//!
//! A [`Checkpoint`] holds what cannot be worked out from the rest: sums, the members of groups and
//! the timers follow from it. Waiting messages are shared with the broker, not copied. What a
//! checkpoint looks like as bytes is the affair of whoever keeps it.

pub use crate::group::{GroupState, Sequences, Waiting};
pub use crate::topic::TopicState;

use super::Broker;
use crate::budget::Budget;
use crate::config::{Config, ConfigError};
use crate::id::{ConnId, GroupId, TopicId};
use crate::session::{Consumer, Event, Outbox, Session, State};
use crate::shared::{Drain, DrainPhase, Shared};
use crate::stats::{Count, Stats};
use crate::time::Now;
use crate::timers::{Timeout, Timers};
use crate::topic::Topic;
use crate::wire::Write;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// The topics.
    pub topics: BTreeMap<TopicId, TopicState>,
    /// The topics that wait for bytes of the budget, first come first.
    pub waiting_for_bytes: Vec<TopicId>,
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
    /// A producer to this topic; blocked if it has something parked there.
    Producer(TopicId),
    /// A consumer.
    Consumer(ConsumerState),
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// The topic that it receives from.
    pub topic: TopicId,
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
    /// The sequences of its messages.
    pub sequences: Sequences,
    /// How many bytes of it the socket has taken; fewer than it has.
    pub taken: usize,
    /// When it was handed out.
    pub started: Now,
    /// Since when its oldest message has been waiting.
    pub waiting_since: Now,
}

/// Why no broker can go on from a checkpoint: it was not made by [`Broker::checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// The settings do not keep their bounds.
    Config(ConfigError),
    /// A connection has its role in a topic that is not there, or a topic waits that is not there.
    NoSuchTopic(TopicId),
    /// A consumer is a member of a group that is not there.
    NoSuchGroup(GroupId),
    /// A group waits to serve a connection that is not an idle member of it.
    NotIdle(ConnId),
    /// A connection that is not a producer to a topic has something parked there, or has twice.
    NotAProducer(ConnId),
    /// A batch that waits, or a write in flight, has no messages.
    EmptyBatch,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "the settings of the checkpoint: {error}"),
            Self::NoSuchTopic(topic) => write!(f, "the topic {topic} is missing"),
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
        let Self { topics, shared } = self;
        let Shared {
            config,
            sessions,
            departed: _,
            budget,
            timers,
            outputs,
            stats,
            drain,
            now,
        } = shared;
        assert!(outputs.is_empty(), "an output was not polled");
        let connections = sessions.iter().map(|(conn, it)| (*conn, connection(it)));
        Checkpoint {
            config: config.clone(),
            now: *now,
            drain: drain.as_ref().map(|drain| DrainState {
                due: drain.due,
                pending: timers.is_set(drain.due, Timeout::Drain),
            }),
            stats: stats.clone(),
            connections: connections.collect(),
            topics: topics.iter().map(|(id, it)| (*id, it.state())).collect(),
            waiting_for_bytes: budget.line().collect(),
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
            topics,
            waiting_for_bytes,
        } = checkpoint;
        let shared = Shared {
            sessions: BTreeMap::new(),
            departed: 0,
            budget: Budget::new(config.broker_bytes),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            stats,
            drain: drain.map(|drain| Drain {
                due: drain.due,
                phase: DrainPhase::Receiving,
            }),
            now,
            config,
        };
        let mut broker = Self {
            topics: BTreeMap::new(),
            shared,
        };
        if let Some(drain) = drain.filter(|drain| drain.pending) {
            broker.shared.timers.set(drain.due, Timeout::Drain);
        }
        for (id, state) in topics {
            let topic = Topic::restored(id, state, &mut broker.shared);
            broker.topics.insert(id, topic);
        }
        for (conn, state) in connections {
            let session = broker.restored_session(conn, state);
            broker.shared.sessions.insert(conn, session);
        }
        broker.restore_parked(&waiting_for_bytes);
        Ok(broker)
    }

    /// A session; its timers are set and it joins its group.
    fn restored_session(&mut self, conn: ConnId, connection: ConnectionState) -> Session {
        let ConnectionState { opened, role } = connection;
        match role {
            RoleState::Awaited => {
                let due = opened + self.shared.config.role_timeout;
                self.shared.timers.set(due, Timeout::Role(conn));
                Session::new(opened)
            }
            RoleState::Producer(topic) => Session::restored(State::Producing, opened, topic, None),
            RoleState::Consumer(consumer) => {
                if let Some(due) = consumer.timer {
                    self.shared.timers.set(due, Timeout::Write(conn));
                }
                let (topic, group) = (consumer.topic, consumer.group);
                let turn = self.with_topic(topic, |it, _| it.restore_member(conn, group));
                let state = if consumer.in_flight.is_some() {
                    State::Writing
                } else {
                    State::Idle
                };
                let consumer = Consumer {
                    group,
                    turn,
                    outbox: Outbox::restored(consumer),
                };
                Session::restored(state, opened, topic, Some(consumer))
            }
        }
    }

    /// Blocks the producers that have something parked, and finds what blocks each topic.
    fn restore_parked(&mut self, waiting_for_bytes: &[TopicId]) {
        let shared = &mut self.shared;
        for topic in self.topics.values() {
            for (conn, _) in topic.parked().line() {
                match shared.sessions.get_mut(conn) {
                    Some(session) => session.advance(Event::Parked),
                    None => shared.departed += 1,
                }
            }
        }
        let others = self.topics.keys();
        let others = others.filter(|it| !waiting_for_bytes.contains(it));
        let order: Vec<TopicId> = waiting_for_bytes.iter().chain(others).copied().collect();
        for topic in order {
            self.with_topic(topic, Topic::find_blocker);
        }
    }
}

impl Checkpoint {
    fn check(&self) -> Result<(), CheckpointError> {
        self.config.check().map_err(CheckpointError::Config)?;
        for connection in self.connections.values() {
            self.check_role(&connection.role)?;
        }
        for (id, topic) in &self.topics {
            self.check_topic(*id, topic)?;
        }
        for topic in &self.waiting_for_bytes {
            self.topic(*topic)?;
        }
        Ok(())
    }

    fn topic(&self, id: TopicId) -> Result<&TopicState, CheckpointError> {
        self.topics.get(&id).ok_or(CheckpointError::NoSuchTopic(id))
    }

    fn check_role(&self, role: &RoleState) -> Result<(), CheckpointError> {
        match role {
            RoleState::Awaited => Ok(()),
            RoleState::Producer(topic) => self.topic(*topic).map(|_| ()),
            RoleState::Consumer(consumer) => {
                let topic = self.topic(consumer.topic)?;
                if !topic.groups.contains_key(&consumer.group) {
                    return Err(CheckpointError::NoSuchGroup(consumer.group));
                }
                let in_flight = consumer.in_flight.as_ref();
                if in_flight.is_some_and(|flight| flight.write.count().is_zero()) {
                    return Err(CheckpointError::EmptyBatch);
                }
                Ok(())
            }
        }
    }

    fn check_topic(&self, id: TopicId, topic: &TopicState) -> Result<(), CheckpointError> {
        for (group_id, group) in &topic.groups {
            if group.backlog.iter().any(|it| it.batch.is_empty()) {
                return Err(CheckpointError::EmptyBatch);
            }
            let mut idle = group.idle.iter();
            if let Some(conn) = idle.find(|conn| !self.is_idle(**conn, id, *group_id)) {
                return Err(CheckpointError::NotIdle(*conn));
            }
        }
        let mut seen = BTreeSet::new();
        for (conn, batch) in &topic.parked {
            if batch.is_empty() {
                return Err(CheckpointError::EmptyBatch);
            }
            let connection = self.connections.get(conn);
            let is_producer = connection.is_none_or(|it| it.role == RoleState::Producer(id));
            // A producer that has something parked is not read from, so it has no more there.
            if !is_producer || !seen.insert(*conn) {
                return Err(CheckpointError::NotAProducer(*conn));
            }
        }
        Ok(())
    }

    fn is_idle(&self, conn: ConnId, topic: TopicId, group: GroupId) -> bool {
        match self.connections.get(&conn).map(|it| &it.role) {
            Some(RoleState::Consumer(it)) => {
                it.topic == topic && it.group == group && it.in_flight.is_none()
            }
            Some(RoleState::Awaited | RoleState::Producer(_)) | None => false,
        }
    }
}

fn connection(session: &Session) -> ConnectionState {
    let topic = session.topic;
    let role = match (&session.consumer, session.state()) {
        (Some(consumer), _) => RoleState::Consumer(consumer.outbox.state(topic, consumer.group)),
        (None, State::AwaitingRole) => RoleState::Awaited,
        (None, State::Producing | State::Blocked | State::Idle | State::Writing) => {
            RoleState::Producer(topic)
        }
    };
    ConnectionState {
        opened: session.opened,
        role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DEFAULT_TOPIC;
    use crate::wire::{FrameBatch, Role};
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
        let topic = &checkpoint.topics[&DEFAULT_TOPIC];
        assert!(!topic.parked.is_empty());
        assert!(!topic.groups[&GroupId::Shared].backlog.is_empty());
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

    fn topic(checkpoint: &mut Checkpoint) -> &mut TopicState {
        let topic = checkpoint.topics.get_mut(&DEFAULT_TOPIC);
        topic.expect("it is there")
    }

    #[test]
    fn what_no_broker_can_be_built_from_is_refused() {
        type Spoil = fn(&mut Checkpoint);
        let spoils: [(Spoil, CheckpointError); 7] = [
            (
                |it| it.config.write_bytes = 0,
                CheckpointError::Config(ConfigError {
                    field: "write_bytes",
                    at_least: 1,
                }),
            ),
            (
                |it| it.topics.clear(),
                CheckpointError::NoSuchTopic(DEFAULT_TOPIC),
            ),
            (
                |it| {
                    let parked = topic(it).parked[0].clone();
                    topic(it).parked.push(parked);
                },
                CheckpointError::NotAProducer(ConnId(2)),
            ),
            (
                |it| topic(it).groups.clear(),
                CheckpointError::NoSuchGroup(GroupId::Shared),
            ),
            (
                |it| {
                    let group = topic(it)
                        .groups
                        .get_mut(&GroupId::Shared)
                        .expect("it is there");
                    group.idle.push(ConnId(1));
                },
                CheckpointError::NotIdle(ConnId(1)),
            ),
            (
                |it| topic(it).parked[0].0 = ConnId(1),
                CheckpointError::NotAProducer(ConnId(1)),
            ),
            (
                |it| {
                    let group = topic(it)
                        .groups
                        .get_mut(&GroupId::Shared)
                        .expect("it is there");
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
