//! The engine over a real database.

use crate::store::disk::Reserve;
use crate::store::engine::{Engine, Listener, Store};
use crate::store::folder::{DataDir, FolderError, Format};
use crate::store::opening::OpenError;
use crate::store::status::{Size, StoreStatus};
use message_queue_core::log::{Failed, Fsync, Progress};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::{Answer, FetchFrom, Request, Run};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Mark, Origin, Range};
use message_queue_core::{GroupId, StoreSettings, StoredTopic, TopicId};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use tempfile::TempDir;

/// How long an event is waited for that comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

const TOPIC: TopicId = TopicId(1);

const OTHER: TopicId = TopicId(2);

fn name(topic: TopicId) -> TopicName {
    TopicName::new(if topic == TOPIC { "jobs" } else { "mail" }).expect("a name")
}

fn number(name: &TopicName) -> Option<TopicId> {
    [TOPIC, OTHER]
        .into_iter()
        .find(|it| self::name(*it) == *name)
}

/// What a store says: none: that it has failed.
type Told = Option<(TopicId, Answer)>;

struct Teller(Sender<Told>);

impl Listener for Teller {
    fn answered(&mut self, answers: Vec<(TopicId, Answer)>) {
        for answer in answers {
            // Nobody listens any more when a test is over.
            let _ = self.0.send(Some(answer));
        }
    }

    fn failed(&mut self) {
        let _ = self.0.send(None);
    }
}

struct Kit {
    store: Store,
    told: Receiver<Told>,
    status: Arc<StoreStatus>,
    found: Vec<StoredTopic>,
}

fn open(folder: &Path) -> Result<super::opening::Database, OpenError> {
    let data = DataDir::take(folder, Format::RocksDb)?;
    super::open(data, 0, 2, Arc::default())
}

impl Kit {
    /// Opens all that is in a folder.
    fn start(folder: &Path, settings: StoreSettings) -> Self {
        Self::with(open(folder).expect("a database"), settings)
    }

    fn with(database: super::opening::Database, settings: StoreSettings) -> Self {
        let (teller, told) = mpsc::channel();
        let (found, status) = (database.found(), database.status());
        let settings = Box::new(move |_: &TopicName| settings);
        let engine = Box::new(database);
        let store = engine.start(&number, settings, Box::new(Teller(teller)));
        Self {
            store: store.expect("threads"),
            told,
            status,
            found,
        }
    }

    fn make(&self, topic: TopicId) {
        let (name, epoch) = (name(topic), 7);
        self.store.ask(topic, Request::Open { name, epoch });
    }

    fn append(&self, topic: TopicId, first: u64, messages: &[&str]) {
        self.append_by(topic, first, messages, Vec::new());
    }

    fn append_by(&self, topic: TopicId, first: u64, messages: &[&str], producers: Vec<Mark>) {
        let append = Request::Append {
            first,
            published: 1_000 + first,
            batch: FrameBatch::encode(messages).expect("messages"),
            producers,
            origin: None,
        };
        self.store.ask(topic, append);
    }

    fn save(&self, change: u64, progress: Progress) {
        let group = Name::new("billing").expect("a name");
        let save = Request::SaveGroup {
            change,
            group,
            progress,
        };
        self.store.ask(TOPIC, save);
    }

    fn fetch(&self, from: FetchFrom, bytes: usize) {
        let group = GroupId::Shared;
        self.store.ask(TOPIC, Request::Fetch { group, from, bytes });
    }

    /// What it says next.
    #[track_caller]
    fn next(&self) -> (TopicId, Answer) {
        let told = self.told.recv_timeout(PATIENCE);
        told.expect("it says something").expect("it has not failed")
    }

    #[track_caller]
    fn expect(&self, answer: Answer) {
        assert_eq!(self.next(), (TOPIC, answer));
    }

    /// Waits until all is appended up to this sequence.
    #[track_caller]
    fn appended(&self, last: u64) {
        loop {
            match self.next() {
                (TOPIC, Answer::Appended { up_to, .. }) if up_to == last => return,
                (TOPIC, Answer::Appended { up_to, .. }) => assert!(up_to < last),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Appends messages of 1,000 bytes, one at a time. Waits until they are.
    fn fill(&self, messages: u64) {
        let message = "m".repeat(996);
        for first in 1..=messages {
            self.append(TOPIC, first, &[&message]);
        }
        self.appended(messages);
    }

    /// Where the topic begins once something is deleted.
    #[track_caller]
    fn trimmed(&self) -> u64 {
        match self.next() {
            (TOPIC, Answer::Trimmed { first }) => first,
            other => panic!("{other:?}"),
        }
    }
}

fn run(first: u64, messages: &[&str]) -> Run {
    run_of(first, 1_000 + first, messages)
}

fn run_of(first: u64, published: u64, messages: &[&str]) -> Run {
    Run {
        first,
        published,
        batch: FrameBatch::encode(messages).expect("messages"),
        origin: None,
        attempts: 0,
    }
}

fn fetched(runs: Vec<Run>, next: u64) -> Answer {
    let group = GroupId::Shared;
    Answer::Fetched { group, runs, next }
}

fn mark(name: &str, position: u64) -> Mark {
    let (name, session) = (name.to_owned(), "a life".to_owned());
    Mark {
        name,
        session,
        position,
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn kept() -> StoreSettings {
    StoreSettings::default()
}

#[test]
fn what_was_answered_is_there_after_the_next_start() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    assert_eq!(kit.found, []);
    kit.make(TOPIC);
    kit.append(TOPIC, 1, &["a", "b"]);
    kit.appended(2);
    kit.append(TOPIC, 3, &["c"]);
    kit.appended(3);
    let progress = Progress {
        settled_up_to: 1,
        settled: vec![Range::new(3, 3).expect("a range")],
        failed: vec![Failed {
            sequence: 2,
            failures: 1,
            not_before_ms: 5,
        }],
    };
    kit.save(1, progress.clone());
    kit.expect(Answer::GroupSaved { up_to: 1 });
    kit.make(OTHER);
    kit.append(OTHER, 1, &["elsewhere"]);
    assert_eq!(kit.next(), (OTHER, Answer::appended(1)));
    drop(kit);

    let kit = Kit::start(folder.path(), kept());
    let [jobs, mail] = &kit.found[..] else {
        panic!("two topics");
    };
    assert_eq!((jobs.epoch, jobs.first, jobs.next), (7, 1, 4));
    let billing = Name::new("billing").expect("a name");
    assert_eq!(jobs.groups, [(billing, progress)]);
    assert_eq!((mail.name.as_str(), mail.next), ("mail", 2));
    assert_eq!(mail.groups, []);
    kit.fetch(FetchFrom::Sequence(1), 1);
    kit.expect(fetched(vec![run(1, &["a", "b"])], 3));
    kit.fetch(FetchFrom::Sequence(2), 100);
    let second = run_of(2, 1_001, &["b"]);
    kit.expect(fetched(vec![second, run(3, &["c"])], 4));
    kit.append(TOPIC, 4, &["d"]);
    kit.appended(4);
    kit.fetch(FetchFrom::Sequence(9), 100);
    kit.expect(fetched(vec![], 9));
}

#[test]
fn what_is_not_reported_is_not_read_and_a_new_topic_has_nothing() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    kit.fetch(FetchFrom::Sequence(1), 100);
    kit.append(TOPIC, 1, &["a"]);
    let told = [kit.next().1, kit.next().1];
    assert!(told.contains(&fetched(vec![], 1)), "{told:?}");
    assert!(told.contains(&Answer::appended(1)), "{told:?}");
}

/// The store ends when it has done what it was asked to do, and not before.
#[test]
fn nothing_that_was_asked_for_is_lost_at_the_end() {
    for fsync in [
        Fsync::Always,
        Fsync::Every(Duration::from_secs(60)),
        Fsync::Never,
    ] {
        let folder = folder();
        let settings = StoreSettings { fsync, ..kept() };
        let kit = Kit::start(folder.path(), settings);
        kit.make(TOPIC);
        for first in 1..=100 {
            kit.append(TOPIC, first, &["message"]);
        }
        kit.save(
            1,
            Progress {
                settled_up_to: 50,
                ..Progress::default()
            },
        );
        drop(kit);
        let kit = Kit::start(folder.path(), settings);
        assert_eq!(kit.found[0].next, 101);
        assert_eq!(kit.found[0].groups[0].1.settled_up_to, 50);
    }
}

/// One sync serves all that waits for it, of all topics.
#[test]
fn what_waits_rides_on_one_batch() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    for topic in [TOPIC, OTHER] {
        kit.make(topic);
    }
    const EACH: u64 = 2_000;
    for first in 1..=EACH {
        kit.append(TOPIC, first, &["a"]);
        kit.append(OTHER, first, &["b"]);
    }
    let mut answers = 0_u64;
    let mut done = [false; 2];
    while done != [true; 2] {
        let (topic, answer) = kit.next();
        answers += 1;
        done[usize::from(topic == OTHER)] |= answer == Answer::appended(EACH);
    }
    assert!(answers < EACH, "{answers} batches for {EACH} messages each");
}

#[test]
fn how_soon_something_is_safe_is_as_the_topic_says() {
    let syncs = |fsync| {
        let folder = folder();
        let kit = Kit::start(folder.path(), StoreSettings { fsync, ..kept() });
        kit.make(TOPIC);
        kit.append(TOPIC, 1, &["a"]);
        kit.appended(1);
        let (counts, _) = kit.status.sync_latency.read();
        (kit, folder, counts.iter().sum::<u64>())
    };
    let (_, _, always) = syncs(Fsync::Always);
    assert!(always >= 1);
    let (never, _folder, count) = syncs(Fsync::Never);
    assert_eq!(count, 0);
    // What was written before becomes safe when the topic is to be so.
    never.store.ask(TOPIC, Request::Change(kept()));
    wait_for(|| never.status.sync_latency.read().0.iter().sum::<u64>() == 1);
    let (soon, _folder, _) = syncs(Fsync::Every(Duration::from_millis(1)));
    wait_for(|| soon.status.sync_latency.read().0.iter().sum::<u64>() >= 1);
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    assert!((0..).take(100_000_000).any(|_| {
        std::thread::yield_now();
        is_so()
    }));
}

#[test]
fn producers_are_remembered_and_those_of_long_ago_forgotten() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    for (first, producer) in [
        (1, mark("c", 1)),
        (2, mark("a", 1)),
        (3, mark("c", 2)),
        (4, mark("b", 9)),
    ] {
        kit.append_by(TOPIC, first, &["message"], vec![producer]);
    }
    kit.appended(4);
    drop(kit);
    let kit = Kit::start(folder.path(), kept());
    assert_eq!(kit.found[0].producers, [mark("b", 9), mark("c", 2)]);
    // Who is forgotten next is known after a start, too.
    kit.append_by(TOPIC, 5, &["message"], vec![mark("a", 5)]);
    kit.appended(5);
    drop(kit);
    let kit = Kit::start(folder.path(), kept());
    assert_eq!(kit.found[0].producers, [mark("a", 5), mark("b", 9)]);
}

#[test]
fn a_time_is_found_and_times_do_not_fall() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    let times = [10, 10, 30, 20, 40];
    for (at, published) in (1..).zip(times) {
        let append = Request::Append {
            first: at,
            published,
            batch: FrameBatch::encode(["m"]).expect("messages"),
            producers: Vec::new(),
            origin: None,
        };
        kit.store.ask(TOPIC, append);
    }
    kit.appended(5);
    for (time, first) in [(0, 1), (10, 1), (11, 3), (30, 3), (31, 5), (40, 5), (41, 6)] {
        kit.fetch(FetchFrom::Time(time), 1);
        let runs = times.get(first as usize - 1).map(|_| {
            let published = [10, 10, 30, 30, 40][first as usize - 1];
            run_of(first, published, &["m"])
        });
        let next = if first == 6 { 6 } else { first + 1 };
        kit.expect(fetched(runs.into_iter().collect(), next));
    }
}

#[test]
fn a_dead_letter_says_where_it_came_from() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    let origin = Origin {
        sequence: 7,
        failures: 3,
        published: 5,
        topic: "jobs".into(),
        group: "billing".into(),
        reason: "it failed".into(),
    };
    let run = Run {
        origin: Some(Box::new(origin)),
        ..run(1, &["dead"])
    };
    let append = Request::Append {
        first: 1,
        published: run.published,
        batch: run.batch.clone(),
        producers: Vec::new(),
        origin: run.origin.clone(),
    };
    kit.store.ask(TOPIC, append);
    kit.appended(1);
    kit.fetch(FetchFrom::Sequence(1), 1);
    kit.expect(fetched(vec![run], 2));
}

#[test]
fn a_group_that_is_removed_is_forgotten() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    kit.save(1, Progress::default());
    let group = Name::new("billing").expect("a name");
    let change = 2;
    kit.store.ask(TOPIC, Request::RemoveGroup { change, group });
    while kit.next() != (TOPIC, Answer::GroupSaved { up_to: 2 }) {}
    drop(kit);
    assert_eq!(Kit::start(folder.path(), kept()).found[0].groups, []);
}

#[test]
fn retention_keeps_what_it_is_to_keep_and_not_more() {
    let (bytes, age) = (Some(5_000), Some(Duration::from_millis(1)));
    for (settings, first) in [
        // Twenty messages of 1,000 bytes, each with its length.
        (
            StoreSettings {
                retention_bytes: bytes,
                ..kept()
            },
            16,
        ),
        // All are of the time when time began. The last one stays.
        (
            StoreSettings {
                retention: age,
                ..kept()
            },
            20,
        ),
        (
            StoreSettings {
                retention_settled: true,
                ..kept()
            },
            11,
        ),
    ] {
        let folder = folder();
        let kit = Kit::start(folder.path(), kept());
        kit.make(TOPIC);
        kit.fill(20);
        let progress = Progress {
            settled_up_to: 10,
            ..Progress::default()
        };
        kit.save(1, progress);
        kit.expect(Answer::GroupSaved { up_to: 1 });
        kit.store.ask(TOPIC, Request::Change(settings));
        assert_eq!(kit.trimmed(), first, "{settings:?}");
        kit.fetch(FetchFrom::Sequence(1), 1);
        let message = "m".repeat(996);
        kit.expect(fetched(vec![run(first, &[&message])], first + 1));
        let bytes = (21 - first) * 1_000;
        let size = Size { segments: 0, bytes };
        wait_for(|| kit.status.sizes() == [(name(TOPIC), size)]);
        drop(kit);
        let kit = Kit::start(folder.path(), settings);
        assert_eq!((kit.found[0].first, kit.found[0].next), (first, 21));
        kit.append(TOPIC, 21, &["one more"]);
    }
}

#[test]
fn a_disk_without_room_for_the_reserve_is_full() {
    let folder = folder();
    let mut database = open(folder.path()).expect("a database");
    database.leave_free(Reserve::new(u64::MAX / 2));
    let kit = Kit::with(database, kept());
    kit.make(TOPIC);
    kit.append(TOPIC, 1, &["a"]);
    wait_for(|| kit.status.is_full());
    assert!(kit.told.try_recv().is_err(), "it says that it is done");
    // Consumers go on.
    kit.fetch(FetchFrom::Sequence(1), 1);
    kit.expect(fetched(vec![], 1));
}

#[test]
fn what_is_not_ours_is_refused_with_what_to_do() {
    let parent = folder();
    let of = |name: &str| parent.path().join(name);
    drop(DataDir::take(&of("logs"), Format::Log).expect("a folder"));
    let refused = open(&of("logs")).err().expect("it is of the other engine");
    assert!(matches!(
        refused,
        OpenError::Folder(FolderError::Engine { .. })
    ));
    let says = refused.to_string();
    assert!(
        says.contains("of STORAGE=disk, and one of STORAGE=rocksdb is needed"),
        "{says}"
    );

    // A database whose format is a later one.
    let path = of("later");
    let kit = Kit::start(&path, kept());
    drop(kit);
    let db = ::rocksdb::DB::open_default(DataDir::database(&path)).expect("a database");
    db.put(super::keys::FORMAT_KEY, super::keys::encode(&2_u32))
        .expect("it is written");
    drop(db);
    let says = open(&path).err().expect("a later format").to_string();
    assert!(says.contains("it has the format 2"), "{says}");

    // An entry that is none.
    let path = of("damaged");
    let kit = Kit::start(&path, kept());
    kit.make(TOPIC);
    kit.save(1, Progress::default());
    kit.expect(Answer::GroupSaved { up_to: 1 });
    drop(kit);
    let db = ::rocksdb::DB::open_default(DataDir::database(&path)).expect("a database");
    let group = super::keys::named(super::keys::groups(1), "billing");
    let ahead = Progress {
        settled_up_to: 5,
        ..Progress::default()
    };
    db.put(&group, super::keys::encode(&ahead))
        .expect("it is written");
    drop(db);
    let says = open(&path).err().expect("it is ahead").to_string();
    assert!(
        says.contains("billing has got to message 5, and the last one is 0"),
        "{says}"
    );
    let db = ::rocksdb::DB::open_default(DataDir::database(&path)).expect("a database");
    db.put(&group, "x").expect("it is written");
    drop(db);
    let says = open(&path).err().expect("it is damaged").to_string();
    assert!(
        says.contains("topic jobs: the entry of \"billing\" is not what was"),
        "{says}"
    );
}

/// What is not whole at the end of RocksDB's log was never confirmed, and what stands before it is all there.
#[test]
fn a_torn_end_is_cut_off() {
    let folder = folder();
    let kit = Kit::start(folder.path(), kept());
    kit.make(TOPIC);
    for first in 1..=9 {
        kit.append(TOPIC, first, &["a message"]);
        kit.appended(first);
    }
    drop(kit);
    let database = DataDir::database(folder.path());
    let is_wal = |it: &std::path::PathBuf| it.extension().is_some_and(|it| it == "log");
    let files = fs::read_dir(database).expect("a folder");
    let files = files.map(|it| it.expect("a file").path()).filter(is_wal);
    let wal = files.max_by_key(|it| fs::metadata(it).expect("a file").len());
    let wal = wal.expect("RocksDB has a log");
    let whole = fs::read(&wal).expect("a file");
    fs::write(&wal, &whole[..whole.len() - 3]).expect("a file");
    let kit = Kit::start(folder.path(), kept());
    assert_eq!(kit.found[0].next, 9);
    kit.append(TOPIC, 9, &["again"]);
    kit.appended(9);
}
