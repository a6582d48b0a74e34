//! What all topics have in common: the settings, the connections, the byte budget, the timers, the
//! outputs and the counters.

mod deadlines;
mod handing_out;
mod producers;
mod telling;

pub(crate) use handing_out::HandOut;

use crate::broker::Output;
use crate::budget::{Backlogs, Budget};
use crate::config::Config;
use crate::error::DropReason;
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::names::{Name, TopicName};
use crate::session::{Consumer, Session};
use crate::stats::{Count, Stats};
use crate::store::Request;
use crate::time::Now;
use crate::timers::Timers;
use crate::wire::handshake::RoleOptions;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Connections that have not ended.
    pub(crate) sessions: BTreeMap<ConnId, Session>,
    /// How many producers have left and still have something parked. Each keeps its place as a
    /// connection until that is admitted.
    pub(crate) departed: usize,
    /// How many connections without a role were opened while draining.
    pub(crate) late: usize,
    /// How many producers have asked for confirms: they wait for room whatever a topic does without it.
    pub(crate) confirming: usize,
    /// Consumers of patterns.
    pub(crate) patterns: BTreeSet<ConnId>,
    /// What of each topic has to be known elsewhere.
    pub(crate) facts: BTreeMap<TopicId, Facts>,
    /// The number of the next named group.
    pub(crate) next_group: u32,
    /// Names of producers without a connection, by when they left.
    pub(crate) idle_names: BTreeSet<(Now, TopicId, Name)>,
    /// How many messages the topics were given that are forgotten.
    pub(crate) forgotten: u64,
    /// The epochs of topics that are made in this life of the broker are above this.
    pub(crate) first_epoch: u64,
    /// Groups that want something of their topics' stores, first come first.
    pub(crate) to_fetch: VecDeque<(TopicId, GroupId)>,
    /// How many groups have asked and are not answered.
    pub(crate) asking: usize,
    /// Groups that have got further, to be saved at the end of this step.
    pub(crate) dirty: Vec<(TopicId, GroupId)>,
    /// Role lines of producers whose name has something that is not stored yet.
    pub(crate) waiting_roles: Vec<(ConnId, RoleOptions)>,
    /// Producers of which all is stored, and that are to be let go.
    pub(crate) stored_all: Vec<ConnId>,
    /// Connections that there may be something to tell, at the end of this step.
    #[cfg_attr(feature = "serde", serde(skip))]
    to_tell: Vec<ConnId>,
    pub(crate) budget: Budget,
    pub(crate) timers: Timers,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Stats,
    /// The orderly end, once it has begun.
    pub(crate) drain: Option<Drain>,
    /// The latest moment that was passed in.
    pub(crate) now: Now,
}

/// What of a topic has to be known elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Facts {
    pub(crate) name: TopicName,
    pub(crate) ack_timeout: Option<Duration>,
}

/// The orderly end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Drain {
    /// When it must be over.
    pub(crate) due: Now,
    pub(crate) phase: DrainPhase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum DrainPhase {
    /// Producers may still send.
    Receiving,
    /// All that was sent is in, and each consumer is let go when nothing more waits for it.
    Delivering {
        /// Groups for which nothing waits any more, and whose members have yet to be let go.
        finished: Vec<(TopicId, GroupId)>,
    },
    /// The time ran out: whatever comes back is dropped.
    Ended,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            sessions: BTreeMap::new(),
            departed: 0,
            late: 0,
            confirming: 0,
            patterns: BTreeSet::new(),
            facts: BTreeMap::new(),
            next_group: 1,
            idle_names: BTreeSet::new(),
            forgotten: 0,
            first_epoch: 0,
            to_fetch: VecDeque::new(),
            asking: 0,
            dirty: Vec::new(),
            waiting_roles: Vec::new(),
            stored_all: Vec::new(),
            to_tell: Vec::new(),
            budget: Budget::new(&config),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            drain: None,
            now: Now::START,
            config,
        }
    }

    pub(crate) const fn drain_has_ended(&self) -> bool {
        match &self.drain {
            Some(drain) => matches!(drain.phase, DrainPhase::Ended),
            None => false,
        }
    }

    /// Whether anybody may still send, or something is parked or being stored.
    pub(crate) const fn is_receiving(&self) -> bool {
        let stats = &self.stats;
        stats.connections > stats.consumers + self.late
            || !stats.parked.is_zero()
            || !stats.storing.is_zero()
    }

    /// The moment that is so many milliseconds after 1970; the beginning of time for what was before that.
    pub(crate) const fn moment(&self, since_1970: u64) -> Now {
        let since_start = since_1970.saturating_sub(self.config.started_ms);
        Now::at(Duration::from_millis(since_start))
    }

    /// How many milliseconds after 1970 a moment is.
    pub(crate) const fn wall_clock(&self, at: Now) -> u64 {
        self.config.started_ms + at.since_start().as_millis() as u64
    }

    /// What the groups of all topics hold.
    pub(crate) const fn backlogs(&self) -> Backlogs {
        Backlogs {
            bytes: self.budget.backlogs(),
            unsettled: self.stats.unsettled.bytes as usize,
        }
    }

    /// The session of a connection that is known to be there.
    pub(crate) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions
            .get_mut(&conn)
            .expect("the connection is there")
    }

    /// The consumer of this name, which is there.
    pub(crate) fn consumer(&mut self, conn: ConnId) -> &mut Consumer {
        let consumer = self.session(conn).consumer_mut();
        consumer.expect("the connection is a consumer")
    }

    /// Notes how many bytes of a frame that is not whole a connection holds.
    pub(crate) fn set_partial(&mut self, conn: ConnId, bytes: usize) {
        let session = self.session(conn);
        let before = mem::replace(&mut session.partial, bytes);
        if before != bytes {
            self.budget.set_partial(conn, before, bytes);
        }
    }

    /// Notes that this is parked.
    pub(crate) fn note_parked(&mut self, count: Count) {
        self.stats.parked += count;
        self.budget.park(count.bytes as usize);
    }

    /// Notes that this is not parked any more.
    pub(crate) fn note_unparked(&mut self, count: Count) {
        self.stats.parked -= count;
        self.budget.unpark(count.bytes as usize);
    }

    /// Asks a topic's store for something.
    pub(crate) fn ask(&mut self, topic: TopicId, request: Request) {
        self.outputs.push_back(Output::Store { topic, request });
    }

    /// Tells of messages of a topic that are lost, by which group, where it was one.
    pub(crate) fn report_drop(
        &mut self,
        topic: Option<TopicId>,
        group: Option<(GroupId, Option<&Name>)>,
        count: Count,
        reason: DropReason,
    ) {
        let facts = topic.and_then(|topic| self.facts.get(&topic));
        let topic = facts.map(|it| it.name.clone());
        let (group, name) = group.unzip();
        self.outputs.push_back(Output::Dropped {
            topic,
            group,
            name: name.flatten().cloned(),
            reason,
            count,
        });
    }

    /// Messages of a producer that asked for no confirms belong to no topic: they are lost.
    pub(crate) fn lose_refused(&mut self, count: Count) {
        self.stats.received += count;
        self.forgotten += count.messages;
        for entry in [
            Entry::Offered(count),
            Entry::Lost(count, DropReason::Refused),
        ] {
            post(entry, [&mut self.stats.flow]);
        }
        self.report_drop(None, None, count, DropReason::Refused);
    }

    /// Notes a group for which nothing waits any more: in an orderly end its members may go.
    pub(crate) fn note_finished(&mut self, topic: TopicId, group: GroupId) {
        if let Some(drain) = &mut self.drain
            && let DrainPhase::Delivering { finished } = &mut drain.phase
        {
            finished.push((topic, group));
        }
    }
}
