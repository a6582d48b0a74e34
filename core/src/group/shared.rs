//! A group of a topic that other brokers share: the store numbers its messages, says how far those reach that have
//! arrived, and may take all of them back.
//!
//! ```text
//! Closed ── first member ──▶ Opening ── GroupOpened ──▶ Open ── Arrived, Fetched …
//!   ▲                           ▲                        │
//!   └────── no member ──────────┴────── GroupLost ───────┘
//! ```

use super::source::Link;
use super::{Books, Group, Settled, Waiting};
use crate::ledger::Entry;
use crate::stats::Count;

impl Group {
    /// Whether the store is to open it now: it has got its first member. It is then being opened.
    pub(crate) fn begins_to_open(&mut self) -> bool {
        let has_members = !self.members.is_empty();
        let Some(source) = self.source.as_deref_mut() else {
            return false;
        };
        let begins = has_members && source.link == Link::Closed && !source.is_closed;
        if begins {
            source.link = Link::Opening;
        }
        begins
    }

    /// Whether the store is to close it now: nobody is there to take what comes. What has come and is not settled is for
    /// others, so it leaves the memory.
    pub(crate) fn begins_to_close(&mut self, books: &mut Books<'_>) -> bool {
        let Some(source) = self.source.as_deref_mut() else {
            return false;
        };
        let begins = self.members.is_empty() && matches!(source.link, Link::Opening | Link::Open);
        if begins {
            source.link = Link::Closed;
            self.leave_to_others(books);
        }
        begins
    }

    /// The store has opened it: its messages begin here. Returns whether it had been asked to.
    pub(crate) fn opened(&mut self, next: u64) -> bool {
        let Some(source) = self.source.as_deref_mut() else {
            return false;
        };
        if source.link != Link::Opening {
            return false;
        }
        source.link = Link::Open;
        source.move_to(next);
        source.appended = next - 1;
        if let Some(settled) = &mut source.settled {
            *settled = Settled::up_to(next - 1);
        }
        true
    }

    /// Messages up to this one can be fetched.
    pub(crate) fn arrived(&mut self, up_to: u64) {
        if let Some(source) = self.source.as_deref_mut()
            && source.link == Link::Open
        {
            source.appended = source.appended.max(up_to);
        }
    }

    /// The store has taken back what it had for it. Returns whether there was something to take back: members may hold
    /// some of it.
    pub(crate) fn lost(&mut self, books: &mut Books<'_>) -> bool {
        let Some(source) = self.source.as_deref_mut() else {
            return false;
        };
        if source.link != Link::Open {
            return false;
        }
        source.link = Link::Opening;
        self.leave_to_others(books);
        true
    }

    /// What waits here comes again by the store.
    fn leave_to_others(&mut self, books: &mut Books<'_>) {
        self.forget_fetch();
        if let Some(source) = self.source.as_deref_mut() {
            // It is behind by nothing: what has arrived is taken back.
            source.move_to(source.appended + 1);
        }
        let mut count = self.backlog.clear();
        count += self.retry.clear();
        self.keep(count, books);
    }

    /// A member does not hold these any more: they come again by the store.
    pub(crate) fn revoke(&mut self, count: Count, books: &mut Books<'_>) {
        self.release(count, books.shared);
        self.keep(count, books);
    }

    /// Whether the store has taken back what had this sequence, of which a member was being written a part.
    pub(crate) fn is_taken_back(&self, sequence: u64) -> bool {
        let Some(source) = self.source() else {
            return false;
        };
        let is_of_before = || source.settled().is_some_and(|it| sequence < it.next());
        match source.link {
            Link::Own => false,
            Link::Open => is_of_before(),
            Link::Closed | Link::Opening => true,
        }
    }

    /// What a member was not written it has not had: it comes again by the store.
    pub(crate) fn leave_unwritten(&mut self, waiting: &Waiting, books: &mut Books<'_>) {
        books.shared.budget.requeue(waiting.batch.byte_len());
        self.keep(Count::of(&waiting.batch), books);
    }

    pub(super) fn keep(&mut self, count: Count, books: &mut Books<'_>) {
        if !count.is_zero() {
            books.shared.budget.give_back(count.bytes as usize);
            self.post(Entry::Kept(count), books);
        }
    }
}
