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

mod locked;

pub(crate) use locked::Core;

use super::observe::Observed;
use super::peer::{Peer, Status};
use super::survey::{Detail, Findings, Surveyor};
use crate::access::Gate;
use crate::operate::report::{Ended, Report};
use crate::store::Store;
use locked::{Actions, Closed, Dropped, Registered};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::Answer;
use message_queue_core::wire::SpareBuffers;
use message_queue_core::wire::handshake;
use message_queue_core::{
    CloseReason, Config, ConnId, Count, Input, NeedsRestart, Now, StoredTopic, TopicChange,
    TopicId, TopicRule,
};
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

impl Driver {
    pub(crate) fn new(config: Config) -> Self {
        Self::with_stored(config, Vec::new(), Now::START)
    }

    /// The same with what was found in its store. `origin` is the moment now.
    pub(crate) fn with_stored(config: Config, stored: Vec<StoredTopic>, origin: Now) -> Self {
        Self {
            core: Mutex::new(Core::new(config, stored, origin)),
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
            let peer = Arc::new(Peer::new(core.next_conn(), addr, stream));
            core.peers.insert(peer.conn, Arc::clone(&peer));
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

#[cfg(test)]
mod tests;
