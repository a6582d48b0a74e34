//! What stored topics ask of their stores, and what becomes of the answers.

use super::Broker;
use crate::id::TopicId;
use crate::store::{Answer, StoredTopic};
use alloc::vec::Vec;

impl Broker {
    /// A topic's store has done something.
    pub(super) fn answered(&mut self, _topic: TopicId, _answer: Answer) {}

    /// Takes in the topics that were found in the store.
    pub(super) fn take_in_stored(&mut self, _stored: Vec<StoredTopic>) {}

    /// The stored topics: their numbers and names.
    pub fn stored_topics(&self) -> impl Iterator<Item = (TopicId, &crate::names::TopicName)> {
        let topics = self.topics.iter();
        let stored = topics.filter(|(_, it)| it.settings.storage != crate::store::Storage::Memory);
        stored.map(|(id, topic)| (*id, topic.name()))
    }
}
