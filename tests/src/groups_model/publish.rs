//! Who gets a message, and who has no room for it.

use super::{GroupName, Message, Model, Producer, Topic};
use message_queue_core::{ConnId, Overflow};
use std::time::Duration;

/// What a producer has been told in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Up to which position all is safe, or was refused.
    pub confirmed: u64,
    /// How many messages found no group.
    pub unrouted: u64,
    /// What was refused, and why.
    pub refused: Vec<(u64, String)>,
    /// Whether it was asked to finish.
    pub is_going: bool,
}

/// What becomes of the next message of a producer.
enum Verdict {
    IsOffered,
    Waits,
    IsRefused,
}

impl Model {
    /// A producer connects, without a name.
    pub fn producer_comes(&mut self, conn: ConnId, topic: &str, confirms: bool) {
        self.make(topic);
        self.producers
            .insert(conn, Producer::new(topic, confirms, None, 0));
    }

    /// A producer sends messages in one piece.
    pub fn publish(&mut self, conn: ConnId, messages: Vec<String>) {
        let Some(producer) = self.producers.get_mut(&conn) else {
            return;
        };
        // What is not read is read in one piece.
        match &mut producer.waiting[..] {
            [_, unread] => unread.extend(messages),
            _ => producer.waiting.push(messages),
        }
        if producer.waiting.len() == 1 {
            self.take_in(conn);
            self.let_in_who_waits();
        }
    }

    /// A producer ends its side. It is let go when all that it sent is taken in.
    pub fn producer_ends(&mut self, conn: ConnId) {
        if let Some(producer) = self.producers.get_mut(&conn) {
            producer.has_ended = true;
            self.let_in_who_waits();
        }
    }

    /// What it should have been told by now; none for who asks for no confirms or is gone.
    pub fn told(&self, conn: ConnId) -> Option<Told> {
        let producer = self.producers.get(&conn).filter(|it| it.confirms)?;
        let refused = producer.refused.iter();
        Some(Told {
            confirmed: producer.confirmed,
            unrouted: producer.unrouted,
            refused: refused
                .map(|(it, code)| (*it, (*code).to_owned()))
                .collect(),
            is_going: producer.is_going,
        })
    }

    /// The topic that a producer, which is there, sends to.
    pub fn topic_of(&self, conn: ConnId) -> &str {
        &self.producers[&conn].topic
    }

    /// Whether a producer is still there.
    pub fn has_producer(&self, conn: ConnId) -> bool {
        self.producers.contains_key(&conn)
    }

    /// There may be room for who waits for it; and who has waited may go on with what it sent behind that.
    pub(super) fn let_in_who_waits(&mut self) {
        self.hand_out();
        loop {
            let before = self.not_taken_in();
            let topics: Vec<String> = self.topics.keys().cloned().collect();
            // Who has waited is read from again, in the order in which they had their turns.
            let mut again = Vec::new();
            for topic in topics {
                while let Some(first) = self.topic(&topic).line.first().copied() {
                    if !self.take_in_as_far_as_it_goes(first) {
                        break;
                    }
                    self.topic(&topic).line.remove(0);
                    again.push(first);
                }
            }
            for conn in again {
                self.take_in(conn);
            }
            if self.not_taken_in() == before {
                break;
            }
        }
        let gone = |it: &Producer| it.has_ended && it.waiting.is_empty();
        self.producers.retain(|_, producer| !gone(producer));
        self.hand_out();
        self.drain_goes_on();
    }

    fn not_taken_in(&self) -> usize {
        let producers = self.producers.values();
        producers
            .map(|it| it.waiting.iter().flatten().count())
            .sum()
    }

    /// Takes in what a producer has sent, if nobody waits before it; what is left waits.
    fn take_in(&mut self, conn: ConnId) {
        while let Some(producer) = self
            .producers
            .get(&conn)
            .filter(|it| !it.waiting.is_empty())
        {
            let topic = producer.topic.clone();
            let waits_behind = !self.topic(&topic).line.is_empty();
            if waits_behind || !self.take_in_as_far_as_it_goes(conn) {
                self.topic(&topic).line.push(conn);
                return;
            }
        }
    }

    /// Takes in what a producer has sent in one piece. Returns whether that was all of it.
    fn take_in_as_far_as_it_goes(&mut self, conn: ConnId) -> bool {
        loop {
            let producer = &self.producers[&conn];
            let (topic, confirms) = (producer.topic.clone(), producer.confirms);
            if producer.waiting.first().is_none_or(Vec::is_empty) {
                if !producer.waiting.is_empty() {
                    self.producer(conn).waiting.remove(0);
                }
                return true;
            }
            let verdict = self.verdict(&topic, confirms);
            if matches!(verdict, Verdict::Waits) {
                return false;
            }
            let producer = self.producer(conn);
            let body = producer.waiting[0].remove(0);
            let position = producer.next;
            producer.next += 1;
            producer.confirmed = position;
            if matches!(verdict, Verdict::IsRefused) {
                producer.refused.push((position, "full"));
                continue;
            }
            let (name, unrouted) = (producer.name.clone(), self.topic(&topic).groups.is_empty());
            if unrouted {
                self.producer(conn).unrouted += 1;
            }
            if let Some(name) = name {
                let known = self.topic(&topic).names.get_mut(&name);
                known.expect("the name is known").accepted = position;
            }
            self.offer(&topic, Message::new(body));
        }
    }

    fn verdict(&self, topic: &str, confirms: bool) -> Verdict {
        let overflow = self.topics[topic].rules.overflow;
        let all = self.topics[topic].groups.keys();
        let is_full = |group: &&GroupName| self.room(topic, group) == 0;
        let lasting_is_full = all
            .clone()
            .filter(|it| it.is_lasting())
            .any(|it| is_full(&it));
        match (overflow, confirms) {
            (Overflow::Block, _) if all.clone().any(|it| is_full(&it)) => Verdict::Waits,
            (Overflow::Drop | Overflow::DropOldest, true) if lasting_is_full => Verdict::Waits,
            (Overflow::Reject, true) if lasting_is_full => Verdict::IsRefused,
            (Overflow::Block | Overflow::Drop | Overflow::DropOldest | Overflow::Reject, _) => {
                Verdict::IsOffered
            }
        }
    }

    /// How many messages a group has room for. What a member will be handed that settles nothing takes none.
    fn room(&self, topic: &str, name: &GroupName) -> usize {
        let group = &self.topics[topic].groups[name];
        if self.takes_anything(group) {
            return usize::MAX;
        }
        let waiting = group.ready.len() + group.on_its_way.len() + group.delayed.len();
        let held = waiting + self.held_of(topic, name);
        self.topics[topic].rules.capacity.saturating_sub(held)
    }

    /// Gives a message to every group. One that has no room for it loses it, or the oldest where it is to.
    pub(super) fn offer(&mut self, topic_name: &str, mut message: Message) {
        message.published = self.now;
        let topic = self.topic(topic_name);
        topic.received += 1;
        let sequence = topic.received;
        let drops_oldest = topic.rules.overflow == Overflow::DropOldest;
        let capacity = topic.rules.capacity;
        let names: Vec<GroupName> = topic.groups.keys().cloned().collect();
        for name in names {
            let group = self.group(topic_name, &name);
            group.ready.insert(sequence, message.clone());
            // What members are about to be handed is looked at before room is, where nobody has to settle it.
            let about_to = if self.is_settled(topic_name, &name) {
                0
            } else {
                self.credit(topic_name, &name)
            };
            let held = self.held_of(topic_name, &name);
            let group = self.group(topic_name, &name);
            let about_to = about_to.min(group.ready.len());
            let beside = held + group.on_its_way.len() + about_to + group.delayed.len();
            let room = capacity.saturating_sub(beside);
            while group.ready.len() - about_to > room {
                group.lost += 1;
                if drops_oldest && !name.is_lasting() {
                    // What goes alone is kept.
                    let mut may_go = group.ready.iter().filter(|(_, it)| !it.goes_alone());
                    let (&oldest, _) = may_go.nth(about_to).expect("one waits");
                    group.ready.remove(&oldest);
                } else {
                    // What has come back is kept, beyond the bound if need be.
                    group.ready.remove(&sequence);
                    break;
                }
            }
        }
    }

    pub(super) fn producer(&mut self, conn: ConnId) -> &mut Producer {
        self.producers.get_mut(&conn).expect("it is connected")
    }
}

impl Producer {
    pub(super) fn new(topic: &str, confirms: bool, name: Option<String>, accepted: u64) -> Self {
        Self {
            topic: topic.to_owned(),
            confirms,
            name,
            next: accepted + 1,
            confirmed: accepted,
            unrouted: 0,
            refused: Vec::new(),
            waiting: Vec::new(),
            has_ended: false,
            is_going: false,
        }
    }
}

impl Message {
    pub(super) fn new(body: String) -> Self {
        Self {
            body,
            published: Duration::ZERO,
            handed_out: Duration::ZERO,
            attempts: 0,
            failures: 0,
            origin: None,
        }
    }
}

impl Topic {
    pub(super) fn leave_line(&mut self, conn: ConnId) {
        self.line.retain(|it| *it != conn);
    }
}
