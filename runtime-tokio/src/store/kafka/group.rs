//! A group that the core wants open, and how far that is.

use super::consumer::{Consumer, Position};
use super::window::Window;
use crate::store::clock::{elapsed, moment};
use message_queue_core::GroupId;
use message_queue_core::names::Name;
use message_queue_core::store::{Answer, OpenFrom};
use std::mem;
use std::time::{Duration, Instant};

/// A group that is full for so long has nothing more fetched. A shorter pause would cost more than it saves: librdkafka
/// drops what it has, and fetches it again.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// A group that the core wants open.
pub(super) struct Group {
    pub(super) name: Option<Name>,
    /// Where it begins, if it is one of a consumer's own.
    pub(super) from: OpenFrom,
    /// Its number is another one each time it is opened.
    pub(super) number: u64,
    pub(super) state: State,
    pub(super) window: Window,
    /// How often something was settled, up to which of that it is committed, and whether a commit is under way.
    pub(super) settled: u64,
    pub(super) committed: u64,
    pub(super) is_committing: bool,
    full_since: Option<Instant>,
    is_paused: bool,
}

/// What is done to open it.
pub(super) enum State {
    Wanted,
    /// It is asked where a group of one's own begins.
    Finding,
    /// It waits for partitions.
    Joining(Consumer),
    /// It has got partitions, and it is asked how far the group had got in them; `is_asked`: that is under way.
    Positioning {
        consumer: Consumer,
        partitions: Vec<i32>,
        assignment: u64,
        is_asked: bool,
    },
    Open(Consumer),
}

impl Group {
    pub(super) fn new(
        name: Option<Name>,
        number: u64,
        most: usize,
        next: u64,
        from: OpenFrom,
    ) -> Self {
        let is_tracked = name.is_some();
        Self {
            name,
            from,
            number,
            state: State::Wanted,
            window: Window::new(next, most, is_tracked),
            settled: 0,
            committed: 0,
            is_committing: false,
            full_since: None,
            is_paused: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Its consumer, if it has one that reads.
    pub(super) const fn consumer(&self) -> Option<&Consumer> {
        match &self.state {
            State::Wanted | State::Finding => None,
            State::Joining(consumer) | State::Open(consumer) => Some(consumer),
            State::Positioning { consumer, .. } => Some(consumer),
        }
    }

    /// Its consumer, which it has no more.
    pub(super) fn take_consumer(&mut self) -> Option<Consumer> {
        match mem::replace(&mut self.state, State::Wanted) {
            State::Wanted | State::Finding => None,
            State::Joining(consumer) | State::Open(consumer) => Some(consumer),
            State::Positioning { consumer, .. } => Some(consumer),
        }
    }

    /// Its partitions are gone, or others are to come.
    pub(super) fn lose(&mut self, id: GroupId) -> Option<Answer> {
        let was_open = self.is_open();
        self.window.clear();
        (self.full_since, self.is_paused) = (None, false);
        // What was settled is committed, or comes again.
        self.committed = self.settled;
        if let Some(consumer) = self.take_consumer() {
            self.state = State::Joining(consumer);
        }
        was_open.then_some(Answer::GroupLost { group: id })
    }

    /// What there is to commit, and up to where that is settled; one commit is under way at a time.
    pub(super) fn take_commit(&mut self) -> Option<(Consumer, u64, Vec<Position>)> {
        let State::Open(consumer) = &self.state else {
            return None;
        };
        if self.is_committing || self.committed == self.settled {
            return None;
        }
        let positions = self.window.take_commits(false);
        if positions.is_empty() {
            self.committed = self.settled;
            return None;
        }
        self.is_committing = true;
        Some((consumer.clone(), self.settled, positions))
    }

    /// All up to there is committed.
    pub(super) fn committed(&mut self, up_to: u64) {
        self.committed = self.committed.max(up_to);
    }

    /// Whether more may be read now. One that is full is paused a while later.
    pub(super) fn may_read(&mut self) -> bool {
        let State::Open(consumer) = &self.state else {
            // It waits for its partitions, and hears of them by reading.
            return matches!(self.state, State::Joining(_));
        };
        if !self.window.is_full() {
            self.full_since = None;
            if mem::take(&mut self.is_paused) {
                consumer.pause(self.window.partitions(), false);
            }
            return true;
        }
        let since = *self.full_since.get_or_insert_with(moment);
        if !self.is_paused && elapsed(since) >= PAUSE_AFTER {
            consumer.pause(self.window.partitions(), true);
            self.is_paused = true;
        }
        // Nothing comes but word of another assignment.
        self.is_paused
    }
}
