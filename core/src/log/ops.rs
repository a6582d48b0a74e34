//! What a log has to say: operations for the disk, and events for whoever uses it.

use super::disk::{OpId, Operation};
use super::event::{Event, Output, ReadId};
use alloc::collections::{BTreeMap, VecDeque};

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Recovery,
    Writer,
    Syncer,
    Spare,
    Journal,
    Cleaner,
    Indexer,
    Reader(ReadId),
}

/// Outputs in their order, and who waits for what.
#[derive(Debug, Default)]
pub(super) struct Ops {
    outputs: VecDeque<Output>,
    last: u64,
    waiting: BTreeMap<OpId, Owner>,
}

impl Ops {
    pub(super) fn ask(&mut self, owner: Owner, operation: Operation) {
        self.last += 1;
        let id = OpId(self.last);
        self.waiting.insert(id, owner);
        self.outputs.push_back(Output::Disk(id, operation));
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Who has been waiting for this; none if nobody has, or not any more.
    pub(super) fn take(&mut self, id: OpId) -> Option<Owner> {
        self.waiting.remove(&id)
    }

    /// Nobody waits for anything any more, and what the disk was not told yet it is not told.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        self.outputs
            .retain(|output| matches!(output, Output::Event(_)));
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
