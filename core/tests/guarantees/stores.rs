//! The stores of the topics, and power cuts.

use crate::world::World;
use message_queue_core::names::TopicName;
use message_queue_core::store::{Answer, Model, Request, StoredTopic};
use message_queue_core::{Broker, ConnId, TopicId};
use std::collections::BTreeMap;

/// The stores, by their topics.
#[derive(Debug, Default)]
pub(crate) struct Stores(BTreeMap<TopicId, Model>);

impl Stores {
    pub(crate) fn ask(&mut self, topic: TopicId, request: Request) {
        match request {
            Request::Open { name, epoch } => {
                self.0.insert(topic, Model::new(name, epoch));
            }
            request => self.0.get_mut(&topic).expect("a store").ask(request),
        }
    }

    /// Whether they have nothing to do.
    fn are_idle(&self) -> bool {
        let mut stores = self.0.values();
        stores.all(|it| it.appends() + it.saves() + it.fetches() == 0)
    }

    /// Whether what stands in a topic at this sequence is safe.
    pub(crate) fn is_safe(&self, topic: TopicId, sequence: u64) -> bool {
        self.0.get(&topic).is_none_or(|it| sequence < it.next())
    }

    /// Whether a message is safe in a topic.
    fn has(&self, topic: TopicId, body: &[u8]) -> bool {
        let Some(store) = self.0.get(&topic) else {
            return true;
        };
        let mut bodies = store.safe().flat_map(|run| run.batch.bodies());
        bodies.any(|it| it == body)
    }
}

impl World {
    /// Some store does some of what it is asked to.
    pub(crate) fn store_something(&mut self) {
        let topics: Vec<TopicId> = self.stores.0.keys().copied().collect();
        if topics.is_empty() {
            return;
        }
        let topic = self.rng.pick(&topics);
        let (act, some) = (self.rng.below(3), self.rng.within(1, 3));
        if act == self.slow && !self.rng.once_in(20) {
            return;
        }
        let cannot_read = self.rng.once_in(8);
        let Some(store) = self.stores.0.get_mut(&topic) else {
            return;
        };
        let answer = match act {
            0 => store.append(some),
            1 => store.save(some),
            _ if cannot_read => store.fail_to_fetch(some - 1),
            _ => store.fetch(some - 1),
        };
        self.answer(topic, answer);
    }

    /// The stores do all that they are asked to.
    pub(crate) fn store_everything(&mut self) {
        while !self.stores.are_idle() {
            let topics: Vec<TopicId> = self.stores.0.keys().copied().collect();
            for topic in topics {
                for act in [
                    |it: &mut Model| it.append(usize::MAX),
                    |it: &mut Model| it.save(usize::MAX),
                    |it: &mut Model| it.fetch(0),
                ] {
                    let answer = self.stores.0.get_mut(&topic).and_then(act);
                    self.answer(topic, answer);
                }
            }
        }
    }

    fn answer(&mut self, topic: TopicId, answer: Option<Answer>) {
        if let Some(answer) = answer {
            self.broker.handle_answer(topic, answer, self.now);
            self.outputs();
        }
    }

    /// Whether the stores have done everything, and every group has had it.
    pub(crate) fn all_is_stored(&self) -> bool {
        let mut groups = self.broker.groups();
        self.stores.are_idle() && groups.all(|it| it.behind == 0)
    }

    /// What a producer is told is safe, is.
    pub(crate) fn check_safe(&self, topic: &str, bodies: &[Vec<u8>]) {
        let name = TopicName::new(topic).expect("a name");
        if let (Some(topic), false) = (self.broker.topic_named(&name), self.stores.0.is_empty()) {
            for body in bodies.iter().filter(|it| !self.refused.contains(*it)) {
                let text = String::from_utf8_lossy(body);
                assert!(self.stores.has(topic, body), "{text} is not safe");
            }
        }
    }

    /// What a consumer was handed is safe.
    pub(crate) fn check_handed_out(&mut self, conn: ConnId) {
        for (topic, sequence) in self.ledger.take_new(conn) {
            let name = TopicName::new(&topic).expect("a name");
            let topic = self.broker.topic_named(&name).expect("a topic");
            assert!(self.stores.is_safe(topic, sequence), "{name} {sequence}");
        }
    }

    /// The power goes. The broker begins anew with what its stores find, and its clients come back.
    pub(crate) fn power_cut(&mut self) {
        if self.stores.0.is_empty() {
            return;
        }
        self.power_cuts += 1;
        for at in 0..self.peers.len() {
            self.forget_link(at);
        }
        let stores = std::mem::take(&mut self.stores).0.into_values();
        let mut stores: Vec<Model> = stores.collect();
        let found: Vec<StoredTopic> = stores
            .iter_mut()
            .map(|it| it.crash(self.rng.below(3), self.rng.below(3)))
            .collect();
        let dead = stores.iter().flat_map(Model::safe);
        let dead = dead.filter_map(|run| run.origin.as_ref());
        let dead = dead.map(|it| ((it.topic.clone(), it.group.clone()), it.sequence));
        self.ledger.power_cut(&found, &dead.collect());
        let config = self.broker.config().clone();
        self.broker = Broker::with_stored(config, found, self.now);
        for store in stores {
            let topic = self.broker.topic_named(store.name());
            let topic = topic.expect("it was found");
            self.stores.0.insert(topic, store);
        }
        self.outputs();
    }
}
