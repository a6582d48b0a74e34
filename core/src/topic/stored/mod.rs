//! A topic that is stored: what it knows of its store.
//!
//! What producers send is appended (`appending.rs`), then groups have it, or ask for it (`groups.rs`), and what those
//! settle is saved (`saving.rs`).

pub(super) mod appending;
mod groups;
mod saving;

use super::Topic;
use crate::group::{Group, Place, Settled, Source};
use crate::id::{ConnId, GroupId};
use crate::names::Name;
use crate::shared::Shared;
use crate::stats::{Behind, Count};
use crate::store::{Request, StoredTopic};
use crate::wire::FrameBatch;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use appending::{Appending, From};

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
