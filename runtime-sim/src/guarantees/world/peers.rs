//! The clients' side: state machines of version 2, and the applications that use them.

use super::World;
use super::link::Link;
use crate::guarantees::history::{Asked, Event};
use crate::guarantees::plan::{Begin, Client, Consumer, Producer, WhichGroup};
use crate::guarantees::rights::Rights;
use message_queue_core::client::{
    ConsumerClient, ConsumerEvent, Delivery, Ended, ProducerClient, ProducerEvent, Window,
};
use message_queue_core::names::{Name, TopicFilter, TopicName};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Link as Way, Outcome};
use message_queue_core::wire::handshake::{
    Common, ConsumerOptions, Identity, ProducerOptions, Share, Start,
};
use message_queue_core::{ConnId, Input};
use std::collections::VecDeque;

/// The group that is there from the start.
pub(super) const DECLARED: &str = "workers";

/// The group that comes and goes.
pub(super) const EXTRA: &str = "extra";

/// A client and its connection.
pub(super) struct Peer {
    pub(super) machine: Machine,
    /// The connection that the client knows of.
    pub(super) link: Option<ConnId>,
    /// What it may do, if the broker asks.
    pub(super) rights: Option<Rights>,
    /// Whether the broker has accepted it before, and so its name is its own.
    pub(super) has_been_there: bool,
}

pub(super) enum Machine {
    Producer {
        client: ProducerClient,
        plan: Producer,
        /// The messages by number, from 1.
        sent: Vec<String>,
        /// How many lives it has had before.
        life: u32,
    },
    Consumer {
        client: ConsumerClient,
        /// As it will ask for it when it connects.
        plan: Consumer,
        held: VecDeque<Delivery>,
    },
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn common(heartbeat: u16) -> Common {
    Common {
        heartbeat,
        ..Common::default()
    }
}

pub(crate) fn session(life: u32) -> String {
    format!("life{life}")
}

pub(crate) fn producer_client(
    at: usize,
    plan: &Producer,
    life: u32,
    heartbeat: u16,
) -> ProducerClient {
    let identity = plan.named.then(|| Identity {
        name: name(&format!("p{at}")),
        session: session(life),
        at: 1,
    });
    let options = ProducerOptions {
        common: common(heartbeat),
        topic: TopicName::new(&plan.topic).ok(),
        confirm: plan.confirms,
        identity,
    };
    let window = Window {
        messages: plan.window,
        bytes: 1 << 20,
    };
    ProducerClient::new(options, window)
}

impl Consumer {
    /// The name of its group, as it asks for it; none for its own and for that of a dead-letter topic.
    pub(crate) fn group_name(&self) -> Option<&'static str> {
        match self.group {
            WhichGroup::Declared => Some(DECLARED),
            WhichGroup::Extra => Some(EXTRA),
            WhichGroup::Own | WhichGroup::Queue => None,
        }
    }

    /// What it asks for when it connects.
    pub(crate) fn options(&self, heartbeat: u16) -> ConsumerOptions {
        ConsumerOptions {
            common: common(heartbeat),
            topic: TopicFilter::new(&self.topic).ok(),
            group: self.group_name().map(name),
            ack: self.ack,
            prefetch: self.prefetch,
            prefetch_bytes: self.prefetch_bytes,
            workers: self.workers,
            share: if self.share_one {
                Share::One
            } else {
                Share::All
            },
            from: match self.from {
                Begin::New => Start::New,
                Begin::First => Start::First,
                Begin::Last => Start::Last,
                Begin::After(milliseconds) => Start::Time(super::STARTED_MS + milliseconds),
            },
            ..ConsumerOptions::default()
        }
    }
}

impl Peer {
    pub(super) fn new(at: usize, client: &Client, heartbeat: u16, rights: Option<&Rights>) -> Self {
        let machine = match client {
            Client::Producer(plan) => Machine::Producer {
                client: producer_client(at, plan, 0, heartbeat),
                plan: plan.clone(),
                sent: Vec::new(),
                life: 0,
            },
            Client::Consumer(plan) => Machine::Consumer {
                client: ConsumerClient::new(ConsumerOptions {
                    check: at.is_multiple_of(3),
                    ..plan.options(heartbeat)
                }),
                plan: plan.clone(),
                held: VecDeque::new(),
            },
        };
        Self {
            machine,
            link: None,
            rights: rights.cloned(),
            has_been_there: false,
        }
    }

    /// Whether it is a producer that has something unconfirmed.
    pub(super) fn is_unfinished(&self) -> bool {
        match &self.machine {
            Machine::Producer { client, .. } => !client.is_done(),
            Machine::Consumer { .. } => false,
        }
    }
}

impl World<'_> {
    pub(super) fn connect(&mut self, at: usize) {
        if self.peers[at].link.is_some() || (self.is_over && self.is_stranger(at)) {
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let now = self.now;
        let (way, asked) = match &mut self.peers[at].machine {
            Machine::Producer {
                client, plan, life, ..
            } => {
                client.connected(now);
                let life = plan.named.then(|| (format!("p{at}"), session(*life)));
                let (topic, confirms) = (plan.topic.clone(), plan.confirms);
                let asked = Asked::ToSend {
                    topic,
                    life,
                    confirms,
                };
                (Way::ToProducer, asked)
            }
            Machine::Consumer { client, plan, held } => {
                client.connected(now);
                held.clear();
                let group = match plan.group {
                    WhichGroup::Own => format!("own-{}", conn.0),
                    WhichGroup::Queue => "queue".to_owned(),
                    WhichGroup::Declared | WhichGroup::Extra => {
                        plan.group_name().unwrap_or_default().to_owned()
                    }
                };
                let consumer = plan.clone();
                (Way::ToConsumer, Asked::ToReceive { consumer, group })
            }
        };
        self.record(Event::Connected {
            conn,
            client: at,
            asked,
        });
        let read_bytes = self.rng.pick(&[7, 64, 4096]);
        self.peers[at].link = Some(conn);
        self.links
            .insert(conn, Link::new(conn, at, way, read_bytes));
        self.input(conn, Input::Opened);
        self.is_found_out(at, conn);
    }

    /// An application gives its producer messages.
    pub(super) fn produce(&mut self, at: usize) {
        let sizes: Vec<usize> = (0..self.rng.within(1..=6))
            .map(|_| self.rng.within(0..=30) as usize)
            .collect();
        let Machine::Producer {
            client,
            plan,
            sent,
            life,
        } = &mut self.peers[at].machine
        else {
            return;
        };
        let bodies = sizes.iter().enumerate().map(|(place, size)| {
            let number = sent.len() + place + 1;
            format!("{at}.{life}-{number}-{}", "x".repeat(*size))
        });
        let bodies: Vec<String> = bodies.collect();
        let batch = FrameBatch::encode(&bodies).expect("small messages");
        if client.send(batch).is_ok() {
            sent.extend(bodies.iter().cloned());
            let (topic, named, confirms) = (plan.topic.clone(), plan.named, plan.confirms);
            self.record(Event::Given {
                client: at,
                topic,
                named,
                confirms,
                bodies,
            });
        }
    }

    /// A producer with a name forgets everything, and begins a new life.
    pub(super) fn new_life(&mut self, at: usize) {
        let heartbeat = self.plan.settings.heartbeat;
        if !matches!(&self.peers[at].machine, Machine::Producer { plan, .. } if plan.named) {
            return;
        }
        self.vanish(at);
        if let Machine::Producer {
            client,
            plan,
            sent,
            life,
        } = &mut self.peers[at].machine
        {
            *life += 1;
            sent.clear();
            *client = producer_client(at, plan, *life, heartbeat);
        }
        self.record(Event::Forgot { client: at });
    }

    pub(super) fn client_writes(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let link = peer.link.and_then(|conn| self.links.get_mut(&conn));
        let Some(link) = link.filter(|link| !link.is_ending) else {
            return;
        };
        let bytes = match &mut peer.machine {
            Machine::Producer { client, .. } => client.poll_transmit(now),
            Machine::Consumer { client, .. } => client.poll_transmit(now),
        };
        if let Some(bytes) = bytes {
            link.to_broker.extend(bytes);
        }
    }

    pub(super) fn client_reads(&mut self, at: usize, most: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(conn) = peer.link else { return };
        let Some(link) = self.links.get_mut(&conn) else {
            return self.client_loses_the_link(at);
        };
        let most = most.min(link.to_client.len());
        let bytes: Vec<u8> = link.to_client.drain(..most).collect();
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            let buffer = match &mut peer.machine {
                Machine::Producer { client, .. } => client.recv_buf(),
                Machine::Consumer { client, .. } => client.recv_buf(),
            };
            let Some(buffer) = buffer else { break };
            let size = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..size]);
            bytes = &bytes[size..];
            match &mut peer.machine {
                Machine::Producer { client, .. } => client.received(now),
                Machine::Consumer { client, .. } => client.received(now),
            }
        }
        self.events(at);
        // The broker's end of the stream, when all before it was read.
        let link = self.links.get(&conn);
        if link.is_some_and(|it| it.closed.is_some() && it.to_client.is_empty()) {
            self.client_loses_the_link(at);
        }
    }

    /// What a client has to tell its application.
    pub(super) fn events(&mut self, at: usize) {
        let mut said = Vec::new();
        let mut ended = None;
        let mut is_there = false;
        match &mut self.peers[at].machine {
            Machine::Producer { client, sent, .. } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ProducerEvent::Confirmed { number, .. } => said.push(Event::Safe {
                            client: at,
                            bodies: sent[..number as usize].to_vec(),
                        }),
                        ProducerEvent::Refused(range, _) => said.push(Event::NotTaken {
                            client: at,
                            bodies: sent[range.from as usize - 1..range.to as usize].to_vec(),
                        }),
                        ProducerEvent::Lost(messages) => said.push(Event::Complaint {
                            client: at,
                            text: format!("{messages} confirmed messages are lost"),
                        }),
                        ProducerEvent::Ended(why) => ended = Some(why),
                        ProducerEvent::Connected(_) => is_there = true,
                        ProducerEvent::Blocked(..) | ProducerEvent::GoAway { .. } => {}
                    }
                }
            }
            Machine::Consumer { client, held, .. } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ConsumerEvent::Delivered(delivery) => held.push_back(delivery),
                        ConsumerEvent::Ended(why) => ended = Some(why),
                        ConsumerEvent::Connected(_)
                        | ConsumerEvent::Gap(..)
                        | ConsumerEvent::Revoked { .. }
                        | ConsumerEvent::Lag(..)
                        | ConsumerEvent::GoAway { .. } => {}
                    }
                }
            }
        }
        self.peers[at].has_been_there |= is_there;
        for event in said {
            self.record(event);
        }
        if let Some(ended) = ended {
            self.client_gave_up(at, &ended);
        }
    }

    /// A client has ended its connection by itself.
    fn client_gave_up(&mut self, at: usize, ended: &Ended) {
        let is_damaged = matches!(ended, Ended::Damaged(_));
        if is_damaged || (!ended.may_try_again() && !self.may_be_turned_away(at, ended)) {
            let text = ended.to_string();
            self.record(Event::Complaint { client: at, text });
        }
        self.reset(at);
    }

    /// A consumer says what became of something that it holds.
    pub(super) fn settle(&mut self, at: usize) {
        let (whole, then_done) = (self.rng.chance(33), self.rng.chance(33));
        let (place, up_to) = (self.rng.next_u64() as usize, self.rng.chance(50));
        let delay = self.rng.pick(&[0, 0, 60]);
        let outcomes = [
            Outcome::Done,
            Outcome::Done,
            Outcome::Return,
            Outcome::Failed,
            Outcome::Reject,
            Outcome::Working,
        ];
        let outcome = self.rng.pick(&outcomes);
        let is_over = self.is_over;
        let Machine::Consumer { client, plan, held } = &mut self.peers[at].machine else {
            return;
        };
        let Some(delivery) = held.front() else { return };
        if !plan.ack {
            held.pop_front();
            return;
        }
        let (whole, outcome) = match (is_over, plan.fails) {
            (true, _) => (true, Outcome::Done),
            // Dead letters have nowhere else to go.
            (false, false) if plan.group == WhichGroup::Queue && outcome == Outcome::Return => {
                (whole, outcome)
            }
            (false, false) => (whole, Outcome::Done),
            (false, true) => (whole, outcome),
        };
        let (first, last) = (delivery.position(0), delivery.last());
        if whole {
            client.settle(outcome, delay, first, last);
        } else {
            let one = delivery.position(place % delivery.batch.messages());
            client.settle(outcome, delay, one, one);
        }
        if whole || then_done {
            if outcome == Outcome::Done && up_to {
                client.ack_up_to(last);
            } else if outcome != Outcome::Working || is_over {
                client.settle(Outcome::Done, 0, first, last);
            }
            if outcome != Outcome::Working {
                held.pop_front();
            }
        }
    }

    /// A consumer says how much it may hold.
    pub(super) fn credit(&mut self, at: usize) {
        let messages = if self.is_over {
            5
        } else {
            self.rng.within(0..=12) as u32
        };
        let bytes = self.rng.pick(&[1, 100, 1 << 20]);
        if let Machine::Consumer { client, plan, .. } = &mut self.peers[at].machine {
            // It asks for the same on its next connections.
            plan.prefetch = messages.max(1);
            plan.prefetch_bytes = bytes;
            client.credit(messages, bytes);
        }
    }

    /// The connection is reset: both sides see it.
    pub(super) fn reset(&mut self, at: usize) {
        if let Some(conn) = self.peers[at].link {
            self.broker_loses(conn);
            self.client_loses_the_link(at);
        }
    }

    /// The broker sees that a connection was reset.
    pub(super) fn broker_loses(&mut self, conn: ConnId) {
        if self.links.get(&conn).is_some_and(|it| it.closed.is_none()) {
            self.record(Event::Ended { conn });
            self.input(conn, Input::PeerReset);
        }
    }

    /// The client gives its connection up, and the broker does not hear of it.
    pub(super) fn vanish(&mut self, at: usize) {
        let Some(conn) = self.peers[at].link else {
            return;
        };
        if let Some(link) = self.links.get_mut(&conn)
            && link.closed.is_none()
        {
            link.is_given_up = true;
            link.to_client.clear();
        }
        self.client_loses_the_link(at);
    }

    fn client_loses_the_link(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        let Some(conn) = peer.link.take() else { return };
        if self.links.get(&conn).is_some_and(|it| !it.is_given_up) {
            self.links.remove(&conn);
        }
        match &mut peer.machine {
            Machine::Producer { client, .. } => {
                client.disconnected();
                while client.poll_event().is_some() {}
            }
            Machine::Consumer { client, held, .. } => {
                client.disconnected();
                held.clear();
                while client.poll_event().is_some() {}
            }
        }
    }

    pub(super) fn leave(&mut self, at: usize) {
        if let Machine::Consumer { client, .. } = &mut self.peers[at].machine {
            client.leave();
        }
        self.client_writes(at);
        let conn = self.peers[at].link;
        if let Some(link) = conn.and_then(|conn| self.links.get_mut(&conn)) {
            link.is_ending = true;
        }
    }
}
