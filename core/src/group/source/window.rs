//! The window moves: what is appended next comes into it, and all that waits leaves it when nobody is there to take it.

use super::{Place, Source};
use crate::error::DropReason;
use crate::group::ahead::Ahead;
use crate::group::{Books, Group, Mark, Waiting};
use crate::ledger::Entry;
use crate::stats::Count;
use crate::wire::FrameBatch;
use crate::wire::control::Range;

impl Source {
    /// What was appended next comes into the window, so far as the window reaches up to it. Returns whether it does.
    const fn meets(&self, first: u64) -> bool {
        matches!(self.place, Place::At(next) if next == first) && !self.is_closed
    }
}

impl Group {
    /// A batch was appended. It comes into the window if that reaches up to it and has room; and if somebody wants it.
    pub(crate) fn take_appended(&mut self, batch: &FrameBatch, mark: &Mark, books: &mut Books<'_>) {
        let Some(source) = self.source.as_deref_mut() else {
            return;
        };
        let first = mark.sequence;
        source.appended = first + batch.messages() as u64 - 1;
        if !source.meets(first) || self.members.is_empty() {
            return;
        }
        let (room, budget) = (self.room(), books.shared.budget.room());
        let part = batch.prefix(room.messages, room.bytes.min(budget));
        if part.0 > 0 {
            let taken = batch.clone().split_at(part);
            self.let_in(taken, mark.clone(), books);
            self.dispatch(books.shared);
            self.arm_age_timer(books.shared);
        }
    }

    /// Takes in the front of the window's next messages.
    pub(super) fn let_in(&mut self, batch: FrameBatch, mark: Mark, books: &mut Books<'_>) {
        self.count_in(&batch, &mark, books);
        self.backlog.push_back(batch.compact(), mark);
    }

    /// The window's next messages come into it.
    pub(super) fn count_in(&mut self, batch: &FrameBatch, mark: &Mark, books: &mut Books<'_>) {
        let count = Count::of(batch);
        self.move_place(mark.sequence + count.messages);
        books.shared.budget.take(count.bytes as usize);
        self.post(Entry::Offered(count), books);
    }

    pub(super) fn move_place(&mut self, next: u64) {
        if let Some(source) = self.source.as_deref_mut() {
            source.move_to(next);
        }
    }

    /// What is before `next` and has not come is lost to this group.
    pub(super) fn miss_up_to(&mut self, next: u64, reason: DropReason, books: &mut Books<'_>) {
        let Some(source) = self.source.as_deref_mut() else {
            return;
        };
        let Place::At(place) = source.place else {
            return;
        };
        if place >= next {
            return;
        }
        source.move_to(next);
        let mut missing = next - place;
        if let Some(settled) = &mut source.settled {
            missing = settled.unsettled_between(place, next);
            settled.add(Range {
                from: place,
                to: next - 1,
            });
            self.note_progress(books.shared);
        }
        self.lose_unseen(missing, reason, books);
    }

    /// Messages that have not come into the window are lost to this group.
    fn lose_unseen(&mut self, messages: u64, reason: DropReason, books: &mut Books<'_>) {
        if messages == 0 {
            return;
        }
        let count = Count { messages, bytes: 0 };
        self.post(Entry::Offered(count), books);
        self.post(Entry::Lost(count, reason), books);
        let group = (self.id, self.name.as_ref());
        let topic = Some(self.topic);
        books.shared.report_drop(topic, Some(group), count, reason);
    }

    /// All that it is owed and has not had is lost to it.
    pub(crate) fn lose_behind(&mut self, reason: DropReason, books: &mut Books<'_>) {
        self.forget_fetch();
        let Some(source) = self.source.as_deref() else {
            return;
        };
        let next = source.appended + 1;
        self.miss_up_to(next, reason, books);
    }

    /// Nobody is there to take what waits: it leaves the memory, and is fetched again.
    pub(crate) fn put_away(&mut self, books: &mut Books<'_>) {
        let Some(source) = self.source.as_deref_mut() else {
            return;
        };
        let Some(settled) = &source.settled else {
            return;
        };
        let next = settled.next();
        // Into a window that is closed nothing comes again.
        if !source.is_closed {
            let attempts = &mut source.attempts;
            let mut note = |waiting: &Waiting| {
                if let Some(range) = waiting.range() {
                    attempts.note(range, waiting.mark.attempts);
                }
            };
            self.backlog.each(&mut note);
            self.retry.each(&mut note);
        }
        if let Place::At(place) = &mut source.place {
            *place = next.min(*place);
        }
        source.ahead = Ahead::default();
        self.forget_fetch();
        let mut count = self.backlog.clear();
        count += self.retry.clear();
        self.keep(count, books);
    }

    /// A member has left: if it was the last, nobody is there to take what waits.
    pub(crate) fn leave_window(&mut self, books: &mut Books<'_>) {
        if self.members.is_empty() || self.is_closed() {
            self.put_away(books);
        }
    }

    /// The broker is about to end: what waits is left to its next life.
    pub(crate) fn close_window(&mut self, books: &mut Books<'_>) {
        if let Some(source) = self.source.as_deref_mut() {
            source.is_closed = true;
        }
        self.put_away(books);
    }

    /// Whether what waits, and what comes back, is left to the broker's next life.
    pub(crate) fn is_closed(&self) -> bool {
        self.source().is_some_and(|it| it.is_closed)
    }
}
