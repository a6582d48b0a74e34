//! The clients' side: state machines of version 2, and the applications that use them.

use crate::link::Link;
use crate::world::World;
use message_queue_core::client::{
    ConsumerClient, ConsumerEvent, Delivery, Ended, ProducerClient, ProducerEvent,
};
use message_queue_core::names::Name;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Link as Way, Outcome};
use message_queue_core::wire::handshake::ConsumerOptions;
use message_queue_core::{ConnId, Input};
use std::collections::VecDeque;

pub(crate) enum Client {
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
    pub(crate) client: Client,
    pub(crate) link: Option<Link>,
}

impl World {
    pub(crate) fn connect(&mut self, at: usize) {
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

    pub(crate) fn produce(&mut self, at: usize) {
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

    pub(crate) fn client_writes(&mut self, at: usize) {
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

    pub(crate) fn client_reads(&mut self, at: usize) {
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

    pub(crate) fn events(&mut self, at: usize) {
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
    pub(crate) fn consume(&mut self, at: usize) {
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

    pub(crate) fn cut(&mut self, at: usize) {
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

    pub(crate) fn end_in_an_orderly_way(&mut self, at: usize) {
        if let Client::Consumer { client, .. } = &mut self.peers[at].client {
            client.leave();
        }
        self.client_writes(at);
        if let Some(link) = &mut self.peers[at].link {
            link.is_ending = true;
        }
    }
}
