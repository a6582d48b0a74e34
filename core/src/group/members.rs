//! Who belongs to a group, and whose turn it is.

use super::Group;
use crate::id::ConnId;
use crate::shared::Shared;
use crate::wire::handshake::Share;
use alloc::collections::BTreeSet;

/// A turn among the members of a group: who holds least comes first, then who has waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Turn {
    load: u8,
    number: u64,
}

impl Group {
    pub(crate) const fn members(&self) -> &BTreeSet<ConnId> {
        &self.members
    }

    /// Takes in a member.
    pub(crate) fn join(&mut self, member: ConnId, share: Share, settles: bool) {
        self.members.insert(member);
        if settles {
            self.settling.insert(member);
        }
        if *self.share.get_or_insert(share) == Share::One && self.active.is_none() {
            self.active = Some(member);
        }
    }

    /// A member may be handed what waits, as it does.
    pub(crate) fn wait_turn(&mut self, member: ConnId, shared: &mut Shared) {
        if self.share == Some(Share::One) && self.active != Some(member) {
            // It stands by.
            return;
        }
        if self.emptying == Some(member) {
            let session = shared.session(member);
            if session.credit().is_some_and(|it| !it.holds_nothing) {
                // It is looked at again when it has settled something.
                let ready = &mut shared.consumer(member).ready;
                return ready.push_back((self.topic, self.id));
            }
        }
        let consumer = shared.consumer(member);
        let turn = Turn {
            load: consumer.load(),
            number: self.next_turn,
        };
        self.next_turn += 1;
        consumer.membership(self.topic).turn = Some(turn);
        self.idle.insert(turn, member);
    }

    /// A member that waits for its turn holds less than it did. In a group of its own nobody is before it or behind it.
    pub(crate) fn change_turn(&mut self, member: ConnId, shared: &mut Shared) {
        if self.id.is_lasting() && self.reorder(member, shared) && self.backlog.has_alone() {
            // Another member is kept free for it, and may hold something still.
            self.dispatch(shared);
        }
    }

    /// Puts a member that waits for its turn where it belongs. Returns whether that is another place than before.
    pub(super) fn reorder(&mut self, member: ConnId, shared: &mut Shared) -> bool {
        let consumer = shared.consumer(member);
        let load = consumer.load();
        match &mut consumer.membership(self.topic).turn {
            Some(turn) if turn.load != load => {
                self.idle.remove(turn);
                turn.load = load;
                self.idle.insert(*turn, member);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Hands nothing more to a member whose turn, if it is idle, is this.
    pub(crate) fn withdraw(&mut self, member: ConnId, turn: Option<Turn>) {
        if let Some(turn) = turn {
            self.idle.remove(&turn);
        }
        if self.emptying == Some(member) {
            self.emptying = None;
        }
    }

    /// Lets a member go that holds nothing any more. Returns who takes its place, if it was the one that got
    /// everything.
    pub(crate) fn leave(&mut self, member: ConnId) -> Option<ConnId> {
        self.members.remove(&member);
        self.settling.remove(&member);
        if self.members.is_empty() && !self.is_declared {
            self.share = None;
        }
        if self.active != Some(member) {
            return None;
        }
        self.active = self.members.first().copied();
        self.active
    }
}
