//! Groups of a topic come and go.

use super::Topic;
use crate::config::DeliveryMode;
use crate::error::{CloseReason, DropReason};
use crate::group::{Books, Group, Source};
use crate::id::{ConnId, GroupId};
use crate::names::Name;
use crate::shared::Shared;
use crate::wire::handshake::{Share, Start};

/// The name of the group that all consumers of a queue join.
pub(crate) const SHARED_NAME: &str = "queue";

impl Topic {
    /// The group that a consumer means, if it is there.
    pub(crate) fn find_group(&self, conn: ConnId, wanted: Option<&Name>) -> Option<GroupId> {
        let id = match (wanted, self.settings.mode) {
            (None, DeliveryMode::Broadcast) => GroupId::Own(conn),
            (None, DeliveryMode::Queue) => GroupId::Shared,
            (Some(name), DeliveryMode::Queue) if name.as_str() == SHARED_NAME => GroupId::Shared,
            (Some(name), _) => *self.named.get(name)?,
        };
        self.groups.contains_key(&id).then_some(id)
    }

    /// The group of this name.
    pub(crate) fn group_named(&self, name: &Name) -> Option<GroupId> {
        self.named.get(name).copied()
    }

    /// Takes in a consumer. Returns its group, and whether the group is new.
    ///
    /// # Errors
    /// If there are too many named groups, or the group shares in another way.
    pub(crate) fn join(
        &mut self,
        conn: ConnId,
        wanted: Option<&Name>,
        share: Option<Share>,
        from: Start,
        shared: &mut Shared,
    ) -> Result<(GroupId, bool), CloseReason> {
        let found = self.find_group(conn, wanted);
        if let Some(group) = found.and_then(|id| self.groups.get(&id))
            && let (Some(is), Some(share)) = (group.share(), share)
            && is != share
        {
            return Err(CloseReason::GroupMismatch);
        }
        let id = match (found, wanted) {
            (Some(id), _) => id,
            (None, Some(name)) => {
                if shared.stats.named_groups >= shared.config.topics.max_groups {
                    return Err(CloseReason::TooManyGroups);
                }
                self.new_named(name.clone(), from, shared)
            }
            (None, None) => {
                let id = GroupId::Own(conn);
                self.new_group(id, None, from, shared);
                id
            }
        };
        let group = self.groups.get_mut(&id).expect("it was found or made");
        if let Some(due) = group.idle_timer.take() {
            let timeout = crate::timers::Timeout::GroupIdle(self.id, id);
            shared.timers.clear(due, timeout);
        }
        let settles = shared.consumer(conn).acks.is_some();
        let share = share.unwrap_or_else(|| group.share().unwrap_or_default());
        group.join(conn, share, settles);
        let is_new = found.is_none();
        let from = if is_new { from } else { Start::New };
        self.open_group(id, from, shared);
        if is_new {
            self.make_safe(id, shared);
        }
        Ok((id, is_new))
    }

    /// A group that was not there. It is to be made safe, when the store was asked to open it.
    pub(super) fn new_group(
        &mut self,
        id: GroupId,
        name: Option<Name>,
        from: Start,
        shared: &mut Shared,
    ) {
        let source = self.new_source(id, from, shared);
        self.add_group(id, name, source, shared);
    }

    fn add_group(
        &mut self,
        id: GroupId,
        name: Option<Name>,
        source: Option<Source>,
        shared: &mut Shared,
    ) {
        let limits = if id.is_lasting() {
            self.limits()
        } else {
            self.own_limits()
        };
        let group = Group::new(self.id, id, name, limits, source);
        self.groups.insert(id, group);
        self.count_behind(id, shared);
    }

    /// The same with a name.
    pub(super) fn new_named(&mut self, name: Name, from: Start, shared: &mut Shared) -> GroupId {
        let id = self.name_group(&name, shared);
        self.new_group(id, Some(name), from, shared);
        id
    }

    /// A number for a group with this name.
    fn name_group(&mut self, name: &Name, shared: &mut Shared) -> GroupId {
        let id = GroupId::Named(shared.next_group);
        shared.next_group += 1;
        shared.stats.named_groups += 1;
        self.named.insert(name.clone(), id);
        id
    }

    /// A group of another life of the broker is there again. Nobody is a member yet.
    pub(super) fn restore_group(&mut self, name: Name, source: Source, shared: &mut Shared) {
        let is_queue = self.settings.mode == DeliveryMode::Queue && name.as_str() == SHARED_NAME;
        if is_queue {
            return self.add_group(GroupId::Shared, None, Some(source), shared);
        }
        let id = self.name_group(&name, shared);
        self.add_group(id, Some(name), Some(source), shared);
        self.arm_group_idle(id, shared);
    }

    /// A member that holds nothing any more is let go. If the group was its own, so is the group, and what waits
    /// in it is lost. Returns who takes the member's place, if it was the one that got everything.
    pub(crate) fn leave(
        &mut self,
        conn: ConnId,
        id: GroupId,
        reason: CloseReason,
        shared: &mut Shared,
    ) -> Option<ConnId> {
        let group = self.groups.get_mut(&id).expect("the group is there");
        let successor = group.leave(conn);
        if let GroupId::Own(_) = id {
            let lost_by = if reason == CloseReason::DrainTimeout {
                DropReason::Shutdown
            } else {
                DropReason::ConsumerLeft
            };
            self.end_group(id, lost_by, shared);
            return None;
        }
        let drain_has_ended = shared.drain_has_ended();
        if group.is_ending && group.members().is_empty() {
            self.end_group(id, DropReason::GroupEnded, shared);
            return None;
        }
        let is_stored = self.stored.is_some();
        self.with_group(id, shared, |group, books| {
            if is_stored {
                group.leave_window(books);
            } else if drain_has_ended {
                group.discard(DropReason::Shutdown, books);
            }
            group.dispatch(books.shared);
        });
        self.close_group(id, shared);
        self.group_lost_room(id, shared);
        self.arm_group_idle(id, shared);
        successor
    }

    /// A group is to end as soon as it has no member.
    pub(crate) fn end_when_empty(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.is_ending = true;
        }
    }

    fn arm_group_idle(&mut self, id: GroupId, shared: &mut Shared) {
        let group = self.groups.get_mut(&id).expect("the group is there");
        if group.members().is_empty()
            && group.may_end()
            && group.idle_timer.is_none()
            && let Some(idle) = shared.config.topics.group_idle
        {
            let due = shared.now + idle;
            group.idle_timer = Some(due);
            let timeout = crate::timers::Timeout::GroupIdle(self.id, id);
            shared.timers.set(due, timeout);
        }
    }

    /// The time of a group without members is over.
    pub(crate) fn idle_time_is_over(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.idle_timer = None;
        }
    }

    /// Ends a group that has no members. What waits in it is lost.
    pub(crate) fn end_group(&mut self, id: GroupId, reason: DropReason, shared: &mut Shared) {
        self.close_group(id, shared);
        let Some(mut group) = self.groups.remove(&id) else {
            return;
        };
        if let (Some(source), Some(name)) = (group.source(), group.stored_name()) {
            self.forget_group(id, source.place(), name, shared);
        }
        let topic = &mut self.flow;
        group.discard(reason, &mut Books { topic, shared });
        if let Some(stored) = &mut self.stored {
            // It is behind by nothing any more.
            stored.count_behind(&mut group, shared);
        }
        group.clear_timers(shared);
        if let Some(name) = group.name() {
            self.named.remove(name);
            shared.stats.named_groups -= 1;
        }
        self.group_left(shared);
    }
}
