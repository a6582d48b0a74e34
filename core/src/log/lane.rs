//! Operations that are carried out strictly one after the other.

use super::disk::{DiskError, Done, File, Operation};
use super::ops::{Ops, Owner};
use crate::time::Now;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How long a write waits for room before it is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// A row of operations of which one is in flight.
///
/// A write that was carried out in part is asked for again with the rest. A create or a write for which there is no
/// room is asked for again after [`RETRY`]. Nothing else is ever asked for twice, a sync least of all: after one that
/// has failed nobody knows what the disk has.
#[derive(Debug)]
pub(super) struct Lane {
    owner: Owner,
    /// The first is in flight, unless the lane waits for room.
    row: VecDeque<Operation>,
    /// When the first is to be asked for again.
    retry: Option<Now>,
    /// Whether the row waits for room, or has just been asked for again because it did.
    is_full: bool,
}

/// Where a lane stands after a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Busy,
    /// The row has been carried out.
    Finished,
}

impl Lane {
    pub(super) const fn new(owner: Owner) -> Self {
        Self {
            owner,
            row: VecDeque::new(),
            retry: None,
            is_full: false,
        }
    }

    /// Whether nothing is to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.row.is_empty()
    }

    /// Whether it waits for room on the disk.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// When it is to be woken.
    pub(super) const fn wakes(&self) -> Option<Now> {
        self.retry
    }

    /// Begins a row; at least one operation.
    pub(super) fn begin(&mut self, ops: &mut Ops, row: impl IntoIterator<Item = Operation>) {
        debug_assert!(self.is_idle());
        self.row.extend(row);
        self.ask(ops);
    }

    fn ask(&mut self, ops: &mut Ops) {
        if let Some(operation) = self.row.front() {
            ops.ask(self.owner, operation.clone());
        }
    }

    /// Asks again for what there was no room for, if it is time.
    pub(super) fn wake(&mut self, ops: &mut Ops, now: Now) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.ask(ops);
        }
    }

    /// The first operation is done, or was not carried out: then the error, and the operation, are the log's end.
    pub(super) fn completed(
        &mut self,
        ops: &mut Ops,
        result: Result<Done, DiskError>,
        now: Now,
    ) -> Result<Progress, (Operation, DiskError)> {
        let Some(operation) = self.row.pop_front() else {
            return Ok(Progress::Busy);
        };
        let rest = match (operation, result) {
            (
                Operation::Write {
                    file,
                    offset,
                    pieces,
                },
                Ok(Done::Wrote(bytes)),
            ) => rest_of_write(file, offset, pieces, bytes),
            (Operation::Delete { .. }, Err(DiskError::NotFound)) => None,
            (
                operation @ (Operation::Create { .. } | Operation::Write { .. }),
                Err(DiskError::NoSpace),
            ) => {
                self.row.push_front(operation);
                self.retry = Some(now + RETRY);
                self.is_full = true;
                return Ok(Progress::Busy);
            }
            (operation, Err(error)) => return Err((operation, error)),
            (_, Ok(_)) => None,
        };
        self.is_full = false;
        if let Some(rest) = rest {
            self.row.push_front(rest);
        }
        self.ask(ops);
        Ok(if self.is_idle() {
            Progress::Finished
        } else {
            Progress::Busy
        })
    }
}

/// What is left of a write of which so many bytes were written.
fn rest_of_write(file: File, offset: u64, pieces: Vec<Bytes>, bytes: u64) -> Option<Operation> {
    let mut written = bytes;
    let mut rest = Vec::new();
    for piece in pieces {
        let length = piece.len() as u64;
        if written >= length {
            written -= length;
        } else {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "less than a piece's length"
            )]
            rest.push(piece.slice(written as usize..));
            written = 0;
        }
    }
    (!rest.is_empty()).then(|| Operation::Write {
        file,
        offset: offset + bytes,
        pieces: rest,
    })
}
