//! The broker's disk: turmoil-fs, which loses in a power cut what was not made safe, under the faults of a plan.

use super::plan::{DiskFaultKind, DiskPlan};
use crate::rng::Rng;
use message_queue_core::log::{File, Operation};
use message_queue_core::names::TopicName;
use message_queue_tokio::store::{
    Disk, EIO, ENOSPC, Fate, FaultyDisk, Files, FolderDisk, Reserve, Volume,
};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use turmoil_fs::Fs;
use turmoil_fs::shim::std::fs;

/// Where the folders of topics are.
const TOPICS: &str = "/data/topics";

/// The least time that any operation takes while the disk is slow.
const SLOW: Duration = Duration::from_millis(300);

/// The disk of the broker's host. It outlives the broker.
#[derive(Clone)]
pub(super) struct Disks(Arc<Inner>);

struct Inner {
    fs: Fs,
    /// Whether a broker has it.
    is_taken: AtomicBool,
    troubles: Mutex<Troubles>,
}

/// What goes wrong now.
struct Troubles {
    rng: Rng,
    longest_us: u64,
    /// Of a hundred writes, how many write less than they should.
    short_percent: u64,
    /// Whether a broker opens what is stored.
    is_opening: bool,
    has_no_space: bool,
    is_slow: bool,
    syncs_fail: bool,
    /// Whether one has failed since a broker began to open what is stored.
    has_failed: bool,
    /// What could not be made safe: to whoever asks again it looks as if it were, as it does with files whose pages were
    /// given up. A broker that starts writes it anew.
    given_up: BTreeSet<(TopicName, Option<File>)>,
    /// Of a hundred reads, how many bring something else than what is there.
    flips_percent: u64,
}

impl Disks {
    /// An empty disk.
    pub(super) fn new(plan: &DiskPlan, seed: u64) -> Self {
        let mut fs = Fs::builder()
            .seed(seed)
            .sync_probability(plan.written_back_percent as f64 / 100.0);
        if let Some(bytes) = plan.block_bytes {
            fs = fs.block_size(bytes);
        }
        let fs = fs.build();
        {
            let _entered = fs.enter();
            fs::create_dir_all(TOPICS)
                .and_then(|()| fs::sync_dir("/"))
                .and_then(|()| fs::sync_dir("/data"))
                .expect("an empty disk has room for a folder");
        }
        let troubles = Troubles {
            rng: Rng::new(seed),
            longest_us: plan.longest_us,
            short_percent: plan.short_percent,
            is_opening: false,
            has_no_space: false,
            is_slow: false,
            syncs_fail: false,
            has_failed: false,
            given_up: BTreeSet::new(),
            flips_percent: 0,
        };
        Self(Arc::new(Inner {
            fs,
            is_taken: AtomicBool::new(false),
            troubles: Mutex::new(troubles),
        }))
    }

    /// A broker takes it.
    ///
    /// # Panics
    /// If another has it.
    pub(super) fn take(&self) -> TakenDisks {
        let was_taken = self.0.is_taken.swap(true, Ordering::Relaxed);
        assert!(!was_taken, "two brokers have the same data folder");
        self.troubles().given_up.clear();
        TakenDisks(self.clone())
    }

    /// Whether a broker has it.
    pub(super) fn is_taken(&self) -> bool {
        self.0.is_taken.load(Ordering::Relaxed)
    }

    /// The broker that has it has died.
    pub(super) fn broker_died(&self) {
        self.0.is_taken.store(false, Ordering::Relaxed);
        self.set_opening(false);
    }

    /// The power goes, and with it what was not made safe.
    pub(super) fn power_cut(&self) {
        self.0.fs.crash();
    }

    /// Whether a broker opens what is stored: meanwhile it reads what is there. It could not tell a damage from a torn end.
    pub(super) fn set_opening(&self, is_opening: bool) {
        let mut troubles = self.troubles();
        troubles.is_opening = is_opening;
        troubles.has_failed &= !is_opening;
    }

    /// Whether it has failed since a broker last began to open what is stored.
    pub(super) fn has_failed(&self) -> bool {
        self.troubles().has_failed
    }

    /// Something goes wrong from now on, or no longer.
    pub(super) fn set(&self, fault: DiskFaultKind, begins: bool) {
        let mut troubles = self.troubles();
        match fault {
            DiskFaultKind::NoSpace => troubles.has_no_space = begins,
            DiskFaultKind::SyncFails => troubles.syncs_fail = begins,
            DiskFaultKind::Slow => troubles.is_slow = begins,
            DiskFaultKind::Flips { percent } => {
                troubles.flips_percent = if begins { percent } else { 0 };
            }
        }
    }

    /// All that was wrong is over.
    pub(super) fn heal(&self) {
        let mut troubles = self.troubles();
        troubles.has_no_space = false;
        troubles.syncs_fail = false;
        troubles.is_slow = false;
        troubles.flips_percent = 0;
    }

    /// How long an operation takes.
    pub(super) fn latency(&self, operation: &Operation) -> Duration {
        let mut troubles = self.troubles();
        let most = match operation {
            Operation::Sync { .. } | Operation::SyncDir => troubles.longest_us,
            Operation::List
            | Operation::Create { .. }
            | Operation::Write { .. }
            | Operation::Read { .. }
            | Operation::Truncate { .. }
            | Operation::Rename { .. }
            | Operation::Delete { .. } => troubles.longest_us / 4,
        };
        let least = if troubles.is_slow {
            SLOW
        } else {
            Duration::ZERO
        };
        least + Duration::from_micros(troubles.rng.within(0..=most))
    }

    fn fate(&self, topic: &TopicName, operation: &Operation) -> Fate {
        let mut troubles = self.troubles();
        match operation {
            Operation::Create { .. } | Operation::Write { .. } if troubles.has_no_space => {
                Fate::Fails(ENOSPC)
            }
            Operation::Write { pieces, .. } => {
                let bytes: usize = pieces.iter().map(|it| it.len()).sum();
                let percent = troubles.short_percent;
                if bytes > 1 && troubles.rng.chance(percent) {
                    Fate::Short(troubles.rng.within(1..=bytes as u64 - 1) as usize)
                } else {
                    Fate::Done
                }
            }
            Operation::Sync { .. } | Operation::SyncDir => {
                let what = (topic.clone(), operation.file());
                if troubles.syncs_fail {
                    troubles.has_failed = true;
                    troubles.given_up.insert(what);
                    Fate::Fails(EIO)
                } else if troubles.given_up.contains(&what) {
                    Fate::Pretended
                } else {
                    Fate::Done
                }
            }
            Operation::Read { .. } if !troubles.is_opening => {
                let percent = troubles.flips_percent;
                if troubles.rng.chance(percent) {
                    Fate::Flipped(troubles.rng.next_u64() as usize)
                } else {
                    Fate::Done
                }
            }
            Operation::List
            | Operation::Create { .. }
            | Operation::Read { .. }
            | Operation::Truncate { .. }
            | Operation::Rename { .. }
            | Operation::Delete { .. } => Fate::Done,
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        let troubles = self.0.troubles.lock();
        troubles.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk, while a broker has it.
pub(super) struct TakenDisks(Disks);

impl TakenDisks {
    /// The topics that have a folder, by name.
    pub(super) fn topics(&self) -> Vec<TopicName> {
        let entries = self.files().list(Path::new(TOPICS));
        let entries = entries.expect("it was made with the disk").into_iter();
        let names = entries.filter_map(|(name, _)| TopicName::new(name.to_str()?).ok());
        let mut names: Vec<TopicName> = names.collect();
        names.sort_unstable();
        names
    }

    fn files(&self) -> SimFiles {
        SimFiles(self.0.0.fs.clone())
    }
}

impl Volume for TakenDisks {
    fn disk(&self, topic: &TopicName) -> Arc<dyn Disk> {
        let reserve = Arc::new(Reserve::new(0));
        let disk = FolderDisk::over(self.files(), self.folder(topic), reserve);
        let disks = self.0.clone();
        let topic = topic.clone();
        Arc::new(FaultyDisk::new(disk, move |operation: &Operation| {
            disks.fate(&topic, operation)
        }))
    }

    fn folder(&self, topic: &TopicName) -> PathBuf {
        Path::new(TOPICS).join(topic.as_str())
    }
}

impl Drop for TakenDisks {
    fn drop(&mut self) {
        self.0.broker_died();
    }
}

/// The files of turmoil-fs, with the kinds of errors that a system has.
struct SimFiles(Fs);

/// An open file. Its file system has to be the current one whenever it is used, and when it is closed.
struct SimFile {
    fs: Fs,
    file: Option<fs::File>,
}

impl SimFile {
    fn file(&self) -> &fs::File {
        self.file
            .as_ref()
            .expect("it is taken when this is dropped")
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let _entered = self.fs.enter();
        self.file = None;
    }
}

impl FileExt for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let _entered = self.fs.enter();
        self.file().read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let _entered = self.fs.enter();
        self.file().write_at(buf, offset)
    }
}

impl SimFiles {
    fn open_as(&self, path: &Path, is_new: bool) -> io::Result<SimFile> {
        let _entered = self.0.enter();
        let mut options = fs::OpenOptions::new();
        let options = options.read(true).write(true);
        let file = options.create(is_new).truncate(is_new).open(path)?;
        Ok(SimFile {
            fs: self.0.clone(),
            file: Some(file),
        })
    }
}

impl Files for SimFiles {
    type File = SimFile;

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        self.open_as(path, false)
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        self.open_as(path, true)
    }

    fn read(&self, file: &SimFile, offset: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let (len, room) = (bytes.len(), bytes.capacity());
        bytes.resize(room, 0);
        let read = file.read_at(&mut bytes[len..], offset);
        bytes.truncate(len + *read.as_ref().unwrap_or(&0));
        read
    }

    fn truncate(&self, file: &SimFile, size: u64) -> io::Result<()> {
        let _entered = self.0.enter();
        file.file().set_len(size)
    }

    fn sync(&self, file: &SimFile) -> io::Result<()> {
        let _entered = self.0.enter();
        file.file().sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _entered = self.0.enter();
        if !fs::exists(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        fs::rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let _entered = self.0.enter();
        fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let _entered = self.0.enter();
        if fs::exists(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::create_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let _entered = self.0.enter();
        fs::sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, u64)>> {
        let _entered = self.0.enter();
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), entry.metadata()?.len()))
        };
        fs::read_dir(path)?.map(entry).collect()
    }

    /// As much as anybody wants: a full disk is a fault of the plan.
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use message_queue_core::log::Done;

    const FILE: File = File::Segment(1);

    struct Kit {
        disks: Disks,
        disk: Arc<dyn Disk>,
        _taken: TakenDisks,
    }

    fn kit() -> Kit {
        let plan = DiskPlan {
            longest_us: 0,
            block_bytes: None,
            written_back_percent: 0,
            short_percent: 0,
            segment_bytes: 4096,
            retention_settled: false,
            faults: Vec::new(),
        };
        let disks = Disks::new(&plan, 1);
        let taken = disks.take();
        let disk = taken.disk(&TopicName::new("jobs").expect("a name"));
        let kit = Kit {
            disks,
            disk,
            _taken: taken,
        };
        kit.done(Operation::Create {
            file: FILE,
            size: 3,
        });
        kit.done(Operation::Sync { file: FILE });
        kit
    }

    impl Kit {
        fn done(&self, operation: Operation) -> Done {
            self.disk.carry_out(&operation).expect("it works")
        }

        fn write(&self) {
            self.done(Operation::Write {
                file: FILE,
                offset: 0,
                pieces: vec![Bytes::from("abc")],
            });
        }

        fn read(&self, file: File) -> Done {
            self.done(Operation::Read {
                file,
                offset: 0,
                length: 9,
            })
        }

        fn files(&self) -> Done {
            self.done(Operation::List)
        }
    }

    #[test]
    fn a_power_cut_takes_what_was_not_made_safe() {
        let kit = kit();
        kit.done(Operation::SyncDir);
        kit.write();
        assert_eq!(kit.read(FILE), Done::Read("abc".into()));
        kit.disks.power_cut();
        assert_eq!(kit.read(FILE), Done::Read("\0\0\0".into()));
        kit.write();
        kit.done(Operation::Sync { file: FILE });
        kit.disks.power_cut();
        assert_eq!(kit.read(FILE), Done::Read("abc".into()));
    }

    #[test]
    fn a_power_cut_takes_new_files_and_undoes_renames_in_a_folder_that_was_not_made_safe() {
        let other = File::Segment(2);
        let rename = Operation::Rename {
            from: FILE,
            to: other,
        };
        let files = |file| Done::Listed(vec![(file, 3)]);
        let lost = kit();
        lost.disks.power_cut();
        assert_eq!(lost.files(), Done::Listed(Vec::new()));
        let kept = kit();
        kept.done(Operation::SyncDir);
        kept.done(rename.clone());
        assert_eq!(kept.files(), files(other));
        kept.disks.power_cut();
        assert_eq!(kept.files(), files(FILE));
        kept.done(rename);
        kept.done(Operation::SyncDir);
        kept.disks.power_cut();
        assert_eq!(kept.files(), files(other));
    }

    #[test]
    fn what_could_not_be_made_safe_only_looks_as_if_it_were() {
        let kit = kit();
        kit.done(Operation::SyncDir);
        kit.write();
        kit.disks.set(DiskFaultKind::SyncFails, true);
        let sync = Operation::Sync { file: FILE };
        assert!(kit.disk.carry_out(&sync).is_err());
        kit.disks.heal();
        kit.done(sync);
        kit.disks.power_cut();
        assert_eq!(kit.read(FILE), Done::Read("\0\0\0".into()));
    }

    #[test]
    #[should_panic(expected = "two brokers have the same data folder")]
    fn one_broker_has_it_at_a_time() {
        let kit = kit();
        drop(kit.disks.take());
    }
}
