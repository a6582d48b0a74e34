//! What may be lost by agreement, and rules that change while the broker runs.

use super::plan::{Act, Client, Deed, Producer, Settings};
use crate::rng::Rng;
use message_queue_core::Overflow;

/// How long messages may wait, where they grow too old.
const AGES_MS: [u64; 3] = [20, 200, 2000];

impl Settings {
    /// Other rules, as an operator may set them while the broker runs. Whether producers may have to wait for room
    /// that ask for no confirms, a broker that runs cannot change.
    pub(super) fn with_other_rules(&self, has_ages: bool, rng: &mut Rng) -> Self {
        let mut other = self.clone();
        if rng.chance(60) {
            other.capacity = rng.pick(&[3, 10, 50]);
        }
        if self.overflow != Overflow::Block && rng.chance(40) {
            other.overflow = rng.pick(&[Overflow::Drop, Overflow::DropOldest, Overflow::Reject]);
        }
        if rng.chance(40) {
            other.max_failures = rng.pick(&[2, 4, 6]);
            other.backoff_max_ms = rng.pick(&[20, 50, 400]);
        }
        if rng.chance(40) {
            other.ack_timeout_ms = rng.pick(&[0, 300, 700]);
        }
        if has_ages && rng.chance(60) {
            other.max_age_ms = rng.pick(&[0, AGES_MS[0], AGES_MS[1], AGES_MS[2]]);
        }
        other
    }
}

/// In some runs messages grow too old, and in some the operator changes the rules.
pub(super) fn draw(rng: &mut Rng, settings: &mut Settings, acts: &mut [Act]) {
    if rng.chance(25) {
        settings.max_age_ms = rng.pick(&AGES_MS);
    }
    if rng.chance(25) {
        for act in acts {
            if rng.chance(2) {
                act.deed = Deed::Reload;
            }
        }
    }
}

/// In some runs another producer takes part that asks for no confirms.
pub(super) fn add_without_confirms(rng: &mut Rng, clients: &mut Vec<Client>, acts: &mut [Act]) {
    if !rng.chance(25) {
        return;
    }
    let beside = clients.iter().find_map(|client| match client {
        Client::Producer(producer) => Some(producer.topic.clone()),
        Client::Consumer(_) => None,
    });
    let Some(topic) = beside else { return };
    let number = clients.len();
    clients.push(Client::Producer(Producer {
        topic,
        named: false,
        confirms: false,
        window: 1000,
    }));
    for act in acts {
        if rng.chance(15) {
            act.client = number;
            act.deed = rng.pick(&[Deed::Produce, Deed::Produce, Deed::Exchange, Deed::Connect]);
        }
    }
}
