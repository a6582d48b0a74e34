//! Every message is accounted for, within the bounds, and nobody starves: the books of each group,
//! kept from what went in and what came out.

use super::{Findings, Invariant};
use crate::history::{Event, Held, History, Record, Text};
use crate::plan::Settings;
use message_queue_core::wire::Role;
use message_queue_core::{ConnId, Count, DeliveryMode, DropReason, GroupId, Overflow};
use std::collections::BTreeMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut ledger = Ledger::new(&history.settings);
    for step in history.records.chunk_by(|a, b| a.step == b.step) {
        let mut touched = false;
        for record in step {
            touched |= ledger.follow(record, findings);
        }
        if touched && let Some(last) = step.last() {
            ledger.end_step(last, findings);
        }
    }
}

struct Ledger<'a> {
    settings: &'a Settings,
    accepted: Count,
    admitted: Count,
    groups: BTreeMap<GroupId, Group>,
    /// Groups whose consumer left in this step.
    closed: BTreeMap<GroupId, Group>,
    /// Of the messages admitted in this step, those that were never offered to a group.
    not_offered: Count,
    /// Messages that were offered to no group, and those counted as dropped for that.
    without_group: Count,
    without_group_dropped: Count,
    /// What an operator had dropped in this step and was not counted as dropped yet.
    to_purge: Count,
    /// Consumers that left in this step. What is admitted between two of them cannot be told from
    /// what is admitted after both.
    left_in_step: u32,
    /// Whether that has happened since the broker started.
    ambiguous: bool,
}

/// The books of one group.
#[derive(Clone, Debug, Default)]
struct Group {
    offered: Count,
    taken: Count,
    dropped: Count,
    in_flight: BTreeMap<ConnId, Option<Count>>,
    /// What members that left gave back and was not handed out again. It was let in once and does
    /// not count against the bounds.
    handed_back: Count,
}

impl Group {
    /// What is waiting or in flight; none if more came out than went in.
    fn waiting(&self) -> Option<Count> {
        less(less(self.offered, self.taken)?, self.dropped)
    }

    /// What is in the backlog; none if more came out than went in.
    fn backlog(&self) -> Option<Count> {
        let mut backlog = self.waiting()?;
        for in_flight in self.in_flight.values().flatten() {
            backlog = less(backlog, *in_flight)?;
        }
        Some(backlog)
    }
}

fn less(from: Count, what: Count) -> Option<Count> {
    Some(Count {
        messages: from.messages.checked_sub(what.messages)?,
        bytes: from.bytes.checked_sub(what.bytes)?,
    })
}

fn less_or_zero(from: Count, what: Count) -> Count {
    Count {
        messages: from.messages.saturating_sub(what.messages),
        bytes: from.bytes.saturating_sub(what.bytes),
    }
}

impl<'a> Ledger<'a> {
    fn new(settings: &'a Settings) -> Self {
        let mut groups = BTreeMap::new();
        if settings.delivery == DeliveryMode::Queue {
            groups.insert(GroupId::Shared, Group::default());
        }
        Self {
            settings,
            accepted: Count::ZERO,
            admitted: Count::ZERO,
            groups,
            closed: BTreeMap::new(),
            not_offered: Count::ZERO,
            without_group: Count::ZERO,
            without_group_dropped: Count::ZERO,
            to_purge: Count::ZERO,
            left_in_step: 0,
            ambiguous: false,
        }
    }

    fn group_of(&self, conn: ConnId) -> GroupId {
        match self.settings.delivery {
            DeliveryMode::Broadcast => GroupId::Own(conn),
            DeliveryMode::Queue => GroupId::Shared,
        }
    }

    /// The books of a group, also if its consumer left in this step.
    fn books(&mut self, id: GroupId) -> Option<&mut Group> {
        match self.groups.get_mut(&id) {
            Some(group) => Some(group),
            None => self.closed.get_mut(&id),
        }
    }

    /// Follows an event. Returns whether it changes the books.
    fn follow(&mut self, record: &Record, findings: &mut Findings) -> bool {
        match &record.event {
            Event::Registered {
                conn,
                role: Role::Consumer,
            } => {
                let group = self.groups.entry(self.group_of(*conn)).or_default();
                group.in_flight.insert(*conn, None);
            }
            Event::Accepted { count, .. } => self.accepted += *count,
            Event::Admitted { count } => self.admit(*count),
            Event::WriteStarted { conn, count } => {
                self.start_write(*conn, *count, record, findings);
            }
            Event::WriteEnded {
                conn, taken, left, ..
            } => {
                let id = self.group_of(*conn);
                if let Some(group) = self.books(id) {
                    group.taken += *taken;
                    group.handed_back += *left;
                    group.in_flight.insert(*conn, None);
                }
            }
            Event::Dropped {
                group,
                reason,
                count,
            } => self.drop_counted(*group, *reason, *count, record, findings),
            Event::Purged { count } => self.purge(*count, record, findings),
            Event::Closed { conn, .. } => self.close(*conn),
            Event::Killed => *self = Self::new(self.settings),
            Event::Ended { held } => self.end(*held, record, findings),
            Event::Registered {
                role: Role::Producer,
                ..
            }
            | Event::Connected { .. }
            | Event::Sent { .. }
            | Event::Received { .. }
            | Event::Gone { .. }
            | Event::Opened { .. }
            | Event::WriteProgressed { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::EndOrdered { .. }
            | Event::Struck { .. }
            | Event::Healed
            | Event::Settled { .. }
            | Event::Draining => return false,
        }
        true
    }

    fn admit(&mut self, count: Count) {
        self.admitted += count;
        let offered = less_or_zero(count, self.not_offered);
        if self.groups.is_empty() {
            self.without_group += offered;
        }
        for group in self.groups.values_mut() {
            group.offered += offered;
        }
    }

    fn start_write(
        &mut self,
        conn: ConnId,
        count: Count,
        record: &Record,
        findings: &mut Findings,
    ) {
        let id = self.group_of(conn);
        let group = self.books(id);
        let Some((group, in_flight)) = group.and_then(|group| {
            let in_flight = group.in_flight.get(&conn).copied()?;
            Some((group, in_flight))
        }) else {
            return findings.add(Invariant::CloseReason, record, || {
                format!("a write to {conn}, which is no consumer")
            });
        };
        if in_flight.is_some() {
            findings.add(Invariant::OneWrite, record, || {
                format!("a write to {conn} before the last one was over")
            });
        }
        group.in_flight.insert(conn, Some(count));
        group.handed_back = less_or_zero(group.handed_back, count);
    }

    fn drop_counted(
        &mut self,
        group: Option<GroupId>,
        reason: DropReason,
        count: Count,
        record: &Record,
        findings: &mut Findings,
    ) {
        if reason == DropReason::Purged {
            let Some(rest) = less(self.to_purge, count) else {
                return findings.add(Invariant::Accounting, record, || {
                    format!("{} purged, which no operator ordered", Text(count))
                });
            };
            self.to_purge = rest;
        }
        match group {
            None if reason == DropReason::Shutdown => self.not_offered += count,
            None => self.without_group_dropped += count,
            Some(id) => match self.books(id) {
                Some(group) => group.dropped += count,
                None => findings.add(Invariant::Accounting, record, || {
                    format!("{} dropped by {id}, which is not there", Text(count))
                }),
            },
        }
    }

    /// An operator had the queue emptied: all that waits and is not in flight is to be dropped, what
    /// was handed back included.
    fn purge(&mut self, told: Option<Count>, record: &Record, findings: &mut Findings) {
        let queue = self.groups.get_mut(&GroupId::Shared);
        let backlog = queue.and_then(|queue| {
            queue.handed_back = Count::ZERO;
            queue.backlog()
        });
        if told != backlog {
            findings.add(Invariant::Accounting, record, || {
                format!("the queue had {backlog:?}; an operator was told of {told:?}")
            });
        }
        self.to_purge = backlog.unwrap_or_default();
    }

    fn close(&mut self, conn: ConnId) {
        let id = self.group_of(conn);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.in_flight.remove(&conn).is_none() {
            return;
        }
        self.left_in_step += 1;
        if id != GroupId::Shared
            && let Some(group) = self.groups.remove(&id)
        {
            self.closed.insert(id, group);
        }
    }

    fn end_step(&mut self, last: &Record, findings: &mut Findings) {
        if self.left_in_step > 1 && self.settings.overflow == Overflow::Block {
            self.ambiguous = true;
        } else {
            for (id, group) in &self.closed {
                check_closed(*id, group, last, findings);
            }
        }
        self.closed.clear();
        if !self.to_purge.is_zero() {
            findings.add(Invariant::Accounting, last, || {
                format!("{} were to be purged and are not", Text(self.to_purge))
            });
        }
        self.to_purge = Count::ZERO;
        self.not_offered = Count::ZERO;
        self.left_in_step = 0;
        let mut let_in = 0;
        for (id, group) in &self.groups {
            let Some(backlog) = group.backlog() else {
                findings.add(Invariant::Accounting, last, || {
                    format!("more came out of {id} than went in: {group:?}")
                });
                continue;
            };
            let held = less_or_zero(backlog, group.handed_back);
            let_in += held.bytes;
            self.check_bounds(*id, held, last, findings);
            let idle = group.in_flight.iter().find(|(_, write)| write.is_none());
            if let Some((conn, _)) = idle
                && !backlog.is_zero()
            {
                findings.add(Invariant::NoStarvation, last, || {
                    format!("{conn} is idle and {} wait for {id}", Text(backlog))
                });
            }
        }
        if let_in > self.settings.broker_bytes as u64 {
            findings.add(Invariant::MemoryBound, last, || {
                let most = self.settings.broker_bytes;
                format!("all backlogs hold {let_in} B; {most} B are allowed")
            });
        }
    }

    fn check_bounds(&self, id: GroupId, held: Count, last: &Record, findings: &mut Findings) {
        let most = Count::new(self.settings.backlog_messages, self.settings.backlog_bytes);
        if held.messages > most.messages || held.bytes > most.bytes {
            findings.add(Invariant::MemoryBound, last, || {
                format!("{id} holds {}; {} are allowed", Text(held), Text(most))
            });
        }
    }

    fn end(&self, held: Held, record: &Record, findings: &mut Findings) {
        let mut open = Count::ZERO;
        for waiting in self.groups.values().filter_map(Group::waiting) {
            open += waiting;
        }
        if open != held.waiting {
            findings.add(Invariant::Accounting, record, || {
                let (open, held) = (Text(open), Text(held.waiting));
                format!("neither delivered nor counted as dropped: {open}; waiting: {held}")
            });
        }
        let parked = less(self.accepted, self.admitted);
        if parked != Some(held.parked) {
            findings.add(Invariant::Accounting, record, || {
                let (accepted, admitted) = (Text(self.accepted), Text(self.admitted));
                format!("{accepted} taken in, {admitted} received; {held}")
            });
        }
        if !self.ambiguous && self.without_group != self.without_group_dropped {
            findings.add(Invariant::Accounting, record, || {
                let (all, counted) = (self.without_group, self.without_group_dropped);
                format!("{} had no group, {} counted", Text(all), Text(counted))
            });
        }
    }
}

/// A group that is gone keeps nothing.
fn check_closed(id: GroupId, group: &Group, last: &Record, findings: &mut Findings) {
    if group.waiting() == Some(Count::ZERO) {
        return;
    }
    findings.add(Invariant::Accounting, last, || {
        let (offered, taken, dropped) = (group.offered, group.taken, group.dropped);
        let (offered, taken, dropped) = (Text(offered), Text(taken), Text(dropped));
        format!("{id} left: {offered} offered, {taken} taken, {dropped} counted as dropped")
    });
}

#[cfg(test)]
mod tests {
    use crate::checker::Invariant;
    use crate::checker::script::{Script, closed, count, dropped, ended, write};
    use crate::history::Event;
    use message_queue_core::wire::Role;
    use message_queue_core::{CloseReason, ConnId, DeliveryMode, DropReason, GroupId};

    fn queue() -> Script {
        Script::new(DeliveryMode::Queue)
            .joins(1, Role::Producer)
            .joins(2, Role::Consumer)
    }

    #[test]
    fn a_message_that_is_neither_delivered_nor_dropped_is_caught() {
        // The second of two is gone: the write of it never comes, and nothing holds it.
        let script = queue()
            .publishes(1, &[0, 1], [write(2, 1)])
            .takes(2, 1)
            .ends();
        assert!(script.finds().contains(&Invariant::Accounting));
        let script = queue()
            .publishes(1, &[0, 1], [write(2, 2)])
            .takes(2, 2)
            .receives(2, &[0, 1])
            .ends();
        assert!(!script.finds().contains(&Invariant::Accounting));
    }

    #[test]
    fn a_drop_that_is_not_counted_is_caught_when_its_consumer_leaves() {
        let leaves = |counted| {
            let own = Some(GroupId::Own(ConnId(2)));
            Script::new(DeliveryMode::Broadcast)
                .joins(1, Role::Producer)
                .joins(2, Role::Consumer)
                .publishes(1, &[0, 1, 2], [write(2, 1)])
                .step([
                    ended(2, 0, &[0]),
                    closed(2, CloseReason::PeerReset),
                    dropped(own, counted, DropReason::ConsumerLeft),
                ])
                .finds()
        };
        assert_eq!(leaves(3), []);
        assert_eq!(leaves(2), [Invariant::Accounting]);
        assert_eq!(leaves(4), [Invariant::Accounting]);
    }

    #[test]
    fn what_nobody_was_there_for_is_counted() {
        let published = |counted| {
            let lost = dropped(None, counted, DropReason::NoConsumer);
            Script::new(DeliveryMode::Broadcast)
                .joins(1, Role::Producer)
                .publishes(1, &[0, 1], [lost])
                .step([closed(1, CloseReason::PeerClosed)])
                .ends()
                .finds()
        };
        assert_eq!(published(2), []);
        assert_eq!(published(1), [Invariant::Accounting]);
    }

    #[test]
    fn a_full_backlog_that_takes_more_is_caught() {
        let waiting = |messages: u32| {
            let sequences: Vec<u32> = (0..=messages).collect();
            queue().publishes(1, &sequences, [write(2, 1)]).finds()
        };
        assert_eq!(waiting(5), []);
        assert_eq!(waiting(6), [Invariant::MemoryBound]);
    }

    #[test]
    fn the_bound_on_all_backlogs_together_is_checked() {
        let mut script = Script::new(DeliveryMode::Broadcast);
        script.settings().broker_bytes = 5 * 12;
        let script = script
            .joins(1, Role::Producer)
            .joins(2, Role::Consumer)
            .joins(3, Role::Consumer)
            .publishes(1, &[0, 1, 2, 3], [write(2, 1), write(3, 1)]);
        assert_eq!(script.finds(), [Invariant::MemoryBound]);
    }

    #[test]
    fn what_was_handed_back_may_exceed_the_bound() {
        let script = queue()
            .publishes(1, &[0, 1, 2, 3, 4, 5, 6], [write(2, 2)])
            .step([ended(2, 0, &[0, 1]), closed(2, CloseReason::PeerReset)]);
        assert_eq!(script.finds(), []);
    }

    #[test]
    fn a_purge_that_drops_more_or_less_than_waits_is_caught() {
        let purge = |told: u64, counted| {
            let count = Some(count(told));
            let queue = Some(GroupId::Shared);
            queue_of_three()
                .step([
                    Event::Purged { count },
                    dropped(queue, counted, DropReason::Purged),
                ])
                .finds()
        };
        assert_eq!(purge(2, 2), []);
        assert_eq!(purge(2, 1), [Invariant::Accounting]);
        assert_eq!(purge(2, 3), [Invariant::Accounting]);
        assert_eq!(purge(3, 2), [Invariant::Accounting]);
        let lost = dropped(Some(GroupId::Shared), 2, DropReason::Purged);
        let nobody_ordered = queue_of_three().step([lost]);
        assert_eq!(nobody_ordered.finds(), [Invariant::Accounting]);
    }

    /// One in flight, two that wait.
    fn queue_of_three() -> Script {
        queue().publishes(1, &[0, 1, 2], [write(2, 1)])
    }

    #[test]
    fn an_idle_consumer_while_messages_wait_is_caught() {
        let script = queue().publishes(1, &[0, 1], [write(2, 1)]).takes(2, 1);
        assert_eq!(script.finds(), [Invariant::NoStarvation]);
    }

    #[test]
    fn a_second_write_before_the_first_is_over_is_caught() {
        let script = queue()
            .publishes(1, &[0, 1], [write(2, 1)])
            .step([write(2, 1)]);
        assert!(script.finds().contains(&Invariant::OneWrite));
    }
}
