//! What becomes of the messages that a consumer holds (PROTOCOL.md, section "Settling").

use super::Broker;
use crate::error::{CloseReason, ProtocolError};
use crate::group::{Waiting, backoff};
use crate::id::{ConnId, GroupId, TopicId};
use crate::session::{Consumer, Held, Outbox};
use crate::shared::Shared;
use crate::stats::Count;
use crate::unsettled::Part;
use crate::wire::control::{Outcome, Range};
use alloc::vec::Vec;
use core::time::Duration;

/// Messages that a consumer held, and of which group they are.
struct Released {
    topic: TopicId,
    group: GroupId,
    waiting: Waiting,
}

impl From<Part<Held>> for Released {
    fn from(part: Part<Held>) -> Self {
        Self {
            topic: part.mark.topic,
            group: part.mark.group,
            waiting: Waiting {
                batch: part.batch,
                mark: part.mark.mark.after(part.offset),
            },
        }
    }
}

impl Broker {
    /// A consumer says what became of messages.
    pub(super) fn settle(
        &mut self,
        conn: ConnId,
        outcome: Outcome,
        delay_ms: u32,
        ranges: &[Range],
    ) {
        let now = self.shared.now;
        let Shared {
            sessions, budget, ..
        } = &mut self.shared;
        let consumer = sessions.get_mut(&conn).and_then(|it| it.consumer_mut());
        let Some(acks) = consumer.and_then(|it| it.acks.as_mut()) else {
            return self.settles_nothing(conn);
        };
        let most = budget.most_pinned(acks.pinned);
        let next = acks.unsettled.next_position();
        let never_sent = |range: &&Range| range.from == 0 || range.to >= next;
        if let Some(range) = ranges.iter().find(never_sent) {
            let position = if range.from == 0 { 0 } else { range.to };
            let error = ProtocolError::BadPosition { position };
            return self.close(conn, CloseReason::Protocol(error));
        }
        acks.settled = now;
        let mut late = 0;
        let mut touched: Vec<TopicId> = Vec::new();
        if outcome == Outcome::Done {
            let mut done: Vec<(TopicId, GroupId, Count)> = Vec::new();
            let mut tracked: Vec<(TopicId, GroupId, u64, u64)> = Vec::new();
            for range in ranges {
                late += acks.unsettled.settle(
                    *range,
                    most,
                    &mut |held, count| match done.last_mut() {
                        Some((topic, group, sum))
                            if (*topic, *group) == (held.topic, held.group) =>
                        {
                            *sum += count;
                        }
                        _ => done.push((held.topic, held.group, count)),
                    },
                    &mut |held, offset, messages| {
                        if held.is_tracked {
                            let first = held.mark.sequence + offset;
                            tracked.push((held.topic, held.group, first, messages));
                        }
                    },
                );
            }
            for (topic, group, first, messages) in tracked {
                self.with_topic(topic, |it, shared| {
                    it.settle(group, first, messages, shared)
                });
            }
            for (topic, group, count) in done {
                self.with_topic(topic, |it, shared| {
                    it.with_group(group, shared, |group, books| group.settled(count, books));
                });
                touched.push(topic);
            }
        } else if outcome != Outcome::Working {
            let mut taken: Vec<Released> = Vec::new();
            for range in ranges {
                late += acks
                    .unsettled
                    .take(*range, &mut |part| taken.push(part.into()));
            }
            let mut returned: Vec<(TopicId, GroupId)> = Vec::new();
            for released in taken {
                touched.push(released.topic);
                match outcome {
                    Outcome::Failed => {
                        self.fail(released, Duration::from_millis(delay_ms.into()), "failed");
                    }
                    Outcome::Reject => self.give_up(released, "rejected"),
                    Outcome::Return | Outcome::Done | Outcome::Working => {
                        returned.push((released.topic, released.group));
                        self.return_to_group(released);
                    }
                }
            }
            // All are back before the first is handed on: they may have been settled in any order.
            returned.sort_unstable();
            returned.dedup();
            for (topic, group) in returned {
                self.with_topic(topic, |it, shared| {
                    it.with_group(group, shared, |group, books| group.dispatch(books.shared));
                });
            }
        }
        self.shared.stats.settled_late += late;
        self.note_settled(conn);
        touched.sort_unstable();
        touched.dedup();
        for topic in touched {
            self.admit_parked(topic);
        }
    }

    /// A consumer holds less than before: it may be handed more, and is served sooner.
    fn note_settled(&mut self, conn: ConnId) {
        let Shared {
            sessions, budget, ..
        } = &mut self.shared;
        let consumer = sessions.get_mut(&conn).and_then(|it| it.consumer_mut());
        let Some(consumer) = consumer else {
            return;
        };
        if let Some(acks) = &mut consumer.acks {
            acks.note_pinned(budget);
            acks.is_alone &= !acks.unsettled.is_empty();
        }
        let has_pattern = consumer.pattern.is_some();
        // Of the consumer of a pattern it is looked at when its turn comes.
        if let [membership] = &consumer.memberships[..]
            && membership.turn.is_some()
        {
            let membership = *membership;
            self.with_topic(membership.topic, |it, shared| {
                it.with_group(membership.group, shared, |group, books| {
                    group.change_turn(conn, books.shared);
                });
            });
        }
        if has_pattern {
            self.look_at_ack_timer(conn);
        }
        self.serve(conn);
        self.release_settled(conn);
    }

    /// The oldest message of the consumer of a pattern may belong to another topic now, and be due sooner than the one
    /// before it.
    fn look_at_ack_timer(&mut self, conn: ConnId) {
        self.shared.clear_ack_timer(conn);
        self.shared.arm_ack_timer(conn);
    }

    /// Messages have failed: they are handed out again after a while, or given up.
    fn fail(&mut self, released: Released, delay: Duration, reason: &str) {
        let settings = &self.topics[&released.topic].settings;
        let failures = released.waiting.mark.failures + 1;
        if settings.max_failures > 0 && failures >= settings.max_failures {
            let mut released = released;
            released.waiting.mark.failures = failures;
            return self.give_up(released, reason);
        }
        let due = self.shared.now + backoff(failures, settings.backoff_max).max(delay);
        let Released {
            topic,
            group,
            mut waiting,
        } = released;
        waiting.mark.failures = failures;
        self.with_topic(topic, |it, shared| {
            it.with_group(group, shared, |group, books| {
                group.delay(waiting, due, books.shared);
            });
        });
    }

    /// Messages are given up: they go to the dead-letter topic.
    fn give_up(&mut self, released: Released, reason: &str) {
        let Released {
            topic,
            group,
            waiting,
        } = released;
        self.with_topic(topic, |it, shared| {
            it.with_group(group, shared, |group, books| {
                group.give_up(waiting, reason.into(), books.shared);
            });
        });
        self.bury(topic, group);
    }

    /// A consumer has settled nothing for too long: what it works on is handed to others.
    pub(super) fn expire_ack(&mut self, conn: ConnId) {
        let now = self.shared.now;
        let facts = &self.shared.facts;
        let session = self.shared.sessions.get_mut(&conn);
        let Some(acks) = session
            .and_then(|it| it.consumer_mut())
            .and_then(|it| it.acks.as_mut())
        else {
            return;
        };
        acks.timer = None;
        let due = acks.due(|topic| facts[&topic].ack_timeout);
        if due.is_some_and(|due| due <= now) {
            acks.settled = now;
            let ranges = acks.unsettled.oldest(acks.workers.into());
            let mut taken: Vec<Released> = Vec::new();
            for range in &ranges {
                acks.unsettled
                    .take(*range, &mut |part| taken.push(part.into()));
            }
            if let Some(version2) = self.shared.signal(conn) {
                version2.signals.revoked.extend(ranges);
            }
            let mut touched: Vec<TopicId> = taken.iter().map(|it| it.topic).collect();
            for released in taken {
                self.fail(released, Duration::ZERO, "ack_timeout");
            }
            self.note_settled(conn);
            touched.dedup();
            for topic in touched {
                self.admit_parked(topic);
            }
        }
        self.shared.arm_ack_timer(conn);
    }

    /// The store has taken back all that a group has not settled: what its members hold is not theirs any more.
    pub(super) fn group_lost(&mut self, topic: TopicId, group: GroupId) {
        if !self.with_topic(topic, |it, shared| it.group_lost(group, shared)) {
            return;
        }
        let members = self.topics[&topic].groups()[&group].members().clone();
        for conn in members {
            let Some(acks) = &mut self.shared.consumer(conn).acks else {
                // What its socket is about to take it has.
                continue;
            };
            let (mut ranges, mut count): (Vec<Range>, _) = (Vec::new(), Count::ZERO);
            acks.unsettled.take_of(
                |held| (held.topic, held.group) == (topic, group),
                &mut |part| {
                    let (from, messages) = (part.position, part.batch.messages() as u64);
                    count += Count::of(&part.batch);
                    match ranges.last_mut() {
                        Some(last) if last.to + 1 == from => last.to += messages,
                        Some(_) | None => ranges.extend(Range::new(from, from + messages - 1)),
                    }
                },
            );
            if ranges.is_empty() {
                continue;
            }
            if let Some(version2) = self.shared.signal(conn) {
                version2.signals.taken_back.extend(ranges);
            }
            self.with_topic(topic, |it, shared| it.revoke(group, count, shared));
            self.note_settled(conn);
        }
    }

    /// Takes a consumer that is gone out of its groups. What it held goes back; what it was working on is suspect,
    /// unless it left in an orderly way.
    pub(super) fn leave(
        &mut self,
        conn: ConnId,
        mut consumer: Consumer,
        mut outbox: Outbox,
        reason: CloseReason,
    ) {
        let mut unwritten = 0;
        if let Some(abandoned) = outbox.abandon() {
            unwritten = abandoned.unwritten;
            let (topic, group) = (abandoned.topic, abandoned.group);
            if consumer.acks.is_none() {
                self.with_topic(topic, |it, shared| {
                    it.with_group(group, shared, |group, books| {
                        group.delivered(abandoned.delivered, &abandoned.ranges, books);
                        for mut waiting in abandoned.rest {
                            if group.is_taken_back(waiting.mark.sequence) {
                                group.leave_unwritten(&waiting, books);
                                continue;
                            }
                            waiting.mark.attempts -= 1;
                            group.take_back(waiting, books.shared);
                        }
                    });
                });
            }
        }
        if let Some(acks) = &mut consumer.acks {
            let first_unwritten = acks.unsettled.next_position() - unwritten;
            let mut unread: Vec<Released> = Vec::new();
            if let Some(range) = Range::new(first_unwritten, acks.unsettled.next_position() - 1) {
                acks.unsettled
                    .take(range, &mut |part| unread.push(part.into()));
            }
            let mut suspects: Vec<Released> = Vec::new();
            if !acks.said_bye && reason.is_a_failure() {
                for range in acks.unsettled.oldest(acks.workers.into()) {
                    acks.unsettled
                        .take(range, &mut |part| suspects.push(part.into()));
                }
            }
            let mut held: Vec<Released> = Vec::new();
            acks.unsettled.take_all(&mut |part| held.push(part.into()));
            acks.note_pinned(&mut self.shared.budget);
            for mut released in unread {
                released.waiting.mark.attempts -= 1;
                self.return_to_group(released);
            }
            for released in held {
                self.return_to_group(released);
            }
            for released in suspects {
                match released.group {
                    // It goes with its only member.
                    GroupId::Own(_) => self.return_to_group(released),
                    GroupId::Shared | GroupId::Named(_) => {
                        self.fail(released, Duration::ZERO, "connection_lost");
                    }
                }
            }
        }
        let checks = consumer.checks();
        for membership in consumer.memberships {
            self.shared.stats.memberships -= 1;
            let (topic, group) = (membership.topic, membership.group);
            let successor = self.with_topic(topic, |it, shared| {
                it.checking -= usize::from(checks);
                it.leave(conn, group, reason, shared)
            });
            if let Some(successor) = successor {
                self.shared.consumer(successor).succeed(topic, group);
                if let Some(served) = self.serve(successor).filter(|it| *it != topic) {
                    self.admit_parked(served);
                }
            }
            self.leave_topic(topic);
            self.admit_parked(topic);
        }
    }

    /// Messages go back to their group, which does not yet hand them on.
    fn return_to_group(&mut self, released: Released) {
        let Released {
            topic,
            group,
            waiting,
        } = released;
        self.with_topic(topic, |it, shared| {
            it.with_group(group, shared, |group, books| {
                group.put_back(waiting, books.shared);
            });
        });
    }
}
