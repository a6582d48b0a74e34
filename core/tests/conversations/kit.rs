//! A broker, and peers that speak to it in bytes; what each is told, as text.

use message_queue_core::access::Principal;
use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Model, Request};
use message_queue_core::wire::control::{Control, Link, Outcome, Range};
use message_queue_core::wire::{Decoder, DecoderConfig, FrameBatch, FrameReader, Received};
use message_queue_core::{Broker, Config, ConnId, Input, Now, Output, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct Kit {
    pub(crate) broker: Broker,
    now: Now,
    next: u64,
    peers: BTreeMap<ConnId, Peer>,
    /// The stores of its topics, which do something when they are told to.
    pub(crate) stores: BTreeMap<TopicId, Model>,
    /// Whether a test answers itself what the broker asks of stores.
    pub(crate) is_by_hand: bool,
    /// What it has asked, then.
    pub(crate) asked: Vec<Request>,
}

struct Peer {
    decoder: Decoder,
    reader: FrameReader,
    is_paused: bool,
    /// Whether its socket takes what is written to it.
    is_reading: bool,
    written: u64,
    in_flight: Vec<u8>,
    /// All that its socket has taken.
    heard: Vec<u8>,
    told: Vec<String>,
}

impl Kit {
    pub(crate) fn new(config: Config) -> Self {
        let mut kit = Self {
            broker: Broker::new(config),
            now: Now::START,
            next: 1,
            peers: BTreeMap::new(),
            stores: BTreeMap::new(),
            is_by_hand: false,
            asked: Vec::new(),
        };
        // What it asks of the stores of its topics.
        kit.outputs();
        kit
    }

    /// The power goes, and the broker is started again. Of what its stores were to do they have done the first
    /// `undone`.
    pub(crate) fn crash(&mut self, undone: usize) {
        let mut stores: Vec<Model> = std::mem::take(&mut self.stores).into_values().collect();
        let found = stores
            .iter_mut()
            .map(|it| it.crash(undone, undone))
            .collect();
        let config = self.broker.config().clone();
        self.peers.clear();
        self.broker = Broker::with_stored(config, found, self.now);
        for store in stores {
            let topic = self.topic(store.name().as_str());
            self.stores.insert(topic, store);
        }
        self.outputs();
    }

    /// The clock is set to where it began, which no broker that runs can bear.
    pub(crate) fn set_clock_back(&mut self) {
        self.now = Now::START;
    }

    pub(crate) fn topic(&self, name: &str) -> TopicId {
        let name = TopicName::new(name).expect("a name");
        self.broker.topic_named(&name).expect("a topic")
    }

    /// A topic's store does something, if it has something to do. Returns whether it had.
    pub(crate) fn store(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Model) -> Option<Answer>,
    ) -> bool {
        let topic = self.topic(name);
        let answer = self.stores.get_mut(&topic).and_then(act);
        let has_done = answer.is_some();
        if let Some(answer) = answer {
            self.broker.handle_answer(topic, answer, self.now);
            self.outputs();
        }
        has_done
    }

    /// A topic's store says something.
    pub(crate) fn answer(&mut self, name: &str, answer: Answer) {
        let topic = self.topic(name);
        self.broker.handle_answer(topic, answer, self.now);
        self.outputs();
    }

    /// A topic's store does all that it has to do.
    pub(crate) fn store_all(&mut self, name: &str) {
        while self.store(name, |it| it.save(usize::MAX))
            || self.store(name, |it| it.append(usize::MAX))
            || self.store(name, |it| it.fetch(0))
        {}
    }

    /// Connects with this role line, without its line feed.
    pub(crate) fn connect(&mut self, line: &str) -> ConnId {
        self.connect_as(None, line)
    }

    /// The same, as somebody whom the broker is told of.
    pub(crate) fn connect_as(&mut self, principal: Option<&Principal>, line: &str) -> ConnId {
        let conn = self.open(line);
        if let Some(principal) = principal {
            self.input(conn, Input::Identified(principal.clone()));
        }
        self.bytes(conn, format!("{line}\n").as_bytes());
        conn
    }

    /// Opens a connection for who is about to say this.
    fn open(&mut self, line: &str) -> ConnId {
        let conn = ConnId(self.next);
        self.next += 1;
        let link = if line.starts_with("PRODUCER") {
            Link::ToProducer
        } else {
            Link::ToConsumer
        };
        let reader = FrameReader::new(link, 4096);
        let peer = Peer {
            decoder: Decoder::new(DecoderConfig::default()),
            reader: if line.contains(" check=1") {
                reader.verifying()
            } else {
                reader
            },
            heard: Vec::new(),
            is_paused: false,
            is_reading: true,
            written: 0,
            in_flight: Vec::new(),
            told: Vec::new(),
        };
        self.peers.insert(conn, peer);
        self.input(conn, Input::Opened);
        conn
    }

    /// Connects a producer with a role line of any bytes.
    pub(crate) fn connect_with(&mut self, line: &[u8]) -> ConnId {
        let conn = self.open("PRODUCER");
        self.bytes(conn, line);
        conn
    }

    /// A peer ends its side.
    pub(crate) fn end(&mut self, conn: ConnId) {
        let peer = self.peers.get_mut(&conn).expect("a peer");
        let end = match peer.decoder.finish() {
            Ok(()) => Input::PeerClosed,
            Err(error) => Input::Broke(error),
        };
        self.input(conn, end);
    }

    pub(crate) fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let peer = self.peers.get_mut(&conn).expect("a peer");
        peer.decoder.recv_buf().extend_from_slice(bytes);
        self.decode(conn);
    }

    fn decode(&mut self, conn: ConnId) {
        while let Some(peer) = self.peers.get_mut(&conn).filter(|peer| !peer.is_paused) {
            let input = match peer.decoder.next() {
                Ok(None) => return,
                Ok(Some(decoded)) => decoded.into(),
                Err(error) => {
                    self.input(conn, Input::Broke(error));
                    return;
                }
            };
            self.input(conn, input);
        }
    }

    pub(crate) fn send<M: AsRef<[u8]>>(&mut self, conn: ConnId, messages: &[M]) {
        let batch = FrameBatch::encode(messages).expect("small messages");
        self.bytes(conn, batch.as_bytes());
    }

    pub(crate) fn say(&mut self, conn: ConnId, control: &Control) {
        let mut bytes = Default::default();
        control.encode(&mut bytes);
        self.bytes(conn, &bytes);
    }

    pub(crate) fn settle(&mut self, conn: ConnId, outcome: Outcome, from: u64, to: u64) {
        let settle = Control::Settle {
            outcome,
            delay_ms: 0,
            ranges: vec![Range { from, to }],
        };
        self.say(conn, &settle);
    }

    pub(crate) fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.outputs();
    }

    pub(crate) fn drain(&mut self, timeout: Duration) {
        self.broker.drain(timeout, self.now);
        self.outputs();
    }

    pub(crate) fn do_to_broker<T>(&mut self, act: impl FnOnce(&mut Broker, Now) -> T) -> T {
        let result = act(&mut self.broker, self.now);
        self.outputs();
        result
    }

    pub(crate) fn stop_reading(&mut self, conn: ConnId) {
        self.peers.get_mut(&conn).expect("a peer").is_reading = false;
    }

    pub(crate) fn read_again(&mut self, conn: ConnId) {
        self.peers.get_mut(&conn).expect("a peer").is_reading = true;
        self.take(conn);
        self.outputs();
    }

    /// Time passes, and what becomes due meanwhile is done when it is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.broker.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.broker.handle_timeout(self.now);
            self.outputs();
        }
        self.now = end;
    }

    fn take(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn).filter(|peer| peer.is_reading) else {
            return;
        };
        let bytes = std::mem::take(&mut peer.in_flight);
        if bytes.is_empty() {
            return;
        }
        peer.written += bytes.len() as u64;
        peer.hear(&bytes);
        let written = Input::Written(peer.written);
        self.broker.handle_input(conn, written, self.now);
    }

    fn outputs(&mut self) {
        loop {
            let Some(output) = self.broker.poll_output() else {
                break;
            };
            match output {
                Output::Write { conn, write } => {
                    let peer = self.peers.get_mut(&conn).expect("a peer");
                    assert!(peer.in_flight.is_empty(), "one write at a time");
                    for piece in write.pieces() {
                        peer.in_flight.extend_from_slice(piece.as_bytes());
                    }
                    self.take(conn);
                }
                Output::Farewell { conn, bytes } => {
                    let peer = self.peers.get_mut(&conn).expect("a peer");
                    if peer.in_flight.is_empty() {
                        peer.hear(&bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    let peer = self.peers.get_mut(&conn).expect("a peer");
                    peer.told.push(format!("closed: {reason}"));
                    let written = peer.written;
                    self.broker
                        .handle_input(conn, Input::Sealed { written }, self.now);
                }
                Output::Pause { conn } => {
                    self.peers.get_mut(&conn).expect("a peer").is_paused = true
                }
                Output::Resume { conn } => {
                    self.peers.get_mut(&conn).expect("a peer").is_paused = false;
                    self.decode(conn);
                }
                Output::Registered { .. } | Output::Dropped { .. } => {}
                Output::Store { request, .. } if self.is_by_hand => self.asked.push(request),
                Output::Store { topic, request } => match request {
                    Request::Open { name, epoch } => {
                        self.stores.insert(topic, Model::new(name, epoch));
                    }
                    request => self.stores.get_mut(&topic).expect("a store").ask(request),
                },
            }
        }
        self.broker.check_invariants();
    }

    /// All bytes that a peer has got.
    pub(crate) fn heard(&self, conn: ConnId) -> &[u8] {
        &self.peers[&conn].heard
    }

    /// What a peer was told since this was last asked.
    pub(crate) fn told(&mut self, conn: ConnId) -> Vec<String> {
        std::mem::take(&mut self.peers.get_mut(&conn).expect("a peer").told)
    }
}

impl Peer {
    fn hear(&mut self, mut bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let buffer = self.reader.recv_buf();
            let size = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..size]);
            bytes = &bytes[size..];
            while let Some(received) = self.reader.next().expect("the broker speaks version 2") {
                match received {
                    Received::Line(line) => self.told.push(line),
                    Received::Control(control) => self.told.push(text(&control)),
                    Received::Batch(batch) => {
                        let bodies = batch.bodies();
                        let bodies = bodies.map(|body| body.escape_ascii().to_string());
                        self.told.extend(bodies);
                    }
                }
            }
        }
    }
}

fn text(control: &Control) -> String {
    let name = control.kind().name;
    let ranges = |ranges: &[Range]| -> String {
        let all = ranges.iter().map(|it| format!(" {}-{}", it.from, it.to));
        all.collect()
    };
    match control {
        Control::Topic(topic) => format!("{name} {topic}"),
        Control::Ping(number) | Control::Flush(number) | Control::Flushed(number) => {
            format!("{name} {number}")
        }
        Control::Pong(number, None) => format!("{name} {number}"),
        Control::Pong(number, Some(lag)) => {
            format!(
                "{name} {number}, {} wait, {} ms",
                lag.messages, lag.oldest_ms
            )
        }
        Control::Error(reason) => format!("{name} {}", reason.code),
        Control::GoAway { left_ms, .. } => format!("{name} {left_ms} ms left"),
        Control::Bye => name.to_owned(),
        Control::Confirmed { position, unrouted } => {
            format!("{name} {position}, {unrouted} unrouted")
        }
        Control::Refused(range, reason) => format!("{name}{} {}", ranges(&[*range]), reason.code),
        Control::Blocked { blocked, text } => format!("{name} {blocked} {text}"),
        Control::Run {
            first,
            attempt,
            published,
        } => format!("{name} {first} #{attempt} @{published}"),
        Control::Gap(range, reason) => format!("{name}{} {}", ranges(&[*range]), reason.code),
        Control::Origin(origin) => format!(
            "{name} {} {} of {}, {} failures: {}",
            origin.topic, origin.sequence, origin.group, origin.failures, origin.reason
        ),
        Control::Revoked { code, ranges: of } => format!("{name}{} {code}", ranges(of)),
        Control::Settle { .. }
        | Control::Credit { .. }
        | Control::Check { .. }
        | Control::Segment { .. } => name.to_owned(),
    }
}
