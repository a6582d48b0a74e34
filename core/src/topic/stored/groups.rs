//! The groups of a topic that is stored: where a new one begins, and what they ask the store for.

use crate::group::{Place, Source};
use crate::id::GroupId;
use crate::shared::Shared;
use crate::store::{FetchFrom, Run};
use crate::topic::Topic;
use crate::wire::handshake::Start;
use alloc::vec::Vec;

impl Topic {
    /// Where a new group begins.
    pub(in crate::topic) fn place_of(&self, from: Start, shared: &Shared) -> Option<Place> {
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
    pub(in crate::topic) fn new_source(
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

    /// What a group has asked for could not be read.
    pub(crate) fn not_fetched(&mut self, id: GroupId, shared: &mut Shared) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.could_not_read(shared);
        }
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
}
