//! What an operator may do.

use super::Broker;
use crate::error::CloseReason;
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::TopicName;
use crate::stats::Count;
use crate::time::Now;
use alloc::vec::Vec;

impl Broker {
    /// Drops what waits in the queue of the default topic, under
    /// [`DropReason::Purged`](crate::DropReason::Purged). What consumers have is theirs. Producers that wait for
    /// room then have it, so that what they have parked may wait in the queue at once. Returns how much was
    /// dropped; none in `broadcast` mode, where there is no queue.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn purge(&mut self, now: Now) -> Option<Count> {
        let name = self.topics[&self.default_topic].name().clone();
        self.purge_group(&name, GroupId::Shared, now)
    }

    /// The same for a group of a topic; none if there is no such group.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn purge_group(&mut self, topic: &TopicName, group: GroupId, now: Now) -> Option<Count> {
        self.advance_to(now);
        let topic = *self.names.get(topic)?;
        let purged = self.with_topic(topic, |it, shared| it.purge(group, shared));
        self.admit_parked(topic);
        self.proceed_with_drain();
        self.tell();
        purged
    }

    /// Ends a named group: its members are closed, and what waits in it is dropped under
    /// [`DropReason::GroupEnded`](crate::DropReason::GroupEnded). What its members hold comes back to it first, so
    /// it is gone when the last of them is. Returns whether there is such a group.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn delete_group(&mut self, topic: &TopicName, group: GroupId, now: Now) -> bool {
        self.advance_to(now);
        let Some(id) = self.names.get(topic).copied() else {
            return false;
        };
        if !matches!(group, GroupId::Named(_)) {
            return false;
        }
        let Some(members) = self.members(id, group) else {
            return false;
        };
        if members.is_empty() {
            self.end_group(id, group);
        } else {
            self.with_topic(id, |it, _| it.end_when_empty(group));
            for conn in members {
                self.close(conn, CloseReason::EndedByOperator);
            }
        }
        self.proceed_with_drain();
        self.tell();
        true
    }

    /// The members of a group, if it is there.
    pub(super) fn members(&self, topic: TopicId, group: GroupId) -> Option<Vec<ConnId>> {
        let group = self.topics.get(&topic)?.groups().get(&group)?;
        Some(group.members().iter().copied().collect())
    }
}
