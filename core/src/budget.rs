//! The bytes that all topics and connections have in common.

use crate::config::Config;
use crate::id::{ConnId, GroupId, TopicId};
use crate::partial::PartialFrames;
use crate::wire::MAX_FRAME;
use alloc::collections::VecDeque;

/// This part of the limit partial frames may hold in any case.
const RESERVE_RATIO: usize = 8;

/// This part of the limit may be kept alive beside what counts, so that less is copied.
const PIN_RATIO: usize = 8;

/// So many writes one consumer may keep alive of that.
const PINNED_WRITES: usize = 4;

/// The bytes of what waits, of what is parked and of partial frames, within one limit.
///
/// Everything gets on, because what may come first has its room in any case:
/// - one largest frame for everybody, whatever is parked or partial;
/// - a part for partial frames, at least one largest frame. Beyond it they hold what is free, and give
///   way to whole messages: [`partial_in_the_way`](Self::partial_in_the_way).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Budget {
    limit: usize,
    /// So much may wait in any case.
    floor: usize,
    /// So much partial frames may hold in any case.
    reserve: usize,
    backlogs: usize,
    in_flight: usize,
    parked: usize,
    partial: PartialFrames,
    /// Memory that consumers that settle keep alive beyond twice what counts.
    pinned: usize,
    /// The most of that for one of them.
    most_for_one: usize,
    /// What is kept free for what groups have asked their stores for.
    asked: usize,
    /// Who waits for bytes, first come first.
    line: VecDeque<Wait>,
}

/// What groups hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backlogs {
    /// All of it.
    pub(crate) bytes: usize,
    /// How much of it consumers have and have not settled.
    pub(crate) unsettled: usize,
}

/// Who waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Waiter {
    /// A topic, with what is parked in it.
    Topic(TopicId),
    /// A group that wants to ask its topic's store for more.
    Group(TopicId, GroupId),
}

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Wait {
    who: Waiter,
    /// The room that there must be.
    bytes: usize,
    /// What is parked of the batch that waits. It does not stand in its own way.
    own: usize,
}

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        let (limit, floor) = (config.broker_bytes, config.frame_for_everybody());
        let reserve = (limit / RESERVE_RATIO).min(limit.saturating_sub(floor));
        Self {
            limit,
            floor,
            reserve: reserve.max(MAX_FRAME),
            backlogs: 0,
            in_flight: 0,
            parked: 0,
            partial: PartialFrames::default(),
            pinned: 0,
            most_for_one: PINNED_WRITES * config.write_bytes,
            asked: 0,
            line: VecDeque::new(),
        }
    }

    /// All that counts.
    pub(crate) const fn used(&self) -> usize {
        self.backlogs + self.in_flight + self.parked + self.partial.bytes()
    }

    /// What is in all backlogs.
    pub(crate) const fn backlogs(&self) -> usize {
        self.backlogs
    }

    /// What is on its way to consumers.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) const fn parked(&self) -> usize {
        self.parked
    }

    pub(crate) const fn partial(&self) -> &PartialFrames {
        &self.partial
    }

    /// These bytes have come into a backlog.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.backlogs += bytes;
    }

    /// These bytes have left a backlog for good.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.backlogs -= bytes;
    }

    /// These bytes have left a backlog on their way to a consumer.
    pub(crate) fn start_write(&mut self, bytes: usize) {
        self.backlogs -= bytes;
        self.in_flight += bytes;
    }

    /// A consumer has taken these bytes.
    pub(crate) fn end_write(&mut self, bytes: usize) {
        self.in_flight -= bytes;
    }

    /// These bytes were on their way and are back in their backlog.
    pub(crate) fn requeue(&mut self, bytes: usize) {
        self.in_flight -= bytes;
        self.backlogs += bytes;
    }

    pub(crate) fn park(&mut self, bytes: usize) {
        self.parked += bytes;
    }

    pub(crate) fn unpark(&mut self, bytes: usize) {
        self.parked -= bytes;
    }

    /// A connection that held `before` bytes of a partial frame holds `after`.
    pub(crate) fn set_partial(&mut self, conn: ConnId, before: usize, after: usize) {
        self.partial.replace(conn, before, after);
    }

    /// The most that a consumer may keep alive beyond what counts, if it keeps `own` bytes now.
    pub(crate) fn most_pinned(&self, own: usize) -> usize {
        let others = self.pinned - own;
        (self.limit / PIN_RATIO)
            .saturating_sub(others)
            .min(self.most_for_one)
    }

    /// What a consumer keeps alive beyond what counts is now `after`, and was `before`.
    pub(crate) const fn set_pinned(&mut self, before: usize, after: usize) {
        self.pinned = self.pinned - before + after;
    }

    pub(crate) const fn pinned(&self) -> usize {
        self.pinned
    }

    /// How much more may come into backlogs.
    pub(crate) fn room(&self) -> usize {
        self.room_for(0, 0)
    }

    /// The room that there would be without `bytes` of the backlogs.
    pub(crate) fn room_without(&self, bytes: usize) -> usize {
        self.room_for(bytes, 0)
    }

    /// The room for what is parked with `own` bytes.
    pub(crate) fn room_for_parked(&self, own: usize) -> usize {
        self.room_for(0, own)
    }

    fn room_for(&self, in_backlogs: usize, parked: usize) -> usize {
        self.most(parked)
            .saturating_sub(self.backlogs - in_backlogs + self.in_flight + self.asked)
    }

    /// How much more is in backlogs and in flight than there is room for.
    pub(crate) fn over(&self) -> usize {
        (self.backlogs + self.in_flight).saturating_sub(self.most(0))
    }

    /// The most that may be in backlogs and in flight, where `parked` bytes do not stand in the way.
    fn most(&self, parked: usize) -> usize {
        let others = self.parked - parked + self.partial.bytes();
        self.limit.saturating_sub(others).max(self.floor)
    }

    /// Puts a topic in the line: it can go on when there is room for `bytes`. Of the batch that
    /// waits, `own` bytes are parked.
    pub(crate) fn queue(&mut self, topic: TopicId, bytes: usize, own: usize) {
        self.line.push_back(Wait {
            who: Waiter::Topic(topic),
            bytes,
            own,
        });
    }

    /// Puts a group in the line: it can ask its topic's store for more when there is room for a largest frame.
    pub(crate) fn queue_group(&mut self, topic: TopicId, group: GroupId) {
        self.line.push_back(Wait {
            who: Waiter::Group(topic, group),
            bytes: MAX_FRAME,
            own: 0,
        });
    }

    /// A group asks its topic's store for more: room is kept for one largest frame. Returns whether there is so much.
    pub(crate) fn ask(&mut self) -> bool {
        let has_room = self.room() >= MAX_FRAME;
        if has_room {
            self.asked += MAX_FRAME;
        }
        has_room
    }

    /// What a group has asked for has come.
    pub(crate) const fn answer(&mut self) {
        self.asked -= MAX_FRAME;
    }

    /// Who was first in the line, now that there is room for what it waits for; it has left the line.
    pub(crate) fn next_with_room(&mut self) -> Option<Waiter> {
        let first = self.line.front()?;
        if first.bytes > self.room_for_parked(first.own) {
            return None;
        }
        self.line.pop_front().map(|first| first.who)
    }

    /// Takes a topic out of the line: what it waits for may be another.
    pub(crate) fn unqueue(&mut self, topic: TopicId) {
        self.line.retain(|wait| wait.who != Waiter::Topic(topic));
    }

    /// The topics that wait, first come first.
    pub(crate) fn line(&self) -> impl Iterator<Item = TopicId> {
        self.line.iter().filter_map(|wait| match wait.who {
            Waiter::Topic(topic) => Some(topic),
            Waiter::Group(..) => None,
        })
    }

    /// The connection whose partial frame has to go: the largest, where they hold more than their
    /// reserve, and there is more than the limit or a whole message waits for bytes.
    pub(crate) fn partial_in_the_way(&self) -> Option<ConnId> {
        let is_short = self.used() > self.limit || !self.line.is_empty();
        let in_the_way = is_short && self.partial.bytes() > self.reserve;
        in_the_way.then(|| self.partial.largest()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeliveryMode, Overflow};

    /// Of a broker with one queue.
    fn budget(limit: usize) -> Budget {
        Budget::new(&Config {
            delivery: DeliveryMode::Queue,
            overflow: Overflow::Block,
            backlog_bytes: MAX_FRAME,
            broker_bytes: limit,
            ..Config::default()
        })
    }

    #[test]
    fn who_came_first_goes_first_even_if_less_would_do_for_another() {
        let mut budget = budget(MAX_FRAME);
        budget.take(MAX_FRAME - 2);
        budget.queue(TopicId(1), 5, 0);
        budget.queue(TopicId(2), 1, 0);
        assert_eq!(budget.next_with_room(), None);
        budget.give_back(3);
        assert_eq!(budget.next_with_room(), Some(Waiter::Topic(TopicId(1))));
        assert_eq!(budget.next_with_room(), Some(Waiter::Topic(TopicId(2))));
        assert_eq!(budget.next_with_room(), None);
    }

    #[test]
    fn what_is_in_flight_or_parked_by_others_takes_room_and_some_may_wait_in_any_case() {
        let mut budget = budget(3 * MAX_FRAME);
        budget.take(MAX_FRAME);
        budget.start_write(MAX_FRAME);
        assert_eq!(budget.room(), 2 * MAX_FRAME);
        budget.park(MAX_FRAME);
        assert_eq!(budget.room(), MAX_FRAME);
        assert_eq!(budget.room_for_parked(MAX_FRAME), 2 * MAX_FRAME);
        budget.park(9 * MAX_FRAME);
        assert_eq!(budget.room(), 0);
        budget.end_write(MAX_FRAME);
        assert_eq!(budget.room(), MAX_FRAME);
    }

    #[test]
    fn partial_frames_have_their_reserve_and_what_is_free() {
        let (limit, reserve) = (64 << 20, 8 << 20);
        let mut budget = budget(limit);
        budget.set_partial(ConnId(1), 0, reserve);
        budget.set_partial(ConnId(2), 0, limit - reserve);
        assert_eq!(budget.partial_in_the_way(), None);
        assert_eq!(budget.room(), MAX_FRAME, "one may wait in any case");
        // No more is free, ...
        budget.take(1);
        assert_eq!(budget.partial_in_the_way(), Some(ConnId(2)));
        budget.set_partial(ConnId(2), limit - reserve, 1);
        assert_eq!(budget.partial_in_the_way(), None);
        // ... or a message waits.
        budget.queue(TopicId(1), limit, 0);
        assert_eq!(budget.partial_in_the_way(), Some(ConnId(1)));
        budget.set_partial(ConnId(1), reserve, reserve - 1);
        assert_eq!(budget.partial_in_the_way(), None);
    }

    #[test]
    fn one_largest_frame_is_within_the_reserve_of_any_budget() {
        let mut budget = budget(MAX_FRAME);
        budget.take(MAX_FRAME);
        budget.set_partial(ConnId(1), 0, MAX_FRAME);
        assert_eq!(budget.partial_in_the_way(), None);
        budget.set_partial(ConnId(2), 0, 1);
        assert_eq!(budget.partial_in_the_way(), Some(ConnId(1)));
    }
}
