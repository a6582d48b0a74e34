//! What an operator may see of the inside.

use super::Broker;
use crate::group::Group;
use crate::id::{ConnId, GroupId};
use crate::stats::{Count, Flow};
use crate::time::Now;

/// One consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerView {
    /// Its connection.
    pub conn: ConnId,
    /// The group it is a member of.
    pub group: GroupId,
    /// When its connection was opened.
    pub opened: Now,
    /// What its socket has taken in all.
    pub delivered: Count,
    /// The write in flight to it.
    pub in_flight: Count,
}

/// One group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub id: GroupId,
    /// How many members it has.
    pub members: usize,
    /// What became of the messages offered to it.
    pub flow: Flow,
    /// What is in its backlog: waiting, and not in flight.
    pub backlog: Count,
}

impl Broker {
    /// The consumers, in the order of their connections.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView> {
        self.shared.sessions.iter().filter_map(|(conn, session)| {
            let consumer = session.consumer.as_ref()?;
            Some(ConsumerView {
                conn: *conn,
                group: consumer.group,
                opened: session.opened,
                delivered: consumer.outbox.delivered,
                in_flight: consumer.outbox.in_flight(),
            })
        })
    }

    /// The groups, in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = GroupView> {
        self.all_groups().map(|group| GroupView {
            id: group.id(),
            members: group.members().len(),
            flow: *group.flow(),
            backlog: group.backlog().count(),
        })
    }

    /// What is in all backlogs together: waiting, and not in flight.
    pub fn backlog(&self) -> Count {
        let mut sum = Count::ZERO;
        for group in self.all_groups() {
            sum += group.backlog().count();
        }
        sum
    }

    /// The bytes of [`backlog`](Self::backlog), at no cost.
    pub const fn held_bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// Since when the message that has waited longest has been waiting; one in flight is waiting.
    /// Looks at every group and consumer.
    pub fn waiting_since(&self) -> Option<Now> {
        let in_backlogs = self
            .all_groups()
            .filter_map(|group| group.backlog().waiting_since());
        let consumers = self
            .shared
            .sessions
            .values()
            .filter_map(|session| session.consumer.as_ref());
        in_backlogs
            .chain(consumers.filter_map(|it| it.outbox.waiting_since()))
            .min()
    }

    fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.topics
            .values()
            .flat_map(|topic| topic.groups().values())
    }
}
