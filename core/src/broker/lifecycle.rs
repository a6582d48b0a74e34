//! Connections come, take up a role, and go.

use super::backlog::Backlog;
use super::group::Group;
use super::timers::Timeout;
use super::{Broker, Output};
use crate::config::DeliveryMode;
use crate::error::{CloseReason, DropReason};
use crate::id::{ConnId, GroupId};
use crate::planted::{self, Bug};
use crate::session::{Abandoned, Consumer, Event, Outbox, Session, State};
use crate::wire::Role;
use core::ops::Bound;

impl Broker {
    /// The groups that are there without a member.
    pub(super) fn create_lasting_groups(&mut self) {
        match self.config.delivery {
            DeliveryMode::Broadcast => {}
            DeliveryMode::Queue => self.create_group(GroupId::Shared),
        }
    }

    fn create_group(&mut self, id: GroupId) {
        let backlog = Backlog::new(self.config.backlog_messages(), self.config.backlog_bytes);
        self.groups.insert(id, Group::new(backlog));
    }

    /// The group that a consumer joins.
    const fn group_for(&self, conn: ConnId) -> GroupId {
        match self.config.delivery {
            DeliveryMode::Broadcast => GroupId::Own(conn),
            DeliveryMode::Queue => GroupId::Shared,
        }
    }

    pub(super) fn open(&mut self, conn: ConnId) {
        let known = self.sessions.contains_key(&conn);
        assert!(!known, "{conn} was opened twice");
        self.stats.opened += 1;
        if self.is_draining() {
            return self.refuse(conn, CloseReason::Draining);
        }
        if self.connections() >= self.config.max_connections {
            return self.refuse(conn, CloseReason::TooManyConnections);
        }
        self.sessions.insert(conn, Session::new(self.now));
        self.stats.connections += 1;
        self.timers
            .set(self.now + self.config.role_timeout, Timeout::Role(conn));
    }

    /// Connections, those included that have left something parked.
    fn connections(&self) -> usize {
        let left = self
            .parked
            .iter()
            .filter(|(conn, _)| !self.sessions.contains_key(conn));
        self.sessions.len() + left.count()
    }

    /// Turns a connection away before it has become one.
    fn refuse(&mut self, conn: ConnId, reason: CloseReason) {
        self.stats.closed[reason.index()] += 1;
        self.outputs.push_back(Output::Close { conn, reason });
    }

    pub(super) fn register(&mut self, conn: ConnId, role: Role) {
        match role {
            Role::Producer => {
                self.session(conn).advance(Event::IsProducer);
                self.stats.producers += 1;
                self.stats.producers_registered += 1;
            }
            Role::Consumer => {
                if self.is_draining() {
                    return self.close(conn, CloseReason::Draining);
                }
                let limit = self.config.max_consumers
                    + usize::from(planted::is(Bug::ConsumerLimitOffByOne));
                if self.stats.consumers >= limit {
                    return self.close(conn, CloseReason::TooManyConsumers);
                }
                self.join(conn);
            }
        }
        self.clear_role_timer(conn);
        self.outputs.push_back(Output::Registered { conn, role });
        if role == Role::Consumer {
            self.dispatch(self.group_for(conn));
            self.admit_parked();
        }
    }

    fn join(&mut self, conn: ConnId) {
        let id = self.group_for(conn);
        if !self.groups.contains_key(&id) {
            self.create_group(id);
        }
        let session = self.session(conn);
        session.advance(Event::IsConsumer);
        session.consumer = Some(Consumer {
            group: id,
            outbox: Outbox::default(),
        });
        let group = self.group(id);
        group.members.insert(conn);
        group.idle.push_back(conn);
        self.stats.consumers += 1;
        self.stats.consumers_registered += 1;
    }

    /// Ends a connection. What it has parked stays; what was on its way to it does not get lost
    /// without being counted.
    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if self.session(conn).state() == State::AwaitingRole {
            self.clear_role_timer(conn);
        }
        let Some(session) = self.sessions.remove(&conn) else {
            return;
        };
        self.stats.connections -= 1;
        self.stats.closed[reason.index()] += 1;
        match session.state() {
            State::AwaitingRole => {}
            State::Producing | State::Blocked => self.stats.producers -= 1,
            State::Idle | State::Writing => self.stats.consumers -= 1,
        }
        self.outputs.push_back(Output::Close { conn, reason });
        if let Some(consumer) = session.consumer {
            self.leave(conn, consumer, reason);
        }
    }

    /// Takes a consumer out of its group.
    fn leave(&mut self, conn: ConnId, mut consumer: Consumer, reason: CloseReason) {
        if let Some(due) = consumer.outbox.timer {
            self.timers.clear(due, Timeout::Write(conn));
        }
        let id = consumer.group;
        self.group(id).remove(conn);
        if let Some(abandoned) = consumer.outbox.abandon() {
            self.hand_back(id, abandoned);
        }
        match id {
            GroupId::Shared => self.dispatch(id),
            GroupId::Own(_) => {
                let lost_by = if reason == CloseReason::DrainTimeout {
                    DropReason::Shutdown
                } else {
                    DropReason::ConsumerLeft
                };
                self.discard_backlog(id, lost_by);
                self.groups.remove(&id);
            }
        }
        self.admit_parked();
    }

    /// Puts what a member was not given back to where it was in its group's backlog.
    fn hand_back(&mut self, id: GroupId, abandoned: Abandoned) {
        let Abandoned {
            delivered,
            rest,
            position,
            waiting_since,
        } = abandoned;
        self.stats.flow.deliver(delivered);
        let group = self.group(id);
        group.flow.deliver(delivered);
        let before = group.backlog.bytes();
        group.backlog.put_back(rest, position, waiting_since);
        let handed_back = group.backlog.bytes() - before;
        self.held_bytes += handed_back;
    }

    /// Drops everything that waits in a group.
    pub(super) fn discard_backlog(&mut self, id: GroupId, reason: DropReason) {
        let count = self.group(id).backlog.clear();
        self.held_bytes -= count.bytes as usize;
        self.count_dropped(id, count, reason);
    }

    /// The session of a connection that is known to be there.
    pub(super) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions
            .get_mut(&conn)
            .expect("the connection is there")
    }

    /// A group that is known to be there.
    pub(super) fn group(&mut self, id: GroupId) -> &mut Group {
        self.groups.get_mut(&id).expect("the group is there")
    }

    /// The group that comes next, whether or not `id` is still there.
    pub(super) fn group_after(&self, id: GroupId) -> Option<GroupId> {
        let mut after = self.groups.range((Bound::Excluded(id), Bound::Unbounded));
        after.next().map(|(id, _)| *id)
    }
}
