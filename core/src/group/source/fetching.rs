//! What a window has not had is fetched: it asks for it when its turn has come, and takes in what comes.

use super::{Link, Place, Source};
use crate::error::DropReason;
use crate::group::settled::{Failure, Known, Settled};
use crate::group::{Books, Group, Mark, Waiting};
use crate::shared::Shared;
use crate::store::{FetchFrom, Run};
use crate::time::Now;
use crate::timers::Timeout;
use crate::wire::{FrameBatch, MAX_FRAME};
use core::time::Duration;

/// How long a group waits that could not read.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a group is doing about what it has not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Fetch {
    None,
    /// It waits for its turn to ask.
    Waiting,
    /// It has asked.
    Asked,
    /// It has asked, and does not want it any more.
    Stale,
    /// What it asked for could not be read. It asks again then.
    Failed(Now),
}

/// What has become of what was fetched.
pub(crate) struct Taken {
    /// Whether the place was sought, and is found: the group is new.
    pub(crate) is_placed: bool,
    /// Whether it has given up some of it in another life of the broker.
    pub(crate) has_given_up: bool,
}

/// How much of what was fetched is still kept.
struct Kept {
    bytes: usize,
    /// Whether nothing of it is yet.
    is_empty: bool,
}

impl Kept {
    /// How many of the first messages are kept, and their bytes: one in any case, if there is room.
    fn prefix(&self, batch: &FrameBatch, messages: usize, bytes: usize) -> (usize, usize) {
        let part = batch.prefix(messages, bytes.min(self.bytes));
        if part.0 == 0 && self.is_empty {
            return batch.prefix(messages.min(1), bytes);
        }
        part
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_empty = false;
    }
}

impl Group {
    /// Whether it has not had something, has room for it, and somebody to give it to; and so is to ask for it. It
    /// then waits for its turn.
    pub(crate) fn begins_to_want(&mut self, write_bytes: usize, now: Now) -> bool {
        let may_ask = self.source().is_some_and(|it| it.fetch == Fetch::None);
        if !may_ask || !self.wants_more(write_bytes) {
            return false;
        }
        if let Some(source) = self.source.as_deref_mut() {
            source.fetch = Fetch::Waiting;
            source.ahead.wanted(write_bytes, now);
        }
        true
    }

    fn wants_more(&self, write_bytes: usize) -> bool {
        let Some(source) = self.source.as_deref() else {
            return false;
        };
        if source.is_closed || matches!(source.link, Link::Closed | Link::Opening) {
            return false;
        }
        if let Place::Sought(_) = source.place {
            return true;
        }
        if source.behind() == 0 || self.members.is_empty() {
            return false;
        }
        let room = self.room();
        if room.messages == 0 || room.bytes < MAX_FRAME {
            return false;
        }
        let waiting = self.backlog.messages();
        let ahead = source.ahead.bytes(write_bytes);
        let has_little = self.backlog.bytes() < ahead / 2 && waiting <= room.messages;
        waiting == 0 || has_little
    }

    /// Its turn to ask has come. Returns what it asks for; none if it wants nothing any more.
    pub(crate) fn ask(&mut self, write_bytes: usize) -> Option<(FetchFrom, usize)> {
        let wants = self.wants_more(write_bytes);
        let room = self.room().bytes;
        let source = self.source.as_deref_mut()?;
        let bytes = room.min(source.ahead.bytes(write_bytes));
        if !wants {
            source.fetch = Fetch::None;
            return None;
        }
        source.fetch = Fetch::Asked;
        Some(match source.place {
            Place::At(next) => (FetchFrom::Sequence(next), bytes),
            // Where that is, is all that it wants to know.
            Place::Sought(from) => (from, 1),
        })
    }

    /// What it asked for has come: these messages, and it was looked at all that is before `next`.
    pub(crate) fn take_fetched(
        &mut self,
        runs: alloc::vec::Vec<Run>,
        next: u64,
        books: &mut Books<'_>,
    ) -> Taken {
        let mut taken = Taken {
            is_placed: false,
            has_given_up: false,
        };
        let Some(source) = self.source.as_deref_mut() else {
            return taken;
        };
        let before = core::mem::replace(&mut source.fetch, Fetch::None);
        if before != Fetch::Asked {
            return taken;
        }
        if let Place::Sought(_) = source.place {
            let begins = runs.first().map_or(next, |run| run.first);
            source.place = Place::At(begins);
            if let Some(settled) = &mut source.settled {
                *settled = Settled::up_to(begins - 1);
            }
            taken.is_placed = true;
        }
        source.ahead.came(books.shared.now);
        let mut kept = Kept {
            bytes: source.ahead.kept(books.shared.config.write_bytes),
            is_empty: true,
        };
        for run in runs {
            if !self.take_run(run, &mut kept, &mut taken, books) {
                self.dispatch(books.shared);
                return taken;
            }
        }
        self.miss_up_to(next, DropReason::NotKept, books);
        self.dispatch(books.shared);
        taken
    }

    /// Takes in what the window has room for. Returns whether that is all.
    fn take_run(
        &mut self,
        run: Run,
        kept: &mut Kept,
        taken: &mut Taken,
        books: &mut Books<'_>,
    ) -> bool {
        self.miss_up_to(run.first, DropReason::NotKept, books);
        let Run {
            first,
            published,
            mut batch,
            origin,
            attempts,
        } = run;
        let mut sequence = first;
        while !batch.is_empty() {
            let Some(Place::At(next)) = self.source().map(Source::place) else {
                return false;
            };
            if sequence < next {
                let before = batch.messages().min((next - sequence) as usize);
                batch.split_to(before);
                sequence += before as u64;
                continue;
            }
            let Some(source) = self.source() else {
                return false;
            };
            let (known, end) = match source.settled() {
                Some(settled) => settled.known(next),
                None => (Known::Nothing, u64::MAX),
            };
            let (handed_out, handed_out_end) = source.attempts.of(next);
            let alike = usize::try_from(end - next).unwrap_or(usize::MAX);
            if known == Known::Settled {
                self.move_place(next + alike.min(batch.messages()) as u64);
                continue;
            }
            let alike = alike.min(usize::try_from(handed_out_end - next).unwrap_or(usize::MAX));
            let (room, budget) = (self.room(), books.shared.budget.room());
            let (messages, bytes) = (room.messages.min(alike), room.bytes.min(budget));
            let part = kept.prefix(&batch, messages, bytes);
            if part.0 == 0 {
                return false;
            }
            let mark = Mark {
                attempts: attempts.max(handed_out),
                origin: origin.clone(),
                ..Mark::new(next, books.shared.moment(published))
            };
            let part = batch.split_at(part);
            kept.take(part.byte_len());
            sequence += part.messages() as u64;
            match known {
                Known::Failed(failure) => {
                    taken.has_given_up |= failure.is_given_up();
                    self.let_in_failed(part, mark, failure, books);
                }
                Known::Nothing | Known::Settled => self.let_in(part, mark, books),
            }
            self.arm_age_timer(books.shared);
        }
        true
    }

    /// Takes in a message that has failed before it left the memory.
    fn let_in_failed(
        &mut self,
        batch: FrameBatch,
        mut mark: Mark,
        failure: Failure,
        books: &mut Books<'_>,
    ) {
        self.count_in(&batch, &mark, books);
        mark.failures = failure.count;
        mark.attempts = mark.attempts.max(failure.count).max(1);
        let batch = batch.compact();
        let waiting = Waiting { batch, mark };
        if failure.is_given_up() {
            return self.retry.give_up(waiting, "given_up".into());
        }
        let due = books.shared.moment(failure.not_before_ms);
        if due > books.shared.now {
            self.retry.delay(waiting, due);
            self.arm_retry_timer(books.shared);
        } else {
            self.backlog.put_back(waiting);
        }
    }

    /// What it asked for could not be read: it asks again after a while.
    pub(crate) fn could_not_read(&mut self, shared: &mut Shared) {
        if let Some(source) = self.source.as_deref_mut() {
            let due = shared.now + ASK_AGAIN;
            source.fetch = Fetch::Failed(due);
            let timeout = Timeout::Fetch(self.topic, self.id);
            shared.timers.set(due, timeout);
        }
    }

    /// It may ask again.
    pub(crate) fn asks_again(&mut self) {
        if let Some(source) = self.source.as_deref_mut() {
            source.fetch = Fetch::None;
        }
    }

    /// When it asks again, if it could not read.
    pub(crate) fn fetch_timer(&self) -> Option<Now> {
        match self.source()?.fetch {
            Fetch::Failed(due) => Some(due),
            Fetch::None | Fetch::Waiting | Fetch::Asked | Fetch::Stale => None,
        }
    }

    /// What it has asked for it does not want any more.
    pub(in crate::group) fn forget_fetch(&mut self) {
        if let Some(source) = self.source.as_deref_mut()
            && source.fetch == Fetch::Asked
        {
            source.fetch = Fetch::Stale;
        }
    }
}
