//! What becomes of the messages that members hold.

use super::{
    BACKOFF_MAX, GroupName, Held, Message, Model, Origin, dead_letters_of, is_dead_letter_topic,
};
use message_queue_core::ConnId;
use std::time::Duration;

/// What a consumer says of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The work is done.
    Done,
    /// Not its fault: back at once.
    Return,
    /// It has failed, and waits for so long at least.
    Failed(Duration),
    /// It is dead.
    Reject,
    /// Still at work.
    Working,
}

impl Model {
    /// Whether the model knows what comes of it when what a consumer holds fails. It does not for dead letters: in time
    /// they would be handed out alone.
    pub fn may_fail(&self, conn: ConnId) -> bool {
        !is_dead_letter_topic(&self.consumers[&conn].asks.topics)
    }

    /// A consumer settles these positions. Of those that it does not hold any more nothing comes.
    pub fn settle(&mut self, conn: ConnId, fate: Fate, positions: &[u64]) {
        self.consumer(conn).settled = self.now;
        for position in positions {
            if fate == Fate::Working {
                continue;
            }
            if let Some(held) = self.consumer(conn).held.remove(position) {
                self.becomes(conn, fate, held);
            }
        }
        self.let_in_who_waits();
    }

    fn becomes(&mut self, conn: ConnId, fate: Fate, held: Held) {
        let Held {
            topic,
            sequence,
            mut message,
        } = held;
        let name = self.consumers[&conn].groups[&topic].clone();
        match fate {
            Fate::Done | Fate::Working => {}
            Fate::Return => {
                self.group(&topic, &name).ready.insert(sequence, message);
            }
            Fate::Reject => self.dies(&topic, &name, sequence, message),
            Fate::Failed(at_least) => {
                message.failures += 1;
                if message.failures >= self.topic(&topic).rules.max_failures {
                    return self.dies(&topic, &name, sequence, message);
                }
                let backoff = Duration::from_millis(10) * 2_u32.pow(message.failures - 1);
                let due = self.now + backoff.min(BACKOFF_MAX).max(at_least);
                self.group(&topic, &name)
                    .delayed
                    .push((due, sequence, message));
            }
        }
    }

    fn dies(&mut self, topic: &str, name: &GroupName, sequence: u64, message: Message) {
        if is_dead_letter_topic(topic) {
            self.group(topic, name).lost += 1;
            return;
        }
        let dead = Message {
            origin: Some(Origin {
                topic: topic.to_owned(),
                sequence,
                group: name.label(),
                failures: message.failures,
            }),
            ..Message::new(message.body)
        };
        let dead_letters = dead_letters_of(topic);
        self.make(&dead_letters);
        self.offer(&dead_letters, dead);
    }

    /// A consumer leaves. What it holds goes back; and where it did not say that it goes, the oldest have failed, as many
    /// as it worked on at once.
    pub fn consumer_leaves(&mut self, conn: ConnId, says_so: bool) {
        let workers = self.consumer(conn).asks.workers;
        let held = std::mem::take(&mut self.consumer(conn).held);
        for (number, held) in held.into_values().enumerate() {
            if !self.consumers[&conn].groups[&held.topic].is_lasting() {
                // The group goes with it, and all that is in it.
                continue;
            }
            let fate = match number {
                number if number < workers && !says_so => Fate::Failed(Duration::ZERO),
                _ => Fate::Return,
            };
            self.becomes(conn, fate, held);
        }
        let gone = self.consumers.remove(&conn).expect("it is connected");
        for (topic, name) in gone.groups {
            if name.is_lasting() {
                let group = self.group(&topic, &name);
                group.members.retain(|it| *it != conn);
                if group.active == Some(conn) {
                    group.active = group.members.first().copied();
                }
            } else {
                self.topic(&topic).groups.remove(&name);
            }
        }
        self.let_in_who_waits();
    }
}
