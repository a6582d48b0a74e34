//! The broker's host: does what a driver does, one small act at a time. It reads sockets into
//! decoders, hands what they find to the core, and carries out what the core asks for.

use super::agenda::Happening;
use super::world::World;
use crate::history::{Event, Held};
use crate::message::{Named, name};
use crate::plan::{Micros, Settings};
use bytes::Bytes;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, SpareBuffers};
use message_queue_core::{Broker, CloseReason, ConnId, Count, Input, Now, Output, Write};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A running broker and its sockets.
pub(super) struct Host {
    pub(super) broker: Broker,
    decoders: DecoderConfig,
    drain_timeout: Micros,
    reports_progress: bool,
    check_invariants: bool,
    /// Whether the broker's own invariants are being checked at this moment.
    pub(super) checking: bool,
    sockets: BTreeMap<ConnId, Socket>,
    /// What the core has closed and is to be sealed.
    closed: VecDeque<(ConnId, CloseReason)>,
    /// The read buffers of sockets that have nothing to read.
    spares: SpareBuffers,
    /// The broker's counter of messages received, when it was last looked at.
    received: Count,
}

struct Socket {
    decoder: Decoder,
    paused: bool,
    /// The writes that the core asked for: one, unless it has a bug.
    writes: VecDeque<InFlight>,
    /// Bytes that the socket has taken in all; the core may not have been told of the last.
    taken: u64,
}

struct InFlight {
    write: Write,
    taken: usize,
}

impl Host {
    pub(super) fn new(settings: &Settings, reports_progress: bool, check_invariants: bool) -> Self {
        Self {
            broker: Broker::new(settings.config()),
            decoders: DecoderConfig {
                role_line_bytes: settings.role_line_bytes,
                read_bytes: settings.read_bytes,
            },
            drain_timeout: settings.drain_timeout_us,
            reports_progress,
            check_invariants,
            checking: false,
            sockets: BTreeMap::new(),
            closed: VecDeque::new(),
            spares: SpareBuffers::default(),
            received: Count::ZERO,
        }
    }

    /// When the core is next to be told the time.
    pub(super) fn due(&self) -> Option<Micros> {
        let due = self.broker.poll_timeout()?.since_start();
        // A runtime's timers are never early.
        Some(due.as_nanos().div_ceil(1000) as Micros)
    }

    pub(super) fn held(&self) -> Held {
        let mut waiting = self.broker.backlog();
        for consumer in self.broker.consumers() {
            waiting += consumer.in_flight;
        }
        Held {
            waiting,
            parked: self.broker.stats().parked,
        }
    }

    pub(super) fn accept(&mut self, conn: ConnId, world: &mut World) {
        let socket = Socket {
            decoder: Decoder::new(self.decoders),
            paused: false,
            writes: VecDeque::new(),
            taken: 0,
        };
        self.sockets.insert(conn, socket);
        self.input(conn, Input::Opened, world, Some(Event::Opened { conn }));
        if world.draining {
            world.soon(Happening::BrokerReadable(conn));
        }
    }

    pub(super) fn timeout(&mut self, world: &mut World) {
        world.begin_step();
        self.broker.handle_timeout(now(world));
        self.execute(world);
    }

    pub(super) fn drain(&mut self, world: &mut World) {
        world.begin_step();
        world.draining = true;
        world.record(Event::Draining);
        let timeout = Duration::from_micros(self.drain_timeout);
        self.broker.drain(timeout, now(world));
        self.execute(world);
        for conn in self.sockets.keys() {
            world.soon(Happening::BrokerReadable(*conn));
        }
    }

    /// An operator has a connection ended, if the broker holds it.
    pub(super) fn end(&mut self, conn: ConnId, world: &mut World) {
        if self.holds(conn) {
            let ordered = Event::EndOrdered { conn };
            self.input(conn, Input::EndedByOperator, world, Some(ordered));
        }
    }

    /// An operator empties the queue.
    pub(super) fn purge(&mut self, world: &mut World) {
        world.begin_step();
        let count = self.broker.purge(now(world));
        world.record(Event::Purged { count });
        self.execute(world);
    }

    /// The connection was reset.
    pub(super) fn reset(&mut self, conn: ConnId, world: &mut World) {
        self.input(conn, Input::PeerReset, world, None);
    }

    /// Reads once, if there is something to read.
    pub(super) fn read(&mut self, conn: ConnId, world: &mut World) {
        let most = world.chunk(conn);
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        if socket.paused {
            return self.report_partial(conn, world);
        }
        let buffer = socket.decoder.recv_buf_from(&mut self.spares);
        let spare = buffer.capacity() - buffer.len();
        match world.read_up(conn, most.min(spare)) {
            Some(bytes) => {
                buffer.extend_from_slice(&bytes);
                world.soon(Happening::BrokerReadable(conn));
                self.decode(conn, world);
            }
            None => {
                self.report_partial(conn, world);
                self.nothing_to_read(conn, world);
            }
        }
    }

    /// Nothing is read: the core is told how much of a frame is kept meanwhile.
    fn report_partial(&mut self, conn: ConnId, world: &mut World) {
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        socket.decoder.park(&mut self.spares);
        if let Some(bytes) = socket.decoder.report_partial() {
            self.input(conn, Input::Partial { bytes }, world, None);
        }
    }

    fn decode(&mut self, conn: ConnId, world: &mut World) {
        while let Some(socket) = self.sockets.get_mut(&conn) {
            match socket.decoder.next() {
                Ok(Some(decoded)) => {
                    let accepted = match &decoded {
                        Decoded::Batch(batch) => Some(Event::Accepted {
                            conn,
                            count: Count::of(batch),
                        }),
                        Decoded::Role(_)
                        | Decoded::Options(_)
                        | Decoded::BadOptions(_)
                        | Decoded::Control(_) => None,
                    };
                    self.input(conn, decoded.into(), world, accepted);
                }
                Ok(None) => return,
                Err(error) => return self.input(conn, Input::Broke(error), world, None),
            }
        }
    }

    fn nothing_to_read(&mut self, conn: ConnId, world: &mut World) {
        let at_end = world
            .links
            .get(&conn)
            .is_some_and(|link| link.up.is_at_end(world.now));
        if at_end && let Some(socket) = self.sockets.get_mut(&conn) {
            let input = match socket.decoder.finish() {
                Ok(()) => Input::PeerClosed,
                Err(error) => Input::Broke(error),
            };
            self.input(conn, input, world, None);
        } else if world.draining {
            self.input(conn, Input::NothingToRead, world, None);
        }
    }

    /// Writes once, if there is something to write and room for it.
    pub(super) fn write(&mut self, conn: ConnId, world: &mut World) {
        let most = world.chunk(conn);
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        let (Some(flight), Some(link)) = (socket.writes.front_mut(), world.links.get_mut(&conn))
        else {
            return;
        };
        let room = link.down.room();
        if room == 0 {
            link.down.sender_waits = true;
            return;
        }
        let bytes = flight.next(most.min(room));
        flight.taken += bytes.len();
        socket.taken += bytes.len() as u64;
        world.send_down(conn, bytes);
        if flight.is_done() {
            let ended = flight.ended(conn);
            socket.writes.pop_front();
            let written = Input::Written(socket.taken);
            self.input(conn, written, world, Some(ended));
        } else {
            if self.reports_progress {
                let written = Input::Written(socket.taken);
                let event = Event::WriteProgressed { conn };
                self.input(conn, written, world, Some(event));
            }
            world.soon(Happening::BrokerWritable(conn));
        }
    }

    fn input(&mut self, conn: ConnId, input: Input, world: &mut World, event: Option<Event>) {
        world.begin_step();
        if let Some(event) = event {
            world.record(event);
        }
        self.broker.handle_input(conn, input, now(world));
        self.execute(world);
    }

    /// Does all that the core asks for, and checks it. What it closes is sealed in a step of its
    /// own.
    fn execute(&mut self, world: &mut World) {
        self.poll_outputs(world);
        while !self.closed.is_empty() {
            world.begin_step();
            for (conn, reason) in std::mem::take(&mut self.closed) {
                self.seal(conn, reason, world);
            }
            self.poll_outputs(world);
        }
    }

    /// Ends a connection: its socket takes nothing more, and the core is told what it has taken.
    fn seal(&mut self, conn: ConnId, reason: CloseReason, world: &mut World) {
        let mut written = 0;
        if let Some(socket) = self.sockets.remove(&conn) {
            written = socket.taken;
            for flight in &socket.writes {
                world.record(flight.ended(conn));
            }
        }
        world.record(Event::Closed { conn, reason });
        world.end_down(conn);
        world.broker_left(conn);
        let sealed = Input::Sealed { written };
        self.broker.handle_input(conn, sealed, now(world));
    }

    fn poll_outputs(&mut self, world: &mut World) {
        while let Some(output) = self.broker.poll_output() {
            self.execute_one(output, world);
        }
        let received = self.broker.stats().received;
        if received != self.received {
            let mut count = received;
            count -= std::mem::replace(&mut self.received, received);
            world.record(Event::Admitted { count });
        }
        if self.check_invariants {
            self.checking = true;
            self.broker.check_invariants();
            self.checking = false;
        }
    }

    fn execute_one(&mut self, output: Output, world: &mut World) {
        match output {
            Output::Write { conn, write } => {
                let count = write.count();
                world.record(Event::WriteStarted { conn, count });
                if let Some(socket) = self.sockets.get_mut(&conn) {
                    socket.writes.push_back(InFlight { write, taken: 0 });
                    world.soon(Happening::BrokerWritable(conn));
                }
            }
            // The network of this simulation loses it: it is said if the socket takes it, and else not.
            Output::Farewell { .. } => {}
            Output::Close { conn, reason } => self.closed.push_back((conn, reason)),
            Output::Pause { conn } => {
                world.record(Event::Paused { conn });
                self.set_paused(conn, true);
            }
            Output::Resume { conn } => {
                world.record(Event::Resumed { conn });
                self.set_paused(conn, false);
                world.soon(Happening::BrokerReadable(conn));
            }
            Output::Registered { conn, role } => world.record(Event::Registered { conn, role }),
            Output::Dropped {
                group,
                reason,
                count,
                ..
            } => world.record(Event::Dropped {
                group,
                reason,
                count,
            }),
            Output::Store { .. } => unreachable!("no topic is stored here"),
        }
    }

    fn set_paused(&mut self, conn: ConnId, paused: bool) {
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.paused = paused;
        }
    }

    /// How many consumers are registered.
    pub(super) fn consumers(&self) -> usize {
        self.broker.stats().consumers
    }

    /// Whether the broker holds this connection.
    pub(super) fn holds(&self, conn: ConnId) -> bool {
        self.sockets.contains_key(&conn)
    }
}

impl InFlight {
    fn is_done(&self) -> bool {
        self.taken as u64 >= self.write.count().bytes
    }

    /// The next bytes to write: what is left of the batch that comes next, up to `most`.
    fn next(&self, most: usize) -> Bytes {
        let mut before = self.taken;
        for batch in self.write.batches() {
            let bytes = batch.as_bytes();
            if before < bytes.len() {
                let end = bytes.len().min(before + most);
                return bytes.slice(before..end);
            }
            before -= bytes.len();
        }
        Bytes::new()
    }

    /// How the write ends if it ends now.
    fn ended(&self, conn: ConnId) -> Event {
        let (mut taken, mut left) = (Count::ZERO, Count::ZERO);
        let mut left_messages = Vec::new();
        if self.is_done() {
            taken = self.write.count();
        } else {
            let mut end = 0;
            for body in self.write.batches().flat_map(|batch| batch.bodies()) {
                let size = 4 + body.len();
                end += size;
                if end <= self.taken {
                    taken += Count::new(1, size);
                    continue;
                }
                left += Count::new(1, size);
                if let Named::Message(id) = name(&body) {
                    left_messages.push(id);
                }
            }
        }
        Event::WriteEnded {
            conn,
            taken,
            left,
            left_messages,
        }
    }
}

fn now(world: &World) -> Now {
    Now::at(Duration::from_micros(world.now))
}
