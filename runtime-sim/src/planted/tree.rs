//! A copy of the source tree with every bug in it.

use super::{Catcher, bugs};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where tests find which bugs they are to catch.
const FOR_TESTS: &str = "planted.txt";

/// What a copy has of the tree, a path a line: what is no more in the tree is deleted from the copy by that.
const COPIED: &str = "copied.txt";

/// The crates of the copy that know of the bugs. Each is told by a build script of its own, and no flag tells all:
/// so what they depend on need not be built anew for the copy.
const TOLD: [&str; 2] = ["core", "runtime-sim"];

/// That build script.
const BUILD_SCRIPT: &str = "fn main() {
    println!(\"cargo::rustc-cfg=planted_bugs\");
    println!(\"cargo::rerun-if-changed=build.rs\");
}
";

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
/// should be is left alone, so that a build there has little to do again. What was copied before and is no more in the
/// tree is deleted; nothing else is.
///
/// # Errors
/// See [`PlantError`]. What was copied until then stays.
pub fn plant(from: &Path, into: &Path) -> Result<(), PlantError> {
    let edited = edited(from)?;
    let copied = copy(from, into, &edited)?;
    forget(into, &copied)?;
    for (folder, bugs) in for_tests() {
        write(&into.join(folder).join(FOR_TESTS), bugs.as_bytes())?;
    }
    for told in TOLD {
        write(&into.join(told).join("build.rs"), BUILD_SCRIPT.as_bytes())?;
    }
    Ok(())
}

/// Copies all files, some of them edited. Returns which there are.
fn copy(
    from: &Path,
    into: &Path,
    edited: &BTreeMap<PathBuf, String>,
) -> Result<BTreeSet<PathBuf>, PlantError> {
    let mut copied = BTreeSet::new();
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
                copied.insert(path);
            }
        }
    }
    Ok(copied)
}

/// Deletes what was copied the last time and was not now, and takes note of what was.
fn forget(into: &Path, copied: &BTreeSet<PathBuf>) -> Result<(), PlantError> {
    let list = into.join(COPIED);
    let before = fs::read_to_string(&list).unwrap_or_default();
    let gone = before.lines().map(Path::new);
    for path in gone.filter(|it| !copied.contains(*it)) {
        let path = into.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file(&path, error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let lines = copied.iter().map(|it| format!("{}\n", it.display()));
    write(&list, lines.collect::<String>().as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_the_tree_leaves_the_copy_and_nothing_else_does() {
        let place = tempfile::tempdir().expect("a folder");
        let (from, into) = (place.path().join("from"), place.path().join("into"));
        let put = |path: PathBuf| write(&path, b"text").expect("it can be written");
        put(from.join("kept.rs"));
        put(from.join("moved.rs"));
        put(into.join("of_somebody_else"));
        let again = || {
            let copied = copy(&from, &into, &BTreeMap::new()).expect("it can be read");
            forget(&into, &copied).expect("it can be written");
        };
        again();
        assert!(into.join("moved.rs").exists());
        fs::rename(from.join("moved.rs"), from.join("new.rs")).expect("it is there");
        again();
        let there = ["kept.rs", "moved.rs", "new.rs", "of_somebody_else"];
        let there = there.map(|it| into.join(it).exists());
        assert_eq!(there, [true, false, true, true]);
    }
}
