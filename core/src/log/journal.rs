//! The journal: where the log begins, its last segment, and how far each group has got.
//!
//! One file, of which a later record stands for an earlier one. It begins with a snapshot, that is, with everything, and
//! a new one takes its place when it has grown to several times what is in force. The new one gets its name when it is
//! complete and safe. So the journal with the highest number is whole but for what was being written at its end, and a
//! log without a journal is damaged, never empty.

use super::content::FORMAT;
use super::damage::{Damage, DamageKind};
use super::disk::{File, Operation};
use super::event::SaveId;
use super::lane::Lane;
use super::ops::{Ops, Owner};
use super::progress::{Fields, Progress};
use super::record::{self, MAX_CONTENT, Record};
use super::settings::Fsync;
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};
use core::time::Duration;

/// A journal is not replaced before it has this many bytes.
const LEAST: u64 = 1 << 20;

/// It is replaced when it has this many times the bytes of what is in force.
const GROWTH: u64 = 4;

const HEAD: u8 = 1;
const BOUNDS: u8 = 2;
const GROUP: u8 = 3;
const GONE: u8 = 4;

/// What the journal says of the log as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What is below this sequence has been deleted, or is to be.
    pub(super) begin: u64,
    /// Where the last segment begins that messages may have been written to; 0 if there was none.
    pub(super) tail: u64,
}

/// What a journal says, read record by record.
#[derive(Debug)]
pub(super) struct Journal {
    number: u64,
    epoch: u64,
    topic: String,
    /// As it is to be.
    pub(super) bounds: Bounds,
    /// As it is safe on the disk.
    pub(super) safe_bounds: Bounds,
    /// The last record of each group.
    groups: BTreeMap<String, Bytes>,
    /// The bytes of all records in force.
    live: u64,
    /// The groups whose last record is not written yet.
    dirty: BTreeSet<String>,
    /// How many records it began with.
    snapshot: u64,
    /// Whether the first of them could not be read, and whether one says the bounds.
    lacks_head: bool,
    has_bounds: bool,
    /// How many records the file has, and how many of them are safe.
    records: u64,
    safe_records: u64,
    /// The size of the file.
    size: u64,
    /// The last change that was asked for, the last in what is being written, and the last that was reported.
    last: SaveId,
    writing: SaveId,
    saved: SaveId,
    activity: Activity,
    lane: Lane,
    /// When what was written is to be made safe.
    sync_due: Option<Now>,
}

/// What the lane is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Nothing; or a sync alone.
    Idle { syncs: bool },
    /// Records of these bounds.
    Writing { bounds: Bounds, syncs: bool },
    /// A journal in place of the last one, with these bounds.
    Replacing { bounds: Bounds, old: Option<u64> },
}

impl Journal {
    /// The journal of a log that has none.
    pub(super) fn new(topic: &str, epoch: u64) -> Self {
        let bounds = Bounds { begin: 1, tail: 0 };
        Self {
            number: 0,
            epoch,
            topic: topic.into(),
            bounds,
            safe_bounds: bounds,
            groups: BTreeMap::new(),
            live: 0,
            dirty: BTreeSet::new(),
            snapshot: 1,
            lacks_head: false,
            has_bounds: false,
            records: 0,
            safe_records: 0,
            size: 0,
            last: SaveId(0),
            writing: SaveId(0),
            saved: SaveId(0),
            activity: Activity::Idle { syncs: false },
            lane: Lane::new(Owner::Journal),
            sync_due: None,
        }
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) const fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) const fn file(&self) -> File {
        File::Journal(self.number)
    }

    /// The number of the journal that is in force on the disk.
    pub(super) const fn on_disk(&self) -> u64 {
        match self.activity {
            // Nothing is in flight, so it has not got its name yet.
            Activity::Replacing { old: Some(old), .. } => old,
            Activity::Replacing { old: None, .. }
            | Activity::Idle { .. }
            | Activity::Writing { .. } => self.number,
        }
    }

    /// Whether all the records that it began with have been taken in.
    pub(super) const fn has_begun(&self) -> bool {
        self.records >= self.snapshot
    }

    /// Whether its first record has been taken in.
    pub(super) const fn has_head(&self) -> bool {
        self.number > 0 && !self.lacks_head
    }

    /// The first record of journal `number` cannot be read.
    pub(super) const fn pass_head(&mut self, number: u64) {
        (self.number, self.records) = (number, 1);
        self.lacks_head = true;
    }

    /// Whether it has said the bounds.
    pub(super) const fn has_bounds(&self) -> bool {
        self.has_bounds
    }

    /// How many records have been taken in.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// The next record of journal `number` was read, at this offset.
    pub(super) fn replay(
        &mut self,
        number: u64,
        record: &Record,
        offset: u64,
    ) -> Result<(), Damage> {
        let damage = |kind| Damage {
            file: File::Journal(number),
            offset,
            kind,
        };
        let is_first = self.records == 0;
        self.records += 1;
        self.number = number;
        match self.apply(&record.content, is_first) {
            Some(Ok(())) => Ok(()),
            Some(Err(kind)) => Err(damage(kind)),
            None => Err(damage(DamageKind::Misplaced)),
        }
    }

    fn apply(&mut self, content: &Bytes, is_first: bool) -> Option<Result<(), DamageKind>> {
        let mut fields = Fields(content);
        let kind = fields.u8()?;
        if (kind == HEAD) != is_first {
            return None;
        }
        match kind {
            HEAD => {
                let format = fields.u32()?;
                if format > FORMAT {
                    return Some(Err(DamageKind::NewerFormat(format)));
                }
                let (number, epoch) = (fields.u64()?, fields.u64()?);
                self.snapshot = fields.u64()?;
                if fields.text8()? != self.topic || number != self.number {
                    return None;
                }
                self.epoch = epoch;
            }
            BOUNDS => {
                self.bounds = Bounds {
                    begin: fields.u64()?,
                    tail: fields.u64()?,
                };
                self.has_bounds = true;
            }
            GROUP => {
                let name = fields.text8()?;
                fields.u8()?;
                Progress::decode(&mut fields)?;
                self.put(name, Some(content.clone()));
            }
            GONE => self.put(fields.text8()?, None),
            _ => return None,
        }
        Some(Ok(()))
    }

    /// The groups, by name, with whether all that a group speaks of was safe when it was saved.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&String, bool, Progress)> {
        self.groups.iter().filter_map(|(name, content)| {
            let mut fields = Fields(content);
            fields.u8()?;
            fields.text8()?;
            let was_safe = fields.u8()? == 1;
            Some((name, was_safe, Progress::decode(&mut fields)?))
        })
    }

    fn put(&mut self, name: &str, content: Option<Bytes>) {
        let size = |content: &Bytes| (record::MIN_CHECK + content.len()) as u64;
        let before = match content {
            Some(content) => {
                self.live += size(&content);
                self.groups.insert(name.into(), content)
            }
            None => self.groups.remove(name),
        };
        self.live -= before.as_ref().map_or(0, size);
    }

    /// A group has got so far, of which all up to `safe` is safe. None if there is too much to be said.
    pub(super) fn save(&mut self, name: &str, progress: &Progress, safe: u64) -> Option<SaveId> {
        let length = 3 + name.len() + progress.encoded_len();
        if name.len() > 255 || length > MAX_CONTENT {
            return None;
        }
        let mut content = BytesMut::with_capacity(length);
        put_name(&mut content, GROUP, name);
        content.put_u8(u8::from(progress.highest() <= safe));
        progress.encode(&mut content);
        self.put(name, Some(content.freeze()));
        Some(self.changed(name))
    }

    /// A group is gone.
    pub(super) fn remove(&mut self, name: &str) -> Option<SaveId> {
        if name.len() > 255 {
            return None;
        }
        self.put(name, None);
        Some(self.changed(name))
    }

    fn changed(&mut self, name: &str) -> SaveId {
        self.dirty.insert(name.into());
        self.last.0 += 1;
        self.last
    }

    /// Whether something is not written.
    fn is_dirty(&self) -> bool {
        self.bounds != self.safe_bounds || !self.dirty.is_empty()
    }

    /// Begins what is to be done next, if nothing is being done.
    pub(super) fn drive(&mut self, ops: &mut Ops, fsync: Fsync, now: Now) {
        if !self.lane.is_idle() {
            return;
        }
        if self.sync_due.is_some_and(|at| at <= now) {
            self.activity = Activity::Idle { syncs: true };
            self.lane
                .begin(ops, [Operation::Sync { file: self.file() }]);
        } else if self.size > LEAST.max(GROWTH * self.live) {
            self.replace(ops);
        } else if self.is_dirty() {
            self.write(ops, fsync);
        }
    }

    fn write(&mut self, ops: &mut Ops, fsync: Fsync) {
        let is_bounds = self.bounds != self.safe_bounds;
        let mut contents = Vec::new();
        if is_bounds {
            contents.push(bounds(self.bounds));
        }
        for name in core::mem::take(&mut self.dirty) {
            contents.push(self.groups.get(&name).cloned().unwrap_or_else(|| {
                let mut gone = BytesMut::new();
                put_name(&mut gone, GONE, &name);
                gone.freeze()
            }));
        }
        let offset = self.size;
        let pieces = self.records_of(contents);
        let file = self.file();
        // Segments and what is deleted hang on the bounds.
        let syncs = is_bounds || fsync == Fsync::Always;
        self.writing = self.last;
        self.activity = Activity::Writing {
            bounds: self.bounds,
            syncs,
        };
        let write = Operation::Write {
            file,
            offset,
            pieces,
        };
        let sync = syncs.then_some(Operation::Sync { file });
        self.lane.begin(ops, core::iter::once(write).chain(sync));
    }

    /// Writes everything into a new journal, which takes the place of this one.
    pub(super) fn replace(&mut self, ops: &mut Ops) {
        let old = (self.number > 0).then_some(self.number);
        let pieces = self.snapshot();
        self.writing = self.last;
        self.activity = Activity::Replacing {
            bounds: self.bounds,
            old,
        };
        let file = File::NewJournal(self.number);
        self.lane.begin(
            ops,
            [
                Operation::Create { file, size: 0 },
                Operation::Write {
                    file,
                    offset: 0,
                    pieces,
                },
                Operation::Sync { file },
                Operation::Rename {
                    from: file,
                    to: self.file(),
                },
                Operation::SyncDir,
            ],
        );
    }

    /// The records of the next journal, which says all that is in force.
    fn snapshot(&mut self) -> Vec<Bytes> {
        self.number += 1;
        (self.records, self.safe_records, self.size) = (0, 0, 0);
        self.dirty.clear();
        let mut head = BytesMut::new();
        head.put_u8(HEAD);
        head.put_u32(FORMAT);
        head.put_u64(self.number);
        head.put_u64(self.epoch);
        head.put_u64(2 + self.groups.len() as u64);
        put_text8(&mut head, &self.topic);
        let contents = [head.freeze(), bounds(self.bounds)];
        let contents = contents.into_iter().chain(self.groups.values().cloned());
        let contents = contents.collect();
        self.records_of(contents)
    }

    /// The journal `number` of this epoch, which says these bounds and what this one says of groups.
    pub(super) fn made_anew(&self, number: u64, epoch: u64, bounds: Bounds) -> Vec<Bytes> {
        let mut journal = Self::new(&self.topic, epoch);
        journal.number = number - 1;
        journal.bounds = bounds;
        journal.groups.clone_from(&self.groups);
        journal.snapshot()
    }

    fn records_of(&mut self, contents: Vec<Bytes>) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2 * contents.len());
        let mut out = BytesMut::new();
        for content in contents {
            record::put_check(&mut out, &[&content], self.safe_records, Vec::new());
            self.size += (out.len() + content.len()) as u64;
            self.records += 1;
            pieces.push(out.split().freeze());
            pieces.push(content);
        }
        pieces
    }

    pub(super) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// What was written is to be safe so soon from now on.
    pub(super) fn sync_within(&mut self, after: Duration, now: Now) {
        if self.safe_records < self.records {
            let due = now + after;
            self.sync_due = Some(self.sync_due.map_or(due, |it| it.min(due)));
        }
    }

    /// The lane has finished what it was at. Returns the last change that is stored, if that is news, and a journal that
    /// is not needed any more.
    pub(super) fn finished(&mut self, fsync: Fsync, now: Now) -> (Option<SaveId>, Option<u64>) {
        let activity = core::mem::replace(&mut self.activity, Activity::Idle { syncs: false });
        let (bounds, is_safe, old) = match activity {
            Activity::Idle { syncs } => (self.safe_bounds, syncs, None),
            Activity::Writing { bounds, syncs } => (bounds, syncs, None),
            Activity::Replacing { bounds, old } => (bounds, true, old),
        };
        self.safe_bounds = bounds;
        if is_safe {
            self.safe_records = self.records;
            self.sync_due = None;
        } else if let Some(after) = fsync.within()
            && self.sync_due.is_none()
        {
            self.sync_due = Some(now + after);
        }
        let is_news = self.writing > self.saved;
        self.saved = self.writing;
        (is_news.then_some(self.saved), old)
    }

    /// When it is to be woken.
    pub(super) fn wakes(&self) -> Option<Now> {
        let due = self.sync_due.filter(|_| self.lane.is_idle());
        [due, self.lane.wakes()].into_iter().flatten().min()
    }
}

fn bounds(bounds: Bounds) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(BOUNDS);
    out.put_u64(bounds.begin);
    out.put_u64(bounds.tail);
    out.freeze()
}

fn put_name(out: &mut BytesMut, kind: u8, name: &str) {
    out.put_u8(kind);
    put_text8(out, name);
}

fn put_text8(out: &mut BytesMut, text: &str) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whoever takes a name in looks at its length"
    )]
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}
