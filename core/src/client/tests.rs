//! A producer against a model of a broker, over connections that are cut at any byte.

use super::{Ended, ProducerClient, ProducerEvent, Window};
use crate::names::{Name, TopicName};
use crate::time::Now;
use crate::wire::control::{Control, Link};
use crate::wire::handshake::{Identity, ProducerOptions, RoleOptions};
use crate::wire::{FrameBatch, FrameReader, Received, Role};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::{Buf, BufMut, BytesMut};
use proptest::prelude::*;

/// The topic of the role line, and the others.
const HOME: &str = "home";
const TOPICS: [&str; 3] = ["home", "t.1", "t.2"];

/// What a broker remembers of one producer's name.
#[derive(Default)]
struct Broker {
    /// Every message that was taken in, behind its topic.
    taken: Vec<String>,
    /// The last position that is safe.
    accepted: u64,
}

/// One connection: what is on its way, and the broker's side of it.
struct Connection {
    to_broker: BytesMut,
    to_client: BytesMut,
    reader: FrameReader,
    position: u64,
    topic: String,
}

impl Connection {
    fn new() -> Self {
        Self {
            to_broker: BytesMut::new(),
            to_client: BytesMut::new(),
            reader: FrameReader::new(Link::FromProducer, 4096),
            position: 0,
            topic: HOME.to_string(),
        }
    }

    /// So many bytes reach the broker, which answers.
    fn carry_to_broker(&mut self, broker: &mut Broker, bytes: usize) {
        let bytes = bytes.min(self.to_broker.len());
        self.reader.recv_buf().put_slice(&self.to_broker[..bytes]);
        self.to_broker.advance(bytes);
        while let Some(received) = self.reader.next().expect("a client keeps to the protocol") {
            match received {
                Received::Line(line) => self.greet(broker, &line),
                Received::Batch(batch) => {
                    for body in batch.bodies() {
                        let message = format!("{}: {}", self.topic, body.escape_ascii());
                        broker.taken.push(message);
                        self.position += 1;
                    }
                    broker.accepted = self.position;
                    let confirmed = Control::Confirmed {
                        position: self.position,
                        unrouted: 0,
                    };
                    confirmed.encode(&mut self.to_client);
                }
                Received::Control(Control::Topic(topic)) => self.topic = topic,
                Received::Control(control) => panic!("not expected: {control:?}"),
            }
        }
    }

    fn greet(&mut self, broker: &mut Broker, line: &str) {
        let options = line.strip_prefix("PRODUCER ").expect("a producer");
        let options = RoleOptions::parse(Role::Producer, options.as_bytes());
        let Ok(RoleOptions::Producer(ProducerOptions { identity, .. })) = options else {
            panic!("{line}");
        };
        let at = identity.map(|it| it.at);
        assert!(at.is_none_or(|at| at <= broker.accepted + 1), "{line}");
        // Without a name every connection begins anew.
        self.position = at.map_or(0, |_| broker.accepted);
        let answer = format!("OK v=2 topic={HOME} accepted={}\n", self.position);
        self.to_client.put_slice(answer.as_bytes());
    }

    fn carry_to_client(&mut self, client: &mut ProducerClient, bytes: usize) {
        let bytes = bytes.min(self.to_client.len());
        let buffer = client.recv_buf().expect("connected");
        buffer.put_slice(&self.to_client[..bytes]);
        self.to_client.advance(bytes);
        client.received(Now::START);
    }

    fn carry_all(&mut self, client: &mut ProducerClient, broker: &mut Broker) {
        while !client.is_done() {
            self.transmit(client);
            self.carry_to_broker(broker, usize::MAX);
            self.carry_to_client(client, usize::MAX);
        }
    }

    fn transmit(&mut self, client: &mut ProducerClient) {
        while let Some(bytes) = client.poll_transmit(Now::START) {
            self.to_broker.put_slice(&bytes);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many messages, to the topic of the role line or to one of the others.
    Send(usize, Option<usize>),
    ToBroker(usize),
    ToClient(usize),
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_usize..5, proptest::option::of(0..TOPICS.len()))
            .prop_map(|(messages, topic)| Step::Send(messages, topic)),
        4 => (1_usize..60).prop_map(Step::ToBroker),
        4 => (1_usize..60).prop_map(Step::ToClient),
        1 => Just(Step::Cut),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Does it all, then heals. Returns what was sent and what the broker took in.
fn run(steps: &[Step], identity: Option<Identity>) -> (Vec<String>, Vec<String>) {
    let options = ProducerOptions {
        confirm: true,
        identity,
        ..ProducerOptions::default()
    };
    let mut client = ProducerClient::new(options, Window::default());
    let mut broker = Broker::default();
    let mut connection = Connection::new();
    let mut sent = Vec::new();
    client.connected(Now::START);
    for step in steps {
        match step {
            Step::Send(messages, topic) => {
                let batch: Vec<String> = (0..*messages)
                    .map(|more| format!("{}", sent.len() + more))
                    .collect();
                let encoded = FrameBatch::encode(&batch).expect("small messages");
                let topic = topic.map(|it| TOPICS[it]);
                let taken = match topic {
                    Some(it) => client.send_to(TopicName::new(it).expect("a name"), encoded),
                    None => client.send(encoded),
                };
                taken.expect("there is room");
                let topic = topic.unwrap_or(HOME);
                sent.extend(batch.iter().map(|it| format!("{topic}: {it}")));
            }
            Step::ToBroker(bytes) => {
                connection.transmit(&mut client);
                connection.carry_to_broker(&mut broker, *bytes);
            }
            Step::ToClient(bytes) => connection.carry_to_client(&mut client, *bytes),
            Step::Cut => {
                client.disconnected();
                connection = Connection::new();
                client.connected(Now::START);
            }
        }
    }
    connection.carry_all(&mut client, &mut broker);
    let mut last = 0;
    while let Some(event) = client.poll_event() {
        if let ProducerEvent::Confirmed { number, .. } = event {
            assert!(number > last, "a confirm tells something new");
            last = number;
            continue;
        }
        let is_expected = matches!(
            event,
            ProducerEvent::Connected(_) | ProducerEvent::Ended(Ended::Disconnected)
        );
        assert!(is_expected, "{event:?}");
    }
    assert_eq!(last, sent.len() as u64, "every message is confirmed");
    (sent, broker.taken)
}

proptest! {
    #[test]
    fn a_named_producers_messages_enter_exactly_once_and_in_order(steps in steps()) {
        let identity = Identity {
            name: Name::new("p").expect("a name"),
            session: String::new(),
            at: 1,
        };
        let (sent, taken) = run(&steps, Some(identity));
        prop_assert_eq!(taken, sent);
    }

    #[test]
    fn without_a_name_none_is_lost(steps in steps()) {
        let (sent, mut taken) = run(&steps, None);
        taken.sort();
        taken.dedup();
        let mut sent = sent;
        sent.sort();
        prop_assert_eq!(taken, sent);
    }
}
