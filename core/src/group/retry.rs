//! Messages that have failed and are handed out again later; and those that are given up and wait for room in
//! their dead-letter topic.

use super::waiting::Waiting;
use crate::stats::Count;
use crate::time::Now;
use crate::wire::FrameBatch;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use core::time::Duration;

/// The shortest time between two failures of a message.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// What a group holds and hands out to nobody now. It counts within the group's bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Retry {
    /// By when they are due, and their sequences.
    delayed: BTreeMap<(Now, u64), Waiting>,
    delayed_count: Count,
    /// Given up, first given up first, each with the reason.
    given_up: VecDeque<(Waiting, String)>,
    given_up_count: Count,
    /// When what is here was published, and how many of the entries above were then.
    ages: BTreeMap<Now, u32>,
    /// When the group is to be looked at for what is due; at most one is set.
    pub(super) timer: Option<Now>,
}

impl Retry {
    pub(crate) const fn delayed(&self) -> Count {
        self.delayed_count
    }

    pub(crate) const fn given_up(&self) -> Count {
        self.given_up_count
    }

    /// All of it.
    pub(crate) fn count(&self) -> Count {
        let mut count = self.delayed_count;
        count += self.given_up_count;
        count
    }

    /// Since when the oldest message has been waiting.
    pub(crate) fn waiting_since(&self) -> Option<Now> {
        self.ages.keys().next().copied()
    }

    fn note(&mut self, waiting: &Waiting) {
        *self.ages.entry(waiting.mark.published).or_default() += 1;
    }

    fn forget(&mut self, published: Now) {
        if let Some(entries) = self.ages.get_mut(&published) {
            *entries -= 1;
            if *entries == 0 {
                self.ages.remove(&published);
            }
        }
    }

    pub(super) fn delay(&mut self, waiting: Waiting, due: Now) {
        let waiting = compact(waiting);
        self.note(&waiting);
        self.delayed_count += Count::of(&waiting.batch);
        self.delayed.insert((due, waiting.mark.sequence), waiting);
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Now> {
        self.delayed.keys().next().map(|(due, _)| *due)
    }

    /// When the group is to be looked at.
    pub(crate) const fn timer(&self) -> Option<Now> {
        self.timer
    }

    /// What is due.
    pub(super) fn take_due(&mut self, now: Now) -> Option<Waiting> {
        let first = self.delayed.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let waiting = first.remove();
        self.forget(waiting.mark.published);
        self.delayed_count -= Count::of(&waiting.batch);
        Some(waiting)
    }

    pub(super) fn give_up(&mut self, waiting: Waiting, reason: String) {
        let waiting = compact(waiting);
        self.note(&waiting);
        self.given_up_count += Count::of(&waiting.batch);
        self.given_up.push_back((waiting, reason));
    }

    /// The bytes of the first message that is given up.
    pub(crate) fn first_given_up(&self) -> Option<usize> {
        let (waiting, _) = self.given_up.front()?;
        Some(waiting.batch.prefix(1, usize::MAX).1)
    }

    /// The first message that is given up.
    pub(super) fn take_given_up(&mut self) -> Option<(Waiting, String)> {
        let (waiting, reason) = self.given_up.front_mut()?;
        let part = waiting.batch.prefix(1, usize::MAX);
        let first = compact(waiting.split_at(part));
        let reason = reason.clone();
        if waiting.batch.is_empty() {
            self.given_up.pop_front();
            self.forget(first.mark.published);
        }
        self.given_up_count -= Count::of(&first.batch);
        Some((first, reason))
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) -> Count {
        let count = self.count();
        *self = Self {
            timer: self.timer,
            ..Self::default()
        };
        count
    }

    /// Shows `each` all of it.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Waiting)) {
        let given_up = self.given_up.iter().map(|(waiting, _)| waiting);
        self.delayed.values().chain(given_up).for_each(each);
    }

    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        let given_up = self.given_up.iter_mut().map(|(waiting, _)| waiting);
        for waiting in self.delayed.values_mut().chain(given_up) {
            visit(&mut waiting.batch);
        }
    }

    pub(super) fn check(&self) {
        let sum = |all: &mut dyn Iterator<Item = &Waiting>| {
            let mut sum = Count::ZERO;
            for waiting in all {
                sum += Count::of(&waiting.batch);
            }
            sum
        };
        assert_eq!(sum(&mut self.delayed.values()), self.delayed_count);
        let mut given_up = self.given_up.iter().map(|(waiting, _)| waiting);
        assert_eq!(sum(&mut given_up), self.given_up_count);
        let mut ages = BTreeMap::<Now, u32>::new();
        let given_up = self.given_up.iter().map(|(waiting, _)| waiting);
        for waiting in self.delayed.values().chain(given_up) {
            *ages.entry(waiting.mark.published).or_default() += 1;
        }
        assert_eq!(self.ages, ages);
        if let Some(due) = self.next_due() {
            assert!(self.timer.is_some_and(|timer| timer <= due), "nobody looks");
        }
    }
}

fn compact(waiting: Waiting) -> Waiting {
    Waiting {
        batch: waiting.batch.compact(),
        mark: waiting.mark,
    }
}

/// How long a message that has failed so often waits before it is handed out again: at least 10 ms, and twice as
/// long each time, up to `most`. (PROTOCOL.md, section "Settling".)
pub(crate) fn backoff(failures: u32, most: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    (BACKOFF_MIN * (1 << doublings)).min(most).max(BACKOFF_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let millis = |failures| backoff(failures, Duration::from_secs(1)).as_millis();
        assert_eq!(
            [1, 2, 3, 7, 8, 400].map(millis),
            [10, 20, 40, 640, 1000, 1000]
        );
        assert_eq!(backoff(9, Duration::ZERO), BACKOFF_MIN);
    }
}
