//! A consumer that holds many messages, and settles them one by one.

use super::{Delivery, batch};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_core::{ConnId, DeliveryMode, Input, Now};

/// How many messages come in at a time.
const AT_A_TIME: usize = 1000;

const CONSUMER: ConnId = ConnId(1);

/// In which order messages are settled.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// Oldest first.
    InOrder,
    /// All over the place.
    AtRandom,
}

impl Order {
    /// All positions of so many messages, each once.
    pub(crate) fn positions(self, messages: usize) -> impl Iterator<Item = u64> {
        // A prime that divides no power of ten: its multiples come to each position once.
        let step = match self {
            Self::InOrder => 1,
            Self::AtRandom => 38_971,
        };
        let messages = messages as u64;
        (0..messages).map(move |number| number * step % messages + 1)
    }
}

/// A broker with a consumer that holds messages.
pub(crate) struct Held(Delivery);

impl Held {
    /// One that holds so many messages of 128 B, a multiple of 1000.
    pub(crate) fn new(messages: usize) -> Self {
        let mut delivery = Delivery::acked(DeliveryMode::Broadcast, 1, 0, batch(AT_A_TIME));
        // It is this that settles.
        delivery.settled = None;
        for _ in 0..messages / AT_A_TIME {
            delivery.publish();
        }
        let held = Self(delivery);
        assert_eq!(held.unsettled(), messages, "it does not hold all of them");
        held
    }

    /// How many messages it holds.
    pub(crate) fn unsettled(&self) -> usize {
        self.0.broker.stats().unsettled.messages as usize
    }

    /// It settles one of its messages.
    pub(crate) fn settle(&mut self, position: u64) {
        let done = Control::Settle {
            outcome: Outcome::Done,
            delay_ms: 0,
            ranges: Range::new(position, position).into_iter().collect(),
        };
        let done = Input::Control(done);
        self.0.broker.handle_input(CONSUMER, done, Now::START);
        while self.0.broker.poll_output().is_some() {}
    }
}
