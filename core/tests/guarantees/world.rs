//! A broker whose topics are stored, its clients, and what happens to them.

use crate::clients::{Client, Peer};
use crate::ledger::Ledger;
use crate::rng::Rng;
use crate::stores::Stores;
use message_queue_core::client::{ConsumerClient, ProducerClient, Window};
use message_queue_core::names::{Name, Pattern, TopicFilter, TopicName};
use message_queue_core::wire::handshake::{Common, ConsumerOptions, Identity, ProducerOptions};
use message_queue_core::{
    Broker, Config, ConnId, DeliveryMode, Now, Overflow, Storage, TopicRule, TopicsConfig,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a run is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) named: bool,
    pub(crate) cuts: bool,
    pub(crate) failures: bool,
    pub(crate) ack_timeout: bool,
    pub(crate) patterns: bool,
    pub(crate) overflow: Overflow,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        Self {
            cuts: !seed.is_multiple_of(3),
            failures: seed.is_multiple_of(2),
            named: !seed.is_multiple_of(5),
            ack_timeout: seed.is_multiple_of(7),
            patterns: seed.is_multiple_of(4),
            overflow: [Overflow::Block, Overflow::Drop, Overflow::DropOldest][seed as usize % 3],
        }
    }
}

/// How many steps a run has before everything goes well.
const STEPS: usize = 900;

pub(crate) const GROUP: &str = "workers";
pub(crate) const TOPICS: [&str; 2] = ["jobs.a", "jobs.b"];

/// What happened in a run, or in many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) confirmed: u64,
    pub(crate) redelivered: u64,
    pub(crate) dead: u64,
    pub(crate) revoked: u64,
    /// Producers that were known again.
    pub(crate) resumed: u64,
    pub(crate) power_cuts: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.confirmed += other.confirmed;
        self.redelivered += other.redelivered;
        self.dead += other.dead;
        self.revoked += other.revoked;
        self.resumed += other.resumed;
        self.power_cuts += other.power_cuts;
    }
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) shape: Shape,
    pub(crate) broker: Broker,
    pub(crate) now: Now,
    pub(crate) next_conn: u64,
    pub(crate) peers: Vec<Peer>,
    /// Links whose connection the broker has not seen the end of, but whose client has left them.
    pub(crate) ledger: Ledger,
    pub(crate) stores: Stores,
    /// What the stores are slow at: to append, to save or to read; or at nothing.
    pub(crate) slow: usize,
    pub(crate) power_cuts: u64,
    pub(crate) by_conn: BTreeMap<ConnId, usize>,
    pub(crate) confirmed: BTreeSet<(&'static str, Vec<u8>)>,
    pub(crate) refused: BTreeSet<Vec<u8>>,
    pub(crate) is_over: bool,
    pub(crate) resumed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::new(seed);
        let rule = TopicRule {
            groups: Some(vec![Name::new(GROUP).unwrap()]),
            capacity: Some(rng.pick(&[3, 10, 50])),
            max_failures: Some(rng.pick(&[1, 2, 4])),
            backoff_max: Some(Duration::from_millis(50)),
            ack_timeout: shape.ack_timeout.then(|| Duration::from_millis(700)),
            overflow: Some(shape.overflow),
            storage: Some(Storage::Disk),
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
            slow: rng.below(4),
            power_cuts: 0,
            by_conn: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            refused: BTreeSet::new(),
            is_over: false,
            resumed: 0,
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

    pub(crate) fn add_consumer_of(&mut self, topic: &str) {
        let dead = topic.ends_with(".dead");
        let options = ConsumerOptions {
            common: self.common(),
            topic: Some(TopicFilter::new(topic).unwrap()),
            group: (!dead).then(|| Name::new(GROUP).unwrap()),
            ack: true,
            prefetch: self.rng.within(1, 12) as u32,
            workers: self.rng.within(1, 3) as u32,
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
        for _ in 0..STEPS {
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
            72..84 => self.store_something(),
            84 if self.rng.once_in(3) => self.power_cut(),
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

    pub(crate) fn pass(&mut self, millis: u64) {
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
}
