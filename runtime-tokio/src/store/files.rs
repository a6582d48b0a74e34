//! The files of a file system, as a disk needs them: the system's own, or simulated ones.

use rustix::buffer::spare_capacity;
use rustix::io::pread;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file system. Errors are of the kinds that the system's own have: what is missing is
/// [`NotFound`](io::ErrorKind::NotFound), what is there already [`AlreadyExists`](io::ErrorKind::AlreadyExists), and where
/// there is no room it is [`StorageFull`](io::ErrorKind::StorageFull).
pub trait Files: Send + Sync {
    /// A file that is open to be read and written.
    type File: FileExt + Send + Sync;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// Those of the file system, as of all of these.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Makes an empty file, or empties the one that is there.
    ///
    /// # Errors
    /// As above.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Reads what a file has from `offset` on into the room behind what is in `bytes`, as much of it as it likes. Returns how
    /// much that is: nothing if the file ends there.
    ///
    /// # Errors
    /// As above.
    fn read(&self, file: &Self::File, offset: u64, bytes: &mut Vec<u8>) -> io::Result<usize>;

    /// Cuts a file to this size.
    ///
    /// # Errors
    /// As above.
    fn truncate(&self, file: &Self::File, size: u64) -> io::Result<()>;

    /// Makes safe what was written to a file, and its size.
    ///
    /// # Errors
    /// As above.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    /// As above.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// As above.
    fn delete(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder.
    ///
    /// # Errors
    /// As above.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes safe what there is in a folder.
    ///
    /// # Errors
    /// As above.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// The names of what is in a folder, in any order, and the sizes in bytes.
    ///
    /// # Errors
    /// As above.
    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, u64)>>;

    /// How many bytes are free where a folder is.
    ///
    /// # Errors
    /// As above.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The system's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StdFiles;

impl Files for StdFiles {
    type File = File;

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        options.open(path)
    }

    fn read(&self, file: &File, offset: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        Ok(pread(file, spare_capacity(bytes), offset)?)
    }

    fn truncate(&self, file: &File, size: u64) -> io::Result<()> {
        file.set_len(size)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, u64)>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), entry.metadata()?.len()))
        };
        fs::read_dir(path)?.map(entry).collect()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        free_bytes(path)
    }
}

/// How many bytes are free on the file system of a folder.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
