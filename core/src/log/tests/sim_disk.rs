//! A disk in memory that keeps apart what was written and what is safe, and loses what is not. Public interface only:
//! other simulators may take this file in by path; they say with `super::` where the log is to be found.

use super::{DiskError, Done, File, Operation};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// Numbers that look random and are a function of the seed.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    /// Below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A change of a file that is not safe yet.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Bytes),
    Size(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What is read.
    data: Vec<u8>,
    /// What is there after a power cut, whatever happens.
    safe: Vec<u8>,
    /// What may be there in addition.
    changes: Vec<Change>,
}

/// A change of the folder that is not safe yet.
#[derive(Clone, Copy, Debug)]
enum Move {
    Link(File, usize),
    Unlink(File),
    Rename(File, File),
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// There is room for so many bytes more, if that is limited.
    pub(super) room: Option<u64>,
    /// The next sync fails. As in Linux, what it was to make safe can be read, and no later sync makes it safe.
    pub(super) fail_sync: bool,
    /// The next write is carried out in part.
    pub(super) short_write: bool,
    /// The next operation of another kind fails.
    pub(super) fail_next: bool,
}

/// A folder on a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk {
    inodes: Vec<Inode>,
    folder: BTreeMap<File, usize>,
    safe_folder: BTreeMap<File, usize>,
    moves: Vec<Move>,
    pub(super) faults: Faults,
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if data.len() < end {
                data.resize(end, 0);
            }
            data[*offset..end].copy_from_slice(bytes);
        }
        Change::Size(size) => data.resize(*size, 0),
    }
}

fn apply_move(folder: &mut BTreeMap<File, usize>, it: Move) {
    match it {
        Move::Link(file, inode) => {
            folder.insert(file, inode);
        }
        Move::Unlink(file) => {
            folder.remove(&file);
        }
        Move::Rename(from, to) => {
            if let Some(inode) = folder.remove(&from) {
                folder.insert(to, inode);
            }
        }
    }
}

impl SimDisk {
    /// A disk with these files, all safe.
    pub(super) fn with(files: impl IntoIterator<Item = (File, Vec<u8>)>) -> Self {
        let mut disk = Self::default();
        for (file, data) in files {
            disk.folder.insert(file, disk.inodes.len());
            disk.inodes.push(Inode {
                safe: data.clone(),
                data,
                changes: Vec::new(),
            });
        }
        disk.safe_folder = disk.folder.clone();
        disk
    }

    /// The files that there are, and what is read from them.
    pub(super) fn files(&self) -> BTreeMap<File, Vec<u8>> {
        let files = self.folder.iter();
        files
            .map(|(file, inode)| (*file, self.inodes[*inode].data.clone()))
            .collect()
    }

    fn inode(&mut self, file: File) -> Result<&mut Inode, DiskError> {
        let inode = self.folder.get(&file).ok_or(DiskError::NotFound)?;
        Ok(&mut self.inodes[*inode])
    }

    fn change(&mut self, file: File, change: Change) -> Result<(), DiskError> {
        let inode = self.inode(file)?;
        apply(&mut inode.data, &change);
        inode.changes.push(change);
        Ok(())
    }

    fn go(&mut self, it: Move) {
        apply_move(&mut self.folder, it);
        self.moves.push(it);
    }

    fn take_room(&mut self, bytes: u64) -> Result<(), DiskError> {
        if let Some(room) = &mut self.faults.room {
            *room = room.checked_sub(bytes).ok_or(DiskError::NoSpace)?;
        }
        Ok(())
    }

    /// Carries out an operation, faults permitting.
    pub(super) fn execute(&mut self, operation: &Operation) -> Result<Done, DiskError> {
        let is_sync = matches!(operation, Operation::Sync { .. } | Operation::SyncDir);
        let is_read = matches!(operation, Operation::Read { .. } | Operation::List);
        if !is_sync && !is_read && core::mem::take(&mut self.faults.fail_next) {
            return Err(DiskError::Failed);
        }
        match operation {
            Operation::List => {
                let files = self.folder.iter();
                let sizes =
                    files.map(|(file, inode)| (*file, self.inodes[*inode].data.len() as u64));
                return Ok(Done::Listed(sizes.collect()));
            }
            Operation::Create { file, size } => {
                self.take_room(*size)?;
                self.go(Move::Link(*file, self.inodes.len()));
                self.inodes.push(Inode::default());
                let zeros = Bytes::from(alloc::vec![0; *size as usize]);
                self.change(*file, Change::Write(0, zeros))?;
            }
            Operation::Write {
                file,
                offset,
                pieces,
            } => {
                let mut bytes: Vec<u8> = pieces.concat();
                assert!(!bytes.is_empty(), "a write of nothing");
                if core::mem::take(&mut self.faults.short_write) {
                    bytes.truncate(bytes.len().div_ceil(2));
                }
                let size = self.inode(*file)?.data.len() as u64;
                let end = offset + bytes.len() as u64;
                self.take_room(end.saturating_sub(size.max(*offset)))?;
                let wrote = bytes.len() as u64;
                self.change(*file, Change::Write(*offset as usize, bytes.into()))?;
                return Ok(Done::Wrote(wrote));
            }
            Operation::Read {
                file,
                offset,
                length,
            } => {
                let data = &self.inode(*file)?.data;
                let begin = (*offset as usize).min(data.len());
                let end = (begin + length).min(data.len());
                return Ok(Done::Read(Bytes::copy_from_slice(&data[begin..end])));
            }
            Operation::Truncate { file, size } => {
                self.change(*file, Change::Size(*size as usize))?;
            }
            Operation::Sync { file } => {
                let fails = core::mem::take(&mut self.faults.fail_sync);
                let inode = self.inode(*file)?;
                let changes = core::mem::take(&mut inode.changes);
                if fails {
                    return Err(DiskError::Failed);
                }
                for change in &changes {
                    apply(&mut inode.safe, change);
                }
            }
            Operation::SyncDir => {
                let moves = core::mem::take(&mut self.moves);
                if core::mem::take(&mut self.faults.fail_sync) {
                    return Err(DiskError::Failed);
                }
                for it in moves {
                    apply_move(&mut self.safe_folder, it);
                }
            }
            Operation::Rename { from, to } => {
                self.inode(*from)?;
                self.go(Move::Rename(*from, *to));
            }
            Operation::Delete { file } => {
                self.inode(*file)?;
                self.go(Move::Unlink(*file));
            }
        }
        Ok(Done::Done)
    }

    /// The power goes: of what is not safe any part may be there. Of a write that is the front, or any of its sectors.
    pub(super) fn cut_power(&mut self, rng: &mut Rng) {
        // Often all, often nothing, else anything.
        let mood = rng.below(4);
        let keeps = |rng: &mut Rng| match mood {
            0 => true,
            1 => false,
            _ => rng.one_in(2),
        };
        for it in core::mem::take(&mut self.moves) {
            if keeps(rng) {
                apply_move(&mut self.safe_folder, it);
            }
        }
        for inode in &mut self.inodes {
            for change in core::mem::take(&mut inode.changes) {
                match change {
                    Change::Write(offset, bytes) if mood > 1 => {
                        tear(&mut inode.safe, offset, &bytes, rng);
                    }
                    _ if keeps(rng) => apply(&mut inode.safe, &change),
                    Change::Write(..) | Change::Size(_) => {}
                }
            }
            inode.data.clone_from(&inode.safe);
        }
        self.folder = self.safe_folder.clone();
        self.faults = Faults::default();
    }
}

/// A part of a write.
fn tear(data: &mut Vec<u8>, offset: usize, bytes: &Bytes, rng: &mut Rng) {
    let is_prefix = rng.one_in(2);
    let prefix = rng.below(bytes.len() + 1);
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
        let end = end.min(bytes.len());
        let kept = if is_prefix {
            end.min(prefix.max(at))
        } else if rng.one_in(2) {
            end
        } else {
            at
        };
        if kept > at {
            apply(data, &Change::Write(offset + at, bytes.slice(at..kept)));
        }
        at = end;
    }
}
