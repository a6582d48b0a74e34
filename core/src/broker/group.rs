//! A group: hands each message to one of its members.

use super::backlog::{Backlog, Taken};
use crate::id::ConnId;
use crate::stats::Flow;
use alloc::collections::{BTreeSet, VecDeque};

/// What waits is bulk if it takes at least this part of a write.
const BULK_RATIO: usize = 4;

/// So many members share bulk in any case, ...
const SHARERS: usize = 8;

/// ... and more only if each of them gets at least this part of a write.
const RUN_RATIO: usize = 8;

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) backlog: Backlog,
    /// Its members, all of them.
    pub(super) members: BTreeSet<ConnId>,
    /// Those with no write in flight, the one that has waited longest first. While a message
    /// waits, there is none: nothing waits for want of looking.
    pub(super) idle: VecDeque<ConnId>,
    /// What became of the messages offered to it.
    pub(super) flow: Flow,
}

/// What one member is given.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) member: ConnId,
    pub(super) taken: Taken,
}

impl Group {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self {
            backlog,
            members: BTreeSet::new(),
            idle: VecDeque::new(),
            flow: Flow::default(),
        }
    }

    /// How many members are to share what waits: all that are idle. But bulk no more than can be
    /// given something worth a write, so that a message costs the same however many members there
    /// are; whoever has been idle for longest comes first, and the others are the next.
    pub(super) fn sharers(&self, write_bytes: usize) -> usize {
        let bytes = self.backlog.bytes();
        if bytes < write_bytes / BULK_RATIO {
            return self.idle.len();
        }
        let runs = bytes / (write_bytes / RUN_RATIO).max(1);
        self.idle.len().min(runs.max(SHARERS))
    }

    /// Gives the next idle member its share of what waits: of m messages and k `sharers`, about
    /// m/k, in one run, but no more than `write_bytes` (or one message). To be called until there
    /// is none: then nothing waits, or nobody is idle.
    pub(super) fn next_run(&mut self, sharers: &mut usize, write_bytes: usize) -> Option<Run> {
        if self.backlog.is_empty() {
            return None;
        }
        // Runs that were cut for their bytes may leave something when all have had their share.
        let share = self.backlog.messages().div_ceil((*sharers).max(1));
        *sharers = sharers.saturating_sub(1);
        let member = self.idle.pop_front()?;
        let taken = self.backlog.take(share, write_bytes)?;
        Some(Run { member, taken })
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, member: ConnId) {
        self.members.remove(&member);
        self.idle.retain(|idle| *idle != member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;
    use crate::wire::FrameBatch;
    use alloc::vec::Vec;

    fn runs(messages: usize, idle: u64, write_bytes: usize) -> Vec<u64> {
        let mut group = Group::new(Backlog::new(1000, 100_000));
        let batch = FrameBatch::encode((0..messages).map(|_| "x")).expect("small messages");
        group.backlog.push_back(batch, Now::START);
        group.idle = (0..idle).map(ConnId).collect();
        let mut sharers = group.sharers(write_bytes);
        core::iter::from_fn(|| group.next_run(&mut sharers, write_bytes))
            .map(|run| run.taken.write.count().messages)
            .collect()
    }

    #[test]
    fn idle_members_share_evenly() {
        assert_eq!(runs(4, 4, 9999), [1, 1, 1, 1]);
        assert_eq!(runs(10, 4, 9999), [3, 3, 2, 2]);
        assert_eq!(runs(2, 4, 9999), [1, 1]);
        assert_eq!(runs(100, 1, 9999), [100]);
        assert_eq!(runs(100, 2, 50), [10, 10]);
        assert_eq!(runs(3, 0, 9999), []);
    }

    #[test]
    fn bulk_goes_in_runs_that_are_worth_a_write() {
        // Each message takes 5 bytes: below 250 they are no bulk; 125 are worth a write.
        assert_eq!(runs(49, 99, 1000), [1; 49]);
        assert_eq!(runs(56, 99, 1000), [7; 8]);
        assert_eq!(runs(56, 7, 1000), [8; 7]);
        assert_eq!(runs(250, 99, 1000), [25; 10]);
        assert_eq!(runs(700, 4, 1000), [175; 4]);
        // What is left by runs that were cut for their bytes goes to the others.
        assert_eq!(runs(1000, 4, 1000), [200; 4]);
        assert_eq!(runs(3, 9, 1), [1, 1, 1]);
    }
}
