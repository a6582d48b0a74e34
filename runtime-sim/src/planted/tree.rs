//! A copy of the source tree with every bug in it.

use super::{Catcher, bugs};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where tests find which bugs they are to catch.
const FOR_TESTS: &str = "planted.txt";

/// What is no part of the source, by the name of its folder.
const LEFT_OUT: [&str; 2] = [".git", "target"];

/// Why the bugs could not be planted.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        error: io::Error,
    },
    /// A text that an edit is to change does not stand in its file exactly once.
    #[error("the bug {bug} cannot be planted: {file} no longer has, exactly once:\n{find}")]
    Lost {
        /// The bug.
        bug: String,
        /// The file.
        file: String,
        /// The text.
        find: String,
    },
}

/// Copies the source tree at `from` to `into` with every bug planted. What is in `into` already and is as it
/// should be is left alone, so that a build there has little to do again.
///
/// # Errors
/// See [`PlantError`]. What was copied until then stays.
pub fn plant(from: &Path, into: &Path) -> Result<(), PlantError> {
    let edited = edited(from)?;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let source = from.join(&folder);
        for entry in fs::read_dir(&source).map_err(|error| file(&source, error))? {
            let entry = entry.map_err(|error| file(&source, error))?;
            let name = entry.file_name();
            let path = folder.join(&name);
            let kind = entry
                .file_type()
                .map_err(|error| file(&entry.path(), error))?;
            if kind.is_dir() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                folders.push(path);
            } else if kind.is_file() {
                match edited.get(&path) {
                    Some(text) => write(&into.join(&path), text.as_bytes())?,
                    None => {
                        let bytes =
                            fs::read(entry.path()).map_err(|error| file(&entry.path(), error))?;
                        write(&into.join(&path), &bytes)?;
                    }
                }
            }
        }
    }
    for (folder, bugs) in for_tests() {
        write(&into.join(folder).join(FOR_TESTS), bugs.as_bytes())?;
    }
    Ok(())
}

/// The bugs that tests have to catch, by the folders of those, each with its number.
fn for_tests() -> BTreeMap<&'static str, String> {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for (number, bug) in bugs().into_iter().enumerate() {
        if let Catcher::Tests(folder) = bug.catcher {
            let list = lists.entry(folder).or_default();
            list.push_str(&format!("{number} {}\n", bug.name));
        }
    }
    lists
}

/// The files that have bugs in them, as they are to be.
fn edited(from: &Path) -> Result<BTreeMap<PathBuf, String>, PlantError> {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (number, bug) in bugs().into_iter().enumerate() {
        for edit in bug.edits {
            let path = PathBuf::from(&edit.file);
            let source = match files.remove(&path) {
                Some(source) => source,
                None => {
                    let path = from.join(&path);
                    fs::read_to_string(&path).map_err(|error| file(&path, error))?
                }
            };
            let planted = edit
                .apply(number, &source)
                .ok_or_else(|| PlantError::Lost {
                    bug: bug.name.clone(),
                    file: edit.file.clone(),
                    find: edit.find.clone(),
                })?;
            files.insert(path, planted);
        }
    }
    Ok(files)
}

/// Writes a file where it is not there as it should be.
fn write(path: &Path, bytes: &[u8]) -> Result<(), PlantError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| file(path, error))
}

fn file(path: &Path, error: io::Error) -> PlantError {
    PlantError::File {
        path: path.to_owned(),
        error,
    }
}
