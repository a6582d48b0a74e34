//! What happens by itself, soonest first.

use crate::id::{ConnId, GroupId, TopicId};
use crate::time::Now;
use alloc::collections::BTreeSet;

/// What is due at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Timeout {
    /// The role line must be whole.
    Role(ConnId),
    /// The write in flight may be due; see `Shared::arm_write_timer`.
    Write(ConnId),
    /// The orderly end must be over.
    Drain,
    /// Its peer has been silent, or is to be asked whether it is there.
    Heartbeat(ConnId),
    /// It is to be told whether it is read from.
    Blocked(ConnId),
    /// It has settled nothing for too long.
    Ack(ConnId),
    /// Its rights end, or it has had its grace.
    Expiry(ConnId),
    /// Messages of the group are to be handed out again.
    Retry(TopicId, GroupId),
    /// Messages in the group's backlog may be too old.
    Age(TopicId, GroupId),
    /// The group has had no member for too long.
    GroupIdle(TopicId, GroupId),
    /// Nobody has used the topic for too long.
    TopicIdle(TopicId),
    /// What is owed to producers that do not wait for room may have been owed for long enough.
    Turn(TopicId),
    /// The group may ask its topic's store again, which could not read.
    Fetch(TopicId, GroupId),
}

/// All that is due, soonest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Timers(BTreeSet<(Now, Timeout)>);

impl Timers {
    pub(crate) fn next(&self) -> Option<Now> {
        self.0.first().map(|(due, _)| *due)
    }

    pub(crate) fn set(&mut self, due: Now, timeout: Timeout) {
        self.0.insert((due, timeout));
    }

    pub(crate) fn clear(&mut self, due: Now, timeout: Timeout) {
        self.0.remove(&(due, timeout));
    }

    pub(crate) fn is_set(&self, due: Now, timeout: Timeout) -> bool {
        self.0.contains(&(due, timeout))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Connections for which something is due at `now`.
    pub(crate) fn due(&self, now: Now) -> impl Iterator<Item = ConnId> {
        let due = self.0.iter().take_while(move |(due, _)| *due <= now);
        due.filter_map(|(_, timeout)| match timeout {
            Timeout::Role(conn)
            | Timeout::Write(conn)
            | Timeout::Heartbeat(conn)
            | Timeout::Ack(conn) => Some(*conn),
            Timeout::Drain
            | Timeout::Blocked(_)
            | Timeout::Expiry(_)
            | Timeout::Retry(..)
            | Timeout::Age(..)
            | Timeout::GroupIdle(..)
            | Timeout::TopicIdle(_)
            | Timeout::Turn(_)
            | Timeout::Fetch(..) => None,
        })
    }

    /// Takes the first that is due.
    pub(crate) fn take_due(&mut self, now: Now) -> Option<(Now, Timeout)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
