//! A group of a stored topic: its backlog is a window on what the topic keeps.
//!
//! While the window reaches up to the last message that was appended, what is appended next comes into it from
//! memory. When it has no room the group is *behind*: nothing is lost, and what it has not had is fetched when there
//! is room. A group without members has no window, so it costs no memory however much it is owed.

use super::ahead::Ahead;
use super::attempts::Attempts;
use super::settled::{Failure, Known, Settled};
use super::{Books, Group, Mark, Waiting};
use crate::error::DropReason;
use crate::id::GroupId;
use crate::ledger::Entry;
use crate::names::Name;
use crate::shared::Shared;
use crate::stats::{Behind, Count};
use crate::store::{FetchFrom, Run};
use crate::time::Now;
use crate::timers::Timeout;
use crate::topic::SHARED_NAME;
use crate::wire::control::Range;
use crate::wire::{FrameBatch, MAX_FRAME};
use core::time::Duration;

/// How long a group waits that could not read.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a group of a stored topic has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Source {
    /// Where the window ends.
    pub(super) place: Place,
    /// The last message of the topic that was appended; where the topic is shared, the last of the group that has arrived.
    pub(super) appended: u64,
    /// What it is counted as being behind by.
    counted: u64,
    /// How often that was handed out in this life of the broker which the window comes to once more.
    attempts: Attempts,
    /// How far the group has got; none for a group of one's own, of which nothing is saved.
    pub(super) settled: Option<Settled>,
    /// What it is doing about what it has not had.
    fetch: Fetch,
    /// How much of that it reads at a time.
    ahead: Ahead,
    /// The number of the change that is being saved, if one is.
    saving: Option<u64>,
    /// Whether it has got further since.
    is_dirty: bool,
    /// Whether its window stays empty: the broker is about to end.
    pub(super) is_closed: bool,
    /// Of a topic that is shared: what the store does for the group.
    pub(super) link: Link,
}

/// What a store does for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Link {
    /// The topic is this broker's alone: the group is always open, and what is appended is offered to it.
    Own,
    /// Nothing: the group has no members.
    Closed,
    /// It was asked to open the group, or has lost it and opens it again.
    Opening,
    /// It says what has arrived for the group.
    Open,
}

/// Where a window ends: where the next message of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Place {
    /// At this sequence.
    At(u64),
    /// The store has to say which sequence that is. Until it has, nothing is appended to the topic, unless the group is
    /// one of somebody's own.
    Sought(FetchFrom),
}

/// What a group is doing about what it has not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Fetch {
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

impl Source {
    /// Of a new group. `appended` is the last message of the topic that was appended.
    pub(crate) fn new(id: GroupId, place: Place, appended: u64) -> Self {
        let begins = match place {
            Place::At(sequence) => sequence - 1,
            Place::Sought(_) => 0,
        };
        Self {
            place,
            appended,
            counted: 0,
            attempts: Attempts::default(),
            settled: id.is_lasting().then(|| Settled::up_to(begins)),
            fetch: Fetch::None,
            ahead: Ahead::default(),
            saving: None,
            is_dirty: false,
            is_closed: false,
            link: Link::Own,
        }
    }

    /// Of a group of a topic that is shared: the store says where its messages begin.
    pub(crate) fn shared(id: GroupId) -> Self {
        Self {
            link: Link::Closed,
            ..Self::new(id, Place::At(1), 0)
        }
    }

    /// Of a group that has got so far in another life of the broker.
    pub(crate) fn recovered(settled: Settled, appended: u64) -> Self {
        let place = Place::At(settled.next());
        // No more is known of that life: all that is not settled before something that is counts as handed out once.
        let mut attempts = Attempts::default();
        if let Some(known) = Range::new(settled.next(), settled.end() - 1) {
            attempts.note(known, 1);
        }
        Self {
            attempts,
            settled: Some(settled),
            ..Self::new(GroupId::Shared, place, appended)
        }
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Whether the store has yet to say where it begins.
    pub(crate) const fn is_sought(&self) -> bool {
        matches!(self.place, Place::Sought(_))
    }

    pub(crate) const fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// Of a topic that is shared: the sequence after the last message of the group that has arrived.
    pub(crate) fn arriving(&self) -> Option<u64> {
        (self.link != Link::Own).then_some(self.appended + 1)
    }

    /// How many messages that were appended have not come into the window.
    pub(crate) const fn behind(&self) -> u64 {
        match self.place {
            Place::At(next) => (self.appended + 1).saturating_sub(next),
            Place::Sought(_) => 0,
        }
    }

    /// What it is behind by is counted in these sums as it is now.
    pub(crate) fn count_behind(&mut self, sums: [&mut Behind; 2]) {
        let behind = self.behind();
        if behind != self.counted {
            for sum in sums {
                sum.replace(self.counted, behind);
            }
            self.counted = behind;
        }
    }

    /// Whether it is to be saved: it has got further than was saved, or is being saved.
    pub(crate) const fn is_to_be_saved(&self) -> bool {
        self.is_dirty && self.saving.is_none()
    }

    pub(crate) const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// It is being saved as it is, by this change.
    pub(crate) const fn save(&mut self, change: u64) {
        self.saving = Some(change);
        self.is_dirty = false;
    }

    /// This change is saved. Returns whether there is more to be saved.
    pub(crate) fn saved(&mut self, change: u64) -> bool {
        if self.saving == Some(change) {
            self.saving = None;
        }
        self.is_to_be_saved()
    }

    pub(crate) const fn saving(&self) -> Option<u64> {
        self.saving
    }

    /// The window goes on at this sequence, with what is before that in it, or not coming into it.
    pub(super) fn move_to(&mut self, next: u64) {
        self.place = Place::At(next);
        self.attempts.forget_before(next);
    }

    /// What was appended next comes into the window, so far as the window reaches up to it. Returns whether it does.
    const fn meets(&self, first: u64) -> bool {
        matches!(self.place, Place::At(next) if next == first) && !self.is_closed
    }
}

impl Group {
    /// The name under which it is stored, if it is.
    pub(crate) fn stored_name(&self) -> Option<Name> {
        match self.id {
            GroupId::Shared => Name::new(SHARED_NAME).ok(),
            GroupId::Named(_) => self.name.clone(),
            GroupId::Own(_) => None,
        }
    }

    /// Its place on the topic, if that is stored.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    pub(crate) fn source_mut(&mut self) -> Option<&mut Source> {
        self.source.as_deref_mut()
    }

    /// Whether somebody is to know which messages have been settled.
    pub(crate) fn is_tracked(&self) -> bool {
        self.source.as_ref().is_some_and(|it| it.settled.is_some())
    }

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
    fn let_in(&mut self, batch: FrameBatch, mark: Mark, books: &mut Books<'_>) {
        self.count_in(&batch, &mark, books);
        self.backlog.push_back(batch.compact(), mark);
    }

    /// The window's next messages come into it.
    fn count_in(&mut self, batch: &FrameBatch, mark: &Mark, books: &mut Books<'_>) {
        let count = Count::of(batch);
        self.move_place(mark.sequence + count.messages);
        books.shared.budget.take(count.bytes as usize);
        self.post(Entry::Offered(count), books);
    }

    fn move_place(&mut self, next: u64) {
        if let Some(source) = self.source.as_deref_mut() {
            source.move_to(next);
        }
    }

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

    /// What is before `next` and has not come is lost to this group.
    fn miss_up_to(&mut self, next: u64, reason: DropReason, books: &mut Books<'_>) {
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

    /// It has got further, which is to be saved.
    fn note_progress(&mut self, shared: &mut Shared) {
        if let Some(source) = self.source.as_deref_mut() {
            source.is_dirty = true;
            shared.dirty.push((self.topic, self.id));
        }
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

    /// What it has asked for it does not want any more.
    pub(super) fn forget_fetch(&mut self) {
        if let Some(source) = self.source.as_deref_mut()
            && source.fetch == Fetch::Asked
        {
            source.fetch = Fetch::Stale;
        }
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

    /// It has no business with these messages any more.
    pub(crate) fn note_settled(&mut self, first: u64, messages: u64, shared: &mut Shared) {
        if let Some(source) = self.source.as_deref_mut()
            && let Some(settled) = &mut source.settled
            && let Some(range) = Range::new(first, first + messages - 1)
        {
            settled.add(range);
            let next = settled.next();
            if let Place::At(place) = source.place
                && place < next
            {
                // A window that is closed begins where the next life of the broker will.
                source.move_to(next);
            }
            self.note_progress(shared);
        }
    }

    /// A message has failed, or is given up.
    pub(super) fn note_failed(&mut self, waiting: &Waiting, failure: Failure, shared: &mut Shared) {
        if let Some(source) = self.source.as_deref_mut()
            && let Some(settled) = &mut source.settled
        {
            for sequence in waiting.mark.sequence..waiting.end() {
                settled.fail(sequence, failure);
            }
            self.note_progress(shared);
        }
    }

    /// Checks what always holds, where `next` is the sequence of the topic's next message.
    ///
    /// # Panics
    /// If something does not hold.
    pub(super) fn check_source(&self, next: u64) {
        let Some(source) = self.source.as_deref() else {
            return;
        };
        let next = source.arriving().unwrap_or(next);
        assert!(source.appended < next);
        assert_eq!(source.counted, source.behind(), "{}", self.id);
        if let Some(settled) = &source.settled {
            settled.check(next);
            if let Place::At(place) = source.place {
                source.attempts.check(place);
                assert!(
                    place >= settled.next(),
                    "it has settled what it has not had"
                );
            }
        }
        if self.members.is_empty() && self.id.is_lasting() {
            assert!(self.backlog.count().is_zero(), "nobody is there to take it");
        }
    }
}

impl Shared {
    /// The moment that is so many milliseconds after 1970; the beginning of time for what was before that.
    pub(crate) const fn moment(&self, since_1970: u64) -> Now {
        let since_start = since_1970.saturating_sub(self.config.started_ms);
        Now::at(Duration::from_millis(since_start))
    }

    /// How many milliseconds after 1970 a moment is.
    pub(crate) const fn wall_clock(&self, at: Now) -> u64 {
        self.config.started_ms + at.since_start().as_millis() as u64
    }
}
