//! A client: what it sends, how it reads, how it comes back.

use super::agenda::Happening;
use super::world::World;
use crate::history::{Event, Manners};
use crate::message::{MessageId, NAMED, Reassembly, body, frame, name};
use crate::plan::{Client, Conduct, Hostile, MILLISECOND, Micros, SECOND, Settings};
use crate::rng::Rng;
use bytes::Bytes;
use message_queue_core::wire::{FirstBytes, Role};
use message_queue_core::{CloseReason, ConnId, ProtocolError};
use std::collections::VecDeque;
use std::iter::repeat;

/// A producer that has so many bytes unsent publishes no more for the moment.
const UNSENT: usize = 64 << 10;

/// How long a client waits before it connects again.
const COMES_BACK: std::ops::RangeInclusive<Micros> = 10 * MILLISECOND..=SECOND;

/// A client in a run.
pub(super) struct Peer<'a> {
    place: usize,
    plan: &'a Client,
    settings: &'a Settings,
    rng: Rng,
    /// The connection that it has now.
    pub(super) conn: Option<ConnId>,
    /// It does nothing before this.
    stalled_until: Micros,
    /// What it has yet to send, and which message is whole with it.
    unsent: VecDeque<Piece>,
    unsent_bytes: usize,
    /// It ends its side of the stream when all is sent.
    ends: bool,
    /// It has ended its side of the stream.
    ended: bool,
    /// How long it stays away after that; `None`: for good.
    away: Option<Micros>,
    /// The sequence number of the next message that it publishes.
    next: u32,
    /// What it has received of its current connection.
    reassembly: Reassembly,
    /// When it reads again.
    next_read: Micros,
    /// The read that is on the agenda.
    read_noted: Option<Micros>,
}

/// Something to be sent.
struct Piece {
    bytes: Bytes,
    completes: Completes,
}

/// What is whole when a piece is sent.
#[derive(Clone, Copy)]
enum Completes {
    Nothing,
    Message(Option<MessageId>),
}

impl<'a> Peer<'a> {
    pub(super) fn new(place: usize, plan: &'a Client, settings: &'a Settings) -> Self {
        Self {
            place,
            plan,
            settings,
            rng: Rng::new(plan.stream),
            conn: None,
            stalled_until: 0,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            ends: false,
            ended: false,
            away: None,
            next: 0,
            reassembly: Reassembly::default(),
            next_read: 0,
            read_noted: None,
        }
    }

    pub(super) const fn id(&self) -> u32 {
        self.plan.id
    }

    /// Whether this is a producer that has yet something to publish.
    pub(super) fn is_unfinished(&self) -> bool {
        match &self.plan.conduct {
            Conduct::Producer(producer) => self.next < producer.messages || !self.unsent.is_empty(),
            Conduct::Consumer(_) | Conduct::Hostile(_) => false,
        }
    }

    pub(super) fn connect(&mut self, world: &mut World) {
        if self.conn.is_some() || world.draining {
            return;
        }
        let down_bytes = match &self.plan.conduct {
            Conduct::Consumer(consumer) => consumer.buffer_bytes,
            Conduct::Producer(_) | Conduct::Hostile(_) => 1_024,
        };
        let rng = Rng::new(self.rng.next_u64());
        let manners = self.manners();
        let conn = world.connect(self.place, self.plan.id, manners, rng, down_bytes);
        self.conn = Some(conn);
        (self.ends, self.ended, self.away) = (false, false, Some(self.comes_back()));
        self.unsent_bytes = 0;
        self.unsent.clear();
        self.reassembly = Reassembly::default();
        self.read_noted = None;
        self.greet(conn, world);
    }

    /// Sends what comes first.
    fn greet(&mut self, conn: ConnId, world: &mut World) {
        match &self.plan.conduct {
            Conduct::Producer(_) => {
                self.push(Role::Producer.line().as_bytes());
                world.soon(Happening::Act(self.place, conn));
            }
            Conduct::Consumer(_) => self.push(Role::Consumer.line().as_bytes()),
            Conduct::Hostile(hostile) => {
                self.away = None;
                self.greet_badly(hostile, conn, world);
            }
        }
        self.send(world);
    }

    fn greet_badly(&mut self, hostile: &Hostile, conn: ConnId, world: &mut World) {
        match hostile {
            Hostile::Silent => {}
            Hostile::DripsRole { .. } => {
                // On each connection from the line's first byte: no other can become a role.
                self.next = 0;
                world.soon(Happening::Act(self.place, conn));
            }
            Hostile::UnknownRole => self.push(b"GET / HTTP/1\r\n"),
            Hostile::EndlessRole => {
                let line = b"PRODUCER ".iter().chain(repeat(&b'x'));
                let line: Vec<u8> = line
                    .take(self.settings.role_line_bytes + 1)
                    .copied()
                    .collect();
                self.push(&line);
            }
            Hostile::TruncatesFrame { messages } => {
                self.push(Role::Producer.line().as_bytes());
                self.publish(*messages, NAMED, 100);
                let whole = frame(&body(self.message(), 40));
                let part = self.rng.within(1..=43) as usize;
                self.push(&whole[..part]);
                self.ends = true;
            }
            Hostile::OversizesFrame { messages, length } => {
                self.push(Role::Producer.line().as_bytes());
                self.publish(*messages, NAMED, 100);
                self.push(&length.to_be_bytes());
            }
            Hostile::Talks => {
                self.push(Role::Consumer.line().as_bytes());
                self.push(b"hello?");
            }
        }
    }

    fn manners(&self) -> Manners {
        let breaks = |error| Manners::Breaks(CloseReason::Protocol(error));
        match &self.plan.conduct {
            Conduct::Producer(_) | Conduct::Consumer(_) => Manners::Good,
            Conduct::Hostile(hostile) => match hostile {
                Hostile::Silent | Hostile::DripsRole { .. } => Manners::NoRole,
                Hostile::UnknownRole => breaks(ProtocolError::UnknownRole(FirstBytes::NONE)),
                Hostile::EndlessRole => breaks(ProtocolError::RoleLineTooLong {
                    limit: self.settings.role_line_bytes,
                }),
                Hostile::TruncatesFrame { .. } => breaks(ProtocolError::TruncatedFrame),
                Hostile::OversizesFrame { length, .. } => {
                    breaks(ProtocolError::FrameTooLarge { length: *length })
                }
                Hostile::Talks => breaks(ProtocolError::UnexpectedData),
            },
        }
    }

    /// Does what it does from time to time.
    pub(super) fn act(&mut self, conn: ConnId, world: &mut World) {
        if self.conn != Some(conn) || self.ends {
            return;
        }
        let again = Happening::Act(self.place, conn);
        if world.now < self.stalled_until {
            return world.agenda.note(self.stalled_until, again);
        }
        match &self.plan.conduct {
            Conduct::Producer(producer) => {
                if self.unsent_bytes < UNSENT {
                    let burst = producer.burst.min(producer.messages - self.next);
                    self.publish(burst, producer.size_min, producer.size_max);
                }
                if self.next < producer.messages {
                    world.agenda.note(world.now + producer.every_us, again);
                } else if !producer.stays {
                    (self.ends, self.away) = (true, None);
                }
            }
            Conduct::Hostile(Hostile::DripsRole { every_us }) => {
                let line = Role::Producer.line().as_bytes();
                if (self.next as usize) < line.len() - 1 {
                    self.push(&[line[self.next as usize]]);
                    self.next += 1;
                    world.agenda.note(world.now + every_us, again);
                }
            }
            Conduct::Hostile(_) | Conduct::Consumer(_) => {}
        }
        self.send(world);
    }

    fn message(&self) -> MessageId {
        MessageId {
            client: self.plan.id,
            sequence: self.next,
        }
    }

    fn publish(&mut self, messages: u32, size_min: usize, size_max: usize) {
        for _ in 0..messages {
            let size = self.rng.within(size_min as u64..=size_max as u64) as usize;
            let id = self.message();
            self.next += 1;
            let bytes = frame(&body(id, size));
            self.unsent_bytes += bytes.len();
            self.unsent.push_back(Piece {
                bytes,
                completes: Completes::Message((size >= NAMED).then_some(id)),
            });
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.unsent_bytes += bytes.len();
        self.unsent.push_back(Piece {
            bytes: Bytes::copy_from_slice(bytes),
            completes: Completes::Nothing,
        });
    }

    /// Sends as much as the network takes.
    pub(super) fn send(&mut self, world: &mut World) {
        let Some(conn) = self.conn else { return };
        while let Some(piece) = self.unsent.front_mut() {
            let most = world.chunk(conn);
            let Some(link) = world.links.get_mut(&conn) else {
                return;
            };
            let room = link.up.room();
            if room == 0 {
                link.up.sender_waits = true;
                return;
            }
            let bytes = piece.bytes.split_to(most.min(room).min(piece.bytes.len()));
            self.unsent_bytes -= bytes.len();
            world.send_up(conn, bytes);
            if piece.bytes.is_empty() {
                if let Completes::Message(message) = piece.completes {
                    world.record(Event::Sent { conn, message });
                }
                self.unsent.pop_front();
            }
        }
        if self.ends && !std::mem::replace(&mut self.ended, true) {
            world.end_up(conn);
        }
    }

    /// Reads once, if there is something to read and it is time to.
    pub(super) fn read(&mut self, conn: ConnId, world: &mut World) {
        if self.conn != Some(conn) {
            return;
        }
        let not_before = self.stalled_until.max(self.next_read);
        if world.now < not_before && !world.healed {
            return self.read_at(not_before, conn, world);
        }
        let (most, every) = match &self.plan.conduct {
            Conduct::Consumer(consumer) if !world.healed => {
                (consumer.read_bytes, consumer.every_us)
            }
            Conduct::Consumer(_) | Conduct::Producer(_) | Conduct::Hostile(_) => (1 << 20, 1),
        };
        if let Some(bytes) = world.read_down(conn, most) {
            self.reassembly.push(&bytes);
            while let Some(body) = self.reassembly.next_body() {
                let message = name(&body);
                world.record(Event::Received { conn, message });
            }
            self.next_read = world.now + every;
        }
        let now = world.now;
        let Some(link) = world.links.get_mut(&conn) else {
            return;
        };
        if link.down.is_readable(now) {
            self.read_at(self.next_read, conn, world);
        } else if link.down.is_at_end(now) {
            self.hang_up(conn, world);
            if let Some(away) = self.away {
                self.come_back(away, world);
            }
        }
    }

    fn read_at(&mut self, at: Micros, conn: ConnId, world: &mut World) {
        if self.read_noted.is_none_or(|noted| noted <= world.now) {
            self.read_noted = Some(at);
            world.agenda.note(at, Happening::ClientReadable(conn));
        }
    }

    /// Gives up its connection, and what was on its way to it.
    fn give_up(&mut self, conn: ConnId, world: &mut World) {
        world.record(Event::Gone { conn });
        self.hang_up(conn, world);
    }

    fn hang_up(&mut self, conn: ConnId, world: &mut World) {
        world.client_left(conn);
        self.conn = None;
    }

    fn come_back(&self, away: Micros, world: &mut World) {
        let at = world.now + away;
        world.agenda.note(at, Happening::Connect(self.place));
    }

    fn comes_back(&mut self) -> Micros {
        self.rng.within(COMES_BACK)
    }

    /// It learns that the broker reset its connection.
    pub(super) fn was_reset(&mut self, conn: ConnId, world: &mut World) {
        if self.conn != Some(conn) {
            return;
        }
        self.give_up(conn, world);
        if let Some(away) = self.away {
            self.come_back(away, world);
        }
    }

    /// Its connection is reset from its own side.
    pub(super) fn reset(&mut self, away: Micros, world: &mut World) {
        let Some(conn) = self.conn else { return };
        self.give_up(conn, world);
        world.signal_up(conn, Happening::BrokerReset(conn));
        self.come_back(away, world);
    }

    /// It leaves in good order.
    pub(super) fn leave(&mut self, away: Micros, world: &mut World) {
        let Some(conn) = self.conn else { return };
        match &self.plan.conduct {
            Conduct::Producer(_) if !self.ends => {
                // What is being sent is finished: the role line, or one message.
                self.unsent.truncate(1);
                self.unsent_bytes = self.unsent.front().map_or(0, |piece| piece.bytes.len());
                (self.ends, self.away) = (true, Some(away));
                self.send(world);
            }
            Conduct::Consumer(_) if self.unsent.is_empty() => {
                world.end_up(conn);
                self.give_up(conn, world);
                self.come_back(away, world);
            }
            Conduct::Producer(_) | Conduct::Consumer(_) | Conduct::Hostile(_) => {}
        }
    }

    pub(super) fn stall(&mut self, until: Micros) {
        self.stalled_until = until;
    }

    /// All is well again.
    pub(super) fn heal(&mut self, world: &mut World) {
        self.stalled_until = 0;
        if let Some(conn) = self.conn {
            world.soon(Happening::ClientReadable(conn));
        }
    }
}
