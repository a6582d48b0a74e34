//! `broadcast`: a consumer receives all that was published since it registered, but for what was
//! counted as dropped for it; nothing from before.

use super::topic::Topic;
use super::{Findings, Invariant};
use crate::history::{Event, History, Record};
use crate::message::Named;
use message_queue_core::wire::Role;
use message_queue_core::{ConnId, DeliveryMode, DropReason, GroupId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut topic = Topic::default();
    let mut consumers = BTreeMap::new();
    for record in &history.records {
        if !topic.follow(&record.event) {
            findings.add(Invariant::Published, record, || {
                "the broker was given more than was sent".to_owned()
            });
        }
        if history.settings.delivery == DeliveryMode::Broadcast {
            follow(&topic, &mut consumers, record, findings);
        }
    }
    if let Some(last) = history.records.last() {
        for (conn, consumer) in &consumers {
            consumer.check(*conn, &topic, last, findings);
        }
    }
}

/// What one consumer has a right to.
struct Consumer {
    /// The place in the topic from which on all messages are its.
    since: usize,
    /// The places of what it received.
    received: BTreeSet<usize>,
    /// How many messages were dropped because there was no room for them.
    dropped: u64,
}

fn follow(
    topic: &Topic,
    consumers: &mut BTreeMap<ConnId, Consumer>,
    record: &Record,
    findings: &mut Findings,
) {
    if let Event::Registered {
        conn,
        role: Role::Consumer,
    } = &record.event
    {
        let consumer = Consumer {
            since: topic.admitted,
            received: BTreeSet::new(),
            dropped: 0,
        };
        consumers.insert(*conn, consumer);
    } else if let Event::Received {
        conn,
        message: Named::Message(id),
    } = &record.event
        && let Some(consumer) = consumers.get_mut(conn)
        && let Some(place) = topic.position(*id)
    {
        consumer.received.insert(place);
        if place < consumer.since {
            findings.add(Invariant::NotBeforeRegistration, record, || {
                format!("{conn} received {id}, which was published before it registered")
            });
        }
    } else if let Event::Dropped {
        group: Some(GroupId::Own(conn)),
        reason:
            DropReason::BacklogMessages
            | DropReason::BacklogBytes
            | DropReason::BrokerBytes
            | DropReason::Expired,
        count,
    } = &record.event
        && let Some(consumer) = consumers.get_mut(conn)
    {
        consumer.dropped += count.messages;
    }
}

impl Consumer {
    /// Up to the last message that it received, nothing is missing but what was dropped.
    fn check(&self, conn: ConnId, topic: &Topic, last: &Record, findings: &mut Findings) {
        let Some(latest) = self.received.last() else {
            return;
        };
        let missing = (self.since..*latest)
            .filter(|place| topic.messages[*place].is_some() && !self.received.contains(place));
        let missing: Vec<usize> = missing.collect();
        if missing.len() as u64 > self.dropped {
            findings.add(Invariant::Completeness, last, || {
                let first = missing.first().and_then(|place| topic.messages[*place]);
                let first = first.map_or_else(String::new, |id| format!(", first {id}"));
                let (missing, dropped) = (missing.len(), self.dropped);
                format!("{conn} missed {missing} messages{first}; {dropped} counted as dropped")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::checker::script::{Script, count, dropped, write};
    use crate::history::Event;
    use message_queue_core::wire::Role;
    use message_queue_core::{ConnId, DeliveryMode, DropReason, GroupId};

    fn joined() -> Script {
        Script::new(DeliveryMode::Broadcast)
            .joins(1, Role::Producer)
            .joins(2, Role::Consumer)
    }

    #[test]
    fn a_gap_is_caught_unless_it_was_counted() {
        let gap = |counted| {
            let own = Some(GroupId::Own(ConnId(2)));
            joined()
                .publishes(1, &[0], [write(2, 1)])
                .publishes(
                    1,
                    &[1],
                    [dropped(own, counted, DropReason::BacklogMessages)],
                )
                .takes(2, 1)
                .publishes(1, &[2], [write(2, 1)])
                .takes(2, 1)
                .receives(2, &[0, 2])
                .finds()
        };
        assert_eq!(gap(1), []);
        assert!(gap(0).contains(&Invariant::Completeness));
    }

    #[test]
    fn a_message_from_before_the_registration_is_caught() {
        let lost = dropped(None, 1, DropReason::NoConsumer);
        let script = Script::new(DeliveryMode::Broadcast)
            .joins(1, Role::Producer)
            .publishes(1, &[0], [lost])
            .joins(2, Role::Consumer)
            .publishes(1, &[1], [write(2, 1)])
            .takes(2, 1)
            .receives(2, &[0]);
        assert_eq!(script.finds(), [Invariant::NotBeforeRegistration]);
    }

    #[test]
    fn a_broker_that_is_given_more_than_was_sent_is_caught() {
        let script = joined().step([Event::Accepted {
            conn: ConnId(1),
            count: count(1),
        }]);
        assert_eq!(script.finds(), [Invariant::Published]);
    }
}
