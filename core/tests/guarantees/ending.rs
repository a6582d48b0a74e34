//! How a run ends, and what must be true then.

use crate::clients::{Client, Peer};
use crate::world::{GROUP, TOPICS, World};

impl World {
    /// Everything goes well from now on: all that was sent comes to its end.
    pub(crate) fn finish(&mut self) {
        self.shape.cuts = false;
        for topic in TOPICS {
            self.add_consumer_of(topic);
            self.add_consumer_of(&format!("{topic}.dead"));
        }
        for _ in 0..4000 {
            for at in 0..self.peers.len() {
                self.connect(at);
                for _ in 0..3 {
                    self.client_writes(at);
                    self.broker_reads(at);
                    self.socket_takes(at);
                    self.client_reads(at);
                    self.consume(at);
                }
            }
            self.store_everything();
            self.pass(5);
            if self.everything_is_done() {
                return self.check();
            }
        }
        panic!("it does not come to its end: {:?}", self.broker.stats());
    }

    fn everything_is_done(&self) -> bool {
        let stats = self.broker.stats();
        let is_done = |peer: &Peer| match &peer.client {
            Client::Producer { client, .. } => client.is_done(),
            Client::Consumer { .. } => true,
        };
        let nothing_waits = stats.flow.waiting.is_zero() && stats.parked.is_zero();
        nothing_waits && self.all_is_stored() && self.peers.iter().all(is_done)
    }

    fn check(&self) {
        self.broker.check_invariants();
        assert_eq!(self.broker.held_bytes(), 0);
        for (topic, body) in &self.confirmed {
            if !self.refused.contains(body) {
                let text = String::from_utf8_lossy(body);
                assert!(
                    self.ledger.is_done(topic, GROUP, body),
                    "{topic}: {text} is lost: {}",
                    self.ledger.story(topic, body)
                );
            }
        }
        for peer in &self.peers {
            let Client::Producer {
                topic, sent, named, ..
            } = &peer.client
            else {
                continue;
            };
            for body in sent.iter().filter(|body| !self.refused.contains(*body)) {
                let places = self.ledger.places(topic, body);
                assert!(places > 0, "not there");
                assert!(!named || places <= 1, "{places} times there");
                let is_confirmed = self.confirmed.contains(&(*topic, body.clone()));
                assert!(is_confirmed, "not confirmed");
            }
        }
    }
}
