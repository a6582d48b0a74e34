//! What connections bring goes to their topics.

use super::Broker;
use crate::error::CloseReason;
use crate::id::{ConnId, TopicId};
use crate::session::Event;
use crate::shared::Shared;
use crate::topic::Topic;
use crate::wire::FrameBatch;

impl Broker {
    /// A producer sent this.
    pub(super) fn publish(&mut self, conn: ConnId, batch: FrameBatch) {
        let session = self.shared.session(conn);
        session.advance(Event::Sent);
        let topic = session.topic;
        // Its frame is whole: it is part of the batch.
        self.shared.set_partial(conn, 0);
        self.with_topic(topic, |it, shared| it.publish(conn, batch, shared));
        self.admit_parked(topic);
    }

    /// A producer's decoder holds this much of a frame that is not whole.
    pub(super) fn hold_partial(&mut self, conn: ConnId, bytes: usize) {
        self.shared.session(conn).advance(Event::BeganFrame);
        self.shared.set_partial(conn, bytes);
        self.settle_budget();
    }

    /// A consumer's socket has taken this many bytes in all.
    pub(super) fn written(&mut self, conn: ConnId, total: u64) {
        let now = self.shared.now;
        let session = self.shared.session(conn);
        let topic = session.topic;
        let consumer = session
            .consumer
            .as_mut()
            .expect("only consumers are written to");
        let Some(count) = consumer.outbox.written(total, now) else {
            return;
        };
        let group = consumer.group;
        session.advance(Event::WriteDone);
        self.with_topic(topic, |it, shared| it.delivered(conn, group, count, shared));
        self.admit_parked(topic);
    }

    /// Admits what is parked and has room now: in this topic, where a group may have gained some,
    /// and in those that wait for bytes, if there are now enough.
    pub(super) fn admit_parked(&mut self, topic: TopicId) {
        self.with_topic(topic, Topic::retry);
        self.settle_budget();
    }

    /// Admits what is parked in the topics that wait for bytes, as far as there are enough. Where
    /// there are not, whoever holds the largest partial frame is let go.
    pub(super) fn settle_budget(&mut self) {
        loop {
            if let Some(topic) = self.shared.budget.next_with_room() {
                self.with_topic(topic, Topic::retry_with_budget);
            } else if let Some(conn) = self.shared.budget.partial_in_the_way() {
                self.begin_to_close(conn, CloseReason::BrokerBytes);
            } else {
                return;
            }
        }
    }

    /// Does something with a topic, which is there, and what all topics share. What is taken from the
    /// budget meanwhile is this topic's.
    pub(super) fn with_topic<T>(
        &mut self,
        id: TopicId,
        act: impl FnOnce(&mut Topic, &mut Shared) -> T,
    ) -> T {
        let topic = self.topics.get_mut(&id).expect("the topic is there");
        let before = self.shared.budget.backlogs();
        let result = act(topic, &mut self.shared);
        topic.note_backlogs(before, self.shared.budget.backlogs());
        result
    }
}
