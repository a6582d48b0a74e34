//! The store's thread over a real folder, and over disks that fail.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a disk fails at what a test is about"
)]

use super::disk::{Disk, Reserve, StdDisk};
use super::engine::{Listener, Store};
use super::faulty::{EIO, ENOSPC, Fate, FaultyDisk};
use super::folder::{DataDir, FolderError, Format};
use super::opening::{OpenLog, log_settings, open, open_all};
use super::status::StoreStatus;
use super::thread::start;
use super::volume::DataVolume;
use super::worker::Beginning;
use message_queue_core::log::{File, Fsync, Operation, Progress};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, Request, Run};
use message_queue_core::wire::FrameBatch;
use message_queue_core::{Config, GroupId, StoreSettings, StoredTopic, TopicId};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How long an event is waited for that comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The error of a disk of which there is no more for this user.
const EDQUOT: i32 = 122;

const TOPIC: TopicId = TopicId(1);

/// The epoch of a log that is made because its folder is empty.
const EMPTIED: u64 = 9;

/// Two segments of four messages of 1,000 bytes, about.
const SMALL: StoreSettings = StoreSettings {
    fsync: Fsync::Always,
    segment_bytes: 4_096,
    retention: None,
    retention_bytes: Some(8_192),
    retention_settled: false,
};

fn name() -> TopicName {
    TopicName::new("jobs").expect("a name")
}

/// What a store says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Answer(TopicId, Answer),
    Failed,
}

struct Teller(Sender<Told>);

impl Listener for Teller {
    fn answered(&mut self, answers: Vec<(TopicId, Answer)>) {
        for (topic, answer) in answers {
            // Nobody listens any more when a test is over.
            let _ = self.0.send(Told::Answer(topic, answer));
        }
    }

    fn failed(&mut self) {
        let _ = self.0.send(Told::Failed);
    }
}

fn volume(folder: &Path) -> DataVolume {
    DataVolume {
        folder: DataDir::take(folder, Format::Log).expect("a folder"),
        reserve: Arc::new(Reserve::new(0)),
    }
}

struct Kit {
    store: Store,
    told: Receiver<Told>,
    status: Arc<StoreStatus>,
    found: Vec<StoredTopic>,
}

impl Kit {
    /// Opens all that is in a folder.
    fn start(folder: &Path, settings: StoreSettings) -> Self {
        let volume = volume(folder);
        let logs = open_all(&volume, EMPTIED, 10, &|_| settings).expect("logs");
        Self::with_logs(volume, logs, settings)
    }

    /// Opens the log of one topic, over a disk that fails like this.
    fn faulty(folder: &Path, fate: impl Fn(&Operation) -> Fate + Send + Sync + 'static) -> Self {
        let volume = volume(folder);
        let settings = StoreSettings::default();
        let path = volume.folder.of_topic(&name());
        let disk = StdDisk::new(path.clone(), Arc::new(Reserve::new(0)));
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(disk, fate));
        let log = open(&name(), EMPTIED, &path, disk, log_settings(&settings, 10)).expect("a log");
        Self::with_logs(volume, vec![log], settings)
    }

    fn with_logs(
        volume: DataVolume,
        logs: Vec<(OpenLog, StoredTopic)>,
        kept: StoreSettings,
    ) -> Self {
        let found = logs.iter().map(|(_, found)| found.clone()).collect();
        let status = Arc::<StoreStatus>::default();
        let logs = logs.into_iter().map(|(log, found)| (TOPIC, log, found));
        let beginning = Beginning {
            volume: Box::new(volume),
            logs: logs.collect(),
            settings: Box::new(move |_| kept),
            max_producers: 10,
            status: Arc::clone(&status),
        };
        let (teller, told) = mpsc::channel();
        let store = start(beginning, Box::new(Teller(teller))).expect("a thread");
        Self {
            store,
            told,
            status,
            found,
        }
    }

    fn make(&self) {
        let open = Request::Open {
            name: name(),
            epoch: 7,
        };
        self.store.ask(TOPIC, open);
    }

    fn append(&self, first: u64, messages: &[&str]) {
        let append = Request::Append {
            first,
            published: 1_000 + first,
            batch: FrameBatch::encode(messages).expect("messages"),
            producers: Vec::new(),
            origin: None,
        };
        self.store.ask(TOPIC, append);
    }

    fn save(&self, change: u64, settled_up_to: u64) {
        let save = Request::SaveGroup {
            change,
            group: Name::new("billing").expect("a name"),
            progress: Progress {
                settled_up_to,
                ..Progress::default()
            },
        };
        self.store.ask(TOPIC, save);
    }

    fn fetch(&self, group: GroupId, sequence: u64) {
        let fetch = Request::Fetch {
            group,
            from: FetchFrom::Sequence(sequence),
            bytes: 1,
        };
        self.store.ask(TOPIC, fetch);
    }

    /// Appends 20 messages of 1,000 bytes. Returns where the log begins once some are deleted.
    fn fill_until_trimmed(&self) -> u64 {
        let message = "m".repeat(1_000);
        for first in 1..=20 {
            self.append(first, &[&message]);
        }
        loop {
            match self.next() {
                Told::Answer(TOPIC, Answer::Trimmed { first }) => return first,
                Told::Answer(TOPIC, Answer::Appended { .. }) => {}
                told @ (Told::Answer(..) | Told::Failed) => panic!("{told:?}"),
            }
        }
    }

    /// What it says next.
    fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("it says something")
    }

    #[track_caller]
    fn expect(&self, answer: Answer) {
        assert_eq!(self.next(), Told::Answer(TOPIC, answer));
    }
}

fn fetched(first: u64, messages: &[&str]) -> Answer {
    let run = Run {
        first,
        published: 1_000 + first,
        batch: FrameBatch::encode(messages).expect("messages"),
        origin: None,
        attempts: 0,
    };
    Answer::Fetched {
        group: GroupId::Shared,
        next: first + messages.len() as u64,
        runs: vec![run],
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// What is asked for before the log is there waits for it. A fetch goes on where the last one has ended.
#[test]
fn what_was_answered_is_there_after_the_next_start() {
    let folder = folder();
    let kit = Kit::start(folder.path(), StoreSettings::default());
    assert_eq!(kit.found, []);
    kit.make();
    kit.append(1, &["a", "b"]);
    kit.expect(Answer::appended(2));
    kit.append(3, &["c"]);
    kit.expect(Answer::appended(3));
    kit.save(1, 2);
    kit.expect(Answer::GroupSaved { up_to: 1 });
    drop(kit);

    let kit = Kit::start(folder.path(), StoreSettings::default());
    let [found] = &kit.found[..] else {
        panic!("one topic");
    };
    assert_eq!((found.epoch, found.first, found.next), (7, 1, 4));
    assert_eq!(found.groups[0].1.settled_up_to, 2);
    kit.fetch(GroupId::Shared, 1);
    kit.expect(fetched(1, &["a", "b"]));
    kit.fetch(GroupId::Shared, 3);
    kit.expect(fetched(3, &["c"]));
    kit.append(4, &["d"]);
    kit.expect(Answer::appended(4));
}

/// Whoever remembers a place in what was there before is not taken for somebody who has read what comes now.
#[test]
fn a_folder_that_was_emptied_is_another_life_of_the_topic() {
    let folder = folder();
    let kit = Kit::start(folder.path(), StoreSettings::default());
    kit.make();
    kit.append(1, &["a"]);
    kit.expect(Answer::appended(1));
    drop(kit);
    let topic = folder.path().join("topics/jobs");
    for file in std::fs::read_dir(&topic).expect("a folder") {
        std::fs::remove_file(file.expect("a file").path()).expect("it goes");
    }
    let kit = Kit::start(folder.path(), StoreSettings::default());
    let [found] = &kit.found[..] else {
        panic!("one topic");
    };
    assert_eq!((found.epoch, found.next), (EMPTIED, 1));
}

/// The store ends when it has done what it was asked to do, and not before.
#[test]
fn nothing_that_was_asked_for_is_lost_at_the_end() {
    let folder = folder();
    let kit = Kit::start(folder.path(), StoreSettings::default());
    kit.make();
    for first in 1..=100 {
        kit.append(first, &["message"]);
    }
    kit.save(1, 50);
    drop(kit);
    let kit = Kit::start(folder.path(), StoreSettings::default());
    assert_eq!(kit.found[0].next, 101);
    assert_eq!(kit.found[0].groups[0].1.settled_up_to, 50);
}

#[test]
fn after_a_failed_sync_nothing_more_is_answered() {
    let folder = folder();
    let fails = Arc::<AtomicBool>::default();
    let kit = Kit::faulty(folder.path(), {
        let fails = Arc::clone(&fails);
        move |operation| {
            let is_sync = matches!(operation, Operation::Sync { .. });
            if is_sync && fails.load(Ordering::Relaxed) {
                Fate::Fails(EIO)
            } else {
                Fate::Done
            }
        }
    });
    kit.append(1, &["a"]);
    kit.expect(Answer::appended(1));
    fails.store(true, Ordering::Relaxed);
    kit.append(2, &["b"]);
    assert_eq!(kit.next(), Told::Failed);
    kit.append(3, &["c"]);
    drop(kit.store);
    assert_eq!(kit.told.try_recv().ok(), None);
    // What the disk really has is found out by opening it again.
    let kit = Kit::start(folder.path(), StoreSettings::default());
    assert!(kit.found[0].next >= 2);
}

/// A quota is a disk that is full for us.
#[test]
fn a_full_disk_is_told_and_waited_for() {
    for error in [ENOSPC, EDQUOT] {
        is_told_and_waited_for(error);
    }
}

fn is_told_and_waited_for(error: i32) {
    let folder = folder();
    let is_full = Arc::<AtomicBool>::default();
    let (asked, asks) = mpsc::channel();
    let kit = Kit::faulty(folder.path(), {
        let (is_full, asked) = (Arc::clone(&is_full), Mutex::new(asked));
        move |operation| {
            let is_write = matches!(operation, Operation::Write { .. });
            if is_write && is_full.load(Ordering::Relaxed) {
                let _ = asked.lock().expect("no panic").send(());
                Fate::Fails(error)
            } else {
                Fate::Done
            }
        }
    });
    is_full.store(true, Ordering::Relaxed);
    kit.append(1, &["a"]);
    for _ in 0..2 {
        asks.recv_timeout(PATIENCE).expect("it tries again");
    }
    assert!(kit.status.is_full());
    is_full.store(false, Ordering::Relaxed);
    kit.expect(Answer::appended(1));
    assert!(!kit.status.is_full());
}

#[test]
fn while_a_disk_hangs_nothing_is_confirmed_and_what_is_stored_is_read_and_then_it_goes_on() {
    let folder = folder();
    let hangs = Arc::new((Mutex::new(false), Condvar::new()));
    let (asked, asks) = mpsc::channel();
    let kit = Kit::faulty(folder.path(), {
        let (hangs, asked) = (Arc::clone(&hangs), Mutex::new(asked));
        move |operation| {
            let (is_hanging, released) = &*hangs;
            let mut is_hanging = is_hanging.lock().expect("no panic");
            if *is_hanging && matches!(operation, Operation::Sync { .. }) {
                let _ = asked.lock().expect("no panic").send(());
                while *is_hanging {
                    is_hanging = released.wait(is_hanging).expect("no panic");
                }
            }
            Fate::Done
        }
    });
    kit.append(1, &["a"]);
    kit.expect(Answer::appended(1));
    *hangs.0.lock().expect("no panic") = true;
    kit.append(2, &["b"]);
    asks.recv_timeout(PATIENCE).expect("it is synced");
    kit.append(3, &["c"]);
    kit.save(1, 1);
    // The answer to what was asked last is the first: all else waits for the disk.
    kit.fetch(GroupId::Shared, 1);
    kit.expect(fetched(1, &["a"]));
    *hangs.0.lock().expect("no panic") = false;
    hangs.1.notify_all();
    let told = [kit.next(), kit.next(), kit.next()];
    for answer in [
        Answer::appended(2),
        Answer::appended(3),
        Answer::GroupSaved { up_to: 1 },
    ] {
        assert!(told.contains(&Told::Answer(TOPIC, answer)), "{told:?}");
    }
}

#[test]
fn a_write_that_took_a_part_is_continued() {
    let folder = folder();
    let kit = Kit::faulty(folder.path(), |_| Fate::Short(3));
    kit.append(1, &["a message of several writes"]);
    kit.expect(Answer::appended(1));
    kit.fetch(GroupId::Shared, 1);
    kit.expect(fetched(1, &["a message of several writes"]));
}

#[test]
fn a_group_waits_while_what_is_read_is_not_what_was_written() {
    let folder = folder();
    let flips = Arc::<AtomicBool>::default();
    let (asked, asks) = mpsc::channel();
    let kit = Kit::faulty(folder.path(), {
        let (flips, asked) = (Arc::clone(&flips), Mutex::new(asked));
        move |operation| {
            let is_read = matches!(operation, Operation::Read { .. });
            if is_read && flips.load(Ordering::Relaxed) {
                let _ = asked.lock().expect("no panic").send(());
                Fate::Flipped(0)
            } else {
                Fate::Done
            }
        }
    });
    kit.append(1, &["a"]);
    kit.expect(Answer::appended(1));
    flips.store(true, Ordering::Relaxed);
    kit.fetch(GroupId::Shared, 1);
    asks.recv_timeout(PATIENCE).expect("it reads");
    let group = GroupId::Shared;
    kit.expect(Answer::NotFetched { group });
    assert_eq!(kit.status.read_errors.load(Ordering::Relaxed), 1);
    // All else goes on.
    kit.append(2, &["b"]);
    kit.expect(Answer::appended(2));
    flips.store(false, Ordering::Relaxed);
    kit.fetch(GroupId::Shared, 1);
    kit.expect(fetched(1, &["a"]));
}

/// Whoever took the folder meanwhile would have its files changed under it.
#[test]
fn the_folder_is_not_given_back_while_a_disk_is_at_work() {
    let folder = folder();
    let (free, held) = mpsc::channel::<()>();
    let is_held = Arc::<AtomicBool>::default();
    let kit = Kit::faulty(folder.path(), {
        let (is_held, held) = (Arc::clone(&is_held), Mutex::new(held));
        move |operation| {
            let is_held = is_held.load(Ordering::Relaxed);
            if is_held && matches!(operation, Operation::Read { .. }) {
                // Until the test is over.
                let _ = held.lock().expect("no panic").recv();
            }
            let file = File::Segment(1);
            if is_held && *operation == (Operation::Sync { file }) {
                Fate::Fails(EIO)
            } else {
                Fate::Done
            }
        }
    });
    kit.append(1, &["a"]);
    kit.expect(Answer::appended(1));
    is_held.store(true, Ordering::Relaxed);
    kit.fetch(GroupId::Shared, 1);
    kit.append(2, &["b"]);
    assert_eq!(kit.next(), Told::Failed);
    drop(kit.store);
    let taken = DataDir::take(folder.path(), Format::Log);
    assert!(matches!(taken, Err(FolderError::Locked { .. })));
    drop(free);
}

#[test]
fn what_every_group_has_settled_goes_by_whole_segments() {
    let folder = folder();
    let settings = StoreSettings {
        segment_bytes: 4_096,
        retention_settled: true,
        ..StoreSettings::default()
    };
    let kit = Kit::start(folder.path(), settings);
    kit.make();
    let message = "m".repeat(1_000);
    for first in 1..=20 {
        kit.append(first, &[&message]);
        kit.expect(Answer::appended(first));
    }
    kit.save(1, 10);
    kit.expect(Answer::GroupSaved { up_to: 1 });
    let Told::Answer(TOPIC, Answer::Trimmed { first }) = kit.next() else {
        panic!("it deletes segments");
    };
    assert!((2..=11).contains(&first), "{first}");
    let sizes = kit.status.sizes();
    let [(_, size)] = &sizes[..] else {
        panic!("{sizes:?}");
    };
    assert!(size.segments >= 4 && size.bytes >= 10_000, "{size:?}");
    drop(kit);
    let kit = Kit::start(folder.path(), settings);
    assert_eq!((kit.found[0].first, kit.found[0].next), (first, 21));
}

#[test]
fn retention_by_bytes_alone_keeps_the_last() {
    let folder = folder();
    let kit = Kit::start(folder.path(), SMALL);
    kit.make();
    let first = kit.fill_until_trimmed();
    assert!((2..=20).contains(&first), "{first}");
}

#[test]
fn topics_that_are_made_later_are_kept_as_was_said_last() {
    let folder = folder();
    let kit = Kit::start(folder.path(), StoreSettings::default());
    let config = Config {
        store: SMALL,
        ..Config::default()
    };
    kit.store.follow(config);
    kit.make();
    let first = kit.fill_until_trimmed();
    assert!((2..=20).contains(&first), "{first}");
}
