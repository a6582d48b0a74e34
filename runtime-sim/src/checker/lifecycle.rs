//! Every connection ends, once, for a reason that fits, in time; and there are never too many.

use super::{Findings, Invariant};
use crate::history::{Event, History, Manners, Record};
use crate::plan::{MILLISECOND, Micros, Settings};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Overflow};
use std::collections::{BTreeMap, BTreeSet};

/// How late a runtime's timers may go off.
const LATENESS: Micros = 100 * MILLISECOND;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut pass = Lifecycle {
        settings: &history.settings,
        connections: BTreeMap::new(),
        due: BTreeSet::new(),
        consumers: 0,
        producers: 0,
        open: 0,
        draining: false,
    };
    for record in &history.records {
        // Before what comes too late moves or ends the deadline.
        pass.check_deadlines(record, findings);
        pass.follow(record, findings);
    }
}

struct Lifecycle<'a> {
    settings: &'a Settings,
    connections: BTreeMap<ConnId, Connection>,
    /// When a role line or a write must be over, and whose.
    due: BTreeSet<(Micros, ConnId)>,
    /// Registered and not ended.
    consumers: usize,
    producers: usize,
    /// Opened and not ended.
    open: usize,
    draining: bool,
}

struct Connection {
    manners: Manners,
    stage: Stage,
    /// The step in which it was opened.
    opened: u64,
    /// When its role line must be over, or the write in flight to it unless it goes on.
    due: Option<Micros>,
    /// When the write in flight to it must be over though it goes on.
    longest: Micros,
    /// An operator wants it ended.
    ordered_to_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Opened,
    Producer,
    Consumer,
    Ended,
}

impl Lifecycle<'_> {
    fn follow(&mut self, record: &Record, findings: &mut Findings) {
        match &record.event {
            Event::Connected { conn, manners, .. } => {
                let connection = Connection {
                    manners: *manners,
                    stage: Stage::Connecting,
                    opened: 0,
                    due: None,
                    longest: 0,
                    ordered_to_end: false,
                };
                self.connections.insert(*conn, connection);
            }
            Event::Opened { conn } => {
                self.enter(*conn, Stage::Connecting, Stage::Opened, record, findings);
                self.open += 1;
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.opened = record.step;
                }
                self.set_due(*conn, Some(record.at + self.settings.role_timeout_us));
            }
            Event::Registered { conn, role } => {
                let stage = match role {
                    Role::Producer => Stage::Producer,
                    Role::Consumer => Stage::Consumer,
                };
                self.enter(*conn, Stage::Opened, stage, record, findings);
                self.set_due(*conn, None);
                self.consumers += usize::from(stage == Stage::Consumer);
                self.producers += usize::from(stage == Stage::Producer);
                self.check_limits(record, findings);
            }
            Event::WriteStarted { conn, count } => {
                self.enter(*conn, Stage::Consumer, Stage::Consumer, record, findings);
                let longest = self.longest(record.at, count.bytes);
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.longest = longest;
                }
                self.progress(*conn, record.at);
            }
            Event::WriteProgressed { conn } => {
                let connection = self.connections.get(conn);
                if connection.is_some_and(|connection| connection.due.is_some()) {
                    self.progress(*conn, record.at);
                }
            }
            Event::WriteEnded { conn, left, .. } if left.is_zero() => self.set_due(*conn, None),
            Event::Accepted { conn, .. } => {
                self.enter(*conn, Stage::Producer, Stage::Producer, record, findings);
            }
            Event::Closed { conn, reason } => self.end(*conn, *reason, record, findings),
            Event::Killed => {
                self.connections.clear();
                self.due.clear();
                (self.consumers, self.producers, self.open) = (0, 0, 0);
            }
            Event::Draining => self.draining = true,
            Event::EndOrdered { conn } => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.ordered_to_end = true;
                }
                // At once, whatever else it had time for.
                self.set_due(*conn, Some(record.at));
            }
            Event::WriteEnded { .. }
            | Event::Sent { .. }
            | Event::Received { .. }
            | Event::Gone { .. }
            | Event::Admitted { .. }
            | Event::Dropped { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Purged { .. }
            | Event::Struck { .. }
            | Event::Healed
            | Event::Settled { .. }
            | Event::Ended { .. } => {}
        }
    }

    /// Moves a connection to a stage that it can only come to from this one.
    fn enter(
        &mut self,
        conn: ConnId,
        from: Stage,
        to: Stage,
        record: &Record,
        findings: &mut Findings,
    ) {
        let connection = self.connections.get_mut(&conn);
        let stage = connection.as_ref().map(|connection| connection.stage);
        if stage != Some(from) {
            findings.add(Invariant::CloseReason, record, || {
                format!("{conn} is {stage:?}, and: {}", record.event)
            });
        }
        if let Some(connection) = connection {
            connection.stage = to;
        }
    }

    /// When a write of so many bytes that starts now must be over.
    const fn longest(&self, now: Micros, bytes: u64) -> Micros {
        match self.settings.min_consumer_rate as u64 {
            0 => Micros::MAX,
            rate => now + self.settings.write_timeout_us + bytes * 1_000_000 / rate,
        }
    }

    /// The write in flight has started, or goes on.
    fn progress(&mut self, conn: ConnId, now: Micros) {
        if let Some(connection) = self.connections.get(&conn) {
            let stalled = now + self.settings.write_timeout_us;
            self.set_due(conn, Some(stalled.min(connection.longest)));
        }
    }

    fn set_due(&mut self, conn: ConnId, due: Option<Micros>) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if let Some(old) = connection.due.take() {
            self.due.remove(&(old, conn));
        }
        connection.due = due;
        self.due.extend(due.map(|due| (due, conn)));
    }

    fn check_deadlines(&self, record: &Record, findings: &mut Findings) {
        if let Some((due, conn)) = self.due.first()
            && due + LATENESS < record.at
        {
            findings.add(Invariant::Deadline, record, || {
                format!("{conn} had time until {due} us")
            });
        }
    }

    fn check_limits(&self, record: &Record, findings: &mut Findings) {
        let most = self.settings.max_consumers;
        if self.consumers > most {
            findings.add(Invariant::Limits, record, || {
                format!("{} consumers; {most} are allowed", self.consumers)
            });
        }
        let most = self.settings.max_connections - self.reserved();
        if self.producers > most {
            findings.add(Invariant::Limits, record, || {
                format!("{} producers; {most} are allowed", self.producers)
            });
        }
    }

    fn reserved(&self) -> usize {
        self.settings.config().reserved_for_consumers()
    }

    /// Who is refused a place as soon as it comes may be a consumer, and producers alone must not
    /// keep it out: there are as many other connections as places are reserved.
    fn check_entry(&self, conn: ConnId, record: &Record, findings: &mut Findings) {
        let others = self.open - 1 - self.producers;
        if others < self.reserved() {
            findings.add(Invariant::Limits, record, || {
                format!("{conn} was kept out by {} producers", self.producers)
            });
        }
    }

    fn end(&mut self, conn: ConnId, reason: CloseReason, record: &Record, findings: &mut Findings) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return findings.add(Invariant::CloseReason, record, || {
                format!("{conn} ended: {reason}; it never connected")
            });
        };
        let stage = std::mem::replace(&mut connection.stage, Stage::Ended);
        let (due, manners, opened) = (connection.due, connection.manners, connection.opened);
        self.set_due(conn, None);
        if stage == Stage::Ended || stage == Stage::Connecting {
            findings.add(Invariant::CloseReason, record, || {
                format!("{conn} ended: {reason}; it was {stage:?}")
            });
            return;
        }
        self.check_reason(conn, reason, stage, manners, record, findings);
        let timed = matches!(reason, CloseReason::RoleTimeout | CloseReason::WriteTimeout);
        if timed && due.is_none_or(|due| record.at < due) {
            findings.add(Invariant::Deadline, record, || {
                format!("{conn} ended: {reason}; it had time until {due:?} us")
            });
        }
        if reason == CloseReason::TooManyConnections && opened == record.step {
            self.check_entry(conn, record, findings);
        }
        self.open -= 1;
        self.producers -= usize::from(stage == Stage::Producer);
        self.consumers -= usize::from(stage == Stage::Consumer);
    }

    fn check_reason(
        &self,
        conn: ConnId,
        reason: CloseReason,
        stage: Stage,
        manners: Manners,
        record: &Record,
        findings: &mut Findings,
    ) {
        let fits = match reason {
            CloseReason::Protocol(_) => {
                matches!(manners, Manners::Breaks(broken) if broken.index() == reason.index())
            }
            // Who breaks the protocol is not let go in peace.
            CloseReason::PeerClosed => !matches!(manners, Manners::Breaks(_)),
            CloseReason::PeerReset => true,
            CloseReason::RoleTimeout => stage == Stage::Opened,
            CloseReason::FrameTimeout | CloseReason::BrokerBytes => stage == Stage::Producer,
            CloseReason::WriteTimeout => stage == Stage::Consumer,
            CloseReason::TooManyConnections | CloseReason::TooManyConsumers => {
                stage == Stage::Opened
            }
            CloseReason::Draining | CloseReason::Drained | CloseReason::DrainTimeout => {
                self.draining
            }
            // Of version 2, which no client of these simulations speaks.
            CloseReason::UnknownTopic
            | CloseReason::TooManyTopics
            | CloseReason::TooManyGroups
            | CloseReason::GroupMismatch
            | CloseReason::NoHistory
            | CloseReason::TakenOver
            | CloseReason::HeartbeatTimeout
            // Of one that stores topics, or is told who its peers are.
            | CloseReason::StoreFailed
            | CloseReason::Unauthorized
            | CloseReason::Forbidden => false,
            CloseReason::EndedByOperator => {
                let connection = self.connections.get(&conn);
                connection.is_some_and(|connection| connection.ordered_to_end)
            }
        };
        if !fits {
            findings.add(Invariant::CloseReason, record, || {
                format!("{conn} ended: {reason}; it was {stage:?}, its manners: {manners:?}")
            });
        }
        let (most_consumers, most) = (self.settings.max_consumers, self.settings.max_connections);
        // One that left something parked counts as a connection and cannot be seen here.
        let all_seen = self.settings.overflow == Overflow::Drop;
        let room = (reason == CloseReason::TooManyConsumers && self.consumers < most_consumers)
            || (reason == CloseReason::TooManyConnections && all_seen && self.open <= most);
        if room {
            findings.add(Invariant::Limits, record, || {
                format!("{conn} was refused ({reason}) while there was room")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::checker::script::{Script, closed, write};
    use crate::history::{Event, Manners};
    use message_queue_core::wire::{FirstBytes, Role};
    use message_queue_core::{CloseReason, ConnId, DeliveryMode, Overflow, ProtocolError};

    fn script() -> Script {
        Script::new(DeliveryMode::Queue)
    }

    fn connects(conn: u64, manners: Manners) -> [Event; 2] {
        let conn = ConnId(conn);
        [
            Event::Connected {
                conn,
                client: 0,
                manners,
            },
            Event::Opened { conn },
        ]
    }

    #[test]
    fn one_consumer_too_many_is_caught() {
        let three = (1..=3).fold(script(), |script, conn| script.joins(conn, Role::Consumer));
        assert_eq!(three.finds(), []);
        assert_eq!(three.joins(4, Role::Consumer).finds(), [Invariant::Limits]);
    }

    #[test]
    fn an_end_that_no_operator_ordered_is_caught_and_so_is_an_order_that_is_not_obeyed() {
        let ordered = Event::EndOrdered { conn: ConnId(1) };
        let ends = closed(1, CloseReason::EndedByOperator);
        let joined = || script().joins(1, Role::Consumer);
        let obeyed = joined().step([ordered.clone()]).step([ends.clone()]);
        assert_eq!(obeyed.finds(), []);
        assert_eq!(joined().step([ends]).finds(), [Invariant::CloseReason]);
        let ignored = joined().step([ordered]).later(200_000).step([]).ends();
        assert_eq!(ignored.finds(), [Invariant::Deadline]);
    }

    #[test]
    fn a_refusal_while_there_is_room_is_caught() {
        let refused = |consumers| {
            (1..=consumers)
                .fold(script(), |script, conn| script.joins(conn, Role::Consumer))
                .step(connects(9, Manners::Good))
                .step([closed(9, CloseReason::TooManyConsumers)])
                .finds()
        };
        assert_eq!(refused(3), []);
        assert_eq!(refused(2), [Invariant::Limits]);
    }

    #[test]
    fn a_second_end_and_life_after_the_end_are_caught() {
        let ended = || {
            script()
                .joins(1, Role::Producer)
                .step([closed(1, CloseReason::PeerClosed)])
        };
        assert_eq!(ended().finds(), []);
        let twice = ended().step([closed(1, CloseReason::PeerClosed)]);
        assert_eq!(twice.finds(), [Invariant::CloseReason]);
        let revived = ended().step([Event::Registered {
            conn: ConnId(1),
            role: Role::Producer,
        }]);
        assert_eq!(revived.finds(), [Invariant::CloseReason]);
    }

    #[test]
    fn a_reason_must_fit_what_the_client_did() {
        let unknown_role = CloseReason::Protocol(ProtocolError::UnknownRole(FirstBytes::NONE));
        let truncated = CloseReason::Protocol(ProtocolError::TruncatedFrame);
        let ends = |manners, reason| {
            let script = script().step(connects(1, manners));
            script.step([closed(1, reason)]).finds()
        };
        assert_eq!(ends(Manners::Breaks(unknown_role), unknown_role), []);
        for (manners, reason) in [
            (Manners::Good, unknown_role),
            (Manners::Breaks(unknown_role), truncated),
            (Manners::Breaks(unknown_role), CloseReason::PeerClosed),
            (Manners::Good, CloseReason::Drained),
        ] {
            assert_eq!(ends(manners, reason), [Invariant::CloseReason], "{reason}");
        }
    }

    #[test]
    fn a_deadline_that_passes_unnoticed_is_caught() {
        let silent = |wait| {
            let script = script().step(connects(1, Manners::NoRole)).later(wait);
            script.step([closed(1, CloseReason::RoleTimeout)]).finds()
        };
        assert_eq!(silent(1_000_000), []);
        assert_eq!(silent(900_000), [Invariant::Deadline]);

        let progress = || Event::WriteProgressed { conn: ConnId(2) };
        let slow = |least_rate, waits: [u64; 3]| {
            let mut script = script();
            script.settings().min_consumer_rate = least_rate;
            let script = script.joins(1, Role::Producer).joins(2, Role::Consumer);
            let script = script.publishes(1, &[0], [write(2, 1)]);
            let go_on = |script: Script, wait| script.later(wait).step([progress()]);
            waits.into_iter().fold(script, go_on).finds()
        };
        // Twelve bytes: at six a second they may take three seconds.
        assert_eq!(slow(0, [900_000, 900_000, 900_000]), []);
        assert_eq!(
            slow(0, [900_000, 1_200_000, 100_000]),
            [Invariant::Deadline]
        );
        assert_eq!(slow(6, [900_000, 900_000, 900_000]), []);
        assert_eq!(slow(12, [900_000, 900_000, 900_000]), [Invariant::Deadline]);

        let stuck = |wait| {
            script()
                .joins(1, Role::Producer)
                .joins(2, Role::Consumer)
                .publishes(1, &[0], [write(2, 1)])
                .later(wait)
                .step([Event::Healed])
                .finds()
        };
        assert_eq!(stuck(900_000), []);
        assert_eq!(stuck(1_200_000), [Invariant::Deadline]);
    }

    #[test]
    fn producers_that_keep_a_consumer_out_are_caught() {
        // Of four places one is reserved where producers block.
        let finds = |producers: u64, others: u64| {
            let mut script = Script::new(DeliveryMode::Queue);
            script.settings().max_connections = 4;
            script.settings().overflow = Overflow::Block;
            for conn in 1..=producers + others {
                let is_producer = conn <= producers;
                let role = if is_producer {
                    Role::Producer
                } else {
                    Role::Consumer
                };
                script = script.joins(conn, role);
            }
            let connected = Event::Connected {
                conn: ConnId(9),
                client: 0,
                manners: Manners::Good,
            };
            let opened = Event::Opened { conn: ConnId(9) };
            script
                .step([
                    connected,
                    opened,
                    closed(9, CloseReason::TooManyConnections),
                ])
                .finds()
        };
        assert_eq!(finds(3, 1), []);
        assert_eq!(finds(3, 0), [Invariant::Limits]);
        assert_eq!(finds(4, 0), [Invariant::Limits]);
    }
}
