//! A broker and its peers of wire version 2, in few bytes, so that every change of one is another run worth trying.
//!
//! ```text
//! settings: 0 what happens where there is no room, and how much of it there is
//! step:     0 what happens, and on which connection  1 how much
//! ```
//! Bytes that are missing count as zero, and all bytes mean something.

use bytes::BytesMut;
use message_queue_core::access::{ConsumeRight, GroupPattern, Principal, Rights};
use message_queue_core::names::{Name, Pattern, TopicName};
use message_queue_core::wire::control::{Control, Link, Outcome, Range};
use message_queue_core::wire::handshake::Answer;
use message_queue_core::wire::{Decoder, DecoderConfig, Encoder, FrameReader, Received, Write};
use message_queue_core::{
    Broker, Config, ConnId, DeliveryMode, Input, Now, Output, Overflow, TopicRule, TopicsConfig,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many connections there are at a time: a step names one of these places.
const PLACES: usize = 8;

/// How long a peer has to finish whose time is over.
const GRACE: Duration = Duration::from_secs(5);

/// The most steps; a longer run shows no more and is slow.
const MAX_STEPS: usize = 300;

/// Role lines. Names, sessions, topics and groups meet again.
const ROLES: [&str; 24] = [
    "PRODUCER v=2",
    "PRODUCER confirm=1",
    "PRODUCER confirm=1 topic=a",
    "PRODUCER confirm=1 topic=b.c heartbeat=1",
    "PRODUCER producer=p",
    "PRODUCER producer=p at=2 topic=a",
    "PRODUCER producer=p session=1 topic=a",
    "PRODUCER producer=p session=1 at=4 topic=a heartbeat=0",
    "PRODUCER producer=q",
    "PRODUCER producer=q at=9223372036854775808 topic=b.c",
    "PRODUCER topic=a.dead",
    "PRODUCER",
    "CONSUMER v=2",
    "CONSUMER ack=1",
    "CONSUMER ack=1 topic=a group=g prefetch=2 workers=2",
    "CONSUMER ack=1 topic=a group=g share=one prefetch=1",
    "CONSUMER ack=1 topic=a group=h prefetch_bytes=9 heartbeat=1",
    "CONSUMER topic=a group=g",
    "CONSUMER topic=b.*",
    "CONSUMER topic=> group=g ack=1 prefetch=3 check=1",
    "CONSUMER topic=a.dead ack=1",
    "CONSUMER topic=b.c from=1 group=i",
    "CONSUMER topic=a from=first ack=1 check=1",
    "CONSUMER",
];

const OVERFLOWS: [Overflow; 4] = [
    Overflow::Block,
    Overflow::Drop,
    Overflow::DropOldest,
    Overflow::Reject,
];

/// Rights are to what one of these matches, ...
const PATTERNS: [&str; 6] = ["a", "*", ">", "b.*", "a.dead", "default"];

/// ... and to groups of one of these.
const GROUPS: [Option<&str>; 4] = [None, Some("g"), Some("*"), Some("q*")];

const TOPICS: [&str; 4] = ["a", "b.c", "default", "a.dead"];

/// A broker whose peers do what `bytes` say. Checks after each input that what always holds does, that each peer of
/// version 2 understands what it is told, and that nothing is confirmed that was not sent.
///
/// # Panics
/// If something does not hold.
pub fn play(bytes: &[u8]) {
    let Some((&settings, steps)) = bytes.split_first() else {
        return;
    };
    let mut world = World::new(config(settings));
    for step in steps.chunks(2).take(MAX_STEPS) {
        world.step(step[0], step.get(1).copied().unwrap_or(0));
        world.broker.check_invariants();
    }
}

/// The rules of topics.
fn rules(settings: u8) -> Vec<TopicRule> {
    let rule = |topics: &str| TopicRule::new(Pattern::new(topics).expect("a pattern"));
    let jobs = TopicRule {
        groups: Name::new("g").ok().map(|name| vec![name]),
        capacity: Some(1 + usize::from(settings >> 2 & 3) * 3),
        overflow: Some(OVERFLOWS[usize::from(settings & 3)]),
        ack_timeout: (settings & 16 != 0).then_some(Duration::from_millis(700)),
        max_age: (settings & 32 != 0).then_some(Duration::from_millis(900)),
        max_failures: Some(3),
        ..rule("a")
    };
    let dead = TopicRule {
        capacity: Some(1),
        ..rule("a.dead")
    };
    vec![jobs, dead]
}

fn config(settings: u8) -> Config {
    let mut config = Config {
        delivery: DeliveryMode::Queue,
        overflow: OVERFLOWS[usize::from(settings & 3)],
        queue_capacity: 4,
        consumer_backlog: 2,
        max_connections: PLACES,
        max_consumers: PLACES - 1,
        write_bytes: if settings & 64 != 0 { 1 } else { 1 << 16 },
        topics: TopicsConfig {
            rules: rules(settings),
            creation: settings & 128 == 0,
            max_topics: 4,
            max_groups: 5,
            max_producer_names: 1,
            producer_idle: Some(Duration::from_secs(2)),
            topic_idle: Some(Duration::from_secs(2)),
            group_idle: Some(Duration::from_secs(2)),
            ..TopicsConfig::default()
        },
        ..Config::default()
    };
    config.broker_bytes = config.least_broker_bytes();
    config
}

/// Who somebody is, in 7 bits.
fn principal(who: u8, now: Now) -> Principal {
    let pattern = |place: u8| {
        let text = PATTERNS[usize::from(place) % PATTERNS.len()];
        Pattern::new(text).expect("a pattern")
    };
    let group = |text| vec![GroupPattern::new(text).expect("a pattern")];
    let groups = GROUPS[usize::from(who / 36) % GROUPS.len()];
    let consume = ConsumeRight {
        topics: pattern(who / 6),
        groups: groups.map(group),
    };
    let expires = now + Duration::from_millis(u64::from(who) * 20);
    Principal {
        name: Name::new(["x", "y"][usize::from(who % 2)]).expect("a name"),
        rights: Rights {
            produce: vec![pattern(who)],
            consume: vec![consume],
            admin: who
                .is_multiple_of(5)
                .then(|| pattern(who))
                .into_iter()
                .collect(),
        },
        expires: who.is_multiple_of(4).then_some(expires),
    }
}

struct World {
    broker: Broker,
    now: Now,
    places: [ConnId; PLACES],
    /// Who comes at each place, if the broker is told.
    known: [Option<u8>; PLACES],
    opened: u64,
    connections: BTreeMap<ConnId, Connection>,
    letter: u8,
}

struct Connection {
    decoder: Decoder,
    /// What its peer has written and the broker has not read.
    unread: Vec<u8>,
    is_paused: bool,
    is_closed: bool,
    /// The bytes of the write in flight that its socket has not taken, and those that it has taken in all.
    in_flight: Vec<u8>,
    written: u64,
    /// When its peer's time is over.
    until: Option<Now>,
    /// Whether it has taken up its role: only then can it be told to go.
    is_registered: bool,
    /// What its peer reads, if it speaks version 2.
    reader: Option<FrameReader>,
    /// The position of the last message that the broker was given, and of the last that it has confirmed.
    sent: u64,
    confirmed: u64,
}

impl World {
    fn new(config: Config) -> Self {
        Self {
            broker: Broker::new(config),
            now: Now::START,
            places: [ConnId(0); PLACES],
            known: [None; PLACES],
            opened: 0,
            connections: BTreeMap::new(),
            letter: 0,
        }
    }

    /// `what`: low 3 bits a place, high 5 bits what happens there. `much`: how much of it.
    fn step(&mut self, what: u8, much: u8) {
        let conn = self.places[usize::from(what & 7)];
        match what >> 3 {
            0..=4 => self.open(usize::from(what & 7), much),
            5..=9 => self.publish(conn, 1 + usize::from(much % 8), usize::from(much / 8)),
            10..=13 => self.settle(conn, much),
            14 => self.say(
                conn,
                &Control::Credit {
                    messages: u32::from(much % 4),
                    bytes: u32::from(much),
                },
            ),
            15 => self.say(
                conn,
                &Control::Topic(TOPICS[usize::from(much % 4)].to_owned()),
            ),
            16 if much & 1 == 0 => self.say(conn, &Control::Ping(u64::from(much))),
            16 => self.say(conn, &Control::Flush(u64::from(much))),
            17 => self.say(conn, &Control::Bye),
            // What no peer says, or no frame at all.
            18 if much & 1 == 0 => self.say(
                conn,
                &Control::Confirmed {
                    position: 1,
                    unrouted: 0,
                },
            ),
            18 => self.send(conn, &[0x80, 0, 0, much % 4, much, much]),
            // The beginning of a frame.
            19 => self.send(conn, &[0, 0, 0, 9, much]),
            20..=23 => self.take(conn, usize::MAX),
            24 => self.take(conn, 1 + usize::from(much)),
            25 => self.end(conn),
            26 if much & 7 == 6 => {
                self.known[usize::from(what & 7)] = None;
                self.input(conn, Input::Unauthorized);
            }
            26 if much & 1 == 0 => self.input(conn, Input::PeerReset),
            26 => {
                self.known[usize::from(what & 7)] = Some(much >> 1);
                self.identify(conn, much >> 1);
            }
            27 if much & 7 == 6 => self.set_rules(much),
            27 if much & 1 == 0 => self.input(conn, Input::EndedByOperator),
            27 => self.input(conn, Input::Heard),
            28 => self.delete_group(much),
            29 | 30 => self.pass(Duration::from_millis(u64::from(much) * 10)),
            _ if much & 15 == 0 => {
                self.broker.drain(Duration::from_secs(1), self.now);
                self.outputs();
            }
            _ => self.be_silent(conn),
        }
    }

    /// The runtime has found out who a peer is, or that it has other rights now.
    fn identify(&mut self, conn: ConnId, who: u8) {
        let principal = principal(who, self.now);
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        // More time after it was told to go is for its next connection.
        let may_be_told = connection.is_registered && connection.reader.is_some();
        let over = connection
            .until
            .filter(|until| may_be_told && *until <= self.now);
        connection.until = over.or(principal.expires);
        self.input(conn, Input::Identified(principal));
    }

    /// Other rules for topics that are there, if the broker can have them.
    fn set_rules(&mut self, much: u8) {
        let changed = self.broker.set_rules(rules(much), self.now);
        if changed.is_ok() {
            self.outputs();
        }
    }

    fn open(&mut self, place: usize, much: u8) {
        // Its peer is gone, and the broker hears of that.
        self.input(self.places[place], Input::PeerReset);
        self.opened += 1;
        let conn = ConnId(self.opened);
        self.places[place] = conn;
        let line = ROLES[usize::from(much) % ROLES.len()];
        let link = if line.starts_with("PRODUCER") {
            Link::ToProducer
        } else {
            Link::ToConsumer
        };
        let connection = Connection {
            decoder: Decoder::new(DecoderConfig::default()),
            unread: Vec::new(),
            is_paused: false,
            is_closed: false,
            in_flight: Vec::new(),
            written: 0,
            until: None,
            is_registered: false,
            reader: line.contains(' ').then(|| {
                let reader = FrameReader::new(link, 1 << 16);
                if line.contains("check=1") {
                    reader.verifying()
                } else {
                    reader
                }
            }),
            sent: 0,
            confirmed: 0,
        };
        self.connections.insert(conn, connection);
        self.feed(conn, Input::Opened);
        if let Some(who) = self.known[place] {
            self.identify(conn, who);
        }
        self.send(conn, line.as_bytes());
        // Some role lines are read late: their end comes with whatever is sent next.
        let late = usize::from(much) >= 10 * ROLES.len();
        self.send(conn, if late { b"" } else { b"\n" });
    }

    fn publish(&mut self, conn: ConnId, messages: usize, length: usize) {
        let mut encoder = Encoder::new();
        for _ in 0..messages {
            self.letter = (self.letter + 1) % 26;
            let body = vec![b'a' + self.letter; length];
            encoder.push(&body).expect("a small message");
        }
        let bytes = encoder.take().into_bytes();
        self.send(conn, &bytes);
    }

    fn settle(&mut self, conn: ConnId, much: u8) {
        let from = 1 + u64::from(much >> 3);
        let outcome = Outcome::ALL[usize::from(much) % Outcome::ALL.len()];
        let to = from + u64::from(much & 7) / 5;
        self.say(
            conn,
            &Control::Settle {
                outcome,
                delay_ms: u32::from(much & 4) * 10,
                ranges: vec![Range { from, to }],
            },
        );
    }

    fn say(&mut self, conn: ConnId, control: &Control) {
        let mut bytes = BytesMut::new();
        control.encode(&mut bytes);
        self.send(conn, &bytes);
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.unread.extend_from_slice(bytes);
            self.read(conn);
        }
    }

    /// The broker reads what its peer has written, unless it has chosen not to.
    fn read(&mut self, conn: ConnId) {
        loop {
            let Some(connection) = self.connections.get_mut(&conn) else {
                return;
            };
            if connection.is_paused || connection.is_closed {
                return;
            }
            let buffer = connection.decoder.recv_buf();
            let room = buffer.capacity() - buffer.len();
            let most = room.min(connection.unread.len());
            buffer.extend_from_slice(&connection.unread[..most]);
            connection.unread.drain(..most);
            let input = match connection.decoder.next() {
                Ok(Some(decoded)) => decoded.into(),
                Err(error) => Input::Broke(error),
                Ok(None) if connection.unread.is_empty() => {
                    match connection.decoder.report_partial() {
                        Some(bytes) => Input::Partial { bytes },
                        None => return,
                    }
                }
                Ok(None) => continue,
            };
            if let Input::Batch(batch) = &input {
                connection.sent += batch.messages() as u64;
            }
            self.feed(conn, input);
        }
    }

    /// Its peer has ended its side, and the broker has read all before it.
    fn end(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if connection.is_paused || connection.is_closed {
            return;
        }
        let end = connection.decoder.finish();
        self.feed(conn, end.map_or_else(Input::Broke, |()| Input::PeerClosed));
    }

    fn be_silent(&mut self, conn: ConnId) {
        let connection = self.connections.get(&conn);
        if self.broker.is_draining() && connection.is_some_and(|it| !it.is_paused) {
            self.input(conn, Input::NothingToRead);
        }
    }

    fn delete_group(&mut self, much: u8) {
        let topic = TopicName::new(TOPICS[usize::from(much % 4)]).expect("a name");
        let name = Name::new(["g", "h", "i"][usize::from(much >> 2) % 3]).expect("a name");
        if let Some(id) = self.broker.topic_named(&topic)
            && let Some(group) = self.broker.group_named(id, &name)
        {
            self.broker.delete_group(&topic, group, self.now);
            self.outputs();
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.broker.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.broker.handle_timeout(self.now);
            self.outputs();
        }
        self.now = until;
        for (conn, connection) in &self.connections {
            let is_late = connection.until.is_some_and(|it| it + GRACE < self.now);
            assert!(
                !is_late || connection.is_closed,
                "{conn} is there after its time"
            );
        }
    }

    /// The socket of a connection takes so many bytes of what is in flight.
    fn take(&mut self, conn: ConnId, most: usize) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let taken = most.min(connection.in_flight.len());
        connection.in_flight.drain(..taken);
        connection.written += taken as u64;
        let written = connection.written;
        self.input(conn, Input::Written(written));
    }

    /// For a connection that is there, and is not closed.
    fn input(&mut self, conn: ConnId, input: Input) {
        if self.connections.get(&conn).is_some_and(|it| !it.is_closed) {
            self.feed(conn, input);
        }
    }

    fn feed(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.broker.check_invariants();
        self.outputs();
    }

    fn outputs(&mut self) {
        let (mut sealed, mut resumed) = (Vec::new(), Vec::new());
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    let connection = self.connections.get_mut(&conn).expect("it is there");
                    connection.hears(&write);
                }
                Output::Close { conn, .. } => sealed.push(conn),
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => {
                    self.set_paused(conn, false);
                    resumed.push(conn);
                }
                Output::Registered { conn, .. } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.is_registered = true;
                    }
                }
                Output::Farewell { .. } | Output::Dropped { .. } => {}
                Output::Store { .. } => unreachable!("no topic is stored here"),
            }
        }
        for conn in sealed {
            let written = match self.connections.get_mut(&conn) {
                Some(connection) => {
                    connection.is_closed = true;
                    connection.written
                }
                None => 0,
            };
            self.feed(conn, Input::Sealed { written });
        }
        for conn in resumed {
            self.read(conn);
        }
    }

    fn set_paused(&mut self, conn: ConnId, is_paused: bool) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.is_paused = is_paused;
        }
    }
}

impl Connection {
    /// The broker asks for a write: its peer will understand it.
    fn hears(&mut self, write: &Write) {
        assert!(self.in_flight.is_empty(), "one write at a time");
        for piece in write.pieces() {
            self.in_flight.extend_from_slice(piece.as_bytes());
        }
        let Some(reader) = &mut self.reader else {
            return;
        };
        reader.recv_buf().extend_from_slice(&self.in_flight);
        while let Some(received) = reader.next().expect("it is understood") {
            match received {
                Received::Line(line) => {
                    if let Ok(Answer::Ok(answer)) = Answer::parse(line.as_bytes()) {
                        self.sent = answer.accepted.unwrap_or(0);
                        self.confirmed = self.sent;
                    }
                }
                Received::Control(Control::Confirmed { position, .. }) => {
                    let is_new = (self.confirmed..=self.sent).contains(&position);
                    assert!(is_new, "{position} of {} is confirmed", self.sent);
                    self.confirmed = position;
                }
                Received::Control(_) | Received::Batch(_) => {}
            }
        }
    }
}
