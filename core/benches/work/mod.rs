//! What the benchmarks make the core do.

use bytes::BytesMut;
use message_queue_core::wire::{Decoded, Decoder, DecoderConfig, FrameBatch, Role};
use message_queue_core::{Broker, Config, ConnId, DeliveryMode, Input, Now, Output};

/// As many messages of 128 B as one read of 1 MiB brings.
pub(crate) const A_READ: usize = (1 << 20) / 132;

/// A broker with consumers, and a batch that is published to them again and again.
pub(crate) struct Delivery {
    broker: Broker,
    batch: FrameBatch,
    stuck: Vec<ConnId>,
    /// What each consumer's socket has taken in all, by the number of its connection.
    taken: Vec<u64>,
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
            max_consumers: 2 * consumers,
            ..Config::default()
        };
        let mut delivery = Self {
            broker: Broker::new(config),
            batch,
            stuck: Vec::new(),
            taken: vec![0; consumers + 1],
        };
        delivery.open(PRODUCER, Role::Producer);
        for number in 1..=consumers as u64 {
            delivery.open(ConnId(number), Role::Consumer);
        }
        delivery
    }

    /// The same with one consumer more, which takes nothing and has no room for more.
    pub(crate) fn beside_a_stuck_one(mut self) -> Self {
        let stuck = ConnId(u64::MAX);
        self.stuck.push(stuck);
        self.open(stuck, Role::Consumer);
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

    fn open(&mut self, conn: ConnId, role: Role) {
        self.broker.handle_input(conn, Input::Opened, Now::START);
        self.broker
            .handle_input(conn, Input::Role(role), Now::START);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            if let Output::Write { conn, write } = output
                && !self.stuck.contains(&conn)
            {
                let taken = &mut self.taken[conn.0 as usize];
                *taken += write.count().bytes;
                self.broker
                    .handle_input(conn, Input::Written(*taken), Now::START);
            }
        }
    }
}
