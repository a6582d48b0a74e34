//! A folder for one broker or one file, which is gone afterwards.

use crate::bench::error::BenchError;
use crate::bench::plan::{PlanError, Storage};
use crate::settings::FolderEngine;
use rustix::fs::{Advice, fadvise};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder in the one that was named. It and what is in it is deleted when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes one in `parent`, which has to be there.
    ///
    /// # Errors
    /// If that is not possible: [`PlanError::Folder`].
    pub fn new(parent: &Path) -> Result<Self, BenchError> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("message-queue-bench-{}-{number}", process::id()));
        fs::create_dir(&folder).map_err(|error| {
            let said = format!(
                "{}: {error}; name a folder that is there and can be written to",
                parent.display()
            );
            PlanError::Folder(said)
        })?;
        Ok(Self { folder })
    }

    /// A broker that keeps its topics here.
    pub fn storage(&self, engine: FolderEngine, fsync: &'static str) -> Storage {
        Storage::Stored(vec![
            ("STORAGE", engine.storage().name().into()),
            ("DATA_DIR", self.folder.join("data").into()),
            ("FSYNC", fsync.into()),
        ])
    }

    /// The path of a file of this name in it.
    pub(in crate::bench) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The segments of all topics in it, in order, and their sizes.
    pub(super) fn segments(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "log") {
                    found.push((path, entry.metadata()?.len()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Has the system forget what it has in memory of the segments, so that they are read from the disk. What is not
    /// written yet is written first.
    pub(super) fn forget(&self) -> io::Result<()> {
        for (path, _) in self.segments()? {
            let file = fs::File::open(path)?;
            file.sync_data()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever named the folder finds what could not be deleted.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
