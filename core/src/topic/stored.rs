//! A topic that is stored: what its store was asked to append and has not, and what comes of it.

use super::{Published, Topic};
use crate::config::Overflow;
use crate::group::{Books, Group, Mark, Place, Settled, Source, Waiting};
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::Name;
use crate::shared::Shared;
use crate::stats::{Behind, Count};
use crate::store::{FetchFrom, Request, Run, StoredTopic};
use crate::time::Now;
use crate::wire::control::{self, Origin};
use crate::wire::handshake::Start;
use crate::wire::{FrameBatch, MAX_FRAME};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The most bytes that a store is asked to append in one piece.
const MAX_PIECE: usize = 4 << 20;

/// The most pieces that a store is asked to append and has not.
const MAX_APPENDING: usize = 4_096;

/// What a topic knows of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Stored {
    /// What is to be appended, first in first out.
    appending: VecDeque<Appending>,
    /// All of it.
    count: Count,
    /// The sequence of the first message kept.
    first: u64,
    /// The last message that was appended.
    appended: u64,
    /// When the last message of an earlier life was published. The clock may have been set back since: until it has
    /// caught up, that is when new ones count as published.
    published: u64,
    /// How many changes of groups the store was asked to save, and how many it has saved.
    changes: u64,
    saved: u64,
    /// The last change that makes a group. Nothing is appended before it is saved: what a group is to have is stored
    /// only when the group is sure to be found again.
    made: u64,
    /// How many new groups that outlive their members have yet to be told where they begin.
    unplaced: usize,
    /// What is being saved, by the number of its change.
    saving: VecDeque<(u64, GroupId)>,
    /// How much its groups are behind.
    behind: Behind,
    /// Consumers that are to be told when a change is saved, and the number of their FLUSH.
    flushes: VecDeque<(u64, ConnId, u64)>,
}

/// Messages that a store was asked to append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Appending {
    batch: FrameBatch,
    first: u64,
    published: Now,
    source: From,
}

/// Where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum From {
    /// A producer; with a name, how far it gets with them.
    Producer(ConnId, Option<Box<Reached>>),
    /// A group that has given them up.
    Group(Box<Buried>, Box<Origin>),
}

/// How far a producer with a name gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reached {
    /// The topic where its name is known.
    pub(crate) home: TopicId,
    pub(crate) name: Name,
    pub(crate) session: String,
    pub(crate) position: u64,
}

/// A message that a group has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Buried {
    pub(crate) topic: TopicId,
    pub(crate) group: GroupId,
    pub(crate) sequence: u64,
}

/// What has to be done elsewhere, now that something was appended.
pub(crate) enum Consequence {
    /// A producer that is gone has got so far.
    Reached(Box<Reached>),
    /// A dead letter is safe, so its group has no business with it any more.
    Buried(Buried),
}

impl Stored {
    /// Of a topic that begins.
    pub(crate) const fn new() -> Self {
        Self::at(1, 1, 0)
    }

    /// Of a topic that was found, with the messages from `first` on and before `next`, the last of which was published
    /// then.
    pub(crate) const fn at(first: u64, next: u64, published: u64) -> Self {
        Self {
            appending: VecDeque::new(),
            count: Count::ZERO,
            first,
            appended: next - 1,
            published,
            changes: 0,
            saved: 0,
            made: 0,
            unplaced: 0,
            saving: VecDeque::new(),
            behind: Behind::NOBODY,
            flushes: VecDeque::new(),
        }
    }

    /// What the store was asked to append and has not.
    pub(crate) const fn appending(&self) -> Count {
        self.count
    }

    /// How much its groups are behind.
    pub(crate) const fn behind(&self) -> Behind {
        self.behind
    }

    /// What one of them is behind by may be another.
    pub(super) fn count_behind(&mut self, group: &mut Group, shared: &mut Shared) {
        if let Some(source) = group.source_mut() {
            source.count_behind([&mut self.behind, &mut shared.stats.behind]);
        }
    }

    /// The sequence of the first message kept.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// How many messages are kept.
    pub(crate) const fn kept(&self) -> u64 {
        (self.appended + 1).saturating_sub(self.first)
    }

    /// How many bytes more may wait to be appended.
    fn room(&self, bytes: usize) -> usize {
        if self.appending.len() >= MAX_APPENDING || !self.groups_are_safe() {
            return 0;
        }
        bytes.saturating_sub(self.count.bytes as usize)
    }

    /// Whether all groups are sure to be found again.
    const fn groups_are_safe(&self) -> bool {
        self.unplaced == 0 && self.saved >= self.made
    }

    pub(super) fn each_batch(&mut self, visit: &mut dyn FnMut(&mut FrameBatch)) {
        for appending in &mut self.appending {
            visit(&mut appending.batch);
        }
    }

    /// How many changes are yet to be saved.
    pub(crate) const fn unsaved(&self) -> u64 {
        self.changes - self.saved
    }

    fn check(&self, next: u64) {
        let (mut count, mut sequence) = (Count::ZERO, self.appended + 1);
        for it in &self.appending {
            assert_eq!(it.first, sequence, "a hole in what is appended");
            sequence += it.batch.messages() as u64;
            count += Count::of(&it.batch);
        }
        assert_eq!((self.count, next), (count, sequence));
        assert!(self.made <= self.changes && self.saved <= self.changes);
    }
}

impl Topic {
    /// What it knows of its store, if it is stored.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        self.stored.as_deref()
    }

    /// Has a store made for it.
    pub(super) fn open_store(&self, shared: &mut Shared) {
        let (name, epoch) = (self.name.clone(), self.epoch);
        shared.ask(self.id, Request::Open { name, epoch });
    }

    /// Takes over what was found in the store, but for its producers.
    pub(crate) fn take_over(&mut self, found: StoredTopic, shared: &mut Shared) {
        self.epoch = found.epoch;
        (self.next_sequence, self.before) = (found.next, found.next);
        let stored = Stored::at(found.first, found.next, found.published);
        self.stored = Some(Box::new(stored));
        let groups: BTreeMap<Name, _> = found.groups.into_iter().collect();
        for (name, progress) in groups {
            let source = Source::recovered(Settled::of(&progress), found.next - 1);
            self.restore_group(name, source, shared);
        }
    }

    /// How many bytes of messages the store may be asked to append now.
    pub(super) fn room_in_store(&self, budget_room: usize) -> usize {
        let stored = self.stored.as_ref().expect("the topic is stored");
        stored
            .room(self.settings.bytes.max(MAX_FRAME))
            .min(budget_room)
            .min(MAX_PIECE)
    }

    /// Whether it is the store that has no room for so many bytes, and not the budget.
    pub(super) fn store_is_full(&self, bytes: usize) -> bool {
        self.room_in_store(usize::MAX) < bytes
    }

    /// Publishes what a producer sent: it waits for room, unless it is to be told that there is none.
    pub(super) fn publish_stored(
        &mut self,
        conn: ConnId,
        batch: FrameBatch,
        confirms: bool,
        shared: &mut Shared,
    ) -> Published {
        // Of who has a name it is remembered how far it has got, and not what of that was refused.
        let is_refused = confirms
            && self.stored().is_some_and(Stored::groups_are_safe)
            && self.settings.overflow == Overflow::Reject
            && !shared.has_producer_name(conn);
        if is_refused {
            self.admit_or_refuse(conn, batch, shared)
        } else {
            self.admit_or_park(conn, batch, shared)
        }
    }

    /// Asks the store to append what a producer sent; there is room for it.
    pub(super) fn append(&mut self, conn: ConnId, batch: FrameBatch, shared: &mut Shared) {
        let messages = batch.messages() as u64;
        let reached = shared.note_storing(conn, self.id, messages);
        let source = From::Producer(conn, reached.map(Box::new));
        self.ask_to_append(batch, source, shared);
    }

    /// Takes in a dead letter, which it has room for.
    pub(super) fn append_dead(&mut self, dead: Waiting, buried: Buried, shared: &mut Shared) {
        let origin = dead.mark.origin.expect("a dead letter has an origin");
        let source = From::Group(Box::new(buried), origin);
        self.ask_to_append(dead.batch, source, shared);
    }

    fn ask_to_append(&mut self, batch: FrameBatch, source: From, shared: &mut Shared) {
        let count = Count::of(&batch);
        let first = self.receive(count, shared);
        let batch = batch.compact();
        shared.budget.take(count.bytes as usize);
        shared.stats.storing += count;
        let (producers, origin) = match &source {
            From::Producer(_, reached) => {
                let mark = reached.as_ref().map(|it| self.mark_of(it, shared));
                (mark.into_iter().collect(), None)
            }
            From::Group(_, origin) => (Vec::new(), Some(origin.clone())),
        };
        let published = shared.now;
        shared.ask(
            self.id,
            Request::Append {
                first,
                published: shared.wall_clock(published),
                batch: batch.clone(),
                producers,
                origin,
            },
        );
        let stored = self.stored.as_mut().expect("the topic is stored");
        stored.count += count;
        stored.appending.push_back(Appending {
            batch,
            first,
            published,
            source,
        });
    }

    /// What is stored of how far a producer gets. One whose name is known in another topic is told from its
    /// namesakes here by that topic's name.
    fn mark_of(&self, reached: &Reached, shared: &Shared) -> control::Mark {
        let name = if reached.home == self.id {
            reached.name.to_string()
        } else {
            format!("{}@{}", reached.name, shared.facts[&reached.home].name)
        };
        control::Mark {
            name,
            session: reached.session.clone(),
            position: reached.position,
        }
    }

    /// The store has appended all up to this sequence: its producers are told, and it is offered.
    ///
    /// # Panics
    /// If it was not asked to.
    pub(crate) fn appended(&mut self, up_to: u64, shared: &mut Shared) -> Vec<Consequence> {
        assert!(
            up_to < self.next_sequence,
            "more was appended than was to be"
        );
        let mut consequences = Vec::new();
        loop {
            let stored = self.stored.as_mut().expect("the topic is stored");
            let is_there = |it: &mut Appending| it.first + it.batch.messages() as u64 - 1 <= up_to;
            let Some(appended) = stored.appending.pop_front_if(is_there) else {
                return consequences;
            };
            let Appending {
                batch,
                first,
                published,
                source,
            } = appended;
            let count = Count::of(&batch);
            stored.count -= count;
            stored.appended = first + count.messages - 1;
            shared.stats.storing -= count;
            shared.budget.give_back(count.bytes as usize);
            let mut mark = Mark::new(first, published);
            match source {
                From::Producer(conn, reached) => {
                    // Of a topic that is shared, groups may be with other brokers.
                    let unrouted = self.groups.is_empty() && !self.settings.storage.is_shared();
                    let knows = shared.note_stored(conn, self.id, count.messages, unrouted);
                    let reached = reached.filter(|_| !knows);
                    consequences.extend(reached.map(Consequence::Reached));
                }
                From::Group(buried, origin) => {
                    mark.origin = Some(origin);
                    consequences.push(Consequence::Buried(*buried));
                }
            }
            if self.settings.storage.is_shared() {
                // It comes to the groups by the store.
                continue;
            }
            let topic = &mut self.flow;
            for group in self.groups.values_mut() {
                group.take_appended(&batch, &mark, &mut Books { topic, shared });
                stored.count_behind(group, shared);
            }
        }
    }

    /// What a group asks for now; none if it wants nothing any more.
    pub(crate) fn ask_for(
        &mut self,
        id: GroupId,
        write_bytes: usize,
    ) -> Option<(FetchFrom, usize)> {
        self.groups.get_mut(&id)?.ask(write_bytes)
    }

    /// What a group has asked for has come. Returns whether the group has given up some of it in another life of the
    /// broker.
    pub(crate) fn fetched(
        &mut self,
        id: GroupId,
        mut runs: Vec<Run>,
        next: u64,
        shared: &mut Shared,
    ) -> bool {
        if !self.groups.contains_key(&id) {
            return false;
        }
        for run in &mut runs {
            self.sum_up(&mut run.batch);
        }
        let taken = self.with_group(id, shared, |group, books| {
            group.take_fetched(runs, next, books)
        });
        if taken.is_placed {
            if let GroupId::Own(member) = id {
                let next = self.next_for(id);
                shared.consumer(member).membership(self.id).next = next;
            } else {
                let stored = self.stored.as_mut().expect("the topic is stored");
                stored.unplaced -= 1;
                self.make_safe(id, shared);
            }
        }
        taken.has_given_up
    }

    /// The sequence of the first message that may come to the members of a group: one that is missing behind it will
    /// not come.
    pub(crate) fn next_for(&self, id: GroupId) -> u64 {
        let source = self.groups.get(&id).and_then(|it| it.source());
        match source.map(Source::place) {
            Some(Place::At(sequence)) => sequence,
            // Nothing is missing before what is found.
            Some(Place::Sought(_)) => u64::MAX,
            None => self.next_sequence,
        }
    }

    /// What a group has asked for could not be read.
    pub(crate) fn not_fetched(&mut self, id: GroupId, shared: &mut Shared) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.could_not_read(shared);
        }
    }

    /// Where a new group begins.
    pub(super) fn place_of(&self, from: Start, shared: &Shared) -> Option<Place> {
        let stored = self.stored.as_ref()?;
        Some(match from {
            Start::New => Place::At(self.next_sequence),
            Start::First => Place::At(stored.first),
            Start::Last => Place::At(stored.appended.max(stored.first)),
            Start::Sequence(sequence) => Place::At(sequence),
            Start::Time(at) if at > shared.wall_clock(shared.now).max(stored.published) => {
                Place::At(self.next_sequence)
            }
            Start::Time(at) => Place::Sought(FetchFrom::Time(at)),
        })
    }

    /// The place of a new group on the topic, if that is stored.
    pub(super) fn new_source(
        &mut self,
        id: GroupId,
        from: Start,
        shared: &Shared,
    ) -> Option<Source> {
        if self.is_shared() {
            return Some(Source::shared(id));
        }
        let place = self.place_of(from, shared)?;
        let stored = self.stored.as_mut()?;
        if let (Place::Sought(_), true) = (place, id.is_lasting()) {
            stored.unplaced += 1;
        }
        Some(Source::new(id, place, stored.appended))
    }

    /// A group is new: nothing is appended until it is sure to be found again.
    pub(super) fn make_safe(&mut self, id: GroupId, shared: &mut Shared) {
        let is_lasting = id.is_lasting();
        let source = self.groups.get(&id).and_then(|it| it.source());
        let is_placed = source.is_some_and(|it| matches!(it.place(), Place::At(_)));
        if is_lasting && is_placed {
            self.save_group(id, shared);
            let stored = self.stored.as_mut().expect("the topic is stored");
            stored.made = stored.changes;
        }
    }

    /// A group that is not there any more is to be forgotten.
    pub(super) fn forget_group(
        &mut self,
        id: GroupId,
        place: Place,
        name: Name,
        shared: &mut Shared,
    ) {
        let Some(stored) = self.stored.as_mut() else {
            return;
        };
        if let Place::Sought(_) = place {
            stored.unplaced -= 1;
            return;
        }
        stored.changes += 1;
        let change = stored.changes;
        stored.saving.push_back((change, id));
        shared.ask(
            self.id,
            Request::RemoveGroup {
                change,
                group: name,
            },
        );
    }

    /// Has the store save how far a group has got. Returns the number of the change.
    pub(crate) fn save_group(&mut self, id: GroupId, shared: &mut Shared) -> Option<u64> {
        let stored = self.stored.as_mut()?;
        let group = self.groups.get_mut(&id)?;
        let name = group.stored_name()?;
        let source = group.source_mut()?;
        let progress = source.settled()?.progress();
        stored.changes += 1;
        let change = stored.changes;
        source.save(change);
        stored.saving.push_back((change, id));
        let group = name;
        shared.ask(
            self.id,
            Request::SaveGroup {
                change,
                group,
                progress,
            },
        );
        Some(change)
    }

    /// A group has got further: that is saved, unless it is being saved already. Then it is when that is done.
    pub(crate) fn save_if_dirty(&mut self, id: GroupId, shared: &mut Shared) {
        let group = self.groups.get(&id);
        let source = group.and_then(|it| it.source());
        if source.is_some_and(Source::is_to_be_saved) {
            self.save_group(id, shared);
        }
    }

    /// A consumer is to be told when all is saved that a group has settled by now. Returns whether it is not yet.
    pub(crate) fn flush_group(
        &mut self,
        id: GroupId,
        conn: ConnId,
        number: u64,
        shared: &mut Shared,
    ) -> bool {
        let Some(source) = self.groups.get(&id).and_then(|it| it.source()) else {
            return false;
        };
        let change = if source.is_dirty() {
            self.save_group(id, shared)
        } else {
            source.saving()
        };
        let (Some(change), Some(stored)) = (change, self.stored.as_mut()) else {
            return false;
        };
        let behind = stored.flushes.iter().rposition(|(it, ..)| *it <= change);
        let place = behind.map_or(0, |it| it + 1);
        stored.flushes.insert(place, (change, conn, number));
        true
    }

    /// The store has saved all changes up to this one.
    ///
    /// # Panics
    /// If it was not asked to.
    pub(crate) fn group_saved(&mut self, up_to: u64, shared: &mut Shared) {
        let stored = self.stored.as_mut().expect("the topic is stored");
        assert!(up_to <= stored.changes, "a change that was not asked for");
        stored.saved = stored.saved.max(up_to);
        while let Some((_, conn, number)) = self.pop_flush(up_to) {
            shared.note_flushed(conn, number);
        }
        while let Some((change, id)) = self.pop_saving(up_to) {
            let source = self.groups.get_mut(&id).and_then(|it| it.source_mut());
            if source.is_some_and(|it| it.saved(change)) {
                self.save_group(id, shared);
            }
        }
    }

    fn pop_flush(&mut self, up_to: u64) -> Option<(u64, ConnId, u64)> {
        let stored = self.stored.as_mut()?;
        stored.flushes.pop_front_if(|(change, ..)| *change <= up_to)
    }

    fn pop_saving(&mut self, up_to: u64) -> Option<(u64, GroupId)> {
        let stored = self.stored.as_mut()?;
        stored.saving.pop_front_if(|(change, _)| *change <= up_to)
    }

    /// A group has no business with these messages any more.
    pub(crate) fn settle(&mut self, id: GroupId, first: u64, messages: u64, shared: &mut Shared) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.note_settled(first, messages, shared);
            self.count_behind(id, shared);
        }
    }

    /// What a group is behind by may be another.
    pub(super) fn count_behind(&mut self, id: GroupId, shared: &mut Shared) {
        if let (Some(stored), Some(group)) = (&mut self.stored, self.groups.get_mut(&id)) {
            stored.count_behind(group, shared);
        }
    }

    /// The messages before this sequence are not kept any more.
    pub(crate) fn trimmed(&mut self, first: u64) {
        if let Some(stored) = self.stored.as_mut() {
            stored.first = stored.first.max(first);
        }
    }

    /// The broker is about to end: what waits is left to its next life.
    pub(crate) fn close_windows(&mut self, shared: &mut Shared) {
        if self.stored.is_none() {
            return;
        }
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.with_group(id, shared, |group, books| group.close_window(books));
        }
    }

    pub(super) fn check_stored(&self, shared: &Shared) {
        for group in self.groups.values() {
            assert_eq!(group.source().is_some(), self.stored.is_some());
            if let Some(source) = group.source() {
                let seen = source.is_dirty() && source.saving().is_none();
                assert!(!seen, "{}: it is not saved how far it has got", group.id());
            }
        }
        let Some(stored) = &self.stored else {
            return;
        };
        stored.check(self.next_sequence);
        let mut behind = Behind::NOBODY;
        for source in self.groups.values().filter_map(|it| it.source()) {
            behind.replace(0, source.behind());
        }
        assert_eq!(stored.behind, behind, "{}", self.id);
        let lasting = self.groups.values().filter(|it| it.id().is_lasting());
        let sought = lasting.filter_map(|it| it.source());
        let sought = sought.filter(|it| matches!(it.place(), Place::Sought(_)));
        assert_eq!(stored.unplaced, sought.count());
        for it in &stored.appending {
            if let From::Producer(conn, _) = it.source
                && let Some(producer) = shared.sessions.get(&conn).and_then(|it| it.producer())
            {
                assert!(producer.line.storing() > 0, "{conn} does not wait");
            }
        }
    }
}
