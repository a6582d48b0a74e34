//! What all topics have in common: the settings, the connections, the byte budget, the timers, the
//! outputs and the counters.

use crate::broker::Output;
use crate::budget::{Backlogs, Budget};
use crate::config::Config;
use crate::error::DropReason;
use crate::group::Waiting;
use crate::id::{ConnId, GroupId, TopicId};
use crate::ledger::{Entry, post};
use crate::names::{Name, TopicName};
use crate::session::{BLOCKED_AFTER, Consumer, HandedOut, Held, Session, Source, Version2};
use crate::stats::{Count, Stats};
use crate::store::Request;
use crate::time::Now;
use crate::timers::{Timeout, Timers};
use crate::topic::Reached;
use crate::wire::handshake::RoleOptions;
use crate::wire::{Piece, Write};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
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

/// How messages are handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandOut {
    /// One message that goes alone.
    pub(crate) alone: bool,
    /// Somebody is to know which of them are settled.
    pub(crate) is_tracked: bool,
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

    /// Hands messages of a group to a member in one write. Returns whether it holds them until it settles them.
    pub(crate) fn hand_out(
        &mut self,
        member: ConnId,
        topic: TopicId,
        group: GroupId,
        mut taken: Vec<Waiting>,
        how: HandOut,
    ) -> bool {
        let HandOut { alone, is_tracked } = how;
        let (now, started_ms) = (self.now, self.config.started_ms);
        for waiting in &mut taken {
            if waiting.mark.attempts > 0 {
                self.stats.redelivered += waiting.batch.messages() as u64;
            }
            waiting.mark.attempts += 1;
        }
        let since = taken.iter().map(|it| it.mark.published).min();
        let facts = &self.facts;
        let session = self.sessions.get_mut(&member);
        let session = session.expect("a member is there");
        let first = session
            .version2
            .as_mut()
            .and_then(|version2| version2.take_signals(now));
        let consumer = session.consumer_mut();
        let consumer = consumer.expect("a member is a consumer");
        let write = match &mut consumer.speech {
            None => Write::from_batches(taken.iter().map(|it| it.batch.clone())),
            Some(speech) => {
                let place = consumer
                    .memberships
                    .binary_search_by_key(&topic, |it| it.topic);
                let membership = &mut consumer.memberships[place.expect("it is a member there")];
                let source = Source {
                    topic,
                    group,
                    name: (consumer.pattern.is_some() || speech.checks())
                        .then(|| &facts[&topic].name),
                    started_ms,
                };
                Write::new(speech.pieces(first, &taken, &source, membership))
            }
        };
        let is_version2 = consumer.speech.is_some();
        let is_held = consumer.acks.is_some();
        let marks = match &mut consumer.acks {
            None => taken.into_iter().map(|it| it.mark).collect(),
            Some(acks) => {
                acks.is_alone |= alone;
                for Waiting { batch, mark } in taken {
                    let held = Held {
                        topic,
                        group,
                        mark,
                        is_tracked,
                        since: now,
                    };
                    let most = self.budget.most_pinned(acks.pinned);
                    acks.unsettled.push(batch, held, most);
                    acks.note_pinned(&mut self.budget);
                }
                Vec::new()
            }
        };
        let messages = HandedOut {
            topic,
            group,
            marks,
            waiting_since: since.unwrap_or(now),
            is_tracked,
        };
        session.outbox.start(write.clone(), Some(messages), now);
        // Most writes are done before the timer of one before them goes off.
        if session.outbox.timer.is_none() {
            self.arm_write_timer(member);
        }
        if is_held {
            self.arm_ack_timer(member);
        }
        if is_version2 {
            self.count_on_its_way(member);
        }
        self.outputs.push_back(Output::Write {
            conn: member,
            write,
        });
        is_held
    }

    /// There is something to tell a connection of version 2: at the end of this step, all in one.
    pub(crate) fn signal(&mut self, conn: ConnId) -> Option<&mut Version2> {
        let version2 = self.sessions.get_mut(&conn)?.version2.as_mut()?;
        if self.to_tell.last() != Some(&conn) {
            self.to_tell.push(conn);
        }
        Some(version2)
    }

    /// The connections that there may be something to tell.
    pub(crate) fn next_to_tell(&mut self) -> Option<ConnId> {
        self.to_tell.pop()
    }

    /// Counts anew what is on its way to a connection of version 2.
    fn count_on_its_way(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let counted = session.on_its_way();
        if let Some(version2) = &mut session.version2 {
            let before = mem::replace(&mut version2.counted, counted);
            self.stats.writing += counted.messages;
            self.stats.writing -= before.messages;
            self.stats.saying = self.stats.saying + counted.said - before.said;
        }
    }

    /// Tells a connection of version 2 what it is yet to be told, if its socket is free.
    pub(crate) fn flush_signals(&mut self, conn: ConnId) {
        let session = self.sessions.get(&conn);
        if session.is_some_and(|it| it.version2.is_some()) {
            self.tell(conn);
            self.count_on_its_way(conn);
        }
    }

    fn tell(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        if session.outbox.is_busy() || session.is_closing() {
            return;
        }
        let Some(version2) = &mut session.version2 else {
            return;
        };
        let Some(bytes) = version2.take_signals(now) else {
            return;
        };
        let write = Write::new(vec![Piece::Control(bytes)]);
        session.outbox.start(write.clone(), None, now);
        self.arm_write_timer(conn);
        self.outputs.push_back(Output::Write { conn, write });
        self.has_heard(conn);
    }

    /// Sets the write timer of a consumer, if it has a write in flight and no timer set.
    pub(crate) fn arm_write_timer(&mut self, conn: ConnId) {
        let session = self.sessions.get_mut(&conn);
        let session = session.expect("the connection is there");
        // A producer that does not read what it is told costs no more for that.
        let waits_for_it = session.consumer().is_some() || session.is_finishing();
        if waits_for_it
            && session.outbox.timer.is_none()
            && let Some(due) = session.outbox.due(&self.config)
        {
            session.outbox.timer = Some(due);
            self.timers.set(due, Timeout::Write(conn));
        }
    }

    pub(crate) fn clear_write_timer(&mut self, conn: ConnId) {
        if let Some(due) = self.session(conn).outbox.timer.take() {
            self.timers.clear(due, Timeout::Write(conn));
        }
    }

    /// Sets the timer by which a consumer is to have settled something, if it holds something and no timer is set.
    pub(crate) fn arm_ack_timer(&mut self, conn: ConnId) {
        let facts = &self.facts;
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let acks = session.consumer_mut().and_then(|it| it.acks.as_mut());
        let Some(acks) = acks.filter(|acks| acks.timer.is_none()) else {
            return;
        };
        if let Some(due) = acks.due(|topic| facts[&topic].ack_timeout) {
            acks.timer = Some(due);
            self.timers.set(due, Timeout::Ack(conn));
        }
    }

    /// It is not looked whether this consumer settles something.
    pub(crate) fn clear_ack_timer(&mut self, conn: ConnId) {
        let consumer = self.session(conn).consumer_mut();
        if let Some(due) = consumer
            .and_then(|it| it.acks.as_mut())
            .and_then(|acks| acks.timer.take())
        {
            self.timers.clear(due, Timeout::Ack(conn));
        }
    }

    /// Sets the heartbeat timer of a connection that has heartbeats.
    pub(crate) fn arm_heartbeat(&mut self, conn: ConnId) {
        let session = self.sessions.get_mut(&conn);
        let Some(version2) = session.and_then(|it| it.version2.as_mut()) else {
            return;
        };
        if version2.timer.is_none()
            && let Some(due) = version2.due()
        {
            version2.timer = Some(due);
            self.timers.set(due, Timeout::Heartbeat(conn));
        }
    }

    /// A producer is read from again, or not any more: if that lasts, it is to be told.
    fn read_state_changed(&mut self, conn: ConnId, blocked: bool) {
        let now = self.now;
        let session = self.sessions.get_mut(&conn);
        let Some(version2) = session.and_then(|it| it.version2.as_mut()) else {
            return;
        };
        version2.heard = now;
        let before = version2.blocked_timer.take();
        let is_news = version2.was_told_blocked != blocked;
        version2.blocked_timer = is_news.then(|| now + BLOCKED_AFTER);
        let after = version2.blocked_timer;
        if let Some(due) = before {
            self.timers.clear(due, Timeout::Blocked(conn));
        }
        if let Some(due) = after {
            self.timers.set(due, Timeout::Blocked(conn));
        }
    }

    /// A producer's last batch is parked: nothing more is to be read from it.
    pub(crate) fn park(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut() {
            producer.is_parked = true;
        }
        self.outputs.push_back(Output::Pause { conn });
        self.read_state_changed(conn, true);
    }

    /// A producer has much to hear that it does not read: nothing more is to be read from it until it has.
    pub(crate) fn hold_back(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.is_read()
        {
            producer.has_much_to_hear = true;
            self.outputs.push_back(Output::Pause { conn });
        }
    }

    /// It has heard everything.
    fn has_heard(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.has_much_to_hear
        {
            producer.has_much_to_hear = false;
            if producer.is_read() {
                self.outputs.push_back(Output::Resume { conn });
            }
        }
    }

    /// The last of what a producer had parked is offered. It may be gone.
    pub(crate) fn admitted(&mut self, conn: ConnId) {
        if self.unparked(conn) {
            self.outputs.push_back(Output::Resume { conn });
            self.read_state_changed(conn, false);
        }
    }

    /// A producer has nothing parked any more. Returns whether it is there and may go on.
    pub(crate) fn unparked(&mut self, conn: ConnId) -> bool {
        let Some(session) = self.sessions.get_mut(&conn) else {
            self.departed -= 1;
            return false;
        };
        let may_go_on = match session.producer_mut() {
            Some(producer) => {
                producer.is_parked = false;
                producer.is_read()
            }
            None => false,
        };
        may_go_on && !session.is_closing()
    }

    /// Messages of a producer were offered, but for so many that found no group.
    pub(crate) fn note_safe(&mut self, conn: ConnId, messages: u64, unrouted: u64) {
        let producer = self.sessions.get_mut(&conn).and_then(Session::producer_mut);
        let Some(producer) = producer else { return };
        let Some(confirms) = producer.confirms.as_mut() else {
            return;
        };
        let counts = producer.line.pass(messages);
        let confirmed = confirms.pass(counts, unrouted);
        if confirmed.is_some()
            && let Some(version2) = self.signal(conn)
        {
            version2.signals.confirmed = confirmed;
        }
    }

    /// Asks a topic's store for something.
    pub(crate) fn ask(&mut self, topic: TopicId, request: Request) {
        self.outputs.push_back(Output::Store { topic, request });
    }

    /// A topic is to store messages of a producer. Returns how far it gets with them, if it has a name.
    pub(crate) fn note_storing(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        messages: u64,
    ) -> Option<Reached> {
        let producer = self.sessions.get_mut(&conn)?.producer_mut()?;
        producer.line.store(topic, messages);
        let (name, confirms) = (producer.name.clone()?, producer.confirms?);
        Some(Reached {
            home: producer.home,
            name,
            session: producer.session.clone(),
            position: confirms.safe + producer.line.joined() - producer.line.left(),
        })
    }

    /// Whether what a producer sends is remembered under a name.
    pub(crate) fn has_producer_name(&self, conn: ConnId) -> bool {
        let producer = self.sessions.get(&conn).and_then(Session::producer);
        producer.is_some_and(|it| it.name.is_some())
    }

    /// A topic has stored messages of a producer, which is told, and how many of them found no group. Returns whether its
    /// connection knows how far it has got: it is there, and was not closed yet.
    pub(crate) fn note_stored(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        messages: u64,
        unrouted: u64,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return false;
        };
        let is_closing = session.is_closing();
        let Some(producer) = session.producer_mut() else {
            return false;
        };
        let counts = producer.line.stored(topic, messages);
        let mut confirmed = None;
        if let Some(confirms) = producer.confirms.as_mut() {
            confirmed = confirms.pass(counts, unrouted);
        }
        let flushed = producer.flushed();
        let has_stored_all = producer.line.storing() == 0;
        let goes_on = has_stored_all && mem::take(&mut producer.awaits_store) && producer.is_read();
        if has_stored_all && producer.ends.is_some() {
            self.stored_all.push(conn);
        }
        if is_closing {
            return false;
        }
        if goes_on {
            self.outputs.push_back(Output::Resume { conn });
            self.read_state_changed(conn, false);
        }
        if let Some(version2) = self.signal(conn) {
            version2.signals.confirmed = confirmed.or(version2.signals.confirmed);
            version2.signals.flushed = flushed.or(version2.signals.flushed);
        }
        true
    }

    /// A producer with a name sends to another topic: first all is to be safe that it sent before.
    pub(crate) fn await_store(&mut self, conn: ConnId) {
        if let Some(producer) = self.session(conn).producer_mut()
            && producer.is_read()
        {
            producer.awaits_store = true;
            self.outputs.push_back(Output::Pause { conn });
            self.read_state_changed(conn, true);
        }
    }

    /// A topic has saved what a consumer had settled there when it sent this FLUSH.
    pub(crate) fn note_flushed(&mut self, conn: ConnId, number: u64) {
        let consumer = self.sessions.get_mut(&conn).and_then(Session::consumer_mut);
        let Some(consumer) = consumer else { return };
        let mut flushes = consumer.flushes.iter_mut();
        if let Some((_, topics)) = flushes.find(|(it, topics)| *it == number && *topics > 0) {
            *topics -= 1;
        }
        let mut flushed = None;
        while let Some((number, _)) = consumer.flushes.pop_front_if(|(_, topics)| *topics == 0) {
            flushed = Some(number);
        }
        if let Some(number) = flushed
            && let Some(version2) = self.signal(conn)
        {
            version2.signals.flushed = Some(number);
        }
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
    pub(crate) fn lose_unrouted(&mut self, count: Count) {
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
