//! The names under which producers send to one topic, and how far each has got.

use super::Refusals;
use crate::error::NotTaken;
use crate::id::ConnId;
use crate::names::Name;
use crate::time::Now;
use crate::wire::control::{Mark, Range};
use alloc::collections::BTreeMap;
use alloc::string::String;

/// The producers of a topic that have a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Producers(BTreeMap<Name, Life>);

/// One life of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Life {
    /// What it calls this life.
    pub(crate) session: String,
    /// The principal whose name it is; none: of somebody who need not say who they are.
    pub(crate) owner: Option<Name>,
    /// The last position that is safe or was refused. While it is connected, its connection knows better.
    pub(crate) accepted: u64,
    /// The last position that a store was asked to append when its connection ended. Until all that is accepted nobody
    /// takes the name.
    pub(crate) storing: u64,
    /// What was refused. Part of what is accepted, or of what its connection says of it.
    pub(crate) refused: Refusals,
    /// The last connection that came under the name. An older one cannot take it any more.
    pub(crate) conn: ConnId,
    /// Whether that connection is there.
    pub(crate) is_connected: bool,
    /// When it last had one.
    pub(crate) left: Now,
}

impl Producers {
    pub(crate) fn get(&self, name: &Name) -> Option<&Life> {
        self.0.get(name)
    }

    /// A producer has come. What is known of another life under its name is forgotten. Returns whether the name
    /// was unknown.
    pub(crate) fn begin(&mut self, name: Name, life: Life) -> bool {
        self.0.insert(name, life).is_none()
    }

    /// The connection of a producer is gone; by then, all up to `accepted` was safe or refused. Returns whether
    /// it was the last that came under its name.
    pub(crate) fn end(
        &mut self,
        name: &Name,
        conn: ConnId,
        (accepted, storing): (u64, u64),
        now: Now,
    ) -> bool {
        let Some(life) = self.0.get_mut(name).filter(|it| it.conn == conn) else {
            return false;
        };
        (life.accepted, life.storing) = (accepted, storing);
        life.is_connected = false;
        life.left = now;
        true
    }

    /// What a producer had got to in another life of the broker.
    pub(crate) fn recover(&mut self, name: Name, mark: &Mark, now: Now) -> bool {
        let life = Life {
            session: mark.session.clone(),
            owner: None,
            accepted: mark.position,
            storing: 0,
            refused: Refusals::default(),
            conn: ConnId(0),
            is_connected: false,
            left: now,
        };
        match self.0.get_mut(&name) {
            None => {
                self.0.insert(name, life);
                true
            }
            Some(known) => {
                if known.session == life.session {
                    known.accepted = known.accepted.max(life.accepted);
                }
                false
            }
        }
    }

    /// What a producer sent that is gone is stored, up to this position.
    pub(crate) fn reach(&mut self, name: &Name, session: &str, position: u64) {
        if let Some(life) = self.0.get_mut(name).filter(|it| it.session == session) {
            life.accepted = life.accepted.max(position);
        }
    }

    /// Positions of a producer were refused. Those that were refused before are lower.
    pub(crate) fn refuse(&mut self, name: &Name, conn: ConnId, range: Range, reason: NotTaken) {
        if let Some(life) = self.0.get_mut(name).filter(|it| it.conn == conn) {
            life.refused.note(range, reason);
        }
    }

    /// Returns whether the name was known.
    pub(crate) fn forget(&mut self, name: &Name) -> bool {
        self.0.remove(name).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &Life)> {
        self.0.iter()
    }

    /// Checks what always holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(super) fn check(&self) {
        for life in self.0.values() {
            life.refused.check();
        }
    }
}
