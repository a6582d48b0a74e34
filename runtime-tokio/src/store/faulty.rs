//! A disk that fails as a test or a simulation has planned.

use super::disk::{Disk, Failure};
use bytes::{Bytes, BytesMut};
use message_queue_core::log::{Done, Operation};
use std::io;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Done,
    /// It fails with this error of the system, and nothing is done.
    Fails(i32),
    /// Of a write, only so many bytes are written.
    Short(usize),
    /// Of what is read, this bit is another one, counted from the first and around.
    Flipped(usize),
}

/// The error of a disk that is broken.
pub const EIO: i32 = 5;

/// The error of one that is full.
pub const ENOSPC: i32 = 28;

/// A disk, and the fate of each operation.
#[derive(Debug)]
pub struct FaultyDisk<D, F> {
    disk: D,
    fate: F,
}

impl<D: Disk, F: Fn(&Operation) -> Fate + Send + Sync> FaultyDisk<D, F> {
    /// This disk, where `fate` says what becomes of each operation.
    pub const fn new(disk: D, fate: F) -> Self {
        Self { disk, fate }
    }
}

impl<D: Disk, F: Fn(&Operation) -> Fate + Send + Sync> Disk for FaultyDisk<D, F> {
    fn carry_out(&self, operation: &Operation) -> Result<Done, Failure> {
        match ((self.fate)(operation), operation) {
            (Fate::Fails(error), _) => Err(io::Error::from_raw_os_error(error).into()),
            (
                Fate::Short(length),
                Operation::Write {
                    file,
                    offset,
                    pieces,
                },
            ) => {
                let whole = pieces.concat();
                let written =
                    Bytes::from(whole).slice(..length.min(pieces.iter().map(Bytes::len).sum()));
                self.disk.carry_out(&Operation::Write {
                    file: *file,
                    offset: *offset,
                    pieces: vec![written],
                })
            }
            (Fate::Flipped(bit), Operation::Read { .. }) => {
                let done = self.disk.carry_out(operation)?;
                let Done::Read(bytes) = done else {
                    return Ok(done);
                };
                let mut bytes = BytesMut::from(bytes);
                if !bytes.is_empty() {
                    let at = bit / 8 % bytes.len();
                    bytes[at] ^= 1 << (bit % 8);
                }
                Ok(Done::Read(bytes.freeze()))
            }
            (Fate::Done | Fate::Short(_) | Fate::Flipped(_), _) => self.disk.carry_out(operation),
        }
    }
}
