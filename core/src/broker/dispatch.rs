//! What connections bring goes to their topics, and what waits there goes to who can take it.

use super::Broker;
use crate::budget::Waiter;
use crate::error::{CloseReason, NotTaken};
use crate::id::{ConnId, TopicId};
use crate::session::MAX_REFUSALS;
use crate::shared::Shared;
use crate::stats::Count;
use crate::topic::{Published, Topic};
use crate::wire::FrameBatch;
use crate::wire::control::{BadFrame, Range};
use alloc::collections::VecDeque;

impl Broker {
    /// A producer sent this.
    pub(super) fn publish(&mut self, conn: ConnId, batch: FrameBatch) {
        let Some(producer) = self.shared.session(conn).producer_mut() else {
            // It has a name and did not wait for the answer to its role line.
            return self.break_protocol(conn, BadFrame::TooEarly);
        };
        assert!(
            producer.is_read(),
            "{conn} was read from while it was blocked"
        );
        let topic = producer.topic;
        let confirms = producer.confirms.as_mut().map(|confirms| {
            confirms.received += batch.messages() as u64;
        });
        // Its frame is whole: it is part of the batch.
        self.shared.set_partial(conn, 0);
        let topic = match topic {
            Ok(topic) => topic,
            Err(reason) => return self.refuse_messages(conn, Count::of(&batch), reason),
        };
        let published = self.with_topic(topic, |it, shared| {
            it.publish(conn, batch, confirms.is_some(), shared)
        });
        match published {
            Published::Offered => {}
            Published::Parked => self.shared.park(conn),
            Published::Refused(count) => {
                self.refuse_messages(conn, count, NotTaken::Full);
            }
        }
        self.admit_parked(topic);
    }

    /// A producer's decoder holds this much of a frame that is not whole.
    pub(super) fn hold_partial(&mut self, conn: ConnId, bytes: usize) {
        self.shared.set_partial(conn, bytes);
        self.settle_budget();
    }

    /// The last messages that a producer sent are not taken in: it is told, or they are counted as lost.
    fn refuse_messages(&mut self, conn: ConnId, count: Count, reason: NotTaken) {
        let producer = self.shared.session(conn).producer_mut();
        let Some((confirms, line)) =
            producer.and_then(|it| Some((it.confirms.as_mut()?, &mut it.line)))
        else {
            self.shared.lose_refused(count);
            return;
        };
        let range = Range {
            from: confirms.received + 1 - count.messages,
            to: confirms.received,
        };
        let counts = line.pass(count.messages);
        let confirmed = confirms.pass(counts, 0);
        self.remember_refused(conn, range, reason);
        self.shared.stats.refused += count;
        if let Some(version2) = self.shared.signal(conn) {
            version2.signals.refuse(range, reason.into());
            version2.signals.confirmed = confirmed.or(version2.signals.confirmed);
            if version2.signals.refused.len() >= MAX_REFUSALS {
                self.shared.hold_back(conn);
            }
        }
    }

    /// A producer that has a name is told again what was refused, if it comes back without having heard of it.
    fn remember_refused(&mut self, conn: ConnId, range: Range, reason: NotTaken) {
        if let Some(producer) = self.shared.session(conn).producer()
            && let Some(name) = producer.name.clone()
        {
            let home = producer.home;
            self.with_topic(home, |it, _| {
                it.producers.refuse(&name, conn, range, reason)
            });
        }
    }

    /// A peer's socket has taken this many bytes in all.
    pub(super) fn written(&mut self, conn: ConnId, total: u64) {
        let now = self.shared.now;
        let session = self.shared.session(conn);
        let Some(delivered) = session.outbox.written(total, now) else {
            return;
        };
        let is_version2 = session.version2.is_some();
        let mut topic = None;
        if let Some((of, group, count)) = delivered.messages {
            topic = Some(of);
            self.with_topic(of, |it, shared| {
                let ranges = &delivered.ranges;
                it.with_group(group, shared, |group, books| {
                    group.delivered(count, ranges, books);
                });
            });
        }
        if is_version2 {
            self.shared.flush_signals(conn);
        }
        let served = self.serve(conn);
        if is_version2 {
            self.finish_if_told(conn);
        }
        let served = served.filter(|it| topic != Some(*it));
        for topic in [topic, served].into_iter().flatten() {
            self.admit_parked(topic);
        }
    }

    /// Gives a consumer's groups their turns with it, until it has something or none of them has anything for it.
    /// Returns the topic of what it was handed, if that does not count in its group any more: there is room now.
    pub(super) fn serve(&mut self, conn: ConnId) -> Option<TopicId> {
        let consumer = self.shared.session(conn).consumer()?;
        let holds = consumer.acks.is_some();
        let mut served = None;
        for _ in 0..consumer.ready.len() {
            let session = self.shared.session(conn);
            if session.credit().is_none() {
                break;
            }
            let ready = session.consumer_mut().map(|it| &mut it.ready);
            let Some((topic, group)) = ready.and_then(VecDeque::pop_front) else {
                break;
            };
            served = (!holds).then_some(topic);
            self.with_topic(topic, |it, shared| {
                it.with_group(group, shared, |group, books| {
                    group.wait_turn(conn, books.shared);
                    group.dispatch(books.shared);
                });
            });
        }
        served
    }

    /// Admits what is parked and has room now: in this topic, where a group may have gained some,
    /// and in those that wait for bytes, if there are now enough. What waits for a dead-letter topic does so too.
    pub(super) fn admit_parked(&mut self, topic: TopicId) {
        self.with_topic(topic, Topic::retry);
        self.settle_budget();
        self.bury_waiting(topic);
    }

    /// Admits what is parked in the topics that wait for bytes, as far as there are enough. Where
    /// there are not, whoever holds the largest partial frame is let go.
    pub(super) fn settle_budget(&mut self) {
        loop {
            if let Some(waiter) = self.shared.budget.next_with_room() {
                match waiter {
                    Waiter::Topic(topic) => self.with_topic(topic, Topic::retry_with_budget),
                    Waiter::Group(topic, group) => self.shared.to_fetch.push_front((topic, group)),
                }
            } else if let Some(conn) = self.shared.budget.partial_in_the_way() {
                self.begin_to_close(conn, CloseReason::BrokerBytes);
            } else {
                return;
            }
        }
    }

    /// Ends a step: asks stores for what groups want and have to be saved, and tells connections what they are yet to
    /// be told.
    pub(super) fn tell(&mut self) {
        self.ask_stores();
        while let Some(conn) = self.shared.next_to_tell() {
            self.shared.flush_signals(conn);
        }
    }

    /// Closes a connection as soon as it has been told everything.
    pub(super) fn finish(&mut self, conn: ConnId, reason: CloseReason) {
        if self.shared.session(conn).is_closing() {
            return;
        }
        if let Some(version2) = &mut self.shared.session(conn).version2 {
            version2.signals.is_held = false;
        }
        self.shared.flush_signals(conn);
        if let Some(version2) = &mut self.shared.session(conn).version2 {
            version2.finishing = Some(reason);
            self.shared.arm_write_timer(conn);
            return self.finish_if_told(conn);
        }
        self.close(conn, reason);
    }

    fn finish_if_told(&mut self, conn: ConnId) {
        let session = self.shared.session(conn);
        let Some(version2) = &session.version2 else {
            return;
        };
        if let Some(reason) = version2.finishing
            && version2.signals.is_empty()
            && !session.outbox.is_busy()
        {
            self.close(conn, reason);
        }
    }

    /// Does something with a topic, which is there, and what all topics share. What is taken from the
    /// budget meanwhile is this topic's.
    pub(super) fn with_topic<T>(
        &mut self,
        id: TopicId,
        act: impl FnOnce(&mut Topic, &mut Shared) -> T,
    ) -> T {
        let topic = self.topics.get_mut(&id).expect("the topic is there");
        let before = self.shared.backlogs();
        let result = act(topic, &mut self.shared);
        topic.note_backlogs(before, self.shared.backlogs());
        result
    }
}
