//! What members are handed.

use super::{GroupName, topics::Group};
use super::{Held, Message, Model, Origin};
use message_queue_core::ConnId;
use std::time::Duration;

/// A message that a consumer has read, with what was said of it.
#[derive(Clone, Copy, Debug)]
pub struct HandedOut<'a> {
    /// The topic that it was said to belong to. To who did not ask for a pattern none is said.
    pub topic: Option<&'a str>,
    /// Its sequence there.
    pub sequence: u64,
    /// When it was published.
    pub published: Duration,
    /// How often it was handed out.
    pub attempt: u32,
    /// Of a dead letter: where it came from.
    pub origin: Option<&'a Origin>,
    /// The message.
    pub body: &'a str,
}

impl Model {
    /// The topic that a consumer's message belongs to.
    ///
    /// # Panics
    /// If it was not said to the consumer of a pattern, or to another, or is none of its topics.
    pub fn topic_of_message(&self, conn: ConnId, said: Option<&str>) -> String {
        let consumer = &self.consumers[&conn];
        assert_eq!(said.is_some(), consumer.has_pattern(), "{conn}: {said:?}");
        let topic = said.unwrap_or(&consumer.asks.topics);
        let is_member = consumer.groups.contains_key(topic);
        assert!(is_member, "{conn} is handed something of {topic}");
        topic.to_owned()
    }

    /// Whether a topic has taken in a message of this sequence, as far as the model has got.
    pub fn has_taken_in(&self, topic: &str, sequence: u64) -> bool {
        sequence <= self.topics[topic].received
    }

    /// The broker has handed a message to a consumer. Returns whether it goes alone.
    ///
    /// # Panics
    /// If it was not to.
    pub fn handed_out(&mut self, conn: ConnId, it: &HandedOut<'_>) -> bool {
        let topic = self.topic_of_message(conn, it.topic);
        let consumer = &self.consumers[&conn];
        let (name, credit) = (consumer.groups[&topic].clone(), consumer.credit());
        assert!(credit > 0, "{conn} is handed {it:?}: {consumer:?}");
        let group = &self.topics[&topic].groups[&name];
        assert!(group.may_serve(conn), "{conn} stands by, and gets {it:?}");
        let owed = if self.has_a_choice(&topic, &name) {
            self.was_chosen(conn, &topic, &name, it.sequence)
        } else {
            self.group(&topic, &name).on_its_way.remove(&it.sequence)
        };
        let mut message = owed.unwrap_or_else(|| panic!("{name:?} was not to hand out {it:?}"));
        message.attempts += 1;
        message.handed_out = self.now;
        let millis = message.published.as_millis();
        assert_eq!(
            (it.attempt, it.body, it.origin, it.published.as_millis()),
            (
                message.attempts,
                &*message.body,
                message.origin.as_ref(),
                millis
            )
        );
        let consumer = self.consumer(conn);
        let position = consumer.next;
        consumer.next += 1;
        let goes_alone = message.goes_alone();
        if consumer.asks.prefetch.is_some() {
            let sequence = it.sequence;
            let held = Held {
                topic,
                sequence,
                message,
            };
            consumer.held.insert(position, held);
        }
        goes_alone
    }

    /// Whether a member of a group settles what it is handed.
    pub(super) fn is_settled(&self, topic: &str, name: &GroupName) -> bool {
        let mut members = self.topics[topic].groups[name].members.iter();
        members.any(|it| self.settles(*it))
    }

    pub(super) fn takes_anything(&self, group: &Group) -> bool {
        let mut members = group.members.iter().filter(|it| group.may_serve(**it));
        members.any(|it| !self.settles(*it))
    }

    /// Each group hands out what waits, oldest first, as far as its members have room. To whom each goes is the broker's
    /// choice.
    pub(super) fn hand_out(&mut self) {
        for (topic, name) in self.all_groups() {
            self.hand_out_in(&topic, &name);
        }
    }

    pub(super) fn hand_out_in(&mut self, topic: &str, name: &GroupName) {
        if self.has_a_choice(topic, name) || self.hand_out_alone(topic, name) {
            return;
        }
        let credit = self.credit(topic, name);
        let group = self.group(topic, name);
        for _ in 0..credit.min(group.ready.len()) {
            let (sequence, message) = group.ready.pop_first().expect("one waits");
            group.on_its_way.insert(sequence, message);
        }
    }

    /// Checks that all has been handed out that was to be.
    ///
    /// # Panics
    /// If that is not so.
    pub fn check_that_all_is_handed_out(&mut self) {
        for (topic, name) in self.all_groups() {
            let missing: Vec<&Message> = self.topics[&topic].groups[&name]
                .on_its_way
                .values()
                .collect();
            assert!(
                missing.is_empty(),
                "{topic}, {name:?}: {missing:?} did not come"
            );
            if self.has_a_choice(&topic, &name) {
                self.check_choice(&topic, &name);
            }
            let group = self.group(&topic, &name);
            (group.newest_out, group.newest_alone) = (None, None);
            group.came_back.clear();
        }
    }
}
