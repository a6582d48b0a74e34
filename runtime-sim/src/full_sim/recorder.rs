//! The history of a run, written by all who take part: the driver shows what the core is told and
//! asks for, the broker's sockets what they took, the clients what they did and saw.

use super::outgoing::Outgoing;
use super::socket::Watcher;
use super::stage::Audience;
use crate::checker::{Invariant, Violation};
use crate::history::{Event, Held, History, Manners, Record};
use crate::message::{MessageId, Named};
use crate::panics::unless_it_panics;
use crate::plan::{Micros, Settings};
use message_queue_core::{Broker, CloseReason, ConnId, Count, GroupId, Input, Now, Output};
use message_queue_tokio::{Observed, Observer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of a broker that was restarted are told from those before by their numbers.
const CONNECTIONS_OF_A_BROKER: u64 = 1_000_000;

/// Writes the history. A clone writes the same one.
#[derive(Clone)]
pub(super) struct Recorder(Arc<Mutex<State>>);

struct State {
    history: History,
    now: Micros,
    step: u64,
    /// Whether the driver is within a step.
    in_step: bool,
    /// How many brokers there were before this one.
    brokers: u64,
    /// Accepted, and not known to the core yet.
    accepted: VecDeque<SocketAddr>,
    /// Connections that the core knows or has known, by their client's address.
    conns: BTreeMap<SocketAddr, ConnId>,
    /// Those that it does not know yet.
    early: BTreeMap<SocketAddr, Early>,
    /// What the core has closed and was not told the end of, and why.
    closing: BTreeMap<ConnId, CloseReason>,
    /// Connections that the broker turned away.
    refused: BTreeSet<ConnId>,
    /// Consumers' sockets, as they see it themselves.
    sockets: BTreeMap<ConnId, Outgoing>,
    /// The broker's counter of messages received.
    received: Count,
    held: Held,
    /// How often a message, or a part of one, has moved.
    moves: u64,
    check_invariants: bool,
    internal: Option<Violation>,
}

/// What a client does and sees on its connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// It gave the last byte of a message to its socket.
    Sent(Option<MessageId>),
    /// It read the last byte of a message.
    Received(Named),
    /// It gave its connection up.
    Gone,
}

/// A connection that the broker has yet to accept.
struct Early {
    client: u32,
    manners: Manners,
    acts: Vec<Act>,
}

impl Recorder {
    pub(super) fn new(settings: Settings, check_invariants: bool) -> Self {
        let history = History {
            settings,
            records: Vec::new(),
        };
        Self(Arc::new(Mutex::new(State {
            history,
            now: 0,
            step: 0,
            in_step: false,
            brokers: 0,
            accepted: VecDeque::new(),
            conns: BTreeMap::new(),
            early: BTreeMap::new(),
            closing: BTreeMap::new(),
            refused: BTreeSet::new(),
            sockets: BTreeMap::new(),
            received: Count::ZERO,
            held: Held::default(),
            moves: 0,
            check_invariants,
            internal: None,
        })))
    }

    /// Something that is no client's and not the broker's own.
    pub(super) fn note(&self, event: Event) {
        let mut state = self.state();
        state.step += 1;
        state.record(event);
    }

    /// A client connected from `addr`.
    pub(super) fn connected(&self, addr: SocketAddr, client: u32, manners: Manners) {
        let early = Early {
            client,
            manners,
            acts: Vec::new(),
        };
        self.state().early.insert(addr, early);
    }

    /// The client that connected from `addr` did or saw something. If the broker has not accepted
    /// the connection yet, that is recorded when it does.
    pub(super) fn act(&self, addr: SocketAddr, act: Act) {
        let mut state = self.state();
        if let Some(early) = state.early.get_mut(&addr) {
            early.acts.push(act);
        } else if let Some(conn) = state.conns.get(&addr).copied() {
            state.step += 1;
            state.record(act.on(conn));
        }
    }

    /// Whether the broker turned this connection away for want of a place.
    pub(super) fn was_refused(&self, addr: SocketAddr) -> bool {
        let state = self.state();
        let conn = state.conns.get(&addr);
        conn.is_some_and(|conn| state.refused.contains(conn))
    }

    /// What the broker holds.
    pub(super) fn held(&self) -> Held {
        self.state().held
    }

    /// A client has sent or received a part of a message.
    pub(super) fn moved(&self) {
        self.state().moves += 1;
    }

    /// A number that grows whenever a message, or a part of one, moves.
    pub(super) fn moves(&self) -> u64 {
        self.state().moves
    }

    /// The history so far, and what the core said was wrong with it.
    pub(super) fn finish(&self) -> (History, Option<Violation>) {
        let state = self.state();
        (state.history.clone(), state.internal.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the run and is reported; the history up to it is wanted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Recorder {
    fn accepted(&self, addr: SocketAddr) {
        self.state().accepted.push_back(addr);
    }

    fn took(&self, addr: SocketAddr, bytes: usize) {
        let mut state = self.state();
        state.moves += 1;
        if let Some(conn) = state.conns.get(&addr).copied() {
            state.sockets.entry(conn).or_default().took(bytes);
        }
    }
}

impl Audience for Recorder {
    fn set_now(&self, now: Micros) {
        self.state().now = now;
    }

    fn killed(&self) {
        self.note(Event::Killed);
        let mut state = self.state();
        state.brokers += 1;
        state.accepted.clear();
        state.sockets.clear();
        state.closing.clear();
        state.received = Count::ZERO;
        state.held = Held::default();
        state.in_step = false;
    }

    fn healed(&self) {
        self.note(Event::Healed);
    }
}

impl Act {
    const fn on(self, conn: ConnId) -> Event {
        match self {
            Self::Sent(message) => Event::Sent { conn, message },
            Self::Received(message) => Event::Received { conn, message },
            Self::Gone => Event::Gone { conn },
        }
    }
}

impl Observer for Recorder {
    fn observe(&mut self, observed: Observed<'_>, _: Now) {
        let mut state = self.state();
        if !state.in_step {
            state.in_step = true;
            state.step += 1;
        }
        match observed {
            Observed::Input(conn, input) => state.input(conn, input),
            Observed::Timeout
            | Observed::Purge
            | Observed::EndGroup(..)
            | Observed::Rules(_)
            | Observed::Answer(..)
            | Observed::StoreFailed => {}
            Observed::Drain(_) => state.record(Event::Draining),
            Observed::Output(output) => state.output(output),
        }
    }

    fn step_ended(&mut self, broker: &Broker, _: Now) {
        let mut state = self.state();
        state.in_step = false;
        let stats = broker.stats();
        let mut count = stats.received;
        count -= state.received;
        if !count.is_zero() {
            state.received = stats.received;
            state.record(Event::Admitted { count });
        }
        state.held = Held {
            waiting: stats.flow.waiting,
            parked: stats.parked,
        };
        if state.check_invariants
            && state.internal.is_none()
            && let Err(detail) = unless_it_panics(|| broker.check_invariants())
        {
            state.internal = Some(Violation {
                invariant: Invariant::Internal,
                at: state.now,
                step: state.step,
                detail,
            });
        }
    }
}

impl State {
    fn record(&mut self, event: Event) {
        self.history.records.push(Record {
            at: self.now,
            step: self.step,
            event,
        });
    }

    const fn name(&self, conn: ConnId) -> ConnId {
        ConnId(self.brokers * CONNECTIONS_OF_A_BROKER + conn.0)
    }

    fn input(&mut self, conn: ConnId, input: &Input) {
        let conn = self.name(conn);
        match input {
            Input::Opened => self.open(conn),
            // The core pays no heed to what had come with the role of one that it turned away.
            Input::Batch(_) if self.refused.contains(&conn) || self.closing.contains_key(&conn) => {
            }
            Input::Batch(batch) => {
                let count = Count::of(batch);
                self.record(Event::Accepted { conn, count });
            }
            Input::Written(total) => {
                let ended = self.sockets.entry(conn).or_default().reported(*total);
                self.record(ended.map_or(Event::WriteProgressed { conn }, |it| it.on(conn)));
            }
            Input::Sealed { .. } => self.sealed(conn),
            Input::Identified(_)
            | Input::Unauthorized
            | Input::Role(_)
            | Input::Options(_)
            | Input::BadOptions(_)
            | Input::Control(_)
            | Input::Heard
            | Input::Broke(_)
            | Input::PeerClosed
            | Input::PeerReset
            | Input::NothingToRead
            | Input::EndedByOperator
            | Input::Partial { .. }
            | Input::FrameStalled => {}
        }
    }

    /// A connection is over: what its socket has not taken by now it never will.
    fn sealed(&mut self, conn: ConnId) {
        if let Some(ended) = self.sockets.get_mut(&conn).and_then(Outgoing::give_up) {
            self.record(ended.on(conn));
        }
        if let Some(reason) = self.closing.remove(&conn) {
            self.record(Event::Closed { conn, reason });
        }
    }

    fn open(&mut self, conn: ConnId) {
        let Some(addr) = self.accepted.pop_front() else {
            return;
        };
        self.conns.insert(addr, conn);
        let early = self.early.remove(&addr);
        if let Some(Early {
            client, manners, ..
        }) = early
        {
            self.record(Event::Connected {
                conn,
                client,
                manners,
            });
        }
        self.record(Event::Opened { conn });
        for act in early.into_iter().flat_map(|early| early.acts) {
            self.record(act.on(conn));
        }
    }

    fn output(&mut self, output: &Output) {
        match output {
            Output::Write { conn, write } => {
                let conn = self.name(*conn);
                let count = write.count();
                self.sockets.entry(conn).or_default().start(write.clone());
                self.record(Event::WriteStarted { conn, count });
            }
            Output::Farewell { .. } => {}
            Output::Close { conn, reason } => {
                let (conn, reason) = (self.name(*conn), *reason);
                if reason.is_refusal() {
                    self.refused.insert(conn);
                }
                self.closing.insert(conn, reason);
            }
            Output::Pause { conn } => {
                let conn = self.name(*conn);
                self.record(Event::Paused { conn });
            }
            Output::Resume { conn } => {
                let conn = self.name(*conn);
                self.record(Event::Resumed { conn });
            }
            Output::Registered { conn, role } => {
                let conn = self.name(*conn);
                self.record(Event::Registered { conn, role: *role });
            }
            Output::Dropped {
                group,
                reason,
                count,
                ..
            } => {
                let group = group.map(|group| match group {
                    GroupId::Own(conn) => GroupId::Own(self.name(conn)),
                    GroupId::Shared | GroupId::Named(_) => group,
                });
                self.record(Event::Dropped {
                    group,
                    reason: *reason,
                    count: *count,
                });
            }
            Output::Store { .. } => unreachable!("no topic is stored here"),
        }
    }
}
