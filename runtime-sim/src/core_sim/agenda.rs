//! What will happen, and when.

use crate::plan::Micros;
use message_queue_core::ConnId;
use std::collections::BTreeMap;

/// Something that happens at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A client (by its place in the plan) connects.
    Connect(usize),
    /// A client does what it does from time to time.
    Act(usize, ConnId),
    /// There may be something to read for the client.
    ClientReadable(ConnId),
    /// There may be room to send for the client.
    ClientWritable(ConnId),
    /// The client learns that its connection was reset.
    ClientReset(ConnId),
    /// A connection reaches the broker.
    Accept(ConnId),
    /// There may be something to read for the broker.
    BrokerReadable(ConnId),
    /// There may be room to write for the broker.
    BrokerWritable(ConnId),
    /// The broker learns that a connection was reset.
    BrokerReset(ConnId),
    /// A fault (by its place in the plan) strikes.
    Fault(usize),
    /// A broker that was killed is back.
    Restart,
    /// Clients stop publishing and faults stop striking.
    Over,
    /// After healing: is anything left to do?
    Settle,
}

/// All that will happen, soonest first; at the same moment, in the order in which it was noted.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    happenings: BTreeMap<(Micros, u64), Happening>,
    noted: u64,
}

impl Agenda {
    pub(super) fn note(&mut self, at: Micros, happening: Happening) {
        self.noted += 1;
        self.happenings.insert((at, self.noted), happening);
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.happenings.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop(&mut self) -> Option<Happening> {
        self.happenings.pop_first().map(|(_, happening)| happening)
    }
}
