//! How room is shared between producers that wait for it and those that do not (PROTOCOL.md, section "Confirms").
//!
//! With `Overflow::Drop` and `Overflow::DropOldest` a producer that has asked for confirms waits in line, and what
//! comes of the others when there is no room is lost. By themselves the first would get all the room that comes free,
//! because they are there when it does; and a large message of theirs would wait for ever behind small ones of the
//! others. So they take turns, measured in messages and in bytes:
//!
//! - What is let in of those that wait is *owed* to the others, as long as these ask: for a second after one of them
//!   has lost a message for want of room. What is owed is not given to those that wait.
//! - While somebody waits and nothing is owed, the room for the first message in line is not given to the others.

use super::Topic;
use crate::config::Overflow;
use crate::group::Room;
use crate::id::ConnId;
use crate::shared::Shared;
use crate::stats::Count;
use crate::time::Now;
use crate::timers::Timeout;
use crate::wire::FrameBatch;
use core::time::Duration;

/// For so long after a loss those that do not wait count as asking for room.
const ASKING: Duration = Duration::from_secs(1);

/// Whose turn it is in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Turns {
    /// What those that do not wait may take first.
    owed: Count,
    /// Until when they count as asking.
    asking_until: Option<Now>,
    /// When it is looked whether they still ask, if somebody waits for what they are owed.
    timer: Option<Now>,
}

impl Turns {
    pub(crate) const fn timer(&self) -> Option<Now> {
        self.timer
    }

    /// What of a group's room is there for those that wait.
    pub(super) const fn room_in_line(&self, room: Room) -> Room {
        Room {
            messages: room.messages.saturating_sub(self.owed.messages as usize),
            bytes: room.bytes.saturating_sub(self.owed.bytes as usize),
        }
    }

    /// How much of that may be let in at once: half, and one message in any case, if the others ask.
    pub(super) fn share(&self, room: Room, now: Now) -> Room {
        if !self.are_asking(now) {
            return room;
        }
        Room {
            messages: room.messages.div_ceil(2),
            bytes: room.bytes.div_ceil(2),
        }
    }

    fn are_asking(&self, now: Now) -> bool {
        self.asking_until.is_some_and(|until| now < until)
    }

    /// Nothing is owed any more, if the others have not asked for long enough.
    pub(super) fn look_who_asks(&mut self, now: Now) {
        if !self.are_asking(now) {
            self.owed = Count::ZERO;
        }
    }

    /// So much of those that wait was let in. No more than `most` is ever owed for it.
    pub(super) fn note_let_in(&mut self, count: Count, most: Count, now: Now) {
        if self.are_asking(now) {
            self.owed.messages = (self.owed.messages + count.messages).min(most.messages);
            self.owed.bytes = (self.owed.bytes + count.bytes).min(most.bytes);
        }
    }

    /// So much of the others was let in, and so much was lost for want of room.
    fn note_others(&mut self, let_in: Count, lost: Count, now: Now) {
        self.owed.messages = self.owed.messages.saturating_sub(let_in.messages);
        self.owed.bytes = self.owed.bytes.saturating_sub(let_in.bytes);
        if !lost.is_zero() {
            self.asking_until = Some(now + ASKING);
        }
    }

    /// The topic works in another way from now on.
    pub(super) const fn reset(&mut self) {
        self.owed = Count::ZERO;
        self.asking_until = None;
    }
}

impl Topic {
    /// Offers what came of a producer that does not wait, by turns with those that do.
    pub(super) fn offer_in_turn(
        &mut self,
        conn: ConnId,
        mut batch: FrameBatch,
        shared: &mut Shared,
    ) {
        let Some(first) = self.first_bytes() else {
            return self.offer_beside_the_line(conn, batch, Count::ZERO, shared);
        };
        let owed = self.turns.owed;
        let by_messages = batch.prefix(owed.messages as usize, usize::MAX);
        let by_bytes = batch.prefix(usize::MAX, owed.bytes as usize);
        let theirs = by_messages.max(by_bytes);
        if theirs.0 > 0 {
            let theirs = batch.split_at(theirs);
            self.offer_beside_the_line(conn, theirs, Count::ZERO, shared);
        }
        if !batch.is_empty() {
            self.offer_beside_the_line(conn, batch, Count::new(1, first), shared);
        }
    }

    fn offer_beside_the_line(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        kept: Count,
        shared: &mut Shared,
    ) {
        let mut let_in = Count::of(&batch);
        let lost = self.offer(conn, batch, kept, shared);
        if self.takes_turns() {
            let_in -= lost;
            self.turns.note_others(let_in, lost, shared.now);
        }
    }

    /// Whether producers with confirms wait for room here and others do not.
    pub(super) const fn takes_turns(&self) -> bool {
        matches!(
            self.settings.overflow,
            Overflow::Drop | Overflow::DropOldest
        )
    }

    /// The most that is ever owed to those that do not wait.
    pub(super) const fn most_owed(&self) -> Count {
        Count {
            messages: (self.settings.capacity as u64).div_ceil(2),
            bytes: (self.settings.bytes as u64).div_ceil(2),
        }
    }

    /// Somebody waits for what is owed to others: it is looked at again when these have not asked for long enough.
    pub(super) fn arm_turn_timer(&mut self, shared: &mut Shared) {
        let Turns {
            owed,
            asking_until,
            timer,
        } = &mut self.turns;
        if *owed != Count::ZERO
            && timer.is_none()
            && let Some(due) = *asking_until
        {
            let due = due.max(shared.now);
            *timer = Some(due);
            shared.timers.set(due, Timeout::Turn(self.id));
        }
    }

    /// What is owed may have been owed for long enough.
    pub(crate) fn turn_is_over(&mut self, shared: &mut Shared) {
        self.turns.timer = None;
        self.turns.look_who_asks(shared.now);
        self.retry(shared);
        if !self.parked.is_empty() {
            self.arm_turn_timer(shared);
        }
    }

    /// The topic goes: nothing is due here any more.
    pub(crate) fn clear_turn_timer(&mut self, shared: &mut Shared) {
        if let Some(due) = self.turns.timer.take() {
            shared.timers.clear(due, Timeout::Turn(self.id));
        }
    }
}
