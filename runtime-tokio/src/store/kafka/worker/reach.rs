//! Whether Kafka is there, and the clients that speak to it.

use super::Worker;
use crate::store::kafka::admin::Admin;
use crate::store::kafka::happened::Happened;
use crate::store::kafka::producer::Producer;
use rdkafka::error::KafkaError;
use std::sync::atomic::Ordering;
use tokio::task::spawn_blocking;
use tracing::info;

impl Worker {
    /// Tries again what has failed.
    pub(super) fn look(&mut self) {
        if let Err(error) = self.make_clients() {
            self.out_of_reach(&error.to_string());
        }
        if self.status.out_of_reach().is_some() {
            self.probe();
        }
        for (id, topic) in &mut self.topics {
            topic.is_refused = false;
            self.touched.insert(*id);
            self.readable
                .extend(topic.groups.keys().map(|it| (*id, *it)));
        }
        while self.closing.try_join_next().is_some() {}
    }

    /// Makes the clients that are not there, and another producer for one that has failed.
    fn make_clients(&mut self) -> Result<(), KafkaError> {
        if self.admin.is_none() {
            self.admin = Some(Admin::new(&self.properties, &self.tell)?);
        }
        if let Some(failed) = self.producer.take_if(|it| it.has_failed()) {
            self.closing.spawn_blocking(move || drop(failed));
            for topic in self.topics.values_mut() {
                topic.pieces.lose_connection();
            }
        }
        if self.producer.is_none() {
            self.producers += 1;
            let config = self.properties.producer();
            self.producer = Some(Producer::new(self.producers, &config, &self.tell)?);
        }
        Ok(())
    }

    /// Looks whether Kafka is there, if that is not being looked.
    pub(super) fn probe(&mut self) {
        let Some(admin) = self.admin.clone().filter(|_| !self.is_probing) else {
            return;
        };
        self.is_probing = true;
        let tell = self.tell.clone();
        spawn_blocking(move || tell.send(Happened::Probed(admin.probe())));
    }

    pub(super) fn in_reach(&mut self) {
        if self.status.out_of_reach.swap(false, Ordering::Relaxed) {
            info!("connected to Kafka");
        }
        self.touched.extend(self.topics.keys());
    }

    pub(super) fn out_of_reach(&mut self, error: &str) {
        self.status.out_of_reach.store(true, Ordering::Relaxed);
        let what = format!("Kafka is out of reach, and nothing is confirmed: {error}");
        self.complaint.say(&what);
    }
}
