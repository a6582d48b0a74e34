//! What has failed comes again after a while, or is given up.

use super::settled::Failure;
use super::{Books, Group, Waiting};
use crate::error::DropReason;
use crate::ledger::Entry;
use crate::shared::Shared;
use crate::stats::Count;
use crate::time::Now;
use crate::timers::Timeout;
use alloc::string::String;

impl Group {
    /// Messages that a member held have failed, and are handed out again when `due`.
    pub(crate) fn delay(&mut self, waiting: Waiting, due: Now, shared: &mut Shared) {
        self.release(Count::of(&waiting.batch), shared);
        let failure = Failure {
            count: waiting.mark.failures,
            not_before_ms: shared.wall_clock(due),
        };
        self.note_failed(&waiting, failure, shared);
        self.retry.delay(waiting, due);
        self.arm_retry_timer(shared);
    }

    /// Messages that a member held are given up, and wait for room in the dead-letter topic.
    pub(crate) fn give_up(&mut self, waiting: Waiting, reason: String, shared: &mut Shared) {
        self.release(Count::of(&waiting.batch), shared);
        let failure = Failure::given_up(waiting.mark.failures);
        self.note_failed(&waiting, failure, shared);
        self.retry.give_up(waiting, reason);
    }

    /// The first message that is given up: it moves to the dead-letter topic.
    pub(crate) fn bury(&mut self, books: &mut Books<'_>) -> Option<(Waiting, String)> {
        let (waiting, reason) = self.retry.take_given_up()?;
        let count = Count::of(&waiting.batch);
        books.shared.budget.give_back(count.bytes as usize);
        self.post(Entry::Buried(count), books);
        Some((waiting, reason))
    }

    /// The first message that is given up has no dead-letter topic: it is lost.
    pub(crate) fn lose_given_up(&mut self, books: &mut Books<'_>) -> bool {
        let Some((waiting, _)) = self.retry.take_given_up() else {
            return false;
        };
        self.drop_held(Count::of(&waiting.batch), DropReason::GivenUp, books);
        self.note_settled(waiting.mark.sequence, 1, books.shared);
        true
    }

    /// What is due comes back, and is handed out.
    pub(crate) fn retry_due(&mut self, shared: &mut Shared) {
        self.retry.timer = None;
        while let Some(waiting) = self.retry.take_due(shared.now) {
            self.backlog.put_back(waiting);
        }
        self.arm_retry_timer(shared);
        self.dispatch(shared);
    }

    pub(super) fn arm_retry_timer(&mut self, shared: &mut Shared) {
        let Some(due) = self.retry.next_due() else {
            return;
        };
        if let Some(set) = self.retry.timer {
            if set <= due {
                return;
            }
            shared
                .timers
                .clear(set, Timeout::Retry(self.topic, self.id));
        }
        self.retry.timer = Some(due);
        shared.timers.set(due, Timeout::Retry(self.topic, self.id));
    }
}
