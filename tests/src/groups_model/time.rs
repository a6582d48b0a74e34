//! What happens by itself when time passes.

use super::{Fate, GroupName, Model};
use message_queue_core::ConnId;
use std::time::Duration;

impl Model {
    /// It is so late now. What is due at one moment happens in this order: consumers lose what they have worked on for
    /// too long, delays end, what is too old is dropped.
    pub fn time_is(&mut self, now: Duration) {
        self.now = now;
        self.work_is_over_due();
        // Who is just being sent something is not ready for what comes back too old.
        let all = self.all_groups().into_iter();
        let are_ready: Vec<(String, GroupName)> = all
            .filter(|(topic, name)| self.topics[topic].groups[name].on_its_way.is_empty())
            .collect();
        self.delays_end();
        for (topic, name) in are_ready {
            self.hand_out_in(&topic, &name);
        }
        self.old_messages_go();
        self.let_in_who_waits();
        self.drain_ends();
    }

    /// Who holds something, and has not settled anything for the topic's `ack_timeout`, loses the oldest messages that
    /// it holds, as many as it works on at once. They have failed.
    fn work_is_over_due(&mut self) {
        let consumers: Vec<ConnId> = self.consumers.keys().copied().collect();
        for conn in consumers {
            let Some(consumer) = self.consumers.get(&conn) else {
                continue;
            };
            let Some(timeout) = self.topics[&consumer.topic].rules.ack_timeout else {
                continue;
            };
            let Some((_, oldest)) = consumer.held.values().next() else {
                continue;
            };
            if oldest.handed_out.max(consumer.settled) + timeout > self.now {
                continue;
            }
            let workers = consumer.workers;
            let positions: Vec<u64> = consumer.held.keys().copied().take(workers).collect();
            self.consumer(conn).revoked.extend(&positions);
            // Its clock starts anew, as if it had settled them itself.
            self.settle(conn, Fate::Failed(Duration::ZERO), &positions);
        }
    }

    /// What has failed, and has waited long enough, may be handed out again.
    fn delays_end(&mut self) {
        let now = self.now;
        for topic in self.topics.values_mut() {
            for group in topic.groups.values_mut() {
                let delayed = std::mem::take(&mut group.delayed);
                for (due, sequence, message) in delayed {
                    if due <= now {
                        group.ready.insert(sequence, message);
                    } else {
                        group.delayed.push((due, sequence, message));
                    }
                }
            }
        }
    }

    /// What nobody is ready to take is dropped when the topic's `max_age` has passed since it was published.
    fn old_messages_go(&mut self) {
        for (topic, name) in self.all_groups() {
            let Some(max_age) = self.topics[&topic].rules.max_age else {
                continue;
            };
            let now = self.now;
            let group = self.group(&topic, &name);
            let waited = group.ready.len();
            group.ready.retain(|_, it| it.published + max_age > now);
            group.expired += (waited - group.ready.len()) as u64;
        }
    }
}
