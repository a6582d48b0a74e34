//! The driver: the core behind a lock, fed by whoever has something to tell.
//!
//! There is no broker task and no channel. The task of a connection that has read a batch feeds it
//! to the core and carries out what the core asks for, up to writing to idle consumers itself: a
//! message reaches its consumers' sockets without a hand-over between tasks. Only where a socket
//! would block does the consumer's own task take over (`peer.rs`).
//!
//! A connection is closed in two phases. The core says so; its socket is then sealed under its
//! own lock, so that it takes nothing more; and the core is told how much that was. Until then it
//! hands nothing of the write in flight to anybody else. So it does not matter in which order
//! threads report what sockets took, or that one of them has yet to.
//!
//! Locks, always taken in this order: the core, a peer; the log's by itself.

use super::observe::{Observed, Observer};
use super::pacing::{Limit, Pacing};
use super::peer::{Peer, Status};
use super::survey::{Detail, Findings, Surveyor};
use crate::access::Gate;
use crate::operate::report::{Ended, Loser, Report};
use crate::store::Store;
use bytes::Bytes;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::Answer;
use message_queue_core::wire::handshake;
use message_queue_core::wire::{Role, SpareBuffers};
use message_queue_core::{
    Broker, CloseReason, Config, ConnId, Count, DEFAULT_TOPIC, DropReason, Input, NeedsRestart,
    Now, Output, Overflow, StoredTopic, TopicChange, TopicId, TopicRule, Write,
};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The core, its connections, and the way between them.
pub(crate) struct Driver {
    core: Mutex<Core>,
    /// What the log has yet to say.
    report: Mutex<Report>,
    started: Instant,
    /// The moment at which it was started.
    origin: Now,
    draining: AtomicBool,
    /// What connections that have nothing to read leave to those that have.
    spares: Mutex<SpareBuffers>,
    /// Connections that were closed for their bytes, and whose tasks have yet to free them.
    to_free: AtomicUsize,
    /// Looks at the core for those who want to see it.
    pub(crate) surveyor: Surveyor,
    /// The server is to look at the timers, at the end of the drain, or at the listener.
    pub(crate) attention: Notify,
    /// Finds out who peers are, if they are asked.
    pub(crate) gate: OnceLock<Gate>,
}

/// What the lock protects.
pub(crate) struct Core {
    pub(crate) broker: Broker,
    /// Connections that have not ended.
    pub(crate) peers: BTreeMap<ConnId, Arc<Peer>>,
    next_conn: u64,
    /// The moment that the server sleeps until.
    alarm: Option<Now>,
    /// Says when producers are to be read from.
    pacing: Pacing,
    /// The topics in which something has happened since that took note of them.
    touched: Vec<TopicId>,
    observer: Option<Box<dyn Observer>>,
    /// Where topics are stored, if any is.
    store: Option<Store>,
}

/// Producers are paced where more waits than this part of a write: bulk is, and a few small
/// messages are not. Together with what is unsettled it may be a write.
const PACE_RATIO: usize = 4;

/// What a step of the core has asked for, to be done without its lock.
#[derive(Default)]
struct Actions {
    writes: Vec<(Arc<Peer>, Write)>,
    closes: Vec<Closed>,
    registered: Vec<Registered>,
    dropped: Vec<Dropped>,
}

/// A connection to be closed, why, and the last that its peer is told.
type Closed = (Arc<Peer>, CloseReason, Option<Bytes>);
type Registered = (Arc<Peer>, Role);
type Dropped = (Loser, DropReason, Count);

impl Driver {
    pub(crate) fn new(config: Config) -> Self {
        Self::with_stored(config, Vec::new(), Now::START)
    }

    /// The same with what was found in its store. `origin` is the moment now.
    pub(crate) fn with_stored(config: Config, stored: Vec<StoredTopic>, origin: Now) -> Self {
        let pacing = Pacing::new(match config.overflow {
            Overflow::Block => Some(Limit {
                waiting: config.write_bytes / PACE_RATIO,
                held: config.write_bytes,
            }),
            Overflow::Drop | Overflow::Reject | Overflow::DropOldest => None,
        });
        let core = Core {
            broker: Broker::with_stored(config, stored, origin),
            peers: BTreeMap::new(),
            next_conn: 1,
            alarm: None,
            pacing,
            touched: Vec::new(),
            observer: None,
            store: None,
        };
        Self {
            core: Mutex::new(core),
            report: Mutex::default(),
            started: Instant::now(),
            origin,
            draining: AtomicBool::new(false),
            spares: Mutex::default(),
            to_free: AtomicUsize::new(0),
            surveyor: Surveyor::default(),
            attention: Notify::new(),
            gate: OnceLock::new(),
        }
    }

    /// Takes in a new connection, of which this is the write side. Returns whether the orderly end had
    /// begun before it came.
    pub(crate) fn open(
        &self,
        addr: SocketAddr,
        stream: impl AsyncWrite + Unpin + Send + 'static,
    ) -> (Arc<Peer>, bool) {
        let peer = {
            let mut core = self.core();
            let conn = ConnId(core.next_conn);
            core.next_conn += 1;
            let peer = Arc::new(Peer::new(conn, addr, stream));
            core.peers.insert(conn, Arc::clone(&peer));
            peer
        };
        let mut late = false;
        self.run(|core, now| {
            core.handle_input(peer.conn, Input::Opened, now);
            late = core.broker.is_draining();
        });
        (peer, late)
    }

    /// Tells the core what happened on a connection.
    pub(crate) fn feed(&self, conn: ConnId, input: Input) {
        self.run(|core, now| core.handle_input(conn, input, now));
    }

    /// Lets the core do what is due.
    pub(crate) fn handle_timeout(&self) {
        self.run(Core::handle_timeout);
    }

    /// Begins the orderly end, or leaves less time for it.
    pub(crate) fn drain(&self, timeout: Duration) {
        self.run(|core, now| {
            core.drain(timeout, now);
            // After the core, under its lock: a connection that sees this may tell the core at once
            // that there is nothing more to read, and the core must have been told why.
            self.draining.store(true, Ordering::Release);
        });
        let peers: Vec<_> = self.core().peers.values().cloned().collect();
        for peer in peers {
            peer.wake();
        }
        self.attention.notify_one();
    }

    /// Ends a connection for an operator. Returns whether there was one that was not being ended.
    pub(crate) fn end(&self, conn: ConnId) -> bool {
        let mut found = false;
        self.run(|core, now| {
            found = core.peers.contains_key(&conn);
            if found {
                core.handle_input(conn, Input::EndedByOperator, now);
            }
        });
        found
    }

    /// Empties the queue for an operator. Returns what was dropped; none if there is no queue.
    pub(crate) fn purge(&self) -> Option<Count> {
        let mut purged = None;
        self.run(|core, now| purged = core.purge(now));
        purged
    }

    /// Ends a named group for an operator. Returns whether it was there.
    pub(crate) fn end_group(&self, topic: &TopicName, group: &Name) -> bool {
        let mut found = false;
        self.run(|core, now| found = core.end_group(topic, group, now));
        found
    }

    /// Has topics stored there. What the core has asked for until now is asked for at once.
    pub(crate) fn set_store(&self, store: Store) {
        self.core().store = Some(store);
        self.run(|_, _| {});
    }

    /// The core is told what its store has done.
    pub(crate) fn answer(&self, answers: Vec<(TopicId, Answer)>) {
        self.run(|core, now| {
            for (topic, answer) in answers {
                core.answer(topic, answer, now);
            }
        });
    }

    /// The store has failed: everybody is let go.
    pub(crate) fn store_failed(&self) {
        self.run(|core, now| {
            core.show(Observed::StoreFailed, now);
            core.broker.store_failed(now);
        });
    }

    /// Waits for the store to do all that it was asked to, and gives it up.
    pub(crate) fn end_store(&self) {
        let store = self.core().store.take();
        drop(store);
    }

    /// Takes other rules for topics.
    pub(crate) fn set_rules(
        &self,
        rules: Vec<TopicRule>,
    ) -> Result<Vec<TopicChange>, NeedsRestart> {
        let mut outcome = Ok(Vec::new());
        self.run(|core, now| outcome = core.set_rules(rules, now));
        outcome
    }

    /// Looks again at how the producers of this connection's topic are to be read from. No event is
    /// needed in a topic for it to have room again: all that it had parked may be of producers that
    /// have left, and another topic has given back the bytes that it waited for.
    pub(crate) fn look_at_pace(&self, conn: ConnId) {
        let mut core = self.core();
        core.touch_topic_of(conn);
        core.pace();
    }

    /// Goes on with the write in flight on a connection, from that connection's own task.
    pub(crate) fn flush(&self, peer: &Peer, cx: &mut Context<'_>) -> Status {
        let (written, status) = peer.flush(cx);
        if let Some(total) = written {
            self.feed(peer.conn, Input::Written(total));
        }
        status
    }

    /// The same by `write_now`, because a deadline has come.
    pub(crate) fn flush_overdue(
        &self,
        peer: &Peer,
        write_now: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) {
        if let Some(total) = peer.flush_overdue(write_now) {
            self.feed(peer.conn, Input::Written(total));
        }
    }

    /// Has the sockets looked at whose deadlines come within `ahead`.
    pub(crate) fn wake_overdue(&self, ahead: Duration) {
        let overdue: Vec<_> = {
            let core = self.core();
            let due = core.broker.due(self.now() + ahead);
            due.filter_map(|conn| core.peers.get(&conn).cloned())
                .collect()
        };
        for peer in overdue {
            peer.set_overdue();
        }
    }

    /// Logs what has gathered since the last time. To be called once a second, and at the end.
    pub(crate) fn log_summary(&self) {
        // Whoever has something to report meanwhile does not wait for the log.
        let mut gathered = std::mem::take(&mut *self.report());
        gathered.tell();
    }

    /// Has a survey made by whoever feeds the core, or by the server if nobody does. None if there is
    /// no server any more.
    pub(crate) async fn survey(&self, detail: Detail) -> Option<Findings> {
        let findings = self.surveyor.ask(detail);
        self.attention.notify_one();
        findings.await.ok()
    }

    /// Goes on with a survey, where nobody feeds the core. Returns whether there is more to see.
    pub(crate) fn advance_survey(&self) -> bool {
        if self.surveyor.is_wanted() {
            let core = self.core();
            self.surveyor.advance(&core, self.now());
        }
        self.surveyor.is_wanted()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. Should that become earlier,
    /// [`attention`](Self::attention) is notified.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        let mut core = self.core();
        core.alarm = core.broker.poll_timeout();
        // What is due beyond the end of time never is.
        let due = core.alarm?;
        self.started.checked_add(due.since(self.origin))
    }

    /// Whether the orderly end has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether a consumer that came now would be let in: without an end, until the orderly end begins.
    pub(crate) fn admits_consumers(&self) -> bool {
        !self.is_draining() || self.core().broker.admits_consumers()
    }

    /// Whether the orderly end is over.
    pub(crate) fn is_drained(&self) -> bool {
        self.core().broker.is_drained()
    }

    /// The read buffers that no connection uses. Held for no longer than it takes to take or leave one.
    pub(crate) fn spares(&self) -> MutexGuard<'_, SpareBuffers> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether bytes are short, and a connection that was closed for that has yet to free its own.
    /// Until then nobody is to read.
    pub(crate) fn awaits_freeing(&self) -> bool {
        self.to_free.load(Ordering::Acquire) > 0
    }

    /// A connection that was closed for its bytes has freed them.
    pub(crate) fn freed(&self) {
        self.to_free.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn now(&self) -> Now {
        self.origin + self.started.elapsed()
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while the core was locked is a bug that ends the broker; see `server.rs`.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of the core after the other, until it asks for nothing more.
    fn run(&self, act: impl FnOnce(&mut Core, Now)) {
        let mut inputs = self.execute(self.step(act));
        while !inputs.is_empty() {
            inputs = self.execute(self.step(|core, now| {
                for (conn, input) in inputs {
                    core.handle_input(conn, input, now);
                }
            }));
        }
    }

    /// Does what the core has asked for, as far as the sockets go without waiting. Returns what it
    /// is to be told of that.
    fn execute(&self, mut actions: Actions) -> Vec<(ConnId, Input)> {
        let mut inputs = Vec::with_capacity(actions.writes.len() + actions.closes.len());
        for (peer, write) in mem::take(&mut actions.writes) {
            if let Some(total) = peer.start(write) {
                inputs.push((peer.conn, Input::Written(total)));
            }
        }
        for (peer, reason, farewell) in &actions.closes {
            if *reason == CloseReason::BrokerBytes {
                self.to_free.fetch_add(1, Ordering::AcqRel);
            }
            let written = peer.seal(*reason, farewell.clone());
            inputs.push((peer.conn, Input::Sealed { written }));
        }
        self.log(&actions.closes, &actions.registered, &actions.dropped);
        inputs
    }

    fn log(&self, closes: &[Closed], registered: &[Registered], dropped: &[Dropped]) {
        if closes.is_empty() && registered.is_empty() && dropped.is_empty() {
            return;
        }
        let mut report = self.report();
        for (peer, role) in registered {
            report.registered(peer.conn, peer.addr, *role, peer.principal().as_ref());
        }
        for (loser, reason, count) in dropped {
            report.dropped(loser.clone(), *reason, *count);
        }
        for (peer, reason, farewell) in closes {
            report.closed(&Ended {
                conn: peer.conn,
                peer: peer.addr,
                role: peer.role(),
                principal: peer.principal(),
                reason: *reason,
                detail: detail(*reason, farewell.as_deref()),
                moved: peer.moved(),
                lived: peer.tally.lived(),
            });
        }
    }

    /// One step of the core: something happens. Returns what it then asks for.
    fn step(&self, act: impl FnOnce(&mut Core, Now)) -> Actions {
        let mut core = self.core();
        // Read under the lock, so that time never runs backwards.
        let now = self.now();
        act(&mut core, now);
        let actions = core.poll_outputs(now);
        core.pace();
        if self.surveyor.is_wanted() {
            self.surveyor.advance(&core, now);
        }
        let due = core.broker.poll_timeout();
        let earlier = due.is_some_and(|due| core.alarm.is_none_or(|alarm| due < alarm));
        if earlier || core.broker.is_drained() {
            self.attention.notify_one();
        }
        actions
    }
}

/// What there is to say of why a connection is closed beside the reason: what is wrong with what came, or what was
/// answered to its role line.
fn detail(reason: CloseReason, farewell: Option<&[u8]>) -> Option<String> {
    if let Some(Ok(handshake::Answer::Error { text, .. })) =
        farewell.map(|it| handshake::Answer::parse(it.trim_ascii_end()))
    {
        return Some(text);
    }
    if let CloseReason::Protocol(error) = reason {
        return Some(error.to_string());
    }
    None
}

impl Core {
    /// From now on everything is shown to `observer`.
    pub(crate) fn set_observer(&mut self, mut observer: Box<dyn Observer>) {
        observer.begins(&self.broker);
        self.observer = Some(observer);
    }

    fn handle_input(&mut self, conn: ConnId, input: Input, now: Now) {
        self.show(Observed::Input(conn, &input), now);
        self.touch_topic_of(conn);
        self.broker.handle_input(conn, input, now);
    }

    fn answer(&mut self, topic: TopicId, answer: Answer, now: Now) {
        self.show(Observed::Answer(topic, &answer), now);
        self.touched.push(topic);
        self.broker.handle_answer(topic, answer, now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.show(Observed::Timeout, now);
        self.broker.handle_timeout(now);
    }

    fn drain(&mut self, timeout: Duration, now: Now) {
        self.show(Observed::Drain(timeout), now);
        self.broker.drain(timeout, now);
    }

    fn purge(&mut self, now: Now) -> Option<Count> {
        self.show(Observed::Purge, now);
        self.touched.push(DEFAULT_TOPIC);
        self.broker.purge(now)
    }

    fn end_group(&mut self, topic: &TopicName, group: &Name, now: Now) -> bool {
        let Some(id) = self.broker.topic_named(topic) else {
            return false;
        };
        let Some(group) = self.broker.group_named(id, group) else {
            return false;
        };
        self.show(Observed::EndGroup(topic, group), now);
        self.touched.push(id);
        self.broker.delete_group(topic, group, now)
    }

    fn set_rules(
        &mut self,
        rules: Vec<TopicRule>,
        now: Now,
    ) -> Result<Vec<TopicChange>, NeedsRestart> {
        self.show(Observed::Rules(&rules), now);
        let changes = self.broker.set_rules(rules, now)?;
        // Before it is asked for the topics that these rules have made.
        if let Some(store) = &self.store {
            store.follow(self.broker.config().clone());
        }
        for change in &changes {
            self.touched.extend(self.broker.topic_named(&change.topic));
        }
        Ok(changes)
    }

    fn show(&mut self, observed: Observed<'_>, now: Now) {
        if let Some(observer) = &mut self.observer {
            observer.observe(observed, now);
        }
    }

    /// Gathers what the core asks for. What takes no time is done at once.
    fn poll_outputs(&mut self, now: Now) -> Actions {
        let mut actions = Actions::default();
        let mut farewell = None;
        while let Some(output) = self.broker.poll_output() {
            self.show(Observed::Output(&output), now);
            match output {
                Output::Write { conn, write } => {
                    if let Some(peer) = self.peers.get(&conn) {
                        actions.writes.push((Arc::clone(peer), write));
                    }
                }
                Output::Farewell { bytes, .. } => farewell = Some(bytes),
                Output::Close { conn, reason } => {
                    let farewell = farewell.take();
                    if let Some(peer) = self.peers.remove(&conn) {
                        actions.closes.push((peer, reason, farewell));
                    }
                }
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => {
                    // Maybe in another topic, which waited for bytes that this one has given back.
                    self.touch_topic_of(conn);
                    self.set_paused(conn, false);
                }
                Output::Registered { conn, role } => {
                    self.touch_topic_of(conn);
                    if let Some(peer) = self.peers.get(&conn) {
                        peer.set_role(role);
                        if role == Role::Producer
                            && let Some(topic) = self.broker.topic_of(conn)
                        {
                            peer.set_line(self.pacing.line(topic));
                        }
                        actions.registered.push((Arc::clone(peer), role));
                    }
                }
                Output::Dropped {
                    topic,
                    group,
                    name,
                    reason,
                    count,
                } => {
                    let loser = Loser { topic, group, name };
                    actions.dropped.push((loser, reason, count));
                }
                // In the order in which the core asks: under its lock.
                Output::Store { topic, request } => {
                    if let Some(store) = &self.store {
                        store.ask(topic, request);
                    }
                }
            }
        }
        if let Some(observer) = &mut self.observer {
            observer.step_ended(&self.broker, now);
        }
        actions
    }

    fn touch_topic_of(&mut self, conn: ConnId) {
        if self.pacing.is_needed()
            && let Some(topic) = self.broker.topic_of(conn)
            && !self.touched.contains(&topic)
        {
            self.touched.push(topic);
        }
    }

    /// Tells the producers of the topics in which something has happened how they are read from now.
    fn pace(&mut self) {
        for topic in self.touched.drain(..) {
            if let Some(view) = self.broker.topic_view(topic) {
                self.pacing.note(topic, view);
            }
        }
    }

    fn set_paused(&self, conn: ConnId, paused: bool) {
        if let Some(peer) = self.peers.get(&conn) {
            peer.set_paused(paused);
        }
    }
}

#[cfg(test)]
mod tests;
