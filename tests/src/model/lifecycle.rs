//! Connections come, take up a role, and go.

use super::publish::bytes;
use super::{Connection, Effect, Group, InFlight, Model};
use message_queue_core::wire::Role;
use message_queue_core::{
    CloseReason, Config, ConnId, DeliveryMode, DropReason, GroupId, Overflow,
};

impl Model {
    /// The queue is there from the start and outlives its consumers.
    pub(super) fn open_the_queue(&mut self) {
        if self.config.delivery == DeliveryMode::Queue {
            self.groups.insert(GroupId::Shared, Group::default());
        }
    }

    /// A connection that has left something parked keeps its place until that is published.
    pub(super) fn open(&mut self, conn: ConnId) {
        self.totals.opened += 1;
        let places_taken = self.connections.len() + self.departed();
        if !self.admits_consumers() {
            self.refuse(conn, CloseReason::Draining);
        } else if places_taken >= self.config.max_connections {
            self.refuse(conn, CloseReason::TooManyConnections);
        } else {
            let connection = Connection {
                opened: self.now,
                closing: None,
                late: self.drain_due.is_some(),
                role: None,
                group: None,
                in_flight: None,
                taken: 0,
                partial: 0,
            };
            self.connections.insert(conn, connection);
        }
    }

    /// Producers that have left something parked.
    fn departed(&self) -> usize {
        let parked = self.parked.iter();
        parked
            .filter(|(conn, _)| !self.connections.contains_key(conn))
            .count()
    }

    /// Where producers are blocked for want of room, a tenth of the places, and one at least, are
    /// not for producers: a consumer must be able to enter.
    fn producers_are_full(&self) -> bool {
        let Config {
            overflow,
            max_connections,
            max_consumers,
            ..
        } = self.config;
        let reserved = match overflow {
            Overflow::Drop | Overflow::Reject | Overflow::DropOldest => 0,
            Overflow::Block => max_consumers.min(1.max(max_connections / 10)),
        };
        let producers = self.with_role(Some(Role::Producer)).len() + self.departed();
        producers + reserved >= max_connections
    }

    fn refuse(&mut self, conn: ConnId, reason: CloseReason) {
        self.totals.closed[reason.index()] += 1;
        self.effects.push(Effect::Close { conn, reason });
    }

    pub(super) fn take_role(&mut self, conn: ConnId, role: Role) {
        match role {
            Role::Producer if self.connections[&conn].late => {
                self.close(conn, CloseReason::Draining);
            }
            Role::Producer if self.producers_are_full() => {
                self.close(conn, CloseReason::TooManyConnections);
            }
            Role::Producer => {
                self.connection(conn).role = Some(role);
                self.totals.producers_registered += 1;
                self.effects.push(Effect::Registered { conn, role });
            }
            Role::Consumer if !self.admits_consumers() => self.close(conn, CloseReason::Draining),
            Role::Consumer
                if self.with_role(Some(Role::Consumer)).len() >= self.config.max_consumers =>
            {
                self.close(conn, CloseReason::TooManyConsumers);
            }
            Role::Consumer => self.join(conn),
        }
    }

    /// In broadcast a consumer is a group of its own; in queue mode all are members of one.
    fn join(&mut self, conn: ConnId) {
        let id = match self.config.delivery {
            DeliveryMode::Broadcast => GroupId::Own(conn),
            DeliveryMode::Queue => GroupId::Shared,
        };
        let connection = self.connection(conn);
        (connection.role, connection.group) = (Some(Role::Consumer), Some(id));
        self.groups.entry(id).or_default().idle.push(conn);
        self.totals.consumers_registered += 1;
        let role = Role::Consumer;
        self.effects.push(Effect::Registered { conn, role });
        self.share_out(id);
        self.offer_parked();
    }

    /// A connection that is closing is given nothing more; the first reason stands.
    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if self.connection(conn).closing.is_none() {
            self.begin_to_close(conn, reason);
            self.offer_parked();
        }
    }

    pub(super) fn begin_to_close(&mut self, conn: ConnId, reason: CloseReason) {
        let connection = self.connection(conn);
        connection.closing = Some(reason);
        connection.partial = 0;
        if let Some(id) = connection.group {
            self.group(id).idle.retain(|idle| *idle != conn);
        }
        self.effects.push(Effect::Close { conn, reason });
    }

    /// Now it is known what its socket has taken, and its place is free.
    pub(super) fn socket_is_sealed(&mut self, conn: ConnId, total: u64) {
        self.socket_has_taken(conn, total);
        let connection = self.connections.remove(&conn).expect("it is connected");
        let reason = connection.closing.expect("it was to be closed");
        self.totals.closed[reason.index()] += 1;
        let Some(id) = connection.group else { return };
        if let Some(in_flight) = connection.in_flight {
            self.take_back(id, in_flight);
        }
        match id {
            GroupId::Shared | GroupId::Named(_) => self.share_out(id),
            GroupId::Own(_) => {
                let lost_by = if reason == CloseReason::DrainTimeout {
                    DropReason::Shutdown
                } else {
                    DropReason::ConsumerLeft
                };
                self.lose_backlog(id, lost_by);
                self.groups.remove(&id);
            }
        }
        self.offer_parked();
    }

    /// What the socket had taken whole is delivered; the rest goes back to where it was. One that
    /// was taken in part is whole again.
    fn take_back(&mut self, id: GroupId, in_flight: InFlight) {
        let InFlight {
            messages, taken, ..
        } = in_flight;
        let whole = (1..=messages.len()).take_while(|n| bytes(&messages[..*n]) <= taken);
        let (delivered, back) = messages.split_at(whole.count());
        self.deliver(id, delivered);
        let mut back = back.to_vec();
        let mut old_batch = None;
        for message in &mut back {
            if old_batch != Some(message.batch) {
                old_batch = Some(message.batch);
                self.batches += 1;
            }
            message.batch = self.batches;
        }
        let waiting = &mut self.group(id).waiting;
        waiting.extend(back);
        waiting.sort_by_key(|message| message.sequence);
    }
}
