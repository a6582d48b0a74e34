//! Makes indexes that are missing, one after the other, and writes them.
//!
//! Nothing hangs on it: whatever fails here is left undone.

use super::content::Content;
use super::disk::{DiskError, Done, File, Operation};
use super::index::{Entry, Index};
use super::ops::{Ops, Owner};
use super::scan::{Found, Scan};
use alloc::collections::BTreeSet;
use bytes::Bytes;

/// What is being made.
#[derive(Debug, Default)]
pub(super) struct Indexer {
    /// The segments that have none.
    todo: BTreeSet<u64>,
    work: Option<Work>,
}

#[derive(Debug)]
enum Work {
    /// This segment is read.
    Reading(u64, Scan, Index),
    /// Its file is made empty, and then written.
    Creating(u64, Bytes),
    Writing,
}

impl Indexer {
    /// There is no index of this segment.
    pub(super) fn want(&mut self, segment: u64) {
        self.todo.insert(segment);
    }

    /// This is the index of a segment that has been sealed.
    pub(super) fn sealed(&mut self, ops: &mut Ops, epoch: u64, segment: u64, index: &Index) {
        match index.encode(epoch, segment) {
            Some(bytes) if self.work.is_none() => self.create(ops, segment, bytes),
            // It is made when somebody looks for it.
            Some(_) | None => {}
        }
    }

    fn create(&mut self, ops: &mut Ops, segment: u64, bytes: Bytes) {
        let file = File::Index(segment);
        ops.ask(Owner::Indexer, Operation::Create { file, size: 0 });
        self.work = Some(Work::Creating(segment, bytes));
    }

    /// Whether nothing is in flight.
    pub(super) const fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// Begins with what is to be done next, if nothing is being done.
    pub(super) fn drive(&mut self, ops: &mut Ops) {
        if self.work.is_some() {
            return;
        }
        if let Some(segment) = self.todo.pop_first() {
            let scan = Scan::new(File::Segment(segment), 0);
            self.read(ops, segment, scan, Index::default(), 0);
        }
    }

    fn read(&mut self, ops: &mut Ops, segment: u64, mut scan: Scan, mut index: Index, epoch: u64) {
        loop {
            match scan.next() {
                Found::Record(record, offset) => {
                    let content = Content::of(&record);
                    let range = content.as_ref().and_then(Content::range);
                    if let (Some(Content::Run { published, .. }), Some(range)) = (content, range) {
                        index.note(Entry {
                            first: range.from,
                            published,
                            offset,
                        });
                    }
                }
                Found::Read(operation) => {
                    ops.ask(Owner::Indexer, operation);
                    self.work = Some(Work::Reading(segment, scan, index));
                    return;
                }
                Found::End => break,
                // Whoever reads will be told where.
                Found::Damaged => return,
            }
        }
        if let Some(bytes) = index.encode(epoch, segment) {
            self.create(ops, segment, bytes);
        }
    }

    pub(super) fn completed(&mut self, ops: &mut Ops, result: Result<Done, DiskError>, epoch: u64) {
        match (self.work.take(), result) {
            (Some(Work::Reading(segment, mut scan, index)), Ok(Done::Read(bytes))) => {
                scan.read(bytes);
                self.read(ops, segment, scan, index, epoch);
            }
            (Some(Work::Creating(segment, bytes)), Ok(_)) => {
                let write = Operation::Write {
                    file: File::Index(segment),
                    offset: 0,
                    pieces: [bytes].into(),
                };
                ops.ask(Owner::Indexer, write);
                self.work = Some(Work::Writing);
            }
            _ => {}
        }
    }
}
