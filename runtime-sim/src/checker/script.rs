//! Histories written by hand, for the checker's own tests.

use super::{Invariant, check};
use crate::history::Record;
use crate::history::{Event, Held, History, Manners};
use crate::message::{MessageId, Named};
use crate::plan::{Micros, Plan, Settings};
use message_queue_core::wire::Role;
use message_queue_core::{CloseReason, ConnId, Count, DeliveryMode, DropReason, GroupId, Overflow};

/// A history in the making. Each call is a step of its own, unless it is said to be part of one.
pub(super) struct Script {
    history: History,
    at: Micros,
    step: u64,
}

/// Every message in these histories takes this many bytes.
pub(super) const SIZE: u64 = 12;

pub(super) fn count(messages: u64) -> Count {
    Count {
        messages,
        bytes: SIZE * messages,
    }
}

pub(super) fn id(sequence: u32) -> MessageId {
    MessageId {
        client: 0,
        sequence,
    }
}

impl Script {
    pub(super) fn new(delivery: DeliveryMode) -> Self {
        let mut settings = Plan::of_seed(0).settings;
        settings.delivery = delivery;
        settings.overflow = Overflow::Drop;
        (settings.max_connections, settings.max_consumers) = (10, 3);
        settings.backlog_messages = 5;
        settings.role_timeout_us = 1_000_000;
        settings.write_timeout_us = 1_000_000;
        settings.min_consumer_rate = 0;
        Self {
            history: History {
                settings,
                records: Vec::new(),
            },
            at: 0,
            step: 0,
        }
    }

    pub(super) fn settings(&mut self) -> &mut Settings {
        &mut self.history.settings
    }

    /// A step of these events, a millisecond after the last.
    pub(super) fn step(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.at += 1_000;
        self.step += 1;
        for event in events {
            self.history.records.push(Record {
                at: self.at,
                step: self.step,
                event,
            });
        }
        self
    }

    pub(super) fn later(mut self, by: Micros) -> Self {
        self.at += by;
        self
    }

    pub(super) fn joins(self, conn: u64, role: Role) -> Self {
        let conn = ConnId(conn);
        self.step([
            Event::Connected {
                conn,
                client: 0,
                manners: Manners::Good,
            },
            Event::Opened { conn },
        ])
        .step([Event::Registered { conn, role }])
    }

    /// A producer sends these of its messages, and the broker is given them, with what comes of it.
    pub(super) fn publishes(
        mut self,
        conn: u64,
        sequences: &[u32],
        then: impl IntoIterator<Item = Event>,
    ) -> Self {
        let conn = ConnId(conn);
        for &sequence in sequences {
            self = self.step([Event::Sent {
                conn,
                message: Some(id(sequence)),
            }]);
        }
        let count = count(sequences.len() as u64);
        let mut events = vec![Event::Accepted { conn, count }];
        events.extend(then);
        events.push(Event::Admitted { count });
        self.step(events)
    }

    /// A consumer's socket takes this many messages, the whole of its write.
    pub(super) fn takes(self, conn: u64, messages: u64) -> Self {
        self.step([ended(conn, messages, &[])])
    }

    pub(super) fn receives(mut self, conn: u64, sequences: &[u32]) -> Self {
        for &sequence in sequences {
            self = self.step([Event::Received {
                conn: ConnId(conn),
                message: Named::Message(id(sequence)),
            }]);
        }
        self
    }

    pub(super) fn ends(self) -> Self {
        let held = Held::default();
        self.step([Event::Ended { held }])
    }

    /// What the checker finds.
    pub(super) fn finds(&self) -> Vec<Invariant> {
        let violations = check(&self.history);
        violations
            .iter()
            .map(|violation| violation.invariant)
            .collect()
    }
}

pub(super) fn write(conn: u64, messages: u64) -> Event {
    Event::WriteStarted {
        conn: ConnId(conn),
        count: count(messages),
    }
}

/// The end of a write of which so many messages were taken, and these were left.
pub(super) fn ended(conn: u64, taken: u64, left: &[u32]) -> Event {
    Event::WriteEnded {
        conn: ConnId(conn),
        taken: count(taken),
        left: count(left.len() as u64),
        left_messages: left.iter().copied().map(id).collect(),
    }
}

pub(super) fn closed(conn: u64, reason: CloseReason) -> Event {
    Event::Closed {
        conn: ConnId(conn),
        reason,
    }
}

pub(super) fn dropped(group: Option<GroupId>, messages: u64, reason: DropReason) -> Event {
    Event::Dropped {
        group,
        reason,
        count: count(messages),
    }
}
