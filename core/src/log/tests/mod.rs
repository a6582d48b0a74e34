//! The log on a disk that fails, against a model.

mod carry_out;
mod crashes;
mod directed;
mod model;
mod next_segment;
#[cfg(planted_bugs)]
mod planted;
mod repairing;
mod sim_disk;
mod world;

use super::{
    Chunk, DiskError, Done, Event, File, Fsync, Log, OpId, Operation, Output, Part, Plan, Progress,
    ReadError, ReadFrom, ReadId, Recovered, SaveId, Settings, Stop, Stored,
};
use crate::wire::control::Mark;

/// The first sequence of something stored.
fn first_of(stored: &Stored) -> u64 {
    match stored {
        Stored::Run { first, .. } => *first,
        Stored::Gap(range) => range.from,
    }
}
