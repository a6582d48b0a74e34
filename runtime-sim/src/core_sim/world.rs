//! What is between the clients and the broker: time, the network, and the record of it all.

use super::agenda::{Agenda, Happening};
use super::pipe::Pipe;
use crate::history::{Event, Manners, Record};
use crate::plan::{Micros, Network};
use crate::rng::Rng;
use bytes::Bytes;
use message_queue_core::ConnId;
use std::collections::BTreeMap;

/// After healing, no buffer in the network is smaller.
const WIDE: usize = 1 << 20;

/// Time, network and record.
pub(super) struct World {
    pub(super) now: Micros,
    pub(super) agenda: Agenda,
    pub(super) records: Vec<Record>,
    pub(super) network: Network,
    pub(super) links: BTreeMap<ConnId, Link>,
    /// How much longer everything takes at the most, and until when.
    pub(super) lag: (Micros, Micros),
    pub(super) healed: bool,
    pub(super) draining: bool,
    step: u64,
    connections: u64,
}

/// One connection, as the network sees it.
pub(super) struct Link {
    /// The client's place in the plan.
    pub(super) client: usize,
    /// From the client to the broker.
    pub(super) up: Pipe,
    /// From the broker to the client.
    pub(super) down: Pipe,
    /// Draws latencies and sizes of reads and writes.
    pub(super) rng: Rng,
    /// Nothing arrives before this.
    held_until: Micros,
    /// Whether the client still has its end.
    pub(super) client_open: bool,
    /// Whether the broker still has its end, or is yet to get it.
    pub(super) broker_open: bool,
}

impl World {
    pub(super) fn new(network: Network) -> Self {
        Self {
            now: 0,
            agenda: Agenda::default(),
            records: Vec::new(),
            network,
            links: BTreeMap::new(),
            lag: (0, 0),
            healed: false,
            draining: false,
            step: 0,
            connections: 0,
        }
    }

    /// Begins a step of the history.
    pub(super) fn begin_step(&mut self) {
        self.step += 1;
    }

    pub(super) fn record(&mut self, event: Event) {
        self.records.push(Record {
            at: self.now,
            step: self.step,
            event,
        });
    }

    /// Notes something to happen now, after all that was noted for now before.
    pub(super) fn soon(&mut self, happening: Happening) {
        self.agenda.note(self.now, happening);
    }

    /// Opens a connection. It reaches the broker by itself.
    pub(super) fn connect(
        &mut self,
        client: usize,
        client_id: u32,
        manners: Manners,
        mut rng: Rng,
        down_bytes: usize,
    ) -> ConnId {
        self.connections += 1;
        let conn = ConnId(self.connections);
        let at_least = if self.healed { WIDE } else { 0 };
        let link = Link {
            client,
            up: Pipe::new(self.network.upward_bytes.max(at_least)),
            down: Pipe::new(down_bytes.max(at_least)),
            rng: Rng::new(rng.next_u64() ^ self.connections),
            held_until: 0,
            client_open: true,
            broker_open: true,
        };
        self.links.insert(conn, link);
        self.record(Event::Connected {
            conn,
            client: client_id,
            manners,
        });
        self.signal_up(conn, Happening::Accept(conn));
        conn
    }

    /// How long something takes that is sent now, but for what holds it back.
    fn latency(&mut self, conn: ConnId) -> Micros {
        let fastest = self.network.latency_min_us;
        if self.healed {
            return fastest;
        }
        let slowest = self.network.latency_max_us;
        let extra = if self.now < self.lag.1 { self.lag.0 } else { 0 };
        self.links
            .get_mut(&conn)
            .map_or(fastest, |link| link.rng.within(fastest..=slowest + extra))
    }

    /// When something that is sent up now arrives.
    fn arrival_up(&mut self, conn: ConnId) -> Micros {
        let at = self.now + self.latency(conn);
        self.links
            .get_mut(&conn)
            .map_or(at, |link| link.up.in_order(at.max(link.held_until)))
    }

    /// When something that is sent down now arrives.
    fn arrival_down(&mut self, conn: ConnId) -> Micros {
        let at = self.now + self.latency(conn);
        self.links
            .get_mut(&conn)
            .map_or(at, |link| link.down.in_order(at.max(link.held_until)))
    }

    /// Lets something happen at the broker's end, after all that was sent up before.
    pub(super) fn signal_up(&mut self, conn: ConnId, happening: Happening) {
        let at = self.arrival_up(conn);
        self.agenda.note(at, happening);
    }

    /// Lets something happen at the client's end, after all that was sent down before.
    pub(super) fn signal_down(&mut self, conn: ConnId, happening: Happening) {
        let at = self.arrival_down(conn);
        self.agenda.note(at, happening);
    }

    pub(super) fn send_up(&mut self, conn: ConnId, bytes: Bytes) {
        let at = self.arrival_up(conn);
        if let Some(link) = self.links.get_mut(&conn) {
            link.up.send(bytes, at);
            self.agenda.note(at, Happening::BrokerReadable(conn));
        }
    }

    pub(super) fn send_down(&mut self, conn: ConnId, bytes: Bytes) {
        let at = self.arrival_down(conn);
        if let Some(link) = self.links.get_mut(&conn) {
            link.down.send(bytes, at);
            self.agenda.note(at, Happening::ClientReadable(conn));
        }
    }

    pub(super) fn end_up(&mut self, conn: ConnId) {
        let at = self.arrival_up(conn);
        if let Some(link) = self.links.get_mut(&conn) {
            link.up.send_end(at);
            self.agenda.note(at, Happening::BrokerReadable(conn));
        }
    }

    pub(super) fn end_down(&mut self, conn: ConnId) {
        let at = self.arrival_down(conn);
        if let Some(link) = self.links.get_mut(&conn) {
            link.down.send_end(at);
            self.agenda.note(at, Happening::ClientReadable(conn));
        }
    }

    /// The broker reads what has arrived from a client.
    pub(super) fn read_up(&mut self, conn: ConnId, most: usize) -> Option<Bytes> {
        let now = self.now;
        let link = self.links.get_mut(&conn)?;
        let bytes = link.up.read(most, now)?;
        if std::mem::take(&mut link.up.sender_waits) {
            self.signal_down(conn, Happening::ClientWritable(conn));
        }
        Some(bytes)
    }

    /// A client reads what has arrived from the broker.
    pub(super) fn read_down(&mut self, conn: ConnId, most: usize) -> Option<Bytes> {
        let now = self.now;
        let link = self.links.get_mut(&conn)?;
        let bytes = link.down.read(most, now)?;
        if std::mem::take(&mut link.down.sender_waits) {
            self.signal_up(conn, Happening::BrokerWritable(conn));
        }
        Some(bytes)
    }

    /// How many bytes one read or write moves now, at the most.
    pub(super) fn chunk(&mut self, conn: ConnId) -> usize {
        if self.healed {
            return WIDE;
        }
        let most = self.network.chunk_bytes as u64;
        self.links
            .get_mut(&conn)
            .map_or(1, |link| link.rng.within(1..=most) as usize)
    }

    /// Lets nothing through on a connection for a while.
    pub(super) fn hold(&mut self, conn: ConnId, until: Micros) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        link.held_until = until;
        link.up.hold(until);
        link.down.hold(until);
        self.agenda.note(until, Happening::BrokerReadable(conn));
        self.agenda.note(until, Happening::ClientReadable(conn));
    }

    /// The client's end is gone.
    pub(super) fn client_left(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.client_open = false;
        }
        self.forget_if_closed(conn);
    }

    /// The broker's end is gone.
    pub(super) fn broker_left(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.broker_open = false;
        }
        self.forget_if_closed(conn);
    }

    fn forget_if_closed(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get(&conn)
            && !link.client_open
            && !link.broker_open
        {
            self.links.remove(&conn);
        }
    }

    /// From now on the network is fast and wide. What was held back arrives as it would have.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        for link in self.links.values_mut() {
            link.held_until = 0;
            link.up.widen(WIDE);
            link.down.widen(WIDE);
        }
        for conn in conns {
            for happening in [
                Happening::BrokerReadable(conn),
                Happening::BrokerWritable(conn),
                Happening::ClientReadable(conn),
                Happening::ClientWritable(conn),
            ] {
                self.soon(happening);
            }
        }
    }
}
