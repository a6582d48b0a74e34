//! The history of a run, written by all who take part: the driver shows what the core is told and asks for, the clients
//! what they did and were told.

use crate::checker::{Invariant, Violation};
use crate::full_sim::socket::Watcher;
use crate::full_sim::stage::Audience;
use crate::guarantees::world::host::{bodies, told, whence};
use crate::guarantees::world::link::not_taken;
use crate::guarantees::{Asked, Event, History, Record, Settings, WhichGroup};
use crate::panics::unless_it_panics;
use crate::plan::Micros;
use message_queue_core::store::{Answer, FetchFrom, Request};
use message_queue_core::wire::control::{Control, Link as Way};
use message_queue_core::wire::{FrameReader, Write};
use message_queue_core::{Broker, ConnId, Input, Now, Output, ProtocolError};
use message_queue_tokio::{Observed, Observer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of a broker are told from those of the brokers before it by their numbers.
const CONNECTIONS_OF_A_BROKER: u64 = 1_000_000;

/// Writes the history. A clone writes the same one.
#[derive(Clone)]
pub(super) struct Recorder(Arc<Mutex<State>>);

struct State {
    history: History,
    /// The time of the world.
    now: Micros,
    /// The time of the last record.
    at: Micros,
    /// When the broker's clock was at its beginning.
    broker_began: i128,
    step: u64,
    /// How many brokers there were before this one.
    brokers: u64,
    /// Accepted, and not known to the core yet.
    accepted: VecDeque<SocketAddr>,
    /// What clients ask for on connections that the core does not know yet.
    early: BTreeMap<SocketAddr, (usize, Asked)>,
    /// Connections that the core knows, of which it is known whose they are.
    conns: BTreeMap<ConnId, Outgoing>,
    /// Those that it has closed.
    closed: BTreeSet<ConnId>,
    held_bytes: usize,
    /// Whether something waits, in a group or for room.
    something_waits: bool,
    /// The most bytes that the broker may hold.
    most_bytes: usize,
    /// How often something has moved.
    moves: u64,
    check_invariants: bool,
    internal: Option<Violation>,
}

/// What is written to a connection.
struct Outgoing {
    reader: FrameReader,
    /// The write in flight.
    write: Option<Vec<u8>>,
    /// Bytes of the writes that are over.
    over: u64,
}

impl Outgoing {
    fn new(asked: &Asked) -> Self {
        let way = match asked {
            Asked::ToSend { .. } => Way::ToProducer,
            Asked::ToReceive { .. } => Way::ToConsumer,
        };
        Self {
            reader: FrameReader::new(way, 1 << 16),
            write: None,
            over: 0,
        }
    }

    /// The broker begins to write. Returns the bytes.
    fn start(&mut self, write: &Write) -> Vec<u8> {
        let pieces = write.pieces().iter();
        let bytes: Vec<u8> = pieces.flat_map(|it| it.as_bytes().to_vec()).collect();
        self.write = Some(bytes.clone());
        bytes
    }

    /// The socket has taken so many bytes in all. Returns whether that is all of the write.
    fn took(&mut self, total: u64) -> bool {
        let length = self.write.as_ref().map_or(0, Vec::len) as u64;
        let is_done = self.write.is_some() && total >= self.over + length;
        if is_done {
            self.over += length;
            self.write = None;
        }
        is_done
    }

    /// How many messages of the write in flight the socket has not taken whole, that has taken so many bytes in all.
    fn not_taken(&self, total: u64) -> usize {
        let taken = total.saturating_sub(self.over) as usize;
        let write = self.write.as_ref();
        write.map_or(0, |bytes| not_taken(bytes, taken))
    }
}

impl Recorder {
    pub(super) fn new(settings: Settings, most_bytes: usize, check_invariants: bool) -> Self {
        let history = History {
            settings,
            records: Vec::new(),
        };
        Self(Arc::new(Mutex::new(State {
            history,
            now: 0,
            at: 0,
            broker_began: 0,
            step: 0,
            brokers: 0,
            accepted: VecDeque::new(),
            early: BTreeMap::new(),
            conns: BTreeMap::new(),
            closed: BTreeSet::new(),
            held_bytes: 0,
            something_waits: false,
            most_bytes,
            moves: 0,
            check_invariants,
            internal: None,
        })))
    }

    /// The time since the world began.
    pub(super) fn now(&self) -> Micros {
        self.state().now
    }

    /// Something that is not the broker's own.
    pub(super) fn note(&self, event: Event) {
        let mut state = self.state();
        if !matches!(event, Event::Struck { .. }) {
            state.moves += 1;
        }
        state.record(event);
    }

    /// A broker starts, whose clock began at this time of the world.
    pub(super) fn broker_starts(&self, began: i128) {
        self.state().broker_began = began;
    }

    /// A client connected from `addr`.
    pub(super) fn connected(&self, addr: SocketAddr, client: usize, asked: Asked) {
        self.state().early.insert(addr, (client, asked));
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.state().held_bytes
    }

    /// Whether the broker holds nothing that is to go on.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.held_bytes == 0 && !state.something_waits
    }

    /// How many brokers have died.
    pub(super) fn deaths(&self) -> u64 {
        self.state().brokers
    }

    /// A number that grows whenever something moves.
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
}

impl Audience for Recorder {
    fn set_now(&self, now: Micros) {
        self.state().now = now;
    }

    fn killed(&self) {
        self.note(Event::Killed);
        let mut state = self.state();
        state.step += 1;
        state.brokers += 1;
        state.accepted.clear();
        state.early.clear();
        state.conns.clear();
        state.closed.clear();
        state.held_bytes = 0;
        state.something_waits = false;
    }

    fn healed(&self) {
        self.note(Event::Healed);
    }
}

impl Observer for Recorder {
    fn observe(&mut self, observed: Observed<'_>, now: Now) {
        let mut state = self.state();
        let since = now.since_start().as_micros() as i128;
        let at = Micros::try_from(since + state.broker_began).unwrap_or(0);
        state.at = state.at.max(at);
        match observed {
            Observed::Input(conn, input) => state.input(conn, input),
            Observed::Timeout => state.record(Event::Time),
            Observed::Drain(_) => state.record(Event::Draining),
            Observed::Answer(topic, answer) => {
                state.moves += 1;
                let text = format!("─▶ {topic}: {}", answered(answer));
                state.record(Event::Store { text });
            }
            Observed::StoreFailed => state.record(Event::StoreFailed),
            Observed::Output(output) => state.output(output),
            Observed::Purge | Observed::EndGroup(..) | Observed::Rules(_) => {}
        }
    }

    fn step_ended(&mut self, broker: &Broker, _: Now) {
        let mut state = self.state();
        let stats = broker.stats();
        state.something_waits = !(stats.flow.waiting.is_zero() && stats.parked.is_zero());
        state.held_bytes = broker.held_bytes();
        let (held_bytes, most) = (state.held_bytes, state.most_bytes);
        if held_bytes > most {
            state.record(Event::TooMuch { held_bytes, most });
        }
        if state.check_invariants
            && state.internal.is_none()
            && let Err(detail) = unless_it_panics(|| broker.check_invariants())
        {
            state.internal = Some(Violation {
                invariant: Invariant::Internal,
                at: state.at,
                step: state.step,
                detail,
            });
        }
        state.step += 1;
    }
}

impl State {
    fn record(&mut self, event: Event) {
        self.history.records.push(Record {
            at: self.at,
            step: self.step,
            event,
        });
    }

    const fn name(&self, conn: ConnId) -> ConnId {
        ConnId(self.brokers * CONNECTIONS_OF_A_BROKER + conn.0)
    }

    fn open(&mut self, conn: ConnId) {
        let Some(addr) = self.accepted.pop_front() else {
            return;
        };
        // One whose client was killed before it knew of it says nothing.
        let Some((client, mut asked)) = self.early.remove(&addr) else {
            return;
        };
        self.conns.insert(conn, Outgoing::new(&asked));
        if let Asked::ToReceive { consumer, group } = &mut asked
            && consumer.group == WhichGroup::Own
        {
            *group = format!("own-{}", conn.0);
        }
        self.record(Event::Connected {
            conn,
            client,
            asked,
        });
    }

    fn input(&mut self, conn: ConnId, input: &Input) {
        let conn = self.name(conn);
        if matches!(input, Input::Opened) {
            return self.open(conn);
        }
        let Some(outgoing) = self.conns.get_mut(&conn) else {
            return;
        };
        if let Input::Sealed { written } = input {
            let unwritten = outgoing.not_taken(*written);
            self.conns.remove(&conn);
            return self.record(Event::Sealed { conn, unwritten });
        }
        if self.closed.contains(&conn) {
            return;
        }
        match input {
            Input::Written(total) => {
                if outgoing.took(*total) {
                    self.record(Event::WriteDone { conn });
                }
            }
            Input::Batch(batch) => {
                self.moves += 1;
                let bodies = bodies(batch);
                self.record(Event::Published { conn, bodies });
            }
            Input::Control(control) => {
                self.moves += u64::from(matches!(control, Control::Settle { .. }));
                let control = control.clone();
                self.record(Event::Heard { conn, control });
            }
            Input::Heard | Input::Options(_) => self.record(Event::Read { conn }),
            // An end in the middle of a frame is an end.
            Input::PeerClosed
            | Input::PeerReset
            | Input::Broke(ProtocolError::TruncatedFrame | ProtocolError::TruncatedRoleLine) => {
                self.record(Event::Ended { conn });
            }
            Input::Opened
            | Input::Sealed { .. }
            | Input::Identified(_)
            | Input::Unauthorized
            | Input::Role(_)
            | Input::BadOptions(_)
            | Input::Broke(_)
            | Input::NothingToRead
            | Input::EndedByOperator
            | Input::Partial { .. }
            | Input::FrameStalled => {}
        }
    }

    fn output(&mut self, output: &Output) {
        match output {
            Output::Write { conn, write } => {
                let conn = self.name(*conn);
                self.record(Event::WriteStarted { conn });
                if let Some(outgoing) = self.conns.get_mut(&conn) {
                    let bytes = outgoing.start(write);
                    for event in told(conn, &mut outgoing.reader, &bytes) {
                        let is_answer = matches!(event, Event::Told { ref control, .. }
                            if matches!(control, Control::Ping(_) | Control::Pong(..)));
                        self.moves += u64::from(!is_answer);
                        self.record(event);
                    }
                }
            }
            Output::Close { conn, reason } => {
                let (conn, reason) = (self.name(*conn), *reason);
                self.closed.insert(conn);
                if self.conns.contains_key(&conn) {
                    self.record(Event::Closed { conn, reason });
                }
            }
            Output::Pause { conn } => {
                let conn = self.name(*conn);
                self.record(Event::Paused { conn });
            }
            Output::Resume { conn } => {
                let conn = self.name(*conn);
                self.record(Event::Resumed { conn });
            }
            Output::Dropped {
                topic,
                group,
                name,
                reason,
                count,
            } => self.record(Event::Dropped {
                whence: whence(topic.as_ref(), *group, name.as_ref()),
                reason: *reason,
                messages: count.messages,
            }),
            Output::Store { topic, request } => {
                let text = format!("◀─ {topic}: {}", asked(request));
                self.record(Event::Store { text });
            }
            Output::Registered { .. } | Output::Farewell { .. } => {}
        }
    }
}

fn asked(request: &Request) -> String {
    match request {
        Request::Open { name, .. } => format!("open {name}"),
        Request::Append { first, batch, .. } => {
            format!("append {first}-{}", first + batch.messages() as u64 - 1)
        }
        Request::Fetch { group, from, .. } => match from {
            FetchFrom::Sequence(sequence) => format!("fetch from {sequence} for {group}"),
            FetchFrom::Time(time) => format!("fetch from time {time} for {group}"),
        },
        Request::SaveGroup {
            change,
            group,
            progress,
        } => format!(
            "save {group} as change {change}: up to {}, {} ranges, {} failed",
            progress.settled_up_to,
            progress.settled.len(),
            progress.failed.len()
        ),
        Request::RemoveGroup { change, group } => format!("remove {group} as change {change}"),
        Request::Change(_) => "change settings".to_owned(),
        Request::OpenGroup { group, .. } => format!("open {group}"),
        Request::CloseGroup { group } => format!("close {group}"),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Appended { up_to, .. } => format!("appended up to {up_to}"),
        Answer::Fetched { group, runs, next } => {
            let messages: usize = runs.iter().map(|run| run.batch.messages()).sum();
            format!("fetched {messages} for {group}, next is {next}")
        }
        Answer::NotFetched { group } => format!("not fetched for {group}"),
        Answer::GroupSaved { up_to } => format!("saved up to change {up_to}"),
        Answer::Trimmed { first } => format!("begins at {first}"),
        Answer::GroupOpened { group, next } => format!("{group} is open, next is {next}"),
        Answer::Arrived { group, up_to } => format!("arrived for {group} up to {up_to}"),
        Answer::GroupLost { group } => format!("{group} is lost"),
    }
}
