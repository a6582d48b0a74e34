//! What is healed gets going again, what orderly clients were promised is done, and the orderly
//! end leaves nothing behind.

use super::{Findings, Invariant};
use crate::checker::topic::Topic;
use crate::history::{Event, Held, History, Record};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, DeliveryMode};
use std::collections::BTreeMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut pass = Progress {
        mode: history.settings.delivery,
        topic: Topic::default(),
        connections: BTreeMap::new(),
        healed: false,
        draining: false,
    };
    for record in &history.records {
        pass.topic.follow(&record.event);
        pass.follow(record, findings);
    }
}

struct Progress {
    mode: DeliveryMode,
    topic: Topic,
    connections: BTreeMap<ConnId, Connection>,
    healed: bool,
    draining: bool,
}

#[derive(Default)]
struct Connection {
    role: Option<Role>,
    /// Messages that its socket took whole.
    taken: u64,
    /// Messages that it received.
    received: u64,
    /// Its client gave it up, so it receives no more of what was taken.
    gone: bool,
    ended: Option<CloseReason>,
}

impl Progress {
    fn follow(&mut self, record: &Record, findings: &mut Findings) {
        match &record.event {
            Event::Opened { conn } => {
                self.connections.entry(*conn).or_default();
            }
            Event::Registered { conn, role } => {
                self.note(*conn, |connection| connection.role = Some(*role));
            }
            Event::WriteEnded { conn, taken, .. } => {
                self.note(*conn, |connection| connection.taken += taken.messages);
            }
            Event::Received { conn, .. } => self.note(*conn, |it| it.received += 1),
            Event::Gone { conn } => self.note(*conn, |connection| connection.gone = true),
            Event::Closed { conn, reason } => {
                self.note(*conn, |connection| connection.ended = Some(*reason));
                if *reason == CloseReason::PeerClosed {
                    self.check_taken_in(*conn, record, findings);
                }
            }
            Event::Killed => self.connections.clear(),
            Event::Healed => self.healed = true,
            Event::Settled { held, unfinished } => {
                self.settled(*held, *unfinished, record, findings);
            }
            Event::Draining => self.draining = true,
            Event::Ended { held } => self.end(*held, record, findings),
            Event::Connected { .. }
            | Event::Sent { .. }
            | Event::Accepted { .. }
            | Event::Admitted { .. }
            | Event::WriteStarted { .. }
            | Event::WriteProgressed { .. }
            | Event::Dropped { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::EndOrdered { .. }
            | Event::Purged { .. }
            | Event::Struck { .. } => {}
        }
    }

    /// Notes something about a connection, unless it died with a broker that was killed.
    fn note(&mut self, conn: ConnId, what: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            what(connection);
        }
    }

    fn open(&self, role: Role) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.connections
            .iter()
            .filter(move |(_, it)| it.role == Some(role) && it.ended.is_none())
            .map(|(conn, connection)| (*conn, connection))
    }

    fn settled(&self, held: Held, unfinished: u32, record: &Record, findings: &mut Findings) {
        let received_by_somebody =
            self.mode == DeliveryMode::Broadcast || self.open(Role::Consumer).next().is_some();
        let stuck = !held.waiting.is_zero() || !held.parked.is_zero() || unfinished > 0;
        if received_by_somebody && stuck {
            findings.add(Invariant::Progress, record, || {
                format!("long after all was healed: {held}, {unfinished} producers unfinished")
            });
        }
        for (conn, consumer) in self.open(Role::Consumer) {
            consumer.check_carried(conn, record, findings);
        }
        if held.parked.is_zero() && unfinished == 0 {
            for (conn, _) in self.open(Role::Producer) {
                self.check_taken_in(conn, record, findings);
            }
        }
    }

    /// All that was sent on a connection up to its orderly end was given to the broker.
    fn check_taken_in(&self, conn: ConnId, record: &Record, findings: &mut Findings) {
        let (sent, accepted) = self.topic.progress_of(conn);
        if accepted < sent {
            findings.add(Invariant::TakenIn, record, || {
                format!("{conn} sent {sent} messages, {accepted} were taken in")
            });
        }
    }

    fn end(&self, held: Held, record: &Record, findings: &mut Findings) {
        if self.healed {
            let drained = self.connections.iter();
            for (conn, it) in drained.filter(|(_, it)| it.ended == Some(CloseReason::Drained)) {
                it.check_carried(*conn, record, findings);
            }
        }
        if !self.draining {
            return;
        }
        let mut open = self.connections.iter().filter(|(_, it)| it.ended.is_none());
        if let Some((conn, _)) = open.next() {
            findings.add(Invariant::Drained, record, || {
                format!("{conn} is still connected after the orderly end")
            });
        }
        if held != Held::default() {
            findings.add(Invariant::Drained, record, || {
                format!("after the orderly end: {held}")
            });
        }
    }
}

impl Connection {
    /// All that its socket took was received.
    fn check_carried(&self, conn: ConnId, record: &Record, findings: &mut Findings) {
        if self.received != self.taken && !self.gone {
            findings.add(Invariant::Carried, record, || {
                let Self {
                    taken, received, ..
                } = self;
                format!("{conn} received {received} of the {taken} messages that its socket took")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::checker::script::{Script, closed, count, id, write};
    use crate::history::{Event, Held};
    use message_queue_core::wire::Role;
    use message_queue_core::{CloseReason, ConnId, Count, DeliveryMode};

    fn joined() -> Script {
        Script::new(DeliveryMode::Queue)
            .joins(1, Role::Producer)
            .joins(2, Role::Consumer)
    }

    fn settled(waiting: u64, unfinished: u32) -> Event {
        let held = Held {
            waiting: count(waiting),
            parked: Count::ZERO,
        };
        Event::Settled { held, unfinished }
    }

    #[test]
    fn what_still_waits_long_after_healing_is_caught() {
        let waits = |waiting, unfinished| {
            joined()
                .step([Event::Healed])
                .step([settled(waiting, unfinished)])
                .finds()
        };
        assert_eq!(waits(0, 0), []);
        assert_eq!(waits(1, 0), [Invariant::Progress]);
        assert_eq!(waits(0, 1), [Invariant::Progress]);
    }

    #[test]
    fn a_queue_without_consumers_may_wait() {
        let script = Script::new(DeliveryMode::Queue).step([settled(3, 1)]);
        assert_eq!(script.finds(), []);
    }

    #[test]
    fn a_message_that_was_taken_and_never_arrives_is_caught() {
        let arrives = |received: &[u32]| {
            joined()
                .publishes(1, &[0, 1], [write(2, 2)])
                .takes(2, 2)
                .receives(2, received)
                .step([settled(0, 0)])
                .finds()
        };
        assert_eq!(arrives(&[0, 1]), []);
        assert_eq!(arrives(&[0]), [Invariant::Carried]);
    }

    #[test]
    fn a_message_sent_and_not_taken_in_is_caught() {
        let sent = joined().step([Event::Sent {
            conn: ConnId(1),
            message: Some(id(0)),
        }]);
        let script = sent.step([closed(1, CloseReason::PeerClosed)]);
        assert_eq!(script.finds(), [Invariant::TakenIn]);
    }

    #[test]
    fn whoever_is_left_after_the_orderly_end_is_caught() {
        let script = joined()
            .step([Event::Draining])
            .step([closed(1, CloseReason::Drained)]);
        assert_eq!(script.ends().finds(), [Invariant::Drained]);
        let script = joined()
            .step([Event::Draining])
            .step([closed(1, CloseReason::Drained)])
            .step([closed(2, CloseReason::Drained)]);
        assert_eq!(script.ends().finds(), []);
    }
}
