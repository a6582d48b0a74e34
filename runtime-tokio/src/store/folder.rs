//! `DATA_DIR`: a format, a lock, and a folder for each stored topic.
//!
//! ```text
//! DATA_DIR/format          1, or with STORAGE=rocksdb: rocksdb 1
//! DATA_DIR/lock            the number of the process that has it
//! DATA_DIR/topics/NAME/    the log of a topic
//! DATA_DIR/rocksdb/        with STORAGE=rocksdb: the database of all topics
//! ```

use message_queue_core::Storage;
use message_queue_core::names::TopicName;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The formats that this version reads and writes: one for each engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A log for each topic.
    Log,
    /// A database of all topics.
    RocksDb,
}

impl Format {
    const ALL: [Self; 2] = [Self::Log, Self::RocksDb];

    /// In which topics are stored that are kept like this.
    pub(super) const fn of(storage: Storage) -> Self {
        match storage {
            Storage::RocksDb => Self::RocksDb,
            // What is shared is in no folder.
            Storage::Memory | Storage::Disk | Storage::RabbitMq | Storage::Kafka => Self::Log,
        }
    }

    /// What asks for it.
    pub(crate) const fn storage(self) -> Storage {
        match self {
            Self::Log => Storage::Disk,
            Self::RocksDb => Storage::RocksDb,
        }
    }

    /// The setting that asks for it: `STORAGE` is this.
    pub(super) const fn name(self) -> &'static str {
        self.storage().name()
    }

    /// The one of which the file `format` says this.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|it| it.text() == text)
    }

    /// What the file `format` says.
    const fn text(self) -> &'static str {
        match self {
            Self::Log => "1",
            // Versions that know only logs refuse it.
            Self::RocksDb => "rocksdb 1",
        }
    }
}

/// A data folder that nobody else has. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    format: Format,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why a folder cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("DATA_DIR: {path}: {source}{}", hint(.source))]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "DATA_DIR: {0} is not a folder; give the path of a folder, or of one that is to be made"
    )]
    NotAFolder(PathBuf),
    #[error(
        "DATA_DIR: {path} is not a data folder of this program{}; give one that is, an empty folder, or one that is to \
         be made",
        .found.as_ref().map_or_else(String::new, |it| format!(" and holds {it}"))
    )]
    Foreign {
        path: PathBuf,
        /// A file in it.
        found: Option<String>,
    },
    #[error(
        "DATA_DIR: {path} has the format {found:?}, and this version knows {}; run the version that wrote it, or a later one",
        .known.text()
    )]
    Format {
        path: PathBuf,
        found: String,
        known: Format,
    },
    #[error(
        "DATA_DIR: {path} is a folder of STORAGE={}, and one of STORAGE={} is needed here; give another folder",
        .found.name(), .needed.name()
    )]
    Engine {
        path: PathBuf,
        found: Format,
        needed: Format,
    },
    #[error(
        "DATA_DIR: {path} is used by another broker (process {process}); each broker needs a folder of its own"
    )]
    Locked { path: PathBuf, process: String },
    #[error(
        "DATA_DIR: {0} is not the folder of a topic; move it away, and see whether a topic is missing"
    )]
    NotATopic(PathBuf),
}

fn hint(error: &io::Error) -> &'static str {
    const NOT_ALLOWED: [io::ErrorKind; 2] = [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    if error.kind() == io::ErrorKind::NotFound {
        "; make the folder above it first"
    } else if NOT_ALLOWED.contains(&error.kind()) {
        "; the broker has to be able to write there"
    } else {
        ""
    }
}

impl DataDir {
    /// Takes a folder, which is made if it is not there.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub(crate) fn take(path: &Path, format: Format) -> Result<Self, FolderError> {
        let is_new = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(of(path)(error)),
        };
        if !path.is_dir() {
            return Err(FolderError::NotAFolder(path.into()));
        }
        if !path.join("format").exists() {
            sync_entry(path, is_new)?;
        }
        Self::lock(path, format)
    }

    /// Takes a folder of logs that is there.
    ///
    /// # Errors
    /// See [`FolderError`].
    #[cfg(feature = "cli")]
    pub(crate) fn take_existing(path: &Path) -> Result<Self, FolderError> {
        if !path.is_dir() {
            return Err(FolderError::NotAFolder(path.into()));
        }
        if !path.join("format").exists() {
            return Err(FolderError::Foreign {
                path: path.into(),
                found: None,
            });
        }
        Self::lock(path, Format::Log)
    }

    fn lock(path: &Path, format: Format) -> Result<Self, FolderError> {
        check_format(path, format)?;
        let at = path.join("lock");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(&at).map_err(of(&at))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = lock.read_to_string(&mut process);
                let process = process.trim();
                return Err(FolderError::Locked {
                    path: path.into(),
                    process: if process.is_empty() { "?" } else { process }.into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(of(&at)(error)),
        }
        let own = std::process::id();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{own}"))
            .map_err(of(&at))?;
        // Safe before there is anything else: a folder with something in it and no format is not taken for ours.
        write_format(path, format)?;
        sync(path)?;
        let topics = path.join("topics");
        if !topics.is_dir() {
            fs::create_dir(&topics).map_err(of(&topics))?;
            sync(path)?;
        }
        // A broker that was killed may have made the folder of a topic, and not come to this.
        sync(&topics)?;
        Ok(Self {
            path: path.into(),
            format,
            _lock: lock,
        })
    }

    /// What a folder says that it is, whoever has it; none: it is no data folder, or of another version.
    #[cfg(feature = "cli")]
    pub(crate) fn format_of(path: &Path) -> Option<Format> {
        let text = fs::read_to_string(path.join("format")).ok()?;
        Format::parse(&text)
    }

    /// In which it is.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Where the database of a folder is, if it is of that format.
    pub(super) fn database(path: &Path) -> PathBuf {
        path.join("rocksdb")
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The topics that have a folder, by name.
    ///
    /// # Errors
    /// If something else is among them, or they cannot be read.
    pub(crate) fn topics(&self) -> Result<Vec<TopicName>, FolderError> {
        let topics = self.path.join("topics");
        let mut names = Vec::new();
        for entry in fs::read_dir(&topics).map_err(of(&topics))? {
            let entry = entry.map_err(of(&topics))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|it| TopicName::new(it).ok());
            match name {
                Some(name) if entry.path().is_dir() => names.push(name),
                Some(_) | None => return Err(FolderError::NotATopic(entry.path())),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Where the folder of a topic's log is, or is to be.
    pub(crate) fn of_topic(&self, name: &TopicName) -> PathBuf {
        self.path.join("topics").join(name.as_str())
    }

    /// The folder of a topic's log, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn topic(&self, name: &TopicName) -> Result<PathBuf, FolderError> {
        let topics = self.path.join("topics");
        let path = self.of_topic(name);
        match fs::create_dir(&path) {
            Ok(()) => sync(&topics)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(of(&path)(error)),
        }
        Ok(path)
    }
}

/// An empty folder has no format yet.
fn check_format(path: &Path, format: Format) -> Result<(), FolderError> {
    let at = path.join("format");
    match fs::read_to_string(&at) {
        Ok(text) => match Format::parse(&text) {
            Some(found) if found == format => Ok(()),
            Some(found) => Err(FolderError::Engine {
                path: path.into(),
                found,
                needed: format,
            }),
            None => Err(FolderError::Format {
                path: path.into(),
                found: text.trim().chars().take(40).collect(),
                known: format,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What makes a file system leaves this behind; and so does somebody who was here first.
            let own = ["lost+found", "lock", "format.new"];
            for entry in fs::read_dir(path).map_err(of(path))? {
                let name = entry.map_err(of(path))?.file_name();
                if !own.iter().any(|it| name == *it) {
                    return Err(FolderError::Foreign {
                        path: path.into(),
                        found: Some(name.to_string_lossy().into_owned()),
                    });
                }
            }
            Ok(())
        }
        Err(error) => Err(of(&at)(error)),
    }
}

fn write_format(path: &Path, format: Format) -> Result<(), FolderError> {
    let (at, new) = (path.join("format"), path.join("format.new"));
    if at.exists() {
        return Ok(());
    }
    let mut file = File::create(&new).map_err(of(&new))?;
    writeln!(file, "{}", format.text())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, &at))
        .map_err(of(&new))
}

/// Makes safe that there is this folder. If it is not new, a broker that was killed may have made it; or somebody else
/// has, in a place that the broker may not look at.
fn sync_entry(path: &Path, is_new: bool) -> Result<(), FolderError> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    match sync(parent.unwrap_or(Path::new("."))) {
        Err(FolderError::Io { source, .. })
            if !is_new && source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Makes safe which files a folder has.
fn sync(path: &Path) -> Result<(), FolderError> {
    let folder = File::open(path).map_err(of(path))?;
    folder.sync_all().map_err(of(path))
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<'_> {
    move |source| FolderError::Io {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let refused = DataDir::take(path, Format::Log).expect_err("it cannot be used");
        refused
            .to_string()
            .replace(&path.display().to_string(), "DIR")
    }

    #[test]
    fn a_folder_is_made_and_taken_again_with_what_it_holds() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("data");
        let name = TopicName::new("jobs.a").expect("a name");
        {
            let data = DataDir::take(&path, Format::Log).expect("an empty folder");
            assert_eq!(data.topics().expect("none"), []);
            assert!(data.topic(&name).expect("a folder").is_dir());
            data.topic(&name).expect("the same");
        }
        let data = DataDir::take_existing(&path).expect("its own");
        assert_eq!(data.topics().expect("one"), [name]);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_do() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("none/data");
        assert_eq!(
            refused(&path),
            "DATA_DIR: DIR: No such file or directory (os error 2); make the folder above it first"
        );
        let path = parent.path().join("file");
        fs::write(&path, "").expect("a file");
        assert!(refused(&path).contains("DIR is not a folder"));
        assert!(refused(parent.path()).contains("program and holds file; give"));
        let path = parent.path().join("newer");
        drop(DataDir::take(&path, Format::Log).expect("an empty folder"));
        fs::write(path.join("format"), "2\n").expect("a file");
        assert!(refused(&path).contains("has the format \"2\", and this version knows 1"));
        fs::write(path.join("format"), "rocksdb 1\n").expect("a file");
        assert!(refused(&path).contains(
            "DIR is a folder of STORAGE=rocksdb, and one of STORAGE=disk is needed here"
        ));
        let path = parent.path().join("taken");
        let data = DataDir::take(&path, Format::Log).expect("an empty folder");
        let own = std::process::id();
        assert!(refused(&path).contains(&format!("another broker (process {own})")));
        fs::write(path.join("topics/x"), "").expect("a file");
        let refused = data.topics().expect_err("a file");
        assert!(
            refused
                .to_string()
                .contains("x is not the folder of a topic")
        );
    }
}
