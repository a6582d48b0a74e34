//! A producer's batch meets the groups.

use super::group::Run;
use super::{Broker, Output};
use crate::config::Overflow;
use crate::error::DropReason;
use crate::id::{ConnId, GroupId};
use crate::planted::{self, Bug};
use crate::session::Event;
use crate::stats::Count;
use crate::wire::FrameBatch;

impl Broker {
    /// Publishes what a producer sent.
    pub(super) fn publish(&mut self, conn: ConnId, batch: FrameBatch) {
        self.session(conn).advance(Event::Sent);
        if batch.is_empty() {
            return;
        }
        match self.config.overflow {
            Overflow::Drop => {
                self.stats.received += Count::of(&batch);
                self.offer(batch);
            }
            Overflow::Block => {
                // Whoever parked first is admitted first.
                let rest = if self.parked.is_empty() {
                    self.admit(batch)
                } else {
                    Some(batch)
                };
                if let Some(rest) = rest {
                    self.park(conn, rest);
                }
            }
        }
    }

    /// Offers a batch to every group. Each takes what it has room for and loses the newest of the
    /// rest, alone. Idle members have taken their runs before room is looked at.
    fn offer(&mut self, batch: FrameBatch) {
        if self.groups.is_empty() {
            self.drop_without_group(Count::of(&batch), DropReason::NoConsumer);
        }
        // Once, whatever the number of groups.
        let batch = batch.compact();
        let mut next = self.groups.keys().next().copied();
        while let Some(id) = next {
            self.push(id, batch.clone());
            self.trim(id);
            next = self.group_after(id);
        }
    }

    /// Offers as much of a batch as every group has room for. Returns the rest.
    fn admit(&mut self, mut batch: FrameBatch) -> Option<FrameBatch> {
        while !batch.is_empty() {
            let fits = self.common_room(&batch);
            if fits.0 == 0 {
                return Some(batch);
            }
            let part = batch.split_at(fits);
            self.stats.received += Count::of(&part);
            self.offer(part);
        }
        None
    }

    /// How much of the front of `batch` every group has room for, and the broker for all of them.
    pub(super) fn common_room(&self, batch: &FrameBatch) -> (usize, usize) {
        let broker_room = self.config.broker_bytes.saturating_sub(self.held_bytes);
        let mut messages = usize::MAX;
        let mut bytes = broker_room / self.groups.len().max(1);
        for group in self.groups.values() {
            let room = group.backlog.room();
            messages = messages.min(room.messages);
            bytes = bytes.min(room.bytes);
        }
        if self.groups.is_empty() {
            return (batch.messages(), batch.byte_len());
        }
        batch.prefix(messages, bytes)
    }

    /// Keeps what a producer sent until there is room for it; nothing more is read from it.
    fn park(&mut self, conn: ConnId, batch: FrameBatch) {
        self.session(conn).advance(Event::Parked);
        self.stats.parked += Count::of(&batch);
        self.parked.push_back((conn, batch.compact()));
        self.outputs.push_back(Output::Pause { conn });
    }

    /// Publishes what is parked, as far as there is now room.
    pub(super) fn admit_parked(&mut self) {
        while let Some((conn, batch)) = self.parked.pop_front() {
            self.stats.parked -= Count::of(&batch);
            if let Some(rest) = self.admit(batch) {
                self.stats.parked += Count::of(&rest);
                self.parked.push_front((conn, rest));
                return;
            }
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.advance(Event::Admitted);
                if !planted::is(Bug::ResumeForgotten) {
                    self.outputs.push_back(Output::Resume { conn });
                }
            }
        }
    }

    /// Adds a batch to a group's backlog and gives its idle members their share.
    fn push(&mut self, id: GroupId, batch: FrameBatch) {
        let count = Count::of(&batch);
        let now = self.now;
        let group = self.group(id);
        group.flow.offer(count);
        group.backlog.push_back(batch, now);
        self.held_bytes += count.bytes as usize;
        self.stats.flow.offer(count);
        self.dispatch(id);
    }

    /// Gives the idle members of a group their share of what waits.
    pub(super) fn dispatch(&mut self, id: GroupId) {
        let write_bytes = self.config.write_bytes;
        let mut sharers = self.group(id).sharers(write_bytes);
        while let Some(run) = self.group(id).next_run(&mut sharers, write_bytes) {
            self.held_bytes -= run.taken.write.count().bytes as usize;
            if planted::is(Bug::RunServedTwice)
                && let Some(other) = self.group(id).idle.pop_front()
            {
                self.start_write(Run {
                    member: other,
                    ..run.clone()
                });
            }
            self.start_write(run);
        }
    }

    /// Drops what a group has no room for.
    fn trim(&mut self, id: GroupId) {
        let (broker_bytes, held_bytes) = (self.config.broker_bytes, self.held_bytes);
        let backlog = &mut self.group(id).backlog;
        let held_without = held_bytes - backlog.newest_bytes();
        let broker_room = if planted::is(Bug::BrokerBytesIgnored) {
            usize::MAX
        } else {
            broker_bytes.saturating_sub(held_without)
        };
        let trimmed = backlog.trim(broker_room);
        if let Some((count, reason)) = trimmed {
            self.held_bytes -= count.bytes as usize;
            if !planted::is(Bug::DropNotCounted) {
                self.count_dropped(id, count, reason);
            }
        }
    }

    fn start_write(&mut self, run: Run) {
        let Run { member, taken } = run;
        let (now, write) = (self.now, taken.write);
        let session = self.session(member);
        session.advance(Event::WriteStarted);
        let consumer = session.consumer.as_mut().expect("a member is a consumer");
        consumer
            .outbox
            .start(write.clone(), taken.position, taken.since, now);
        self.arm_write_timer(member);
        self.outputs.push_back(Output::Write {
            conn: member,
            write,
        });
    }

    /// A consumer's socket took this many more bytes.
    pub(super) fn written(&mut self, conn: ConnId, bytes: usize) {
        let session = self.session(conn);
        let consumer = session
            .consumer
            .as_mut()
            .expect("only consumers are written to");
        let Some(count) = consumer.outbox.written(bytes) else {
            return;
        };
        let id = consumer.group;
        session.advance(Event::WriteDone);
        self.stats.flow.deliver(count);
        let group = self.group(id);
        group.flow.deliver(count);
        group.idle.push_back(conn);
        if !planted::is(Bug::LostWakeup) {
            self.dispatch(id);
        }
        self.admit_parked();
    }

    /// Counts messages that were waiting in a group and are gone.
    pub(super) fn count_dropped(&mut self, id: GroupId, count: Count, reason: DropReason) {
        if count.is_zero() {
            return;
        }
        self.stats.flow.lose(count, reason);
        self.group(id).flow.lose(count, reason);
        self.outputs.push_back(Output::Dropped {
            group: Some(id),
            reason,
            count,
        });
    }

    /// Counts messages that are gone and were never offered to a group.
    pub(super) fn drop_without_group(&mut self, count: Count, reason: DropReason) {
        self.stats.flow.offer(count);
        self.stats.flow.lose(count, reason);
        self.outputs.push_back(Output::Dropped {
            group: None,
            reason,
            count,
        });
    }
}
