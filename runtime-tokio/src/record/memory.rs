//! The memory of what waits for the writer.

use super::file::StopCause;
use super::step::{Call, Step, to_append};
use bytes::Bytes;
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Output, Write};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most memory that steps may take while they wait, in bytes: what the disk may fall behind by.
/// Messages in it may be the broker's too, and hold on to up to twice their size.
///
/// Checkpoints that wait may take as much again, or one of them may take more.
const MOST: usize = 64 << 20;

/// The memory that one input or output takes beside its messages, in bytes, or more.
const ITEM: usize = 128;

/// Counts the memory of what waits. A clone counts in the same place.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    steps: usize,
    checkpoints: usize,
    /// How many steps hold each piece of memory: what many share is counted once.
    pieces: BTreeMap<Piece, usize>,
}

/// The memory that bytes show: where, and how much. While it is held there is no other there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    address: usize,
    bytes: usize,
}

/// Memory that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    memory: Memory,
    what: What,
}

#[derive(Debug)]
enum What {
    Step { items: usize, pieces: Vec<Piece> },
    Checkpoint { bytes: usize },
}

impl Piece {
    pub(super) fn of(bytes: &Bytes) -> Self {
        Self {
            address: bytes.as_ptr().addr(),
            bytes: bytes.len(),
        }
    }
}

impl Memory {
    /// Counts a step that is about to wait, if there is room for it.
    pub(super) fn hold_step(&self, step: &Step<Write>) -> Result<Hold, StopCause> {
        let mut pieces: Vec<Piece> = batches(step)
            .map(|batch| Piece::of(batch.as_bytes()))
            .collect();
        pieces.sort_unstable();
        pieces.dedup();
        let items = ITEM * (step.calls.len() + step.outputs.len());
        let mut held = self.held();
        let new = pieces.iter().filter(|it| !held.pieces.contains_key(it));
        let new = items + new.map(|it| it.bytes).sum::<usize>();
        if held.steps + new > MOST {
            return Err(StopCause::SlowDisk);
        }
        held.steps += new;
        for piece in &pieces {
            *held.pieces.entry(*piece).or_default() += 1;
        }
        Ok(self.hold(What::Step { items, pieces }))
    }

    /// Counts a checkpoint that is about to wait, if there is room for it beside those that do.
    pub(super) fn hold_checkpoint(&self, bytes: u64) -> Result<Hold, StopCause> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut held = self.held();
        let sum = held.checkpoints.saturating_add(bytes);
        if held.checkpoints > 0 && sum > MOST {
            return Err(StopCause::SlowDisk);
        }
        held.checkpoints = sum;
        Ok(self.hold(What::Checkpoint { bytes }))
    }

    /// Whether the writer has caught up by half with the steps.
    pub(super) fn is_half_free(&self) -> bool {
        self.held().steps <= MOST / 2
    }

    /// As if steps were waiting that take all the memory there is.
    #[cfg(test)]
    pub(super) fn fill(&self) -> Hold {
        self.held().steps += MOST;
        self.hold(What::Step {
            items: MOST,
            pieces: Vec::new(),
        })
    }

    fn hold(&self, what: What) -> Hold {
        let memory = self.clone();
        Hold { memory, what }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.memory.held();
        match &self.what {
            What::Checkpoint { bytes } => held.checkpoints -= bytes,
            What::Step { items, pieces } => {
                held.steps -= items;
                for piece in pieces {
                    let times = held.pieces.get_mut(piece).expect("it is held");
                    *times -= 1;
                    if *times == 0 {
                        held.pieces.remove(piece);
                        held.steps -= piece.bytes;
                    }
                }
            }
        }
    }
}

/// The batches that a step keeps in memory.
fn batches(step: &Step<Write>) -> impl Iterator<Item = &FrameBatch> {
    let read = step.calls.iter().flat_map(Call::batches);
    let stored = step.outputs.iter().filter_map(to_append);
    let written = step.outputs.iter().filter_map(|output| match output {
        Output::Write { write, .. } => Some(write.batches()),
        Output::Farewell { .. }
        | Output::Close { .. }
        | Output::Pause { .. }
        | Output::Resume { .. }
        | Output::Registered { .. }
        | Output::Dropped { .. }
        | Output::Store { .. } => None,
    });
    let written = written.flatten();
    read.chain(stored).chain(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::ConnId;

    fn written(batch: &FrameBatch, consumers: u64) -> Step<Write> {
        let write = |conn| Output::Write {
            conn: ConnId(conn),
            write: Write::from(vec![batch.clone()]),
        };
        Step {
            outputs: (0..consumers).map(write).collect(),
            ..Step::default()
        }
    }

    #[test]
    fn what_many_share_is_counted_once_until_the_last_has_let_go() {
        let memory = Memory::default();
        let batch = FrameBatch::encode([vec![0; 1 << 20]]).unwrap();
        let held = || memory.held().steps;
        let first = memory.hold_step(&written(&batch, 500)).unwrap();
        assert_eq!(held(), batch.byte_len() + 500 * ITEM);
        let second = memory.hold_step(&written(&batch, 1)).unwrap();
        assert_eq!(held(), batch.byte_len() + 501 * ITEM);
        drop(first);
        assert_eq!(held(), batch.byte_len() + ITEM);
        drop(second);
        assert_eq!((held(), memory.held().pieces.len()), (0, 0));
    }

    #[test]
    fn there_is_a_bound_for_steps_and_one_for_checkpoints() {
        let memory = Memory::default();
        let batches = (0..100).map(|_| FrameBatch::encode([vec![0; 1 << 20]]).unwrap());
        let steps: Vec<_> = batches.map(|batch| written(&batch, 1)).collect();
        let holds: Vec<_> = steps
            .iter()
            .map_while(|it| memory.hold_step(it).ok())
            .collect();
        assert_eq!(holds.len(), 63);
        assert!(!memory.is_half_free());
        let large = memory.hold_checkpoint(10 * MOST as u64).unwrap();
        let more = memory.hold_checkpoint(1).map(drop);
        assert_eq!(more, Err(StopCause::SlowDisk));
        drop((large, holds));
        assert!(memory.is_half_free());
        let several: Vec<_> = (0..4).map(|_| memory.hold_checkpoint(16 << 20)).collect();
        assert!(several.iter().all(Result::is_ok));
        assert!(memory.hold_checkpoint(1).is_err());
    }
}
