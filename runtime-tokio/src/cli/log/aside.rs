//! Carries out a repair: all that is new is written and made safe first, then files change their places.
//!
//! ```text
//! DATA_DIR/aside/TOPIC-1.unfinished/          while it is written; what is left of it is made again
//! DATA_DIR/aside/TOPIC-1/                     what was moved aside
//! DATA_DIR/aside/TOPIC-1/new/                 what is to take its place; gone when all has
//! ```
//!
//! From the moment that the folder has its name until `new` is gone the repair is brought to its end by whoever repairs
//! the topic next, wherever it was interrupted. Meanwhile nobody can open the topic: its journal goes first and comes
//! last. Files are moved aside by a second name (a hard link), so there is no moment in which one is nowhere.

use super::LogError;
use super::data::Topic;
use message_queue_core::log::{File, NewFile, Part, Plan};
use std::fs::{self, File as Handle};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the files stand that are to take the places of others.
const NEW: &str = "new";

/// A repair that has been interrupted.
pub(super) fn pending(topic: &Topic) -> Option<PathBuf> {
    let all = (1..).map(|number| folder(topic, number));
    let mut all = all.take_while(|it| it.exists());
    all.find(|it| it.join(NEW).exists())
}

/// # Errors
/// A repair of the topic has been interrupted: what is there is neither what it was nor what it is to be.
pub(super) fn refuse_pending(topic: &Topic) -> Result<(), LogError> {
    match pending(topic) {
        Some(_) => Err(LogError::RepairPending {
            topic: topic.name().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Carries out a plan. Returns the folder with what was moved aside.
pub(super) fn carry_out(topic: &Topic, plan: &Plan) -> io::Result<PathBuf> {
    let prepared = prepare(topic, plan)?;
    finish(topic, &prepared)?;
    Ok(prepared)
}

fn folder(topic: &Topic, number: u64) -> PathBuf {
    let name = format!("{}-{number}", topic.name());
    topic.data().join("aside").join(name)
}

/// Makes everything that is needed, and changes nothing of the topic.
fn prepare(topic: &Topic, plan: &Plan) -> io::Result<PathBuf> {
    let mut numbers = (1..).map(|number| folder(topic, number));
    let prepared = numbers.find(|it| !it.exists()).unwrap_or_default();
    let mut unfinished = prepared.clone().into_os_string();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        // Copies, and second names of files that have their first.
        fs::remove_dir_all(&unfinished)?;
    }
    let new = unfinished.join(NEW);
    fs::create_dir_all(&new)?;
    for file in &plan.new {
        write(topic, file, &new)?;
    }
    for file in &plan.aside {
        let name = file.to_string();
        fs::hard_link(topic.path().join(&name), unfinished.join(&name))?;
    }
    if let Some(journal) = journal_that_stays(topic, plan)? {
        let from = topic.path().join(&journal);
        fs::hard_link(&from, unfinished.join(&journal))?;
        let to = new.join(&journal);
        fs::copy(&from, &to)?;
        Handle::open(&to)?.sync_all()?;
    }
    sync_folder(&new)?;
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, &prepared)?;
    sync_folder(&topic.data().join("aside"))?;
    sync_folder(topic.data())?;
    Ok(prepared)
}

/// The journal in force, where the plan leaves it as it is.
fn journal_that_stays(topic: &Topic, plan: &Plan) -> io::Result<Option<String>> {
    let is_journal = |file: &File| matches!(file, File::Journal(_));
    if plan.aside.iter().any(is_journal) {
        return Ok(None);
    }
    let names = fs::read_dir(topic.path())?.map(|entry| entry.map(|it| it.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let files = names.iter().filter_map(|it| File::parse(it.to_str()?));
    Ok(files.filter(is_journal).max().map(|it| it.to_string()))
}

fn write(topic: &Topic, file: &NewFile, folder: &Path) -> io::Result<()> {
    let handle = Handle::create_new(folder.join(file.file.to_string()))?;
    let mut out = BufWriter::with_capacity(1 << 20, handle);
    for part in &file.parts {
        match part {
            Part::Bytes(bytes) => out.write_all(bytes)?,
            Part::Copy { file, bytes } => {
                let mut from = Handle::open(topic.path().join(file.to_string()))?;
                from.seek(SeekFrom::Start(bytes.start))?;
                let length = bytes.end - bytes.start;
                if io::copy(&mut from.take(length), &mut out)? < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    out.into_inner()?.sync_all()
}

/// Brings a repair to its end, from wherever it is.
pub(super) fn finish(topic: &Topic, prepared: &Path) -> io::Result<()> {
    steps(topic, prepared)?.iter().try_for_each(Step::take)
}

/// One thing after the other on the way to the end of a repair.
#[derive(Debug)]
enum Step {
    /// This name of a file goes, which has another one.
    Unlink(PathBuf),
    /// This file gets this name.
    Rename(PathBuf, PathBuf),
    /// The names in this folder become safe.
    Sync(PathBuf),
    /// This empty folder goes.
    Remove(PathBuf),
}

impl Step {
    fn take(&self) -> io::Result<()> {
        match self {
            Self::Unlink(name) => fs::remove_file(name),
            Self::Rename(from, to) => fs::rename(from, to),
            Self::Sync(folder) => sync_folder(folder),
            Self::Remove(folder) => fs::remove_dir(folder),
        }
    }
}

/// What is left to be done.
fn steps(topic: &Topic, prepared: &Path) -> io::Result<Vec<Step>> {
    let (folder, new) = (topic.path(), prepared.join(NEW));
    let sync = || Step::Sync(folder.to_owned());
    let is_journal = |file: &File| matches!(file, File::Journal(_));
    let mut steps = Vec::new();
    // Without its journal the topic cannot be opened.
    let (journals, others) = files(prepared)?
        .into_iter()
        .partition::<Vec<_>, _>(is_journal);
    for old in [journals, others] {
        for file in old {
            let name = file.to_string();
            let place = folder.join(&name);
            // What has come into its place meanwhile is another file.
            if is_same(&place, &prepared.join(&name))? {
                steps.push(Step::Unlink(place));
            }
        }
        steps.push(sync());
    }
    let (journals, others) = files(&new)?.into_iter().partition::<Vec<_>, _>(is_journal);
    for coming in [others, journals] {
        for file in coming {
            let name = file.to_string();
            steps.push(Step::Rename(new.join(&name), folder.join(&name)));
        }
        steps.push(sync());
    }
    steps.push(Step::Remove(new));
    steps.push(Step::Sync(prepared.to_owned()));
    Ok(steps)
}

/// The files of a log in a folder.
fn files(folder: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        files.extend(name.to_str().and_then(File::parse));
    }
    Ok(files)
}

/// Whether both are names of one file.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let one = match fs::metadata(one) {
        Ok(one) => one,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let other = fs::metadata(other)?;
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    Handle::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::log::data::Data;
    use bytes::Bytes;
    use message_queue_core::names::TopicName;
    use std::collections::BTreeMap;

    /// The files in the folder of a topic, without what was moved aside.
    fn contents(topic: &Topic) -> BTreeMap<String, String> {
        let entries = fs::read_dir(topic.path()).expect("a folder");
        entries
            .map(|entry| {
                let entry = entry.expect("it is there");
                let text = fs::read_to_string(entry.path()).expect("text");
                (entry.file_name().into_string().expect("text"), text)
            })
            .collect()
    }

    /// A topic with a journal, two segments that were swapped and a foreign one, and what is to be done.
    fn swapped(data: &Data) -> (Topic, Plan) {
        let topic = data
            .topic(TopicName::new("t").expect("a name"))
            .expect("it is made");
        let journal = File::Journal(3);
        let [one, two, foreign] = [1, 5, 9].map(File::Segment);
        for (file, text) in [
            (journal, "journal"),
            (one, "second"),
            (two, "first"),
            (foreign, "foreign"),
        ] {
            fs::write(topic.path().join(file.to_string()), text).expect("it is written");
        }
        let new = |file, from, bytes| NewFile {
            file,
            parts: vec![
                Part::Bytes(Bytes::from_static(b"new ")),
                Part::Copy { file: from, bytes },
            ],
        };
        let plan = Plan {
            new: vec![new(one, two, 0..5), new(two, one, 0..6)],
            aside: vec![one, two, foreign],
            ..Plan::default()
        };
        (topic, plan)
    }

    #[test]
    fn wherever_a_repair_is_interrupted_it_comes_to_the_same_end() {
        for steps_taken in 0.. {
            let folder = tempfile::tempdir().expect("a folder");
            let data = Data::take_or_make(folder.path()).expect("nobody has it");
            let (topic, plan) = swapped(&data);
            assert_eq!(pending(&topic), None);
            let prepared = prepare(&topic, &plan).expect("there is room");
            let all = steps(&topic, &prepared).expect("it can be read");
            for step in all.iter().take(steps_taken) {
                step.take().expect("it can be done");
            }
            let journal = topic.path().join(File::Journal(3).to_string());
            let is_over = !prepared.join(NEW).exists();
            if !is_over {
                let can_be_opened = journal.exists();
                let renamed = files(&prepared.join(NEW)).expect("it can be read");
                let has_begun = steps_taken > 0;
                assert_eq!(can_be_opened, !has_begun || renamed.is_empty());
                assert_eq!(pending(&topic), Some(prepared.clone()));
                finish(&topic, &prepared).expect("it comes to its end");
            }
            assert_eq!(pending(&topic), None);
            let expected = [
                (File::Journal(3), "journal"),
                (File::Segment(1), "new first"),
                (File::Segment(5), "new second"),
            ];
            let expected = expected.map(|(file, text)| (file.to_string(), text.to_owned()));
            assert_eq!(contents(&topic), BTreeMap::from(expected));
            for (first, text) in [(1, "second"), (5, "first"), (9, "foreign")] {
                let kept = prepared.join(File::Segment(first).to_string());
                assert_eq!(fs::read_to_string(kept).expect("it is kept"), text);
            }
            if steps_taken >= all.len() {
                assert!(is_over);
                return;
            }
        }
    }

    #[test]
    fn what_was_not_prepared_to_the_end_is_prepared_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Data::take_or_make(folder.path()).expect("nobody has it");
        let (topic, plan) = swapped(&data);
        let unfinished = folder.path().join("aside/t-1.unfinished/new");
        fs::create_dir_all(&unfinished).expect("a folder");
        let half = unfinished.join(File::Segment(1).to_string());
        fs::write(half, "ne").expect("it is written");
        assert_eq!(pending(&topic), None);
        let before = contents(&topic);
        let prepared = prepare(&topic, &plan).expect("there is room");
        assert_eq!(contents(&topic), before, "nothing has changed so far");
        finish(&topic, &prepared).expect("it comes to its end");
        assert_eq!(contents(&topic)[&File::Segment(1).to_string()], "new first");
        // Another repair has a folder of its own.
        let again = Plan {
            aside: vec![File::Segment(5)],
            ..Plan::default()
        };
        let folder = carry_out(&topic, &again).expect("it is done");
        assert!(folder.ends_with("aside/t-2"));
        assert_eq!(contents(&topic).len(), 2);
    }
}
