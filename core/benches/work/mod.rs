//! What the benchmarks make the core do.

pub(crate) mod held;

use bytes::BytesMut;
use message_queue_core::names::{Name, TopicFilter};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::wire::handshake::{Common, ConsumerOptions, ProducerOptions, RoleOptions};
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, FrameBatch, Role};
use message_queue_core::{Broker, Config, ConnId, DeliveryMode, Input, Now, Output};

/// As many messages of 128 B as one read of 1 MiB brings.
pub(crate) const A_READ: usize = (1 << 20) / 132;

/// A broker with consumers, and a batch that is published to them again and again.
pub(crate) struct Delivery {
    broker: Broker,
    batch: FrameBatch,
    stuck: Vec<ConnId>,
    /// What each connection's socket has taken in all, by its number.
    taken: Vec<u64>,
    /// The last position that each consumer has settled, by the number of its connection, if they settle.
    settled: Option<Vec<u64>>,
}

const PRODUCER: ConnId = ConnId(0);

/// A batch of so many messages of 128 B.
pub(crate) fn batch(messages: usize) -> FrameBatch {
    FrameBatch::encode((0..messages).map(|_| [7; 128])).expect("small messages")
}

/// A decoder that has just read these frames.
pub(crate) fn fed(frames: &[u8]) -> Decoder {
    let mut decoder = Decoder::frames_only(DecoderConfig::default());
    *decoder.recv_buf() = BytesMut::from(frames);
    decoder
}

/// The batch of all the frames that a decoder has read.
pub(crate) fn decode(decoder: &mut Decoder) -> FrameBatch {
    match decoder.next() {
        Ok(Some(Decoded::Batch(batch))) => batch,
        other => panic!("no batch: {other:?}"),
    }
}

/// A batch cut in four.
pub(crate) fn split_in_four(mut rest: FrameBatch) -> [FrameBatch; 4] {
    let share = rest.messages() / 4;
    let [first, second, third] = [(); 3].map(|()| rest.split_to(share));
    [first, second, third, rest]
}

impl Delivery {
    pub(crate) fn new(mode: DeliveryMode, consumers: usize, batch: FrameBatch) -> Self {
        let config = Config {
            delivery: mode,
            ..Config::default()
        };
        let mut delivery = Self::to_nobody(config, 2 * consumers, batch);
        delivery.open(PRODUCER, Input::Role(Role::Producer));
        for number in 1..=consumers as u64 {
            delivery.open(ConnId(number), Input::Role(Role::Consumer));
        }
        delivery
    }

    /// The same in version 2: what is safe is confirmed, and each consumer settles what it is given.
    /// Beside it are so many topics, each with ten groups of one member.
    pub(crate) fn acked(
        mode: DeliveryMode,
        consumers: usize,
        topics: usize,
        batch: FrameBatch,
    ) -> Self {
        const GROUPS: usize = 10;
        let all = consumers + topics * GROUPS;
        let config = Config {
            delivery: mode,
            // As much as a consumer asks for below.
            consumer_backlog: 1_000_000,
            ..Config::default()
        };
        let mut delivery = Self::to_nobody(config, all, batch);
        delivery.settled = Some(vec![0; all + 1]);
        let common = Common {
            heartbeat: 0,
            ..Common::default()
        };
        let producer = ProducerOptions {
            common: common.clone(),
            confirm: true,
            ..ProducerOptions::default()
        };
        delivery.open(PRODUCER, Input::Options(RoleOptions::Producer(producer)));
        let consumer = ConsumerOptions {
            common,
            ack: true,
            prefetch: 1_000_000,
            prefetch_bytes: u32::MAX,
            ..ConsumerOptions::default()
        };
        for number in 1..=all {
            let beside = number.checked_sub(consumers + 1).map(|number| {
                let (topic, group) = (number / GROUPS, number % GROUPS);
                let topic = TopicFilter::new(&format!("beside.{topic}")).expect("a topic");
                let group = Name::new(&format!("group.{group}")).expect("a name");
                (topic, group)
            });
            let (topic, group) = beside.unzip();
            let options = ConsumerOptions {
                topic,
                group,
                ..consumer.clone()
            };
            let options = Input::Options(RoleOptions::Consumer(options));
            delivery.open(ConnId(number as u64), options);
        }
        delivery
    }

    fn to_nobody(mut config: Config, max_consumers: usize, batch: FrameBatch) -> Self {
        config.max_consumers = max_consumers;
        config.max_connections = max_consumers + 2;
        config.topics.max_topics = max_consumers + 1;
        config.topics.max_groups = 2 * max_consumers + 1;
        Self {
            broker: Broker::new(config),
            batch,
            stuck: Vec::new(),
            taken: vec![0; max_consumers + 1],
            settled: None,
        }
    }

    /// The same with one consumer more, which takes nothing and has no room for more.
    pub(crate) fn beside_a_stuck_one(mut self) -> Self {
        let stuck = ConnId(u64::MAX);
        self.stuck.push(stuck);
        self.open(stuck, Input::Role(Role::Consumer));
        while self.broker.stats().flow.dropped_in_all().is_zero() {
            self.publish();
        }
        self
    }

    /// Publishes the batch. The sockets of those that are not stuck take their share at once.
    pub(crate) fn publish(&mut self) {
        let batch = Input::Batch(self.batch.clone());
        self.broker.handle_input(PRODUCER, batch, Now::START);
        self.settle();
    }

    fn open(&mut self, conn: ConnId, introduction: Input) {
        self.broker.handle_input(conn, Input::Opened, Now::START);
        self.broker.handle_input(conn, introduction, Now::START);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            if let Output::Write { conn, write } = output
                && !self.stuck.contains(&conn)
            {
                let number = conn.0 as usize;
                self.taken[number] += write.byte_len() as u64;
                let taken = Input::Written(self.taken[number]);
                self.broker.handle_input(conn, taken, Now::START);
                if let Some(settled) = &mut self.settled {
                    let before = settled[number];
                    settled[number] += write.count().messages;
                    if let Some(range) = Range::new(before + 1, settled[number]) {
                        let done = Control::Settle {
                            outcome: Outcome::Done,
                            delay_ms: 0,
                            ranges: vec![range],
                        };
                        self.broker
                            .handle_input(conn, Input::Control(done), Now::START);
                    }
                }
            }
        }
    }
}
