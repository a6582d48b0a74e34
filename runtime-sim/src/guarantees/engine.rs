//! Topics that are kept in an engine that other brokers share: which seeds have one, and what happens to it.

use super::plan::{Act, Begin, Client, Deed, TOPICS, WhichGroup};
use crate::rng::Rng;
use message_queue_core::Storage;
use message_queue_core::store::Profile;
use serde::{Deserialize, Serialize};

/// What the engine promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// What RabbitMQ does: see [`Profile::RABBITMQ`].
    RabbitMq,
    /// What Kafka does: see [`Profile::KAFKA`].
    Kafka,
}

impl EngineName {
    /// The engine of a seed: of sixteen one has the one, one the other, and one the one or the other by turns. All others
    /// have none.
    pub(super) const fn of_seed(seed: u64) -> Option<Self> {
        match seed % 16 {
            4 => Some(Self::RabbitMq),
            7 => Some(Self::Kafka),
            11 if seed % 32 < 16 => Some(Self::RabbitMq),
            11 => Some(Self::Kafka),
            _ => None,
        }
    }

    /// Where topics are kept that are in it.
    pub const fn storage(self) -> Storage {
        match self {
            Self::RabbitMq => Storage::RabbitMq,
            Self::Kafka => Storage::Kafka,
        }
    }

    /// What it promises.
    pub const fn profile(self) -> Profile {
        match self {
            Self::RabbitMq => Profile::RABBITMQ,
            Self::Kafka => Profile::KAFKA,
        }
    }
}

/// What is refused in a topic of such an engine nobody asks for: names of producers, `share=one`, patterns.
pub(super) fn leave_out_what_it_refuses(clients: &mut [Client]) {
    for (number, client) in clients.iter_mut().enumerate() {
        match client {
            Client::Producer(producer) => producer.named = false,
            Client::Consumer(consumer) => {
                consumer.share_one = false;
                if consumer.topic.contains('*') {
                    TOPICS[number % TOPICS.len()].clone_into(&mut consumer.topic);
                }
                debug_assert!(
                    consumer.group != WhichGroup::Queue || consumer.topic.ends_with(".dead")
                );
            }
        }
    }
}

/// Where there is a history some consumers ask for it, if their group is new.
pub(super) fn add_beginnings(rng: &mut Rng, clients: &mut [Client]) {
    for client in clients {
        if let Client::Consumer(consumer) = client
            && rng.chance(60)
        {
            let after_ms = rng.within(0..=2_000);
            consumer.from = rng.pick(&[Begin::First, Begin::Last, Begin::After(after_ms)]);
        }
    }
}

/// Some of the acts are the engine's, or those of other brokers.
pub(super) fn add_acts(rng: &mut Rng, acts: &mut [Act]) {
    for act in acts {
        if !rng.chance(30) {
            continue;
        }
        act.deed = match rng.within(0..=99) {
            0..74 => Deed::EngineWorks,
            74..79 => Deed::EngineFails,
            79..87 => Deed::EngineReturns,
            87..95 => Deed::OthersWork,
            _ => Deed::Flush,
        };
    }
}
