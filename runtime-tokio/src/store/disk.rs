//! The disk under a topic's log: one folder, and the operations that the log asks for.

use super::files::{Files, StdFiles};
use bytes::{Bytes, BytesMut};
use message_queue_core::log::{DiskError, Done, File, Operation};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most files that are held open for one log.
const MOST_OPEN: usize = 16;

/// So many zeros are written at a time.
const ZEROS: &[u8] = &[0; 256 << 10];

/// A piece of so many bytes is written by itself. Smaller ones are gathered: to copy them takes less than to ask the system.
const ALONE: usize = 16 << 10;

/// So much is gathered at the most, and one piece more.
const GATHERED: usize = 256 << 10;

/// The free room of the file system is looked at again when so much was written since.
const LOOK_EVERY: u64 = 16 << 20;

/// Why an operation was not carried out, and in whose words.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub struct Failure {
    pub(crate) kind: DiskError,
    source: io::Error,
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        const NO_SPACE: [io::ErrorKind; 3] = [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::FileTooLarge,
        ];
        let kind = if source.kind() == io::ErrorKind::NotFound {
            DiskError::NotFound
        } else if NO_SPACE.contains(&source.kind()) {
            DiskError::NoSpace
        } else {
            DiskError::Failed
        };
        Self { kind, source }
    }
}

/// Carries out the operations of one log, each to its end. Several threads may do so at a time.
pub trait Disk: Send + Sync {
    /// Carries out an operation.
    ///
    /// # Errors
    /// Whatever the disk says. After a [`DiskError::Failed`] the log stops, but for reads.
    fn carry_out(&self, operation: &Operation) -> Result<Done, Failure>;
}

/// A folder of a file system. It is made with the first file in it.
#[derive(Debug)]
pub struct FolderDisk<F: Files> {
    files: F,
    folder: PathBuf,
    open: Mutex<Open<F::File>>,
    reserve: Arc<Reserve>,
}

/// A folder of the system's.
pub(crate) type StdDisk = FolderDisk<StdFiles>;

/// Files that are open; who was used longest ago is closed first.
#[derive(Debug)]
struct Open<H> {
    files: BTreeMap<File, (u64, Arc<H>)>,
    uses: u64,
}

/// What is left free on the file system, for all logs together.
#[derive(Debug)]
pub struct Reserve {
    bytes: u64,
    /// How much may be written before it is looked again.
    left: Mutex<u64>,
}

impl Reserve {
    /// Leaves so many bytes free; 0: none.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            left: Mutex::new(0),
        }
    }

    /// So much is to be written in this folder.
    pub(super) fn take(&self, files: &impl Files, folder: &Path, bytes: u64) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left < bytes {
            let free = files.free_bytes(folder)?;
            *left = free.saturating_sub(self.bytes).min(LOOK_EVERY.max(bytes));
        }
        if *left < bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "less is free than is to be left (DISK_RESERVE_BYTES)",
            ));
        }
        *left -= bytes;
        Ok(())
    }
}

impl StdDisk {
    /// The disk under the log in this folder.
    pub(crate) fn new(folder: PathBuf, reserve: Arc<Reserve>) -> Self {
        Self::over(StdFiles, folder, reserve)
    }
}

impl<F: Files> FolderDisk<F> {
    /// The disk under the log in this folder of these files.
    pub fn over(files: F, folder: PathBuf, reserve: Arc<Reserve>) -> Self {
        let open = Open {
            files: BTreeMap::new(),
            uses: 0,
        };
        Self {
            files,
            folder,
            open: Mutex::new(open),
            reserve,
        }
    }

    fn path(&self, file: File) -> PathBuf {
        self.folder.join(file.to_string())
    }

    fn open(&self, file: File) -> io::Result<Arc<F::File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        let now = open.uses;
        if let Some((used, handle)) = open.files.get_mut(&file) {
            *used = now;
            return Ok(Arc::clone(handle));
        }
        let handle = Arc::new(self.files.open(&self.path(file))?);
        open.keep(file, Arc::clone(&handle));
        Ok(handle)
    }

    fn forget(&self, file: File) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.files.remove(&file);
    }

    /// Makes the folder if it is not there: a log begins with a file.
    fn make_folder(&self) -> io::Result<()> {
        match self.files.make_folder(&self.folder) {
            Ok(()) => match self.folder.parent() {
                Some(parent) => self.files.sync_folder(parent),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn create(&self, file: File, size: u64) -> io::Result<()> {
        self.make_folder()?;
        self.reserve.take(&self.files, &self.folder, size)?;
        let handle = self.files.create(&self.path(file))?;
        let mut at = 0;
        while at < size {
            let some = ZEROS
                .len()
                .min(usize::try_from(size - at).unwrap_or(usize::MAX));
            handle.write_all_at(&ZEROS[..some], at)?;
            at += some as u64;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.uses += 1;
        open.keep(file, Arc::new(handle));
        Ok(())
    }

    fn write(&self, file: File, offset: u64, pieces: &[Bytes]) -> io::Result<u64> {
        let bytes = pieces.iter().map(|it| it.len() as u64).sum();
        self.reserve.take(&self.files, &self.folder, bytes)?;
        let handle = self.open(file)?;
        let mut at = offset;
        let mut small = BytesMut::new();
        for piece in pieces {
            let is_small = piece.len() < ALONE;
            if is_small {
                small.extend_from_slice(piece);
            }
            if !is_small || small.len() >= GATHERED {
                at += write_some(&*handle, &small, at)?;
                small.clear();
            }
            if !is_small {
                at += write_some(&*handle, piece, at)?;
            }
        }
        at += write_some(&*handle, &small, at)?;
        Ok(at - offset)
    }

    fn read(&self, file: File, offset: u64, length: usize) -> io::Result<Bytes> {
        let handle = self.open(file)?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            match self.files.read(&handle, at, &mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }

    fn list(&self) -> io::Result<Vec<(File, u64)>> {
        let entries = match self.files.list(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let files = entries.into_iter();
        let files = files.filter_map(|(name, size)| Some((File::parse(name.to_str()?)?, size)));
        let mut files: Vec<(File, u64)> = files.collect();
        files.sort_unstable();
        Ok(files)
    }
}

impl<H> Open<H> {
    fn keep(&mut self, file: File, handle: Arc<H>) {
        if self.files.len() >= MOST_OPEN {
            let oldest = self.files.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(file, _)| *file) {
                self.files.remove(&oldest);
            }
        }
        self.files.insert(file, (self.uses, handle));
    }
}

impl<F: Files> Disk for FolderDisk<F> {
    fn carry_out(&self, operation: &Operation) -> Result<Done, Failure> {
        match operation {
            Operation::List => return Ok(Done::Listed(self.list()?)),
            Operation::Create { file, size } => self.create(*file, *size)?,
            Operation::Write {
                file,
                offset,
                pieces,
            } => return Ok(Done::Wrote(self.write(*file, *offset, pieces)?)),
            Operation::Read {
                file,
                offset,
                length,
            } => return Ok(Done::Read(self.read(*file, *offset, *length)?)),
            Operation::Truncate { file, size } => {
                self.files.truncate(&*self.open(*file)?, *size)?
            }
            Operation::Sync { file } => self.files.sync(&*self.open(*file)?)?,
            Operation::SyncDir => self.files.sync_folder(&self.folder)?,
            Operation::Rename { from, to } => {
                self.forget(*from);
                self.forget(*to);
                self.files.rename(&self.path(*from), &self.path(*to))?;
            }
            Operation::Delete { file } => {
                self.forget(*file);
                match self.files.delete(&self.path(*file)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    deleted => deleted?,
                }
            }
        }
        Ok(Done::Done)
    }
}

/// Writes all of it.
fn write_some(file: &impl FileExt, bytes: &[u8], offset: u64) -> io::Result<u64> {
    if !bytes.is_empty() {
        file.write_all_at(bytes, offset)?;
    }
    Ok(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, StdDisk) {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = StdDisk::new(folder.path().into(), Arc::new(Reserve::new(0)));
        (folder, disk)
    }

    fn done(disk: &StdDisk, operation: Operation) -> Done {
        disk.carry_out(&operation).expect("it works")
    }

    #[test]
    fn every_operation_does_what_it_says() {
        let (_folder, disk) = disk();
        let file = File::Segment(1);
        done(&disk, Operation::Create { file, size: 10 });
        let large = Bytes::from(vec![b'x'; 300 << 10]);
        let pieces = vec![Bytes::from("ab"), large.clone(), Bytes::from("cd")];
        let bytes = 4 + large.len() as u64;
        let write = Operation::Write {
            file,
            offset: 3,
            pieces,
        };
        assert_eq!(done(&disk, write), Done::Wrote(bytes));
        done(&disk, Operation::Sync { file });
        done(&disk, Operation::SyncDir);
        let read = |offset, length| Operation::Read {
            file,
            offset,
            length,
        };
        assert_eq!(done(&disk, read(0, 6)), Done::Read("\0\0\0abx".into()));
        assert_eq!(done(&disk, read(1 + bytes, 99)), Done::Read("cd".into()));
        done(&disk, Operation::Truncate { file, size: 4 });
        let to = File::Segment(7);
        done(&disk, Operation::Rename { from: file, to });
        assert_eq!(done(&disk, Operation::List), Done::Listed(vec![(to, 4)]));
        done(&disk, Operation::Delete { file: to });
        done(&disk, Operation::Delete { file: to });
        assert_eq!(done(&disk, Operation::List), Done::Listed(Vec::new()));
        let missing = disk.carry_out(&read(0, 1)).expect_err("it is gone");
        assert_eq!(missing.kind, DiskError::NotFound);
    }

    #[test]
    fn many_files_are_open_one_after_the_other() {
        let (_folder, disk) = disk();
        for number in 1..=3 * MOST_OPEN as u64 {
            let file = File::Segment(number);
            done(&disk, Operation::Create { file, size: 1 });
        }
        let read = Operation::Read {
            file: File::Segment(1),
            offset: 0,
            length: 1,
        };
        assert_eq!(done(&disk, read), Done::Read("\0".into()));
        assert_eq!(disk.open.lock().expect("no panic").files.len(), MOST_OPEN);
    }

    #[test]
    fn the_folder_comes_with_the_first_file() {
        let parent = tempfile::tempdir().expect("a folder");
        let disk = StdDisk::new(parent.path().join("jobs"), Arc::new(Reserve::new(1)));
        assert_eq!(done(&disk, Operation::List), Done::Listed(Vec::new()));
        let file = File::Segment(1);
        done(&disk, Operation::Create { file, size: 1 });
        assert_eq!(done(&disk, Operation::List), Done::Listed(vec![(file, 1)]));
    }

    #[test]
    fn the_reserve_is_left_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = StdDisk::new(folder.path().into(), Arc::new(Reserve::new(u64::MAX / 2)));
        let create = Operation::Create {
            file: File::Segment(1),
            size: 1,
        };
        let full = disk.carry_out(&create).expect_err("so much is never free");
        assert_eq!(full.kind, DiskError::NoSpace);
    }
}
