//! How far the groups of a topic that is stored have got: that is saved, and told to who has sent FLUSH.

use crate::group::{Place, Source};
use crate::id::{ConnId, GroupId};
use crate::names::Name;
use crate::shared::Shared;
use crate::store::Request;
use crate::topic::Topic;

impl Topic {
    /// A group is new: nothing is appended until it is sure to be found again.
    pub(in crate::topic) fn make_safe(&mut self, id: GroupId, shared: &mut Shared) {
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
    pub(in crate::topic) fn forget_group(
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

    /// A group has no business with these messages any more.
    pub(crate) fn settle(&mut self, id: GroupId, first: u64, messages: u64, shared: &mut Shared) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.note_settled(first, messages, shared);
            self.count_behind(id, shared);
        }
    }

    /// A group has got further: that is saved, unless it is being saved already. Then it is when that is done.
    pub(crate) fn save_if_dirty(&mut self, id: GroupId, shared: &mut Shared) {
        let group = self.groups.get(&id);
        let source = group.and_then(|it| it.source());
        if source.is_some_and(Source::is_to_be_saved) {
            self.save_group(id, shared);
        }
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
}
