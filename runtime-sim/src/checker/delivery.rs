//! What a consumer receives was published, as it is, once, and in order.

use super::{Findings, Invariant};
use crate::history::{Event, History, Record};
use crate::message::{MessageId, Named};
use message_queue_core::{ConnId, DeliveryMode};
use std::collections::BTreeMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut pass = Delivery {
        mode: history.settings.delivery,
        sent: BTreeMap::new(),
        short_sent: 0,
        received: BTreeMap::new(),
        consumers: BTreeMap::new(),
        handed_back: BTreeMap::new(),
    };
    for (index, record) in history.records.iter().enumerate() {
        pass.follow(index, record, findings);
    }
}

/// Moments are places in the history here: finer than time, and than steps.
type Place = usize;

struct Delivery {
    mode: DeliveryMode,
    /// What was published, and on which connection. To a broker, that is who published it: what a
    /// client sends after it has reconnected may overtake what is still on its way from before.
    sent: BTreeMap<MessageId, ConnId>,
    short_sent: u64,
    /// Who received a message. Within one consumer in `broadcast`, among all in `queue`.
    received: BTreeMap<(Option<ConnId>, MessageId), ConnId>,
    consumers: BTreeMap<ConnId, Consumer>,
    /// Where a message was last handed back by a consumer that left.
    handed_back: BTreeMap<MessageId, Place>,
}

#[derive(Default)]
struct Consumer {
    received: u64,
    short_received: u64,
    /// The writes to it: how many messages with this one and all before it, and where it was asked
    /// for.
    writes: Vec<(u64, Place)>,
    /// How many of the writes have been received whole.
    writes_received: usize,
    /// The latest message received of each producer's connection.
    latest: BTreeMap<ConnId, Latest>,
}

struct Latest {
    sequence: u32,
    /// Where it was handed out.
    handed_out: Place,
}

impl Consumer {
    /// Where the message that was received last was handed out.
    fn handed_out(&mut self) -> Place {
        while let Some((end, place)) = self.writes.get(self.writes_received) {
            if self.received <= *end {
                return *place;
            }
            self.writes_received += 1;
        }
        Place::MAX
    }
}

impl Delivery {
    fn follow(&mut self, place: Place, record: &Record, findings: &mut Findings) {
        if let Event::Sent { conn, message } = &record.event {
            match message {
                Some(id) => _ = self.sent.insert(*id, *conn),
                None => self.short_sent += 1,
            }
        } else if let Event::WriteStarted { conn, count } = &record.event {
            let consumer = self.consumers.entry(*conn).or_default();
            let before = consumer.writes.last().map_or(0, |(end, _)| *end);
            consumer.writes.push((before + count.messages, place));
        } else if let Event::WriteEnded { left_messages, .. } = &record.event {
            for id in left_messages {
                self.handed_back.insert(*id, place);
            }
        } else if let Event::Received { conn, message } = &record.event {
            self.receive(*conn, *message, record, findings);
        }
    }

    fn receive(&mut self, conn: ConnId, message: Named, record: &Record, findings: &mut Findings) {
        let consumer = self.consumers.entry(conn).or_default();
        consumer.received += 1;
        match message {
            Named::Altered => findings.add(Invariant::Unaltered, record, || {
                format!("{conn} received bytes that are no message's")
            }),
            Named::Short => {
                consumer.short_received += 1;
                if consumer.short_received > self.short_sent {
                    findings.add(Invariant::Published, record, || {
                        format!("{conn} received more short messages than were published")
                    });
                }
            }
            Named::Message(id) => match self.sent.get(&id).copied() {
                Some(producer) => {
                    self.check_once(conn, id, record, findings);
                    self.check_order(conn, producer, id, record, findings);
                }
                None => findings.add(Invariant::Published, record, || {
                    format!("{conn} received {id}, which was never published")
                }),
            },
        }
    }

    fn check_once(
        &mut self,
        conn: ConnId,
        id: MessageId,
        record: &Record,
        findings: &mut Findings,
    ) {
        let among = match self.mode {
            DeliveryMode::Broadcast => Some(conn),
            DeliveryMode::Queue => None,
        };
        if let Some(other) = self.received.insert((among, id), conn) {
            findings.add(Invariant::NoDuplicate, record, || {
                format!("{conn} received {id}, which {other} has received")
            });
        }
    }

    fn check_order(
        &mut self,
        conn: ConnId,
        producer: ConnId,
        id: MessageId,
        record: &Record,
        findings: &mut Findings,
    ) {
        let consumer = self.consumers.entry(conn).or_default();
        let handed_out = consumer.handed_out();
        let latest = consumer.latest.entry(producer).or_insert(Latest {
            sequence: id.sequence,
            handed_out,
        });
        if latest.sequence <= id.sequence {
            *latest = Latest {
                sequence: id.sequence,
                handed_out,
            };
            return;
        }
        // What came back after the later message had been handed out could not go before it.
        let came_back = self.handed_back.get(&id);
        let too_late = came_back.is_some_and(|place| latest.handed_out < *place);
        if self.mode == DeliveryMode::Broadcast || !too_late {
            let sequence = latest.sequence;
            findings.add(Invariant::Order, record, || {
                format!("{conn} received {id} after #{sequence} of {producer}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::checker::script::{Script, closed, ended, write};
    use crate::history::Event;
    use crate::message::Named;
    use message_queue_core::wire::Role;
    use message_queue_core::{CloseReason, ConnId, DeliveryMode};

    fn one_of_each(mode: DeliveryMode) -> Script {
        let script = Script::new(mode);
        script.joins(1, Role::Producer).joins(2, Role::Consumer)
    }

    #[test]
    fn what_is_published_once_and_in_order_is_well() {
        let script = one_of_each(DeliveryMode::Broadcast)
            .publishes(1, &[0, 1, 2], [write(2, 3)])
            .takes(2, 3)
            .receives(2, &[0, 1, 2]);
        assert_eq!(script.finds(), []);
    }

    #[test]
    fn a_message_out_of_nowhere_is_caught() {
        let script = one_of_each(DeliveryMode::Broadcast)
            .publishes(1, &[0], [write(2, 1)])
            .takes(2, 1)
            .receives(2, &[7]);
        assert_eq!(script.finds(), [Invariant::Published]);
    }

    #[test]
    fn a_short_message_out_of_nowhere_is_caught() {
        let script = one_of_each(DeliveryMode::Broadcast)
            .publishes(1, &[0], [write(2, 1)])
            .takes(2, 1)
            .step([Event::Received {
                conn: ConnId(2),
                message: Named::Short,
            }]);
        assert_eq!(script.finds(), [Invariant::Published]);
    }

    #[test]
    fn altered_bytes_are_caught() {
        let script = one_of_each(DeliveryMode::Broadcast)
            .publishes(1, &[0], [write(2, 1)])
            .takes(2, 1)
            .step([Event::Received {
                conn: ConnId(2),
                message: Named::Altered,
            }]);
        assert_eq!(script.finds(), [Invariant::Unaltered]);
    }

    #[test]
    fn a_later_message_before_an_earlier_one_is_caught() {
        for mode in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
            let script = one_of_each(mode)
                .publishes(1, &[0, 1], [write(2, 2)])
                .takes(2, 2)
                .receives(2, &[1, 0]);
            assert_eq!(script.finds(), [Invariant::Order]);
        }
    }

    #[test]
    fn the_same_message_to_two_members_is_caught_in_a_queue_only() {
        let twice = |mode| {
            one_of_each(mode)
                .joins(3, Role::Consumer)
                .publishes(1, &[0], [write(2, 1), write(3, 1)])
                .takes(2, 1)
                .takes(3, 1)
                .receives(2, &[0])
                .receives(3, &[0])
                .finds()
        };
        assert_eq!(twice(DeliveryMode::Broadcast), []);
        assert!(twice(DeliveryMode::Queue).contains(&Invariant::NoDuplicate));
    }

    #[test]
    fn the_same_message_twice_to_one_consumer_is_caught() {
        let script = one_of_each(DeliveryMode::Broadcast)
            .publishes(1, &[0, 1], [write(2, 2)])
            .takes(2, 2)
            .receives(2, &[0, 0]);
        assert!(script.finds().contains(&Invariant::NoDuplicate));
    }

    /// Messages 0 and 1 go to one member, which leaves with them. `before` go out to the other
    /// before that, the rest after it; the other receives `received`.
    fn handed_back(before: &[u32], received: &[u32]) -> Vec<Invariant> {
        let (early, late) = (before.len() as u64, 4 - before.len() as u64);
        one_of_each(DeliveryMode::Queue)
            .joins(3, Role::Consumer)
            .publishes(1, &[0, 1, 2, 3], [write(2, 2), write(3, early)])
            .step([
                ended(3, early, &[]),
                ended(2, 0, &[0, 1]),
                closed(2, CloseReason::PeerReset),
                write(3, late),
            ])
            .takes(3, late)
            .receives(3, received)
            .finds()
    }

    #[test]
    fn what_is_handed_back_goes_before_all_that_was_not_handed_out() {
        assert_eq!(handed_back(&[2], &[2, 0, 1, 3]), []);
        assert_eq!(handed_back(&[2], &[2, 3, 0, 1]), [Invariant::Order]);
        assert_eq!(handed_back(&[2], &[2, 0, 3, 1]), [Invariant::Order]);
    }
}
