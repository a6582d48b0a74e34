//! Two topics in one broker: what happens in one must not be felt in the other.

use super::{Broker, Input, Output};
use crate::config::{Config, DeliveryMode, Overflow};
use crate::error::CloseReason;
use crate::id::{ConnId, DEFAULT_TOPIC, GroupId, TopicId};
use crate::names::TopicName;
use crate::time::Now;
use crate::wire::{FrameBatch, MAX_FRAME, Role};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const OTHER_TOPIC: TopicId = TopicId(1);

/// A broker with two topics, and what its consumers' sockets have taken.
struct Two {
    broker: Broker,
    opened: u64,
    taken: BTreeMap<ConnId, u64>,
    now: Now,
}

impl Two {
    /// One message fills a backlog, and `OVERFLOW` is `block`.
    fn new(config: Config) -> Self {
        let config = Config {
            overflow: Overflow::Block,
            queue_capacity: 1,
            consumer_backlog: 1,
            ..config
        };
        let mut broker = Broker::new(config);
        let other = broker.make_topic(TopicName::new("other").expect("a name"));
        assert_eq!(other, OTHER_TOPIC);
        Self {
            broker,
            opened: 0,
            taken: BTreeMap::new(),
            now: Now::START,
        }
    }

    fn open(&mut self) -> ConnId {
        let conn = ConnId(self.opened);
        self.opened += 1;
        self.input(conn, Input::Opened);
        conn
    }

    fn join(&mut self, role: Role, topic: TopicId) -> ConnId {
        let conn = self.open();
        let default = core::mem::replace(&mut self.broker.default_topic, topic);
        self.input(conn, Input::Role(role));
        self.broker.default_topic = default;
        conn
    }

    fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
    }

    fn send(&mut self, conn: ConnId, messages: &[String]) {
        let batch = FrameBatch::encode(messages).expect("small messages");
        self.input(conn, Input::Batch(batch));
    }

    /// The sockets of these consumers take all that is written to them, until there is no more;
    /// what is closed is sealed. Returns who was paused and who may go on.
    fn settle(&mut self, reading: &[ConnId]) -> Vec<(ConnId, bool)> {
        let mut paused = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } if reading.contains(&conn) => {
                    let taken = self.taken.entry(conn).or_default();
                    *taken += write.count().bytes;
                    let written = Input::Written(*taken);
                    self.input(conn, written);
                }
                Output::Close { conn, .. } => {
                    let written = self.taken.get(&conn).copied().unwrap_or_default();
                    self.input(conn, Input::Sealed { written });
                }
                Output::Pause { conn } => paused.push((conn, true)),
                Output::Resume { conn } => paused.push((conn, false)),
                Output::Write { .. }
                | Output::Farewell { .. }
                | Output::Registered { .. }
                | Output::Dropped { .. }
                | Output::Store { .. } => {}
            }
        }
        paused
    }
}

fn messages(count: usize) -> Vec<String> {
    vec![String::from("four"); count]
}

#[test]
fn a_topic_that_is_full_holds_nobody_elses_producers() {
    for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
        let mut two = Two::new(Config {
            delivery,
            ..Config::default()
        });
        let stuck = two.join(Role::Consumer, OTHER_TOPIC);
        let held = two.join(Role::Producer, OTHER_TOPIC);
        let reading = two.join(Role::Consumer, DEFAULT_TOPIC);
        let free = two.join(Role::Producer, DEFAULT_TOPIC);
        // One in flight, one in the backlog, eight that are parked.
        two.send(held, &messages(10));
        assert_eq!(two.settle(&[reading]), [(held, true)]);
        let views = |two: &Two| {
            [OTHER_TOPIC, DEFAULT_TOPIC].map(|topic| {
                let view = two.broker.topic_view(topic).expect("it is there");
                (view.backlog_bytes, view.is_blocked)
            })
        };
        assert_eq!(views(&two), [(8, true), (0, false)]);
        for _ in 0..100 {
            two.send(free, &messages(1));
            assert_eq!(two.settle(&[reading]), []);
            two.broker.check_invariants();
        }
        assert_eq!(two.taken[&reading], 100 * 8);
        // The other way round, too: it goes on when its own consumer reads.
        let first = Input::Written(8);
        two.taken.insert(stuck, 8);
        two.input(stuck, first);
        assert_eq!(two.settle(&[stuck]), [(held, false)]);
        assert_eq!(two.taken[&stuck], 10 * 8);
        assert_eq!(views(&two), [(0, false), (0, false)]);
        two.broker.check_invariants();
    }
}

/// The other topic is a trap: it has a producer that waits and, behind the broker's back, room for
/// it. Whoever looks there lets it go on.
#[test]
fn no_event_looks_at_the_other_topic() {
    let mut two = Two::new(Config {
        delivery: DeliveryMode::Queue,
        ..Config::default()
    });
    let waiting = two.join(Role::Producer, OTHER_TOPIC);
    two.send(waiting, &messages(2));
    assert_eq!(two.settle(&[]), [(waiting, true)]);
    let purged = two.broker.with_topic(OTHER_TOPIC, |topic, shared| {
        topic.purge(GroupId::Shared, shared)
    });
    assert_eq!(purged.expect("it has a queue").messages, 1);
    let trap = two.broker.topics[&OTHER_TOPIC].clone();
    while two.broker.poll_output().is_some() {}
    let unmoved = |two: &mut Two, reading: &[ConnId], what: &str| {
        let paused = two.settle(reading);
        assert!(paused.iter().all(|(conn, _)| *conn != waiting), "{what}");
        assert!(two.broker.topics[&OTHER_TOPIC] == trap, "{what}");
    };

    let [silent, broken] = [two.open(), two.open()];
    unmoved(&mut two, &[], "opened");
    two.input(broken, Input::PeerReset);
    unmoved(&mut two, &[], "reset and sealed");
    let producer = two.join(Role::Producer, DEFAULT_TOPIC);
    two.send(producer, &messages(3));
    unmoved(&mut two, &[], "blocked");
    two.broker.purge(two.now);
    unmoved(&mut two, &[], "purged");
    let consumer = two.join(Role::Consumer, DEFAULT_TOPIC);
    unmoved(&mut two, &[consumer], "joined, written to and resumed");
    two.input(consumer, Input::EndedByOperator);
    unmoved(&mut two, &[], "left");
    two.input(producer, Input::PeerClosed);
    unmoved(&mut two, &[], "closed");
    let _stuck = two.join(Role::Consumer, DEFAULT_TOPIC);
    let producer = two.join(Role::Producer, DEFAULT_TOPIC);
    two.send(producer, &messages(3));
    unmoved(&mut two, &[], "blocked again");
    two.now = two.now + Duration::from_secs(3600);
    two.broker.handle_timeout(two.now);
    unmoved(&mut two, &[], "timed out");
    let closed = &two.broker.stats().closed;
    assert_eq!(closed[CloseReason::RoleTimeout.index()], 1, "{silent}");
    assert_eq!(closed[CloseReason::WriteTimeout.index()], 1);

    // The trap works.
    let _ = two.join(Role::Consumer, OTHER_TOPIC);
    assert_eq!(two.settle(&[]), [(waiting, false)]);
    two.broker.check_invariants();
}

/// What all topics have in common is the budget. Who waits for it goes on when any topic gives some
/// back.
#[test]
fn a_topic_that_waits_for_bytes_is_told_by_the_one_that_has_them() {
    let mut two = Two::new(Config {
        delivery: DeliveryMode::Queue,
        backlog_bytes: MAX_FRAME,
        broker_bytes: MAX_FRAME,
        max_consumers: 1,
        ..Config::default()
    });
    let has = two.join(Role::Producer, DEFAULT_TOPIC);
    let large = FrameBatch::encode([vec![0; MAX_FRAME - 8]]).expect("it fits");
    two.input(has, Input::Batch(large));
    let waits = two.join(Role::Producer, OTHER_TOPIC);
    two.send(waits, &messages(1));
    assert_eq!(two.settle(&[]), [(waits, true)]);
    two.broker.check_invariants();
    let reading = two.join(Role::Consumer, DEFAULT_TOPIC);
    assert_eq!(two.settle(&[reading]), [(waits, false)]);
    two.broker.check_invariants();
}
