//! What all topics have in common: the settings, the connections, the byte budget, the timers, the
//! outputs and the counters.

use crate::broker::Output;
use crate::budget::Budget;
use crate::config::Config;
use crate::error::DropReason;
use crate::group::Run;
use crate::id::{ConnId, GroupId, TopicId};
use crate::session::{Consumer, Event, Session};
use crate::stats::{Count, Stats};
use crate::time::Now;
use crate::timers::{Timeout, Timers};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

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

    /// Whether anybody may still send, or something is parked.
    pub(crate) const fn is_receiving(&self) -> bool {
        let stats = &self.stats;
        stats.connections > stats.consumers + self.late || !stats.parked.is_zero()
    }

    /// The session of a connection that is known to be there.
    pub(crate) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions
            .get_mut(&conn)
            .expect("the connection is there")
    }

    /// The consumer that this connection is known to be.
    pub(crate) fn consumer(&mut self, conn: ConnId) -> &mut Consumer {
        let consumer = self.session(conn).consumer.as_mut();
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
    pub(crate) fn park(&mut self, count: Count) {
        self.stats.parked += count;
        self.budget.park(count.bytes as usize);
    }

    /// Notes that this is not parked any more.
    pub(crate) fn unpark(&mut self, count: Count) {
        self.stats.parked -= count;
        self.budget.unpark(count.bytes as usize);
    }

    /// Hands out a write.
    pub(crate) fn start_write(&mut self, run: Run) {
        let Run { member, taken } = run;
        let (now, write) = (self.now, taken.write.clone());
        self.budget.start_write(write.count().bytes as usize);
        self.session(member).advance(Event::WriteStarted);
        self.consumer(member).outbox.start(taken, now);
        self.arm_write_timer(member);
        self.outputs.push_back(Output::Write {
            conn: member,
            write,
        });
    }

    /// Makes sure that a write that has just started is looked at when it is due.
    ///
    /// Writes are many and hardly ever late, so a connection's timer is moved neither with each nor
    /// with the progress of one: it goes off at the time of the first, and is then set to the time
    /// at which the one in flight is due.
    pub(crate) fn arm_write_timer(&mut self, conn: ConnId) {
        if self.consumer(conn).outbox.timer.is_none()
            && let Some(due) = self.write_due(conn)
        {
            self.consumer(conn).outbox.timer = Some(due);
            self.timers.set(due, Timeout::Write(conn));
        }
    }

    /// When the write in flight to a consumer is due.
    pub(crate) fn write_due(&self, conn: ConnId) -> Option<Now> {
        let consumer = self.sessions.get(&conn)?.consumer.as_ref()?;
        consumer.outbox.due(&self.config)
    }

    /// A connection that is closing is given no more time.
    pub(crate) fn clear_write_timer(&mut self, conn: ConnId) {
        if let Some(due) = self.consumer(conn).outbox.timer.take() {
            self.timers.clear(due, Timeout::Write(conn));
        }
    }

    /// Tells of messages that are lost.
    pub(crate) fn report_drop(&mut self, group: Option<GroupId>, count: Count, reason: DropReason) {
        self.outputs.push_back(Output::Dropped {
            group,
            reason,
            count,
        });
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
