//! The driver: the core behind a lock, fed by whoever has something to tell.
//!
//! There is no broker task and no channel. The task of a connection that has read a batch feeds it
//! to the core and carries out what the core asks for, up to writing to idle consumers itself: a
//! message reaches its consumers' sockets without a hand-over between tasks. Only where a socket
//! would block does the consumer's own task take over (`peer.rs`).
//!
//! Locks, always taken in this order: the gate, the core, a peer.

use super::observe::{Observed, Observer};
use super::pacing::Pacing;
use super::peer::{Peer, Status};
use super::survey::{Detail, Findings, Surveyor};
use crate::operate::report::{Ended, Report};
use message_queue_core::wire::SpareBuffers;
use message_queue_core::{
    Broker, CloseReason, Config, ConnId, Input, Now, Output, Overflow, Write,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Context;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The core, its connections, and the way between them.
pub(crate) struct Driver {
    core: Mutex<Core>,
    /// Keeps what sockets took and the ends of connections in order: shared by whoever writes and
    /// then reports it, exclusive for whatever may end a connection. Without it a message that a
    /// socket has just taken could be handed to another consumer.
    gate: RwLock<()>,
    started: Instant,
    draining: AtomicBool,
    /// What connections that have nothing to read leave to those that have.
    spares: Mutex<SpareBuffers>,
    /// Says when producers are to be read from.
    pub(crate) pacing: Arc<Pacing>,
    /// Looks at the core for those who want to see it.
    pub(crate) surveyor: Surveyor,
    /// The server is to look at the timers, at the end of the drain, or at the listener.
    pub(crate) attention: Notify,
}

/// What the lock protects.
pub(crate) struct Core {
    pub(crate) broker: Broker,
    /// Connections that have not ended.
    pub(crate) peers: BTreeMap<ConnId, Arc<Peer>>,
    pub(crate) report: Report,
    next_conn: u64,
    /// The moment that the server sleeps until.
    alarm: Option<Now>,
    observer: Option<Box<dyn Observer>>,
}

/// Producers are paced where more waits than this part of a write: bulk is, and a few small
/// messages are not.
const PACE_RATIO: usize = 4;

/// Writes that the core has asked for.
type Writes = Vec<(Arc<Peer>, Write)>;

impl Driver {
    pub(crate) fn new(config: Config) -> Self {
        let pacing = Pacing::new(match config.overflow {
            Overflow::Block => Some(config.write_bytes / PACE_RATIO),
            Overflow::Drop => None,
        });
        let core = Core {
            broker: Broker::new(config),
            peers: BTreeMap::new(),
            report: Report::default(),
            next_conn: 1,
            alarm: None,
            observer: None,
        };
        Self {
            core: Mutex::new(core),
            gate: RwLock::new(()),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            spares: Mutex::default(),
            pacing: Arc::new(pacing),
            surveyor: Surveyor::default(),
            attention: Notify::new(),
        }
    }

    /// Takes in a new connection, of which this is the write side.
    pub(crate) fn open(
        &self,
        addr: SocketAddr,
        stream: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Arc<Peer> {
        let peer = {
            let mut core = self.core();
            let conn = ConnId(core.next_conn);
            core.next_conn += 1;
            let peer = Arc::new(Peer::new(conn, addr, stream));
            core.peers.insert(conn, Arc::clone(&peer));
            peer
        };
        self.feed(peer.conn, Input::Opened);
        peer
    }

    /// Tells the core something that does not end the connection.
    pub(crate) fn feed(&self, conn: ConnId, input: Input) {
        self.run(|core, now| core.handle_input(conn, input, now));
    }

    /// Tells the core that a connection has ended.
    pub(crate) fn end(&self, conn: ConnId, input: Input) {
        self.run_alone(|core, now| core.handle_input(conn, input, now));
    }

    /// Lets the core do what is due.
    pub(crate) fn handle_timeout(&self) {
        self.run_alone(Core::handle_timeout);
    }

    /// Begins the orderly end, or leaves less time for it.
    pub(crate) fn drain(&self, timeout: Duration) {
        self.run_alone(|core, now| {
            core.drain(timeout, now);
            // After the core, under its lock: a connection that sees this may tell the core at once
            // that there is nothing more to read, and the core must have been told why.
            self.draining.store(true, Ordering::Release);
        });
        for peer in self.core().peers.values() {
            peer.wake();
        }
        self.attention.notify_one();
    }

    /// Goes on with the write in flight on a connection, from that connection's own task.
    pub(crate) fn go_on_writing(&self, peer: &Peer, cx: &mut Context<'_>) -> Status {
        let (status, writes) = {
            let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let (taken, status) = peer.go_on(cx);
            if taken == 0 {
                return status;
            }
            let input = Input::Written(taken);
            (
                status,
                self.step(|core, now| core.handle_input(peer.conn, input, now)),
            )
        };
        self.carry_out(writes);
        status
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
        core.alarm.map(|due| self.started + due.since_start())
    }

    /// Whether the orderly end has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether the orderly end is over.
    pub(crate) fn is_drained(&self) -> bool {
        self.core().broker.is_drained()
    }

    /// The read buffers that no connection uses. Held for no longer than it takes to take or leave one.
    pub(crate) fn spares(&self) -> MutexGuard<'_, SpareBuffers> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        Now::at(self.started.elapsed())
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while the core was locked is a bug that ends the broker; see `server.rs`.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, act: impl FnOnce(&mut Core, Now)) {
        let writes = self.step(act);
        self.carry_out(writes);
    }

    fn run_alone(&self, act: impl FnOnce(&mut Core, Now)) {
        let writes = {
            let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            self.step(act)
        };
        self.carry_out(writes);
    }

    /// Writes what the core has asked for, as far as the sockets go, and reports it; and again,
    /// until the core asks for nothing more.
    fn carry_out(&self, mut writes: Writes) {
        while !writes.is_empty() {
            let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let taken: Vec<_> = writes
                .into_iter()
                .map(|(peer, write)| (peer.conn, peer.start(write)))
                .collect();
            writes = self.step(|core, now| {
                for (conn, bytes) in taken {
                    if bytes > 0 {
                        core.handle_input(conn, Input::Written(bytes), now);
                    }
                }
            });
        }
    }

    /// One step of the core: something happens, and all that follows from it but the writes.
    fn step(&self, act: impl FnOnce(&mut Core, Now)) -> Writes {
        let mut core = self.core();
        // Read under the lock, so that time never runs backwards.
        let now = self.now();
        act(&mut core, now);
        let writes = core.follow(now);
        let blocked = !core.broker.stats().parked.is_zero();
        self.pacing.note(core.broker.held_bytes(), blocked);
        if self.surveyor.is_wanted() {
            self.surveyor.advance(&core, now);
        }
        let due = core.broker.poll_timeout();
        let earlier = due.is_some_and(|due| core.alarm.is_none_or(|alarm| due < alarm));
        if earlier || core.broker.is_drained() {
            self.attention.notify_one();
        }
        writes
    }
}

impl Core {
    /// From now on everything is shown to `observer`.
    pub(crate) fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    fn handle_input(&mut self, conn: ConnId, input: Input, now: Now) {
        self.show(Observed::Input(conn, &input), now);
        self.broker.handle_input(conn, input, now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.show(Observed::Timeout, now);
        self.broker.handle_timeout(now);
    }

    fn drain(&mut self, timeout: Duration, now: Now) {
        self.show(Observed::Drain(timeout), now);
        self.broker.drain(timeout, now);
    }

    fn show(&mut self, observed: Observed<'_>, now: Now) {
        if let Some(observer) = &mut self.observer {
            observer.observe(observed, now);
        }
    }

    /// Does what the core has asked for, and returns the writes.
    fn follow(&mut self, now: Now) -> Writes {
        let mut writes = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            self.show(Observed::Output(&output), now);
            match output {
                Output::Write { conn, write } => {
                    if let Some(peer) = self.peers.get(&conn) {
                        writes.push((Arc::clone(peer), write));
                    }
                }
                Output::Close { conn, reason } => self.close(conn, reason),
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => self.set_paused(conn, false),
                Output::Registered { conn, role } => {
                    if let Some(peer) = self.peers.get(&conn) {
                        self.report.registered(conn, peer.addr, role);
                        peer.set_role(role);
                    }
                }
                Output::Dropped {
                    group,
                    reason,
                    count,
                } => {
                    self.report.dropped(group, reason, count);
                }
            }
        }
        if let Some(observer) = &mut self.observer {
            observer.step_ended(&self.broker, now);
        }
        writes
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if let Some(peer) = self.peers.remove(&conn) {
            self.report.closed(&Ended {
                conn,
                peer: peer.addr,
                role: peer.role(),
                reason,
                moved: peer.moved(),
                lived: peer.tally.lived(),
            });
            peer.set_closed(reason);
        }
    }

    fn set_paused(&self, conn: ConnId, paused: bool) {
        if let Some(peer) = self.peers.get(&conn) {
            peer.set_paused(paused);
        }
    }
}
