//! What happens by itself when time passes.

use super::{Fate, GroupName, Model};
use message_queue_core::ConnId;
use std::time::Duration;

impl Model {
    /// How late it is.
    pub const fn now(&self) -> Duration {
        self.now
    }

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
            // For who has messages of several topics the rule is that of the oldest.
            let Some(oldest) = consumer.held.values().next() else {
                continue;
            };
            let Some(timeout) = self.topics[&oldest.topic].rules.ack_timeout else {
                continue;
            };
            if oldest.message.handed_out.max(consumer.settled) + timeout > self.now {
                continue;
            }
            let workers = consumer.asks.workers;
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
                        group.came_back.push(sequence);
                        group.ready.insert(sequence, message);
                    } else {
                        group.delayed.push((due, sequence, message));
                    }
                }
            }
        }
    }

    /// What nobody is ready to take is dropped when the topic's `max_age` has passed since it was published. Where the
    /// broker has a choice it is to be seen first whether somebody was ready for what has just come back, or is too old from
    /// this very moment on: somebody may lose at that moment what he has worked on.
    fn old_messages_go(&mut self) {
        for (topic, name) in self.all_groups() {
            if self.has_a_choice(&topic, &name) {
                self.old_messages_of_go(&topic, &name, |is_just_so| !is_just_so);
            } else {
                self.old_messages_of_go(&topic, &name, |_| true);
            }
        }
    }

    /// Of a group, those of which `may_go` says so: it is told whether a message has just come back or got too old.
    pub(super) fn old_messages_of_go(
        &mut self,
        topic: &str,
        name: &GroupName,
        may_go: impl Fn(bool) -> bool,
    ) {
        let Some(max_age) = self.topics[topic].rules.max_age else {
            return;
        };
        let now = self.now;
        let group = self.group(topic, name);
        let (waited, came_back) = (group.ready.len(), &group.came_back);
        group.ready.retain(|sequence, it| {
            let due = it.published + max_age;
            let is_just_so = due == now || came_back.contains(sequence);
            !(due <= now && may_go(is_just_so))
        });
        group.expired += (waited - group.ready.len()) as u64;
    }
}
