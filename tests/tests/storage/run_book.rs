//! Every row of the run book on wrong set-ups of stored topics, by its own words.

use crate::world::{file, folder, lines, publish, refused, start, stop, text};
use message_queue_tests::process::assert_ended;
use message_queue_tests::run_book::{Row, check_each, table};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// That a broker which was refused has said what a row says. `…` stands for what is another each time.
#[track_caller]
fn is_seen(row: &Row, output: &Output, code: i32) {
    for seen in row.seen() {
        for part in seen.split('…') {
            assert_ended(output, code, part);
        }
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let names = ["DATA_DIR", "the log of topic jobs"];
    assert!(names.iter().any(|it| err.contains(it)), "{err}");
}

fn on(data: &Path) -> Output {
    refused(&[("STORAGE", "disk"), ("DATA_DIR", text(data))])
}

/// A folder in which a broker has stored `messages`.
fn stored(messages: &[String]) -> TempDir {
    stored_by_turns(&[messages])
}

/// The same, each part when the one before is safe.
fn stored_by_turns(parts: &[&[String]]) -> TempDir {
    let folder = folder();
    let broker = start(folder.path());
    for part in parts {
        publish(&broker, &["--confirm"], part);
    }
    // What is in a second piece says that the first was safe.
    publish(&broker, &["--confirm"], &lines(0, 10));
    stop(broker);
    folder
}

/// A folder in which the topic has three segments, with 24 messages and ten more. Returns those, too.
pub(crate) fn in_segments() -> (TempDir, Vec<PathBuf>) {
    // Of a segment of 1 MiB: however a part is cut into pieces, it does not fill two.
    let part: &[String] = &vec!["x".repeat(100_000); 8];
    let folder = stored_by_turns(&[part; 3]);
    let entries = fs::read_dir(folder.path().join("topics/jobs")).expect("a folder");
    let paths = entries.map(|it| it.expect("a file").path());
    let mut segments: Vec<PathBuf> = paths.filter(|it| text(it).ends_with(".log")).collect();
    segments.sort_unstable();
    assert_eq!(segments.len(), 3);
    (folder, segments)
}

#[test]
fn what_cannot_be_started_is_said_as_the_run_book_has_it() {
    check_each(
        &table("Wrong set-ups"),
        &[
            ("something is stored, and `DATA_DIR` is not set", &|row| {
                is_seen(row, &refused(&[("STORAGE", "disk")]), 2)
            }),
            ("the parent of `DATA_DIR` is not there", &|row| {
                let folder = folder();
                is_seen(row, &on(&folder.path().join("none/data")), 1);
                assert!(!folder.path().join("none").exists());
            }),
            ("`DATA_DIR` is not a folder", &|row| {
                let folder = folder();
                let path = folder.path().join("file");
                fs::write(&path, "mine").expect("a file");
                is_seen(row, &on(&path), 1);
                assert_eq!(fs::read(&path).expect("it is there"), b"mine");
            }),
            ("`DATA_DIR` cannot be written to", &|row| {
                // Where nobody can make a folder, root included.
                is_seen(row, &on(Path::new("/sys/message-queue")), 1);
            }),
            ("`DATA_DIR` holds what is not the broker's", &|row| {
                let folder = folder();
                fs::write(folder.path().join("notes.txt"), "mine").expect("a file");
                is_seen(row, &on(folder.path()), 1);
                assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
            }),
            ("it was written by a later version", &|row| {
                let folder = stored(&[]);
                fs::write(folder.path().join("format"), "2\n").expect("a file");
                is_seen(row, &on(folder.path()), 1);
            }),
            (
                "something in `DATA_DIR/topics` is no folder of a topic",
                &|row| {
                    let folder = stored(&[]);
                    fs::write(folder.path().join("topics/notes.txt"), "mine").expect("a file");
                    is_seen(row, &on(folder.path()), 1);
                },
            ),
            (
                "a topic is there, and by `STORAGE` and the rules it is kept in memory now",
                &|row| {
                    let folder = stored(&[]);
                    is_seen(row, &refused(&[("DATA_DIR", text(folder.path()))]), 2);
                },
            ),
            ("another broker uses it", &|row| {
                let folder = folder();
                let broker = start(folder.path());
                is_seen(row, &on(folder.path()), 1);
                publish(&broker, &["--confirm"], &lines(0, 10));
            }),
            ("a segment is damaged, before its end", &|row| {
                let folder = stored(&lines(10, 20));
                let segment = file(folder.path(), ".log");
                let mut bytes = fs::read(&segment).expect("a file");
                let message = bytes.windows(6).position(|it| it == b"\0\0\0\x0215");
                bytes[message.expect("the message 15") + 4] = b'7';
                fs::write(&segment, &bytes).expect("a file");
                is_seen(row, &on(folder.path()), 1);
                assert_eq!(fs::read(&segment).expect("it is there"), bytes);
            }),
            ("the last segment is all zeros", &|row| {
                let (folder, segments) = in_segments();
                let size = fs::metadata(&segments[2]).expect("a file").len();
                fs::write(&segments[2], vec![0; size as usize]).expect("a file");
                is_seen(row, &on(folder.path()), 1);
            }),
            ("the first or the last segment is missing", &|row| {
                for missing in [0, 2] {
                    let (folder, segments) = in_segments();
                    fs::remove_file(&segments[missing]).expect("a file");
                    is_seen(row, &on(folder.path()), 1);
                }
            }),
            (
                "a segment between others is missing, two were swapped, or one is of another topic",
                &|row| {
                    let (folder, segments) = in_segments();
                    fs::remove_file(&segments[1]).expect("a file");
                    is_seen(row, &on(folder.path()), 1);

                    let (folder, segments) = in_segments();
                    let aside = folder.path().join("aside");
                    fs::rename(&segments[0], &aside).expect("a file");
                    fs::rename(&segments[1], &segments[0]).expect("a file");
                    fs::rename(&aside, &segments[1]).expect("a file");
                    is_seen(row, &on(folder.path()), 1);

                    let (folder, segments) = in_segments();
                    let (_other, others) = in_segments();
                    fs::copy(&others[1], &segments[1]).expect("a file");
                    is_seen(row, &on(folder.path()), 1);
                },
            ),
            ("the journal of a topic is gone", &|row| {
                let folder = stored(&[]);
                fs::remove_file(file(folder.path(), ".journal")).expect("a file");
                is_seen(row, &on(folder.path()), 1);
            }),
        ],
    );
}
