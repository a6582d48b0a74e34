//! The folder of stored topics, locked, and the topics in it.

use super::LogError;
use bytes::Bytes;
use message_queue_core::log::{DiskError, Done, File, Fsync, Operation, Settings};
use message_queue_core::store::StoreSettings;
use std::fs::{self, File as Handle, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How many producers an import remembers: as many as the broker does.
const MAX_PRODUCERS: usize = 10_000;

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    #[error("{}: no stored topic {topic:?} is there; `message-queue log inspect` lists those that are", .folder.display())]
    NoTopic { folder: PathBuf, topic: String },
    #[error("{}: {source}; give the DATA_DIR of a broker", .folder.display())]
    NoData { folder: PathBuf, source: io::Error },
    #[error("{}: the process {pid} has it open; end the broker first", .folder.display())]
    Locked { folder: PathBuf, pid: String },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The folder, which nobody else has open meanwhile.
#[derive(Debug)]
pub(super) struct Data {
    folder: PathBuf,
    _lock: Handle,
}

impl Data {
    /// Locks the folder of a broker that does not run.
    pub(super) fn lock(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| DataError::NoData {
                folder: folder.to_owned(),
                source,
            })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                return Err(DataError::Locked {
                    folder: folder.to_owned(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(DataError::Io { path, source }),
        }
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| (&lock).write_all(pid.as_bytes()))
            .map_err(|source| DataError::Io { path, source })?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// This topic, or all that are stored, by name.
    pub(super) fn topics(&self, one: Option<&str>) -> Result<Vec<Topic>, DataError> {
        if let Some(name) = one {
            let topic = self.topic(name);
            if topic.path.is_dir() {
                return Ok(vec![topic]);
            }
            return Err(DataError::NoTopic {
                folder: self.folder.clone(),
                topic: name.to_owned(),
            });
        }
        let path = self.folder.join("topics");
        let names = match names_in(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|source| DataError::Io { path, source })?,
        };
        Ok(names.iter().map(|it| self.topic(it)).collect())
    }

    /// This topic; its folder is made if there is none.
    pub(super) fn topic_or_new(&self, name: &str) -> Result<Topic, DataError> {
        let topic = self.topic(name);
        let folder = self.folder.join("topics");
        let made = fs::create_dir_all(&topic.path)
            .and_then(|()| sync_folder(&folder))
            .and_then(|()| sync_folder(&self.folder));
        made.map_err(|source| DataError::Io {
            path: topic.path.clone(),
            source,
        })?;
        Ok(topic)
    }

    fn topic(&self, name: &str) -> Topic {
        Topic {
            name: name.to_owned(),
            data: self.folder.clone(),
            path: self.folder.join("topics").join(name),
        }
    }
}

/// The names of the folders in a folder, in order.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    Handle::open(folder)?.sync_all()
}

/// A stored topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: String,
    data: PathBuf,
    path: PathBuf,
}

impl Topic {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of all topics.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// How it is written to.
    pub(super) fn settings() -> Settings {
        Settings {
            fsync: Fsync::Always,
            segment_bytes: StoreSettings::default().segment_bytes,
            preallocate: true,
            max_producers: MAX_PRODUCERS,
        }
    }

    /// Its files, and their sizes in bytes.
    pub(super) fn files(&self) -> Result<Vec<(File, u64)>, LogError> {
        self.list().map_err(|source| LogError::File {
            name: self.path.display().to_string(),
            source,
        })
    }

    /// What is read by an operation.
    pub(super) fn read(&self, operation: &Operation) -> Result<Bytes, LogError> {
        let read = match operation {
            Operation::Read {
                file,
                offset,
                length,
            } => self.read_at(*file, *offset, *length),
            Operation::List
            | Operation::Create { .. }
            | Operation::Write { .. }
            | Operation::Truncate { .. }
            | Operation::Sync { .. }
            | Operation::SyncDir
            | Operation::Rename { .. }
            | Operation::Delete { .. } => Err(ErrorKind::Unsupported.into()),
        };
        read.map_err(|source| {
            let file = operation.file().map(|it| it.to_string());
            let path = self.path.join(file.unwrap_or_default());
            LogError::File {
                name: format!("cannot read {}", path.display()),
                source,
            }
        })
    }

    /// Carries out an operation.
    pub(super) fn perform(&self, operation: &Operation) -> Result<Done, DiskError> {
        self.try_perform(operation).map_err(|error| {
            let kind = error.kind();
            if kind == ErrorKind::NotFound {
                DiskError::NotFound
            } else if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                DiskError::NoSpace
            } else {
                DiskError::Failed
            }
        })
    }

    fn try_perform(&self, operation: &Operation) -> io::Result<Done> {
        match operation {
            Operation::List => return Ok(Done::Listed(self.list()?)),
            Operation::Create { file, size } => {
                let mut file = Handle::create(self.place(*file))?;
                io::copy(&mut io::repeat(0).take(*size), &mut file)?;
            }
            Operation::Write {
                file,
                offset,
                pieces,
            } => {
                let (file, mut at) = (self.open(*file)?, *offset);
                for piece in pieces {
                    file.write_all_at(piece, at)?;
                    at += piece.len() as u64;
                }
                return Ok(Done::Wrote(at - offset));
            }
            Operation::Read {
                file,
                offset,
                length,
            } => return Ok(Done::Read(self.read_at(*file, *offset, *length)?)),
            Operation::Truncate { file, size } => self.open(*file)?.set_len(*size)?,
            Operation::Sync { file } => self.open(*file)?.sync_data()?,
            Operation::SyncDir => sync_folder(&self.path)?,
            Operation::Rename { from, to } => fs::rename(self.place(*from), self.place(*to))?,
            Operation::Delete { file } => match fs::remove_file(self.place(*file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            },
        }
        Ok(Done::Done)
    }

    fn list(&self) -> io::Result<Vec<(File, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(file) = entry.file_name().to_str().and_then(File::parse) {
                files.push((file, entry.metadata()?.len()));
            }
        }
        Ok(files)
    }

    fn read_at(&self, file: File, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = Handle::open(self.place(file))?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    fn open(&self, file: File) -> io::Result<Handle> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.place(file))
    }

    fn place(&self, file: File) -> PathBuf {
        self.path.join(file.to_string())
    }
}
