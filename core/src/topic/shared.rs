//! A topic that other brokers share by its store: which groups the store has open, and what it says of them.

use super::Topic;
use crate::group::{Group, Source};
use crate::id::GroupId;
use crate::shared::Shared;
use crate::stats::Count;
use crate::store::{OpenFrom, Request};
use crate::wire::handshake::Start;

impl Topic {
    /// Whether other brokers may have it too.
    pub(crate) const fn is_shared(&self) -> bool {
        self.settings.storage.is_shared()
    }

    /// A group has got a member: if it is the first, the store opens the group, which begins there if it is new.
    pub(super) fn open_group(&mut self, id: GroupId, from: Start, shared: &mut Shared) {
        let most = self.settings.capacity;
        if let Some(group) = self.groups.get_mut(&id)
            && group.begins_to_open()
        {
            let (group, name) = (id, group.stored_name());
            let open = Request::OpenGroup {
                group,
                name,
                most,
                from: open_from(from),
            };
            shared.ask(self.id, open);
        }
    }

    /// A group has lost a member: if it was the last, the store closes the group, when it has saved what that has settled.
    pub(super) fn close_group(&mut self, id: GroupId, shared: &mut Shared) {
        let closes =
            self.groups.contains_key(&id) && self.with_group(id, shared, Group::begins_to_close);
        if !closes {
            return;
        }
        if self.groups[&id].source().is_some_and(Source::is_dirty) {
            self.save_group(id, shared);
        }
        shared.ask(self.id, Request::CloseGroup { group: id });
    }

    /// The store has opened a group, whose messages begin here.
    pub(crate) fn group_opened(&mut self, id: GroupId, next: u64, shared: &mut Shared) {
        let is_open = self.groups.contains_key(&id)
            && self.with_group(id, shared, |group, _| group.opened(next));
        if let (true, GroupId::Own(member)) = (is_open, id) {
            shared.consumer(member).membership(self.id).next = next;
            let now = shared.now;
            if let Some(version2) = shared.signal(member)
                && core::mem::take(&mut version2.signals.is_held)
            {
                // It has known nothing of heartbeats so far.
                version2.heard = now;
            }
        }
    }

    /// Messages up to this one can be fetched for a group.
    pub(crate) fn arrived(&mut self, id: GroupId, up_to: u64, shared: &mut Shared) {
        if self.groups.contains_key(&id) {
            self.with_group(id, shared, |group, _| group.arrived(up_to));
        }
    }

    /// The store has taken back all that it had for a group. Returns whether its members may hold some of that.
    pub(crate) fn group_lost(&mut self, id: GroupId, shared: &mut Shared) -> bool {
        self.groups.contains_key(&id) && self.with_group(id, shared, Group::lost)
    }

    /// A member does not hold these any more: they come again by the store.
    pub(crate) fn revoke(&mut self, id: GroupId, count: Count, shared: &mut Shared) {
        self.with_group(id, shared, |group, books| group.revoke(count, books));
    }
}

/// The same for a store that brokers share. A sequence means nothing to it, and is refused before.
const fn open_from(start: Start) -> OpenFrom {
    match start {
        Start::New | Start::Sequence(_) => OpenFrom::New,
        Start::First => OpenFrom::First,
        Start::Last => OpenFrom::Last,
        Start::Time(at) => OpenFrom::Time(at),
    }
}
