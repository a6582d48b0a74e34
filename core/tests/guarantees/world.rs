//! A broker, its clients, and what happens to them.

use crate::ledger::Ledger;
use crate::link::Link;
use crate::rng::Rng;
use crate::stores::Stores;
use message_queue_core::client::{
    ConsumerClient, ConsumerEvent, Delivery, Ended, ProducerClient, ProducerEvent, Window,
};
use message_queue_core::names::{Name, Pattern, TopicFilter, TopicName};
use message_queue_core::wire::control::{Link as Way, Outcome};
use message_queue_core::wire::handshake::{
    Common, ConsumerOptions, Identity, ProducerOptions, Share,
};
use message_queue_core::wire::{Decoded, FrameBatch};
use message_queue_core::{
    Broker, Config, ConnId, DeliveryMode, DropReason, Input, Now, Output, Overflow, Storage,
    TopicRule, TopicsConfig,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a run is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) named: bool,
    pub(crate) cuts: bool,
    pub(crate) failures: bool,
    pub(crate) share_one: bool,
    pub(crate) ack_timeout: bool,
    pub(crate) patterns: bool,
    pub(crate) ages: bool,
    /// Topics are stored, and the power goes.
    pub(crate) stored: bool,
    pub(crate) overflow: Overflow,
    pub(crate) steps: usize,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        Self {
            overflow: [Overflow::Block, Overflow::Drop, Overflow::DropOldest][seed as usize % 3],
            steps: 600,
            ..Self::default()
        }
    }
}

const GROUP: &str = "workers";
const TOPICS: [&str; 2] = ["jobs.a", "jobs.b"];

/// What happened in a run, or in many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) confirmed: u64,
    pub(crate) redelivered: u64,
    pub(crate) dead: u64,
    pub(crate) revoked: u64,
    /// Producers that were known again.
    pub(crate) resumed: u64,
    pub(crate) expired: u64,
    pub(crate) power_cuts: u64,
}

enum Client {
    Producer {
        client: ProducerClient,
        topic: &'static str,
        /// The bodies by number, from 1.
        sent: Vec<Vec<u8>>,
        named: bool,
    },
    Consumer {
        client: ConsumerClient,
        options: ConsumerOptions,
        held: VecDeque<Delivery>,
    },
}

pub(crate) struct Peer {
    client: Client,
    link: Option<Link>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    shape: Shape,
    pub(crate) broker: Broker,
    pub(crate) now: Now,
    next_conn: u64,
    pub(crate) peers: Vec<Peer>,
    /// Links whose connection the broker has not seen the end of, but whose client has left them.
    pub(crate) ledger: Ledger,
    pub(crate) stores: Stores,
    /// What the stores are slow at: to append, to save or to read; or at nothing.
    pub(crate) slow: usize,
    pub(crate) power_cuts: u64,
    by_conn: BTreeMap<ConnId, usize>,
    confirmed: BTreeSet<(&'static str, Vec<u8>)>,
    pub(crate) refused: BTreeSet<Vec<u8>>,
    is_over: bool,
    resumed: u64,
    expired: u64,
}

impl World {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::new(seed);
        let rule = TopicRule {
            groups: Some(vec![Name::new(GROUP).unwrap()]),
            capacity: Some(rng.pick(&[3, 10, 50])),
            max_failures: Some(rng.pick(if shape.stored { &[1, 2, 4] } else { &[2, 4, 6] })),
            backoff_max: Some(Duration::from_millis(50)),
            ack_timeout: shape.ack_timeout.then(|| Duration::from_millis(700)),
            overflow: Some(shape.overflow),
            storage: Some(if shape.stored {
                Storage::Disk
            } else {
                Storage::Memory
            }),
            max_age: shape
                .ages
                .then(|| Duration::from_millis(rng.pick(&[20, 200]))),
            ..TopicRule::new(Pattern::new("jobs.*").unwrap())
        };
        let declared = TOPICS.map(|name| TopicRule::new(Pattern::new(name).unwrap()));
        let config = Config {
            delivery: DeliveryMode::Broadcast,
            max_consumers: 100,
            write_bytes: rng.pick(&[1, 100, 1 << 20]),
            write_timeout: Duration::from_secs(600),
            min_consumer_rate: 0,
            role_timeout: Duration::from_secs(600),
            topics: TopicsConfig {
                rules: std::iter::once(rule).chain(declared).collect(),
                ..TopicsConfig::default()
            },
            started_ms: 1_000_000,
            ..Config::default()
        };
        let mut world = Self {
            broker: Broker::new(config),
            now: Now::START,
            next_conn: 1,
            peers: Vec::new(),
            ledger: Ledger::default(),
            stores: Stores::default(),
            slow: if shape.stored { rng.below(4) } else { 0 },
            power_cuts: 0,
            by_conn: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            refused: BTreeSet::new(),
            is_over: false,
            resumed: 0,
            expired: 0,
            rng,
            shape,
        };
        world.outputs();
        for number in 0..world.rng.within(1, 3) {
            world.add_producer(number);
        }
        for _ in 0..world.rng.within(1, 4) {
            world.add_consumer(false);
        }
        world
    }

    fn add_producer(&mut self, number: usize) {
        let named = self.shape.named || self.rng.once_in(2);
        let topic = self.rng.pick(&TOPICS);
        let identity = named.then(|| Identity {
            name: Name::new(&format!("p{number}")).unwrap(),
            session: "life".into(),
            at: 1,
        });
        let options = ProducerOptions {
            common: self.common(),
            topic: Some(TopicName::new(topic).unwrap()),
            confirm: true,
            identity,
        };
        let window = Window {
            messages: self.rng.within(1, 40),
            bytes: 1 << 20,
        };
        self.peers.push(Peer {
            client: Client::Producer {
                client: ProducerClient::new(options, window),
                topic,
                sent: Vec::new(),
                named,
            },
            link: None,
        });
    }

    fn add_consumer(&mut self, dead: bool) {
        let topic = match dead {
            true => format!("{}.dead", self.rng.pick(&TOPICS)),
            false if self.shape.patterns && self.rng.once_in(2) => "jobs.*".to_owned(),
            false => self.rng.pick(&TOPICS).to_owned(),
        };
        self.add_consumer_of(&topic);
    }

    fn add_consumer_of(&mut self, topic: &str) {
        let dead = topic.ends_with(".dead");
        let options = ConsumerOptions {
            common: self.common(),
            topic: Some(TopicFilter::new(topic).unwrap()),
            group: (!dead).then(|| Name::new(GROUP).unwrap()),
            ack: true,
            prefetch: self.rng.within(1, 12) as u32,
            workers: self.rng.within(1, 3) as u32,
            share: if self.shape.share_one && !dead {
                Share::One
            } else {
                Share::All
            },
            check: self.peers.len().is_multiple_of(3),
            ..ConsumerOptions::default()
        };
        self.peers.push(Peer {
            client: Client::Consumer {
                client: ConsumerClient::new(options.clone()),
                options,
                held: VecDeque::new(),
            },
            link: None,
        });
    }

    fn common(&self) -> Common {
        Common {
            heartbeat: 3,
            ..Common::default()
        }
    }

    /// Returns what happened, so that it can be seen that something did.
    pub(crate) fn play(mut self) -> Seen {
        for _ in 0..self.shape.steps {
            self.step();
        }
        // What was ended before everything goes well is nobody's fault.
        for at in 0..self.peers.len() {
            let link = self.peers[at].link.as_ref();
            if link.is_some_and(|link| link.closed.is_some()) {
                self.forget_link(at);
            }
        }
        self.is_over = true;
        self.finish();
        let stats = self.broker.stats();
        Seen {
            confirmed: self.confirmed.len() as u64,
            redelivered: self.ledger.redelivered,
            dead: stats.flow.dead.messages,
            revoked: self.ledger.revoked,
            resumed: self.resumed,
            expired: self.expired,
            power_cuts: self.power_cuts,
        }
    }

    fn step(&mut self) {
        let peer = self.rng.below(self.peers.len());
        match self.rng.below(100) {
            0..10 => self.produce(peer),
            10..18 => self.client_writes(peer),
            18..26 => self.broker_reads(peer),
            26..34 => self.socket_takes(peer),
            34..42 => self.client_reads(peer),
            42..60 => self.consume(peer),
            60..66 => self.connect(peer),
            66..70 => {
                let millis = self.rng.pick(&[1, 5, 20, 120, 400, 1500]);
                self.pass(millis);
            }
            70 if self.shape.cuts => self.cut(peer),
            71 if self.shape.cuts => self.end_in_an_orderly_way(peer),
            72..84 if self.shape.stored => self.store_something(),
            84 if self.shape.stored && self.rng.once_in(3) => self.power_cut(),
            _ => self.exchange(peer),
        }
    }

    /// Everything moves, once.
    fn exchange(&mut self, peer: usize) {
        self.client_writes(peer);
        self.broker_reads(peer);
        self.socket_takes(peer);
        self.client_reads(peer);
    }

    fn connect(&mut self, at: usize) {
        if self.peers[at].link.is_some() {
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let now = self.now;
        let way = match &mut self.peers[at].client {
            Client::Producer { client, .. } => {
                client.connected(now);
                Way::ToProducer
            }
            Client::Consumer {
                client,
                options,
                held,
            } => {
                client.connected(now);
                held.clear();
                let topic = options.topic.as_ref().unwrap().as_str().to_owned();
                let group = options.group.as_ref().map_or("queue", Name::as_str);
                self.ledger.join(
                    conn,
                    &topic,
                    group,
                    (options.ack, options.prefetch as usize),
                    options.share == Share::One,
                    self.shape.ack_timeout,
                );
                Way::ToConsumer
            }
        };
        let read_bytes = self.rng.pick(&[7, 64, 4096]);
        self.peers[at].link = Some(Link::new(conn, way, read_bytes));
        self.by_conn.insert(conn, at);
        self.input(conn, Input::Opened);
    }

    fn produce(&mut self, at: usize) {
        let messages = self.rng.within(1, 6);
        let sizes: Vec<usize> = (0..messages).map(|_| self.rng.within(0, 30)).collect();
        let Client::Producer { client, sent, .. } = &mut self.peers[at].client else {
            return;
        };
        let bodies: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(place, size)| {
                let name = format!("{at}-{}-", sent.len() + place);
                [name.as_bytes(), &vec![b'x'; *size]].concat()
            })
            .collect();
        let batch = FrameBatch::encode(&bodies).unwrap();
        if let Ok(numbers) = client.send(batch) {
            assert_eq!(numbers.from, sent.len() as u64 + 1);
            sent.extend(bodies);
        }
    }

    fn client_writes(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(link) = peer.link.as_mut().filter(|link| !link.is_ending) else {
            return;
        };
        let bytes = match &mut peer.client {
            Client::Producer { client, .. } => client.poll_transmit(now),
            Client::Consumer { client, .. } => client.poll_transmit(now),
        };
        link.to_broker
            .extend(bytes.iter().flat_map(|bytes| bytes.to_vec()));
    }

    fn broker_reads(&mut self, at: usize) {
        let most = self.rng.pick(&[1, 10, 100, 4096, 4096]);
        let Some(link) = &mut self.peers[at].link else {
            return;
        };
        if link.is_paused || link.closed.is_some() || link.end_was_read {
            return;
        }
        let conn = link.conn;
        let buffer = link.decoder.recv_buf();
        let most = most
            .min(buffer.capacity() - buffer.len())
            .min(link.to_broker.len());
        buffer.extend(link.to_broker.drain(..most));
        if most > 0 {
            self.input(conn, Input::Heard);
        }
        self.decode(at, conn);
        let Some(link) = self.peers[at].link.as_mut().filter(|it| it.conn == conn) else {
            return;
        };
        if link.is_ending && link.to_broker.is_empty() && !link.is_paused && link.closed.is_none() {
            link.end_was_read = true;
            let end = link.decoder.finish();
            let input = end.map_or_else(Input::Broke, |()| Input::PeerClosed);
            self.input(conn, input);
        }
    }

    fn decode(&mut self, at: usize, conn: ConnId) {
        loop {
            let Some(link) = self.peers[at].link.as_mut().filter(|it| it.conn == conn) else {
                return;
            };
            if link.is_paused || link.closed.is_some() {
                return;
            }
            match link.decoder.next().expect("clients keep to the protocol") {
                None => return,
                Some(decoded) => {
                    if let Decoded::Control(control) = &decoded {
                        self.ledger.heard(conn, control);
                    }
                    self.input(conn, decoded.into());
                }
            }
        }
    }

    fn socket_takes(&mut self, at: usize) {
        let most = self.rng.pick(&[1, 10, 100, 1 << 20, 1 << 20]);
        let Some(link) = &mut self.peers[at].link else {
            return;
        };
        let conn = link.conn;
        if let Some(total) = link.take(most) {
            self.input(conn, Input::Written(total));
        }
    }

    fn client_reads(&mut self, at: usize) {
        let most = self.rng.pick(&[1, 10, 100, 1 << 16, 1 << 16]);
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(link) = &mut peer.link else { return };
        let most = most.min(link.to_client.len());
        let bytes: Vec<u8> = link.to_client.drain(..most).collect();
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            let buffer = match &mut peer.client {
                Client::Producer { client, .. } => client.recv_buf(),
                Client::Consumer { client, .. } => client.recv_buf(),
            };
            let Some(buffer) = buffer else { break };
            let size = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..size]);
            bytes = &bytes[size..];
            match &mut peer.client {
                Client::Producer { client, .. } => client.received(now),
                Client::Consumer { client, .. } => client.received(now),
            }
        }
        self.events(at);
        // The broker's end of the stream, when all before it was read.
        let Some(link) = &self.peers[at].link else {
            return;
        };
        if link.closed.is_some() && link.to_client.is_empty() {
            self.client_loses_the_link(at);
        }
    }

    fn events(&mut self, at: usize) {
        let is_over = self.is_over;
        let peer = &mut self.peers[at];
        let mut is_ended = false;
        let mut safe_now = None;
        match &mut peer.client {
            Client::Producer {
                client,
                topic,
                sent,
                ..
            } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ProducerEvent::Connected(accepted) => {
                            self.resumed += u64::from(accepted.resumed == Some(true));
                        }
                        ProducerEvent::Confirmed { number, .. } => {
                            let safe = &sent[..number as usize];
                            safe_now = Some((*topic, safe.to_vec()));
                            self.confirmed
                                .extend(safe.iter().map(|body| (*topic, body.clone())));
                        }
                        ProducerEvent::Refused(range, _) => {
                            for number in range.from..=range.to {
                                self.refused.insert(sent[number as usize - 1].clone());
                            }
                        }
                        ProducerEvent::Lost(messages) => panic!("{messages} are lost"),
                        ProducerEvent::Ended(ended) => {
                            assert!(ended.may_try_again(), "{ended}");
                            is_ended = true;
                        }
                        _ => {}
                    }
                }
            }
            Client::Consumer { client, held, .. } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ConsumerEvent::Delivered(delivery) => held.push_back(delivery),
                        ConsumerEvent::Ended(ended) => {
                            let is_damaged = matches!(ended, Ended::Damaged(_));
                            assert!(ended.may_try_again() && !is_damaged, "{ended}");
                            is_ended = true;
                        }
                        ConsumerEvent::Gap(..) => panic!("a lasting group has no gaps"),
                        _ => {}
                    }
                }
            }
        }
        if let Some((topic, bodies)) = safe_now {
            self.check_safe(topic, &bodies);
        }
        if is_ended {
            assert!(
                !is_over || self.shape.cuts || self.shape.ack_timeout,
                "it ended"
            );
            self.cut(at);
        }
    }

    /// A consumer says what became of something that it holds.
    fn consume(&mut self, at: usize) {
        let failures = self.shape.failures && !self.is_over;
        let outcome = if failures {
            self.rng.pick(&[
                Outcome::Done,
                Outcome::Done,
                Outcome::Return,
                Outcome::Failed,
                Outcome::Reject,
                Outcome::Working,
            ])
        } else {
            Outcome::Done
        };
        let (whole, credit) = (self.rng.once_in(3), self.rng.once_in(30));
        let (at_random, delay) = (self.rng.next() as usize, self.rng.pick(&[0, 0, 60]));
        let prefetch = self.rng.within(1, 12) as u32;
        let Client::Consumer {
            client,
            held,
            options,
        } = &mut self.peers[at].client
        else {
            return;
        };
        if credit {
            // It asks for the same on its next connections.
            options.prefetch = prefetch;
            client.credit(prefetch, 1 << 20);
        }
        let Some(delivery) = held.front() else { return };
        let (first, last) = (delivery.position(0), delivery.last());
        if whole || self.is_over {
            client.settle(outcome, delay, first, last);
        } else {
            let one = delivery.position(at_random % delivery.batch.messages());
            client.settle(outcome, delay, one, one);
        }
        if whole || self.is_over || at_random % 3 == 0 {
            if outcome == Outcome::Done && at_random % 2 == 0 {
                client.ack_up_to(last);
            } else {
                client.settle(Outcome::Done, 0, first, last);
            }
            held.pop_front();
        }
    }

    fn cut(&mut self, at: usize) {
        let Some(link) = &self.peers[at].link else {
            return;
        };
        let conn = link.conn;
        if link.closed.is_none() {
            self.input(conn, Input::PeerReset);
        }
        self.client_loses_the_link(at);
    }

    /// The broker is gone.
    pub(crate) fn forget_link(&mut self, at: usize) {
        if self.peers[at].link.is_some() {
            self.client_loses_the_link(at);
        }
    }

    fn client_loses_the_link(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        peer.link = None;
        match &mut peer.client {
            Client::Producer { client, .. } => client.disconnected(),
            Client::Consumer { client, held, .. } => {
                client.disconnected();
                held.clear();
            }
        }
        while match &mut peer.client {
            Client::Producer { client, .. } => client.poll_event().is_some(),
            Client::Consumer { client, .. } => client.poll_event().is_some(),
        } {}
    }

    fn end_in_an_orderly_way(&mut self, at: usize) {
        if let Client::Consumer { client, .. } = &mut self.peers[at].client {
            client.leave();
        }
        self.client_writes(at);
        if let Some(link) = &mut self.peers[at].link {
            link.is_ending = true;
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        let now = self.now;
        if self.broker.poll_timeout().is_some_and(|due| due <= now) {
            self.broker.handle_timeout(now);
            self.outputs();
        }
        for at in 0..self.peers.len() {
            match &mut self.peers[at].client {
                Client::Producer { client, .. } => client.handle_timeout(now),
                Client::Consumer { client, .. } => client.handle_timeout(now),
            }
            self.events(at);
        }
    }

    fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.outputs();
    }

    pub(crate) fn outputs(&mut self) {
        let mut sealed = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    let Some(link) = self.link(conn) else {
                        continue;
                    };
                    link.start(&write);
                    let bytes = link.write.clone().unwrap().0;
                    let way = Way::ToConsumer;
                    let mut told = std::mem::replace(
                        &mut link.told,
                        message_queue_core::wire::FrameReader::new(way, 1),
                    );
                    let is_consumer = matches!(
                        self.peers[self.by_conn[&conn]].client,
                        Client::Consumer { .. }
                    );
                    if is_consumer {
                        self.ledger.written(conn, &bytes, &mut told);
                        self.check_handed_out(conn);
                    }
                    if let Some(link) = self.link(conn) {
                        link.told = told;
                    }
                }
                Output::Farewell { conn, bytes } => {
                    if let Some(link) = self.link(conn).filter(|link| link.write.is_none()) {
                        link.to_client.extend(bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    let mut unwritten = 0;
                    let mut written = 0;
                    if let Some(link) = self.link(conn) {
                        link.closed = Some(reason);
                        written = link.written;
                        unwritten = unwritten_messages(link);
                    }
                    self.ledger.left(conn, unwritten);
                    sealed.push((conn, written));
                }
                Output::Pause { conn } => {
                    if let Some(link) = self.link(conn) {
                        link.is_paused = true;
                    }
                }
                Output::Resume { conn } => {
                    if let Some(link) = self.link(conn) {
                        link.is_paused = false;
                    }
                }
                Output::Registered { .. } => {}
                Output::Store { topic, request } => self.stores.ask(topic, request),
                Output::Dropped {
                    reason: DropReason::Expired,
                    count,
                    ..
                } if self.shape.ages => self.expired += count.messages,
                Output::Dropped { group, reason, .. } => {
                    panic!("{group:?} has lost something: {reason}")
                }
            }
        }
        self.broker.check_invariants();
        for (conn, written) in sealed {
            self.input(conn, Input::Sealed { written });
        }
    }

    fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        let at = *self.by_conn.get(&conn)?;
        self.peers[at]
            .link
            .as_mut()
            .filter(|link| link.conn == conn)
    }

    /// Everything goes well from now on: all that was sent comes to its end.
    fn finish(&mut self) {
        self.shape.cuts = false;
        for topic in TOPICS {
            self.add_consumer_of(topic);
            self.add_consumer_of(&format!("{topic}.dead"));
        }
        for _ in 0..4000 {
            for at in 0..self.peers.len() {
                self.connect(at);
                for _ in 0..3 {
                    self.client_writes(at);
                    self.broker_reads(at);
                    self.socket_takes(at);
                    self.client_reads(at);
                    self.consume(at);
                }
            }
            self.store_everything();
            self.pass(5);
            if self.everything_is_done() {
                return self.check();
            }
        }
        panic!("it does not come to its end: {:?}", self.broker.stats());
    }

    fn everything_is_done(&self) -> bool {
        let stats = self.broker.stats();
        let is_done = |peer: &Peer| match &peer.client {
            Client::Producer { client, .. } => client.is_done(),
            Client::Consumer { .. } => true,
        };
        let nothing_waits = stats.flow.waiting.is_zero() && stats.parked.is_zero();
        nothing_waits && self.all_is_stored() && self.peers.iter().all(is_done)
    }

    fn check(&self) {
        self.broker.check_invariants();
        assert_eq!(self.broker.held_bytes(), 0);
        let (mut lost, mut missing) = (0, 0);
        for (topic, body) in &self.confirmed {
            if !self.refused.contains(body) {
                if lost < self.expired && !self.ledger.is_done(topic, GROUP, body) {
                    lost += 1;
                    continue;
                }
                let text = String::from_utf8_lossy(body);
                assert!(
                    self.ledger.is_done(topic, GROUP, body),
                    "{topic}: {text} is lost: {}",
                    self.ledger.story(topic, body)
                );
            }
        }
        for peer in &self.peers {
            let Client::Producer {
                topic, sent, named, ..
            } = &peer.client
            else {
                continue;
            };
            for body in sent.iter().filter(|body| !self.refused.contains(*body)) {
                let places = self.ledger.places(topic, body);
                missing += u64::from(places == 0);
                assert!(missing <= self.expired, "not there");
                assert!(!named || places <= 1, "{places} times there");
                let is_confirmed = self.confirmed.contains(&(*topic, body.clone()));
                assert!(is_confirmed, "not confirmed");
            }
        }
    }
}

/// How many messages of the write in flight the socket has not taken whole.
fn unwritten_messages(link: &Link) -> usize {
    let Some((bytes, taken)) = &link.write else {
        return 0;
    };
    let (mut at, mut unwritten) = (0, 0);
    // The answer to a role line is a line; it comes first, in a write without messages.
    if bytes.starts_with(b"OK ") {
        return 0;
    }
    while at < bytes.len() {
        let header = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = at + 4 + (header & !(1 << 31)) as usize;
        if header >> 31 == 0 && end > *taken {
            unwritten += 1;
        }
        at = end;
    }
    unwritten
}
