//! How far a group has got: it notes what is settled and what has failed, and is saved when it has got further.

use super::{Place, Source};
use crate::group::settled::Failure;
use crate::group::{Group, Waiting};
use crate::shared::Shared;
use crate::wire::control::Range;

impl Source {
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
}

impl Group {
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
    pub(in crate::group) fn note_failed(
        &mut self,
        waiting: &Waiting,
        failure: Failure,
        shared: &mut Shared,
    ) {
        if let Some(source) = self.source.as_deref_mut()
            && let Some(settled) = &mut source.settled
        {
            for sequence in waiting.mark.sequence..waiting.end() {
                settled.fail(sequence, failure);
            }
            self.note_progress(shared);
        }
    }

    /// It has got further, which is to be saved.
    pub(super) fn note_progress(&mut self, shared: &mut Shared) {
        if let Some(source) = self.source.as_deref_mut() {
            source.is_dirty = true;
            shared.dirty.push((self.topic, self.id));
        }
    }
}
