//! The file that the next segment is made of.
//!
//! It is filled with zeros piece by piece beside what is appended, so that a segment that is full costs no more than a few
//! small writes. That begins when the last segment is half full, and goes on by a step for every few syncs. Zeros make a
//! sync faster, not a byte: where syncs are small they are many, and all of the file is filled in time. Where they are
//! large they are few, and the disk has better to do: what is not filled when the file is needed is left so.
//!
//! Appends wait for it only at the beginning of a log, until all of it is filled.

use super::damage::Stop;
use super::disk::{DiskError, Done, File, Operation};
use super::lane::{self, Lane};
use super::ops::{Ops, Owner};
use super::segment::Segment;
use super::settings::{Fsync, Settings};
use crate::time::Now;
use alloc::vec::Vec;
use bytes::Bytes;

/// How many zeros are written and made safe at a time: 1 MiB, or a quarter of a smaller segment.
const STEP: u64 = 1 << 20;

/// After so many syncs of the last segment there is one step. With 64 MiB and steps of 1 MiB all is filled in time where
/// syncs have 64 KiB or less.
const SYNCS: u64 = 8;

/// What is written.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The next segment's file, as far as there is one.
#[derive(Debug)]
pub(super) struct Spare {
    state: State,
    lane: Lane,
    /// Whether appends wait for it.
    is_wanted: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// There is none.
    None,
    /// So many of its bytes are there, or are being written. It was begun at sync number `since`.
    Filling {
        file: File,
        filled: u64,
        size: u64,
        since: u64,
    },
}

/// The spare that is made while this is the last segment.
pub(super) fn beside(last: Option<Segment>) -> File {
    File::Spare(last.map_or(0, |it| it.first))
}

impl Spare {
    pub(super) const fn new() -> Self {
        Self {
            state: State::None,
            lane: Lane::new(Owner::Spare),
            is_wanted: false,
        }
    }

    pub(super) const fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// Whether appends wait for it, and it waits for room on the disk.
    pub(super) const fn holds_up(&self) -> bool {
        self.is_wanted && self.lane.is_full()
    }

    /// Takes it, if it is there; if not, it is made.
    pub(super) fn take(&mut self) -> Option<File> {
        match self.state {
            State::Filling { file, .. } if self.lane.is_idle() => {
                self.state = State::None;
                self.is_wanted = false;
                Some(file)
            }
            State::None | State::Filling { .. } => {
                self.is_wanted = true;
                None
            }
        }
    }

    /// Goes on with it, if it is time: the log was synced so often, and there are `offset` bytes in the last
    /// segment.
    pub(super) fn drive(
        &mut self,
        ops: &mut Ops,
        last: Option<Segment>,
        (syncs, offset): (u64, u64),
        settings: &Settings,
    ) {
        if !self.lane.is_idle() {
            return;
        }
        match self.state {
            State::None if self.is_wanted || offset > settings.segment_bytes / 2 => {
                let file = beside(last);
                let is_filled = settings.preallocate && settings.fsync != Fsync::Never;
                let size = if is_filled { settings.segment_bytes } else { 0 };
                // Beside the first one nothing is appended: all of it at once.
                let filled = if last.is_none() { size } else { 0 };
                self.state = State::Filling {
                    file,
                    filled,
                    size,
                    since: syncs,
                };
                let size = filled;
                self.lane.begin(ops, [Operation::Create { file, size }]);
            }
            State::Filling {
                file,
                filled,
                size,
                since,
            } if filled < size => {
                let step = STEP.min(size.div_ceil(4));
                let due = (syncs - since) / SYNCS * step;
                if filled >= due {
                    return;
                }
                let step = step.min(size - filled);
                let write = Operation::Write {
                    file,
                    offset: filled,
                    pieces: zeros(step),
                };
                self.state = State::Filling {
                    file,
                    filled: filled + step,
                    size,
                    since,
                };
                self.lane.begin(ops, [write, Operation::Sync { file }]);
            }
            State::None | State::Filling { .. } => {}
        }
    }

    /// The disk has done something for it, or has not.
    pub(super) fn completed(
        &mut self,
        ops: &mut Ops,
        result: Result<Done, DiskError>,
        now: Now,
    ) -> Result<(), Stop> {
        let _: lane::Progress = self.lane.completed(ops, result, now)?;
        Ok(())
    }
}

/// So many zeros.
fn zeros(mut bytes: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while bytes > 0 {
        let piece = ZEROS
            .len()
            .min(usize::try_from(bytes).unwrap_or(usize::MAX));
        pieces.push(Bytes::from_static(&ZEROS[..piece]));
        bytes -= piece as u64;
    }
    pieces
}
