//! The reference model: the broker's rules, a dozen lines each, and nothing else.
//!
//! It takes the core's inputs and says what must come out, message by message. Messages are plain
//! vectors of bytes in plain vectors; everything is looked up by walking and counted by counting.
//! It was written from the rules, not from the core, so the two agree only where both are right.
//!
//! One file a rule: `publish.rs` (who gets a message, and who has no room for it), `share.rs` (how
//! idle consumers share what waits), `partial.rs` (frames that are not whole yet), `lifecycle.rs`
//! (connections come and go), `drain.rs` (the orderly end), `purge.rs` (the queue is emptied),
//! `timeouts.rs` (what happens by itself), `tally.rs` (what is counted).

mod drain;
mod effect;
mod lifecycle;
mod partial;
mod publish;
mod purge;
mod share;
mod tally;
mod timeouts;

pub use effect::{Effect, effect};

use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, Config, ConnId, Flow, GroupId, Input, Now, Stats};
use std::collections::BTreeMap;

/// The model of a broker.
#[derive(Debug)]
pub struct Model {
    config: Config,
    connections: BTreeMap<ConnId, Connection>,
    groups: BTreeMap<GroupId, Group>,
    /// Producers that wait for room, first come first, each with what it waits to publish.
    parked: Vec<(ConnId, Vec<Message>)>,
    /// When the orderly end must be over, once it has begun.
    drain_due: Option<Now>,
    /// Whether that time was up, and everybody was sent away.
    drain_has_ended: bool,
    /// How many messages there have been.
    messages: u64,
    /// How many batches there have been.
    batches: u64,
    /// What only grows; [`stats`](Self::stats) adds what can be counted when it is asked.
    totals: Stats,
    now: Now,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Connection {
    opened: Now,
    /// Why it is closing, if it is. Until its socket is sealed it keeps its place.
    closing: Option<CloseReason>,
    /// Whether it came while the broker was draining.
    late: bool,
    role: Option<Role>,
    /// The group it is a member of, if it is a consumer.
    group: Option<GroupId>,
    in_flight: Option<InFlight>,
    /// How many bytes its socket has taken in all.
    taken: u64,
    /// How many bytes of a frame that is not whole are held for it.
    partial: usize,
}

/// The one write on its way to a consumer.
#[derive(Debug)]
struct InFlight {
    messages: Vec<Message>,
    /// How many bytes of it the socket has taken.
    taken: usize,
    started: Now,
    /// When the socket last took some of it.
    progressed: Now,
}

#[derive(Debug, Default)]
struct Group {
    waiting: Vec<Message>,
    /// Members with nothing in flight, the one idle for longest first.
    idle: Vec<ConnId>,
    flow: Flow,
}

#[derive(Clone, Debug)]
struct Message {
    body: Vec<u8>,
    /// How many messages there were before it, those included that somebody had no room for.
    sequence: u64,
    /// The batch that it is a part of. Of use for one rule: a write gathers 64 batches at most.
    batch: u64,
}

impl Message {
    /// What it takes on the wire: its length and its body.
    const fn bytes(&self) -> usize {
        4 + self.body.len()
    }
}

impl Model {
    /// A model of a broker with these settings.
    pub fn new(config: Config) -> Self {
        let mut model = Self {
            config,
            connections: BTreeMap::new(),
            groups: BTreeMap::new(),
            parked: Vec::new(),
            drain_due: None,
            drain_has_ended: false,
            messages: 0,
            batches: 0,
            totals: Stats::default(),
            now: Now::START,
            effects: Vec::new(),
        };
        model.open_the_queue();
        model
    }

    /// What the broker must do when this happens. What happens on a connection that is gone has no
    /// effect.
    pub fn handle_input(&mut self, conn: ConnId, input: &Input, now: Now) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Opened => self.open(conn),
            _ if !self.connections.contains_key(&conn) => {}
            Input::Written(total) => self.socket_has_taken(conn, *total),
            Input::Sealed { written } => self.socket_is_sealed(conn, *written),
            _ if self.connections[&conn].closing.is_some() => {}
            Input::Role(role) => self.take_role(conn, *role),
            Input::Batch(batch) => {
                // Its frame is whole.
                self.connection(conn).partial = 0;
                self.publish(conn, batch.bodies().map(|body| body.to_vec()).collect());
                self.offer_parked();
            }
            Input::Options(_) | Input::BadOptions(_) | Input::Control(_) | Input::Heard => {
                unreachable!("this model is of version 1")
            }
            Input::Identified(_) | Input::Unauthorized => {
                unreachable!("everybody may do everything here")
            }
            Input::Broke(error) => self.close(conn, CloseReason::Protocol(*error)),
            Input::PeerClosed => self.close(conn, CloseReason::PeerClosed),
            Input::PeerReset => self.close(conn, CloseReason::PeerReset),
            Input::NothingToRead => self.nothing_to_read(conn),
            Input::EndedByOperator => self.close(conn, CloseReason::EndedByOperator),
            Input::Partial { bytes } => self.hold_partial(conn, *bytes),
            Input::FrameStalled => self.close(conn, CloseReason::FrameTimeout),
        }
        self.go_on_draining();
        std::mem::take(&mut self.effects)
    }

    /// The connections that have this role.
    fn with_role(&self, role: Option<Role>) -> Vec<ConnId> {
        let all = self.connections.iter();
        all.filter(|(_, connection)| connection.role == role)
            .map(|(conn, _)| *conn)
            .collect()
    }

    fn connection(&mut self, conn: ConnId) -> &mut Connection {
        self.connections.get_mut(&conn).expect("it is connected")
    }

    fn group(&mut self, id: GroupId) -> &mut Group {
        self.groups.get_mut(&id).expect("the group is there")
    }
}
