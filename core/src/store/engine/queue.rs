//! The messages of a group, whoever has them.

use super::Profile;
use crate::id::GroupId;
use crate::names::Name;
use crate::wire::FrameBatch;
use crate::wire::control::Origin;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Whose messages they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Those of a group that outlives its members, and that brokers share.
    Named(Name),
    /// Those of one consumer.
    Own(GroupId),
}

/// The messages of a group that are not settled.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    partitions: Vec<Partition>,
    next_copy: u64,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    entries: VecDeque<Entry>,
    is_ours: bool,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    copy: u64,
    pub(super) message: FrameBatch,
    pub(super) published: u64,
    pub(super) origin: Option<Box<Origin>>,
    /// How often it was delivered, to whomever, and not settled.
    pub(super) deliveries: u32,
    with: With,
}

/// Who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Nobody,
    ThisBroker,
    AnotherBroker,
    /// It is settled, and something before it in its partition is not.
    Settled,
}

/// Where a message is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    partition: usize,
    pub(super) copy: u64,
}

impl Entry {
    pub(super) const fn new(
        message: FrameBatch,
        published: u64,
        origin: Option<Box<Origin>>,
    ) -> Self {
        Self {
            copy: 0,
            message,
            published,
            origin,
            deliveries: 0,
            with: With::Nobody,
        }
    }
}

impl Queue {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            next_copy: 1,
        }
    }

    pub(super) fn push(&mut self, partition: usize, entry: Entry) {
        let copy = self.next_copy;
        self.next_copy += 1;
        let entries = &mut self.partitions[partition].entries;
        entries.push_back(Entry { copy, ..entry });
    }

    pub(super) fn unsettled(&self) -> usize {
        self.partitions.iter().map(|it| it.entries.len()).sum()
    }

    /// This broker gets the partitions whose bit is set.
    pub(super) fn assign(&mut self, partitions: u64) {
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            partition.is_ours = partitions >> number & 1 == 1;
            if partition.is_ours {
                // Whoever had it before has it no more.
                partition.take_back(With::AnotherBroker);
            }
        }
    }

    pub(super) fn is_all_assigned(&self) -> bool {
        self.partitions.iter().all(|it| it.is_ours)
    }

    /// Delivers the first message that nobody has, of this partition or of those after it.
    pub(super) fn deliver(&mut self, partition: usize) -> Option<(Place, &Entry)> {
        let count = self.partitions.len();
        let numbers = (0..count).map(|it| (partition + it) % count);
        let has_some = |number: &usize| {
            let partition = &self.partitions[*number];
            let mut entries = partition.entries.iter();
            partition.is_ours && entries.any(|it| it.with == With::Nobody)
        };
        let partition = numbers.into_iter().find(has_some)?;
        let mut entries = self.partitions[partition].entries.iter_mut();
        let entry = entries.find(|it| it.with == With::Nobody)?;
        entry.with = With::ThisBroker;
        let copy = entry.copy;
        Some((Place { partition, copy }, entry))
    }

    /// This broker has settled a message.
    pub(super) fn settle(&mut self, place: Place, profile: Profile) {
        let entries = &mut self.partitions[place.partition].entries;
        let Some(number) = entries.iter().position(|it| it.copy == place.copy) else {
            return;
        };
        if !profile.settles_in_order {
            entries.remove(number);
            return;
        }
        entries[number].with = With::Settled;
        while entries
            .pop_front_if(|it| it.with == With::Settled)
            .is_some()
        {}
    }

    /// This broker has nothing any more.
    pub(super) fn take_back(&mut self, profile: Profile) {
        for partition in &mut self.partitions {
            partition.take_back(With::ThisBroker);
            if profile.has_partitions() {
                partition.is_ours = false;
            }
        }
    }

    /// Another broker gets some of what nobody has; with `exclusive`, only of partitions that are not this broker's.
    pub(super) fn deliver_elsewhere(&mut self, messages: usize, exclusive: bool) {
        let partitions = self.partitions.iter_mut();
        let theirs = partitions.filter(|it| !exclusive || !it.is_ours);
        let entries = theirs.flat_map(|it| it.entries.iter_mut());
        let free = entries.filter(|it| it.with == With::Nobody);
        free.take(messages)
            .for_each(|it| it.with = With::AnotherBroker);
    }

    /// What another broker has is settled, or nobody's again. Returns what is settled.
    pub(super) fn end_elsewhere(&mut self, is_settled: bool) -> Vec<FrameBatch> {
        let mut settled = Vec::new();
        for partition in &mut self.partitions {
            if !is_settled {
                partition.take_back(With::AnotherBroker);
                continue;
            }
            partition.entries.retain(|it| {
                let is_theirs = it.with == With::AnotherBroker;
                settled.extend(is_theirs.then(|| it.message.clone()));
                !is_theirs
            });
        }
        settled
    }
}

impl Partition {
    /// What somebody had is nobody's again.
    fn take_back(&mut self, from: With) {
        for entry in &mut self.entries {
            let is_settled = entry.with == With::Settled && from == With::ThisBroker;
            if entry.with == from || is_settled {
                entry.with = With::Nobody;
                entry.deliveries += 1;
            }
        }
    }
}
