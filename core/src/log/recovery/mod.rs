//! What is on the disk when a log is opened.
//!
//! The journal is read, then the head of each segment, then the last segment whole. So it takes as long as a segment
//! is large, however many there are. Whatever is written while doing so leaves the log as it was found if the power
//! goes: what was torn is cut off, what may be in memory alone is written again as it is, and the journal is replaced.

mod tail;

use super::content::Content;
use super::damage::{Damage, DamageKind, Stop};
use super::disk::{DiskError, Done, File, Operation};
use super::journal::{Bounds, Journal};
use super::lane::{self, Lane};
use super::ops::{Ops, Owner};
use super::record::{self, Next};
use super::scan::{CHUNK, Found, Scan, Search, Verdict};
use super::segment::{Segment, Segments};
use super::writer::{End, Writer};
use crate::time::Now;
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use tail::Tail;

/// What is read of a segment to know its head, in bytes.
const HEAD: usize = 256;

/// The way from the list of files to an open log.
#[derive(Debug)]
pub(super) struct Recovery {
    step: Step,
    lane: Lane,
    journals: Vec<u64>,
    /// What is not needed.
    leftovers: Vec<File>,
    /// Where the segments begin, and their sizes.
    segments: Vec<u64>,
    sizes: BTreeMap<u64, u64>,
    /// Sequences that groups know of and the log does not.
    lost: Option<Range>,
    torn_bytes: u64,
}

#[derive(Debug)]
enum Step {
    Listing,
    /// A deletion that was begun is brought to its end, or what an earlier life has prepared is deleted.
    Deleting,
    Journal(Scan),
    JournalEnd(Search),
    /// The head of this segment is read.
    Heads(usize),
    Tail(Scan, Tail),
    TailEnd(Search, Tail),
    /// A segment that was never written to is taken away.
    Dropping,
    /// What was read here is written again, up to `end`.
    Rewriting {
        at: u64,
        reads: bool,
        tail: Tail,
    },
    /// The segment is cut and made safe.
    Sealing(Option<Tail>),
    /// The journal is replaced; see [`Recovery::finish`].
    Replacing,
}

/// The parts of a log that a recovery fills.
pub(super) struct Parts<'a> {
    pub(super) ops: &'a mut Ops,
    pub(super) journal: &'a mut Journal,
    pub(super) segments: &'a mut Segments,
    pub(super) writer: &'a mut Writer,
    pub(super) now: Now,
}

impl Recovery {
    pub(super) fn begin(ops: &mut Ops) -> Self {
        let mut lane = Lane::new(Owner::Recovery);
        lane.begin(ops, [Operation::List]);
        Self {
            step: Step::Listing,
            lane,
            journals: Vec::new(),
            leftovers: Vec::new(),
            segments: Vec::new(),
            sizes: BTreeMap::new(),
            lost: None,
            torn_bytes: 0,
        }
    }

    pub(super) const fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }

    pub(super) fn completed(
        &mut self,
        result: Result<Done, DiskError>,
        parts: &mut Parts<'_>,
    ) -> Result<(), Stop> {
        let mut read = Bytes::new();
        let mut listed = Vec::new();
        match &result {
            Ok(Done::Read(bytes)) => read = bytes.clone(),
            Ok(Done::Listed(files)) => listed.clone_from(files),
            Ok(Done::Done | Done::Wrote(_)) | Err(_) => {}
        }
        let progress = self.lane.completed(parts.ops, result, parts.now)?;
        if progress == lane::Progress::Busy {
            return Ok(());
        }
        match core::mem::replace(&mut self.step, Step::Replacing) {
            Step::Listing => self.listed(&listed, parts),
            Step::Deleting => {
                *self = Self::begin(parts.ops);
                Ok(())
            }
            Step::Journal(mut scan) => {
                scan.read(read);
                self.journal(scan, parts)
            }
            Step::JournalEnd(mut search) => {
                let verdict = search.read(&read);
                self.journal_end(search, verdict, parts)
            }
            Step::Heads(index) => self.head(index, &read, parts),
            Step::Tail(mut scan, tail) => {
                scan.read(read);
                self.tail(scan, tail, parts)
            }
            Step::TailEnd(mut search, tail) => {
                let verdict = search.read(&read);
                self.tail_end(search, tail, verdict, parts)
            }
            Step::Dropping => {
                self.begin_tail(parts);
                Ok(())
            }
            Step::Rewriting { at, reads, tail } => {
                self.rewrite(at, reads, tail, read, parts);
                Ok(())
            }
            Step::Sealing(tail) => self.sealed(tail, parts),
            Step::Replacing => Ok(()),
        }
    }

    fn listed(&mut self, listed: &[(File, u64)], parts: &mut Parts<'_>) -> Result<(), Stop> {
        let mut files: Vec<_> = listed.iter().map(|(file, _)| *file).collect();
        files.sort_unstable();
        for (file, size) in listed {
            if let File::Segment(first) = file {
                self.sizes.insert(*first, *size);
            }
        }
        let (mut deleted, mut spares) = (Vec::new(), Vec::new());
        for file in &files {
            match *file {
                File::Journal(number) => self.journals.push(number),
                File::Segment(first) => self.segments.push(first),
                File::NewJournal(_) => self.leftovers.push(*file),
                File::Spare(_) => spares.push(*file),
                File::Index(segment) if self.sizes.contains_key(&segment) => {}
                File::Index(_) => self.leftovers.push(*file),
                File::Deleted(_) => deleted.push(*file),
            }
        }
        let mut row = Vec::new();
        if !deleted.is_empty() {
            files.retain(|file| !deleted.contains(file));
            row.extend(deletion(files).chain(deletion(deleted)));
        } else if !spares.is_empty() {
            // Before there are others of the same names.
            row.extend(deletion(spares));
        }
        if !row.is_empty() {
            self.step = Step::Deleting;
            self.lane.begin(parts.ops, row);
            return Ok(());
        }
        let Some(number) = self.journals.last() else {
            if let Some(first) = self.segments.first() {
                return stop(File::Segment(*first), 0, DamageKind::NoJournal);
            }
            self.step = Step::Replacing;
            parts.journal.replace(parts.ops);
            return Ok(());
        };
        let scan = Scan::new(File::Journal(*number), 0);
        self.journal(scan, parts)
    }

    fn journal(&mut self, mut scan: Scan, parts: &mut Parts<'_>) -> Result<(), Stop> {
        let number = self.journals.last().copied().unwrap_or_default();
        loop {
            match scan.next() {
                Found::Record(record, offset) => {
                    let replayed = parts.journal.replay(number, &record, offset);
                    replayed.map_err(Stop::Damaged)?;
                }
                Found::Read(operation) => {
                    self.lane.begin(parts.ops, [operation]);
                    self.step = Step::Journal(scan);
                    return Ok(());
                }
                Found::End | Found::Damaged => break,
            }
        }
        if !parts.journal.has_begun() {
            return stop(scan.file(), scan.offset(), DamageKind::NotARecord);
        }
        let missing = parts.journal.records() + 1;
        let mut search = Search::new(scan.file(), scan.offset(), missing);
        let verdict = search.begin();
        self.journal_end(search, verdict, parts)
    }

    fn journal_end(
        &mut self,
        search: Search,
        verdict: Verdict,
        parts: &mut Parts<'_>,
    ) -> Result<(), Stop> {
        match verdict {
            Verdict::Read(operation) => {
                self.lane.begin(parts.ops, [operation]);
                self.step = Step::JournalEnd(search);
                Ok(())
            }
            Verdict::Damaged => stop(search.file(), search.begins(), DamageKind::NotARecord),
            Verdict::Torn(_) => self.begin_heads(parts),
        }
    }

    fn begin_heads(&mut self, parts: &mut Parts<'_>) -> Result<(), Stop> {
        let Bounds { begin, tail } = parts.journal.bounds;
        // What was to be deleted, and may have been.
        let whole = self.segments.iter().skip(1);
        let below = whole.take_while(|first| **first <= begin).count();
        for first in self.segments.drain(..below) {
            self.leftovers.extend(files_of(first));
        }
        let missing = match (self.segments.first(), self.segments.last()) {
            (Some(first), _) if *first > begin => Some(begin),
            (_, Some(last)) if *last < tail => Some(tail),
            (None, _) if tail > 0 => Some(tail),
            _ => None,
        };
        if let Some(first) = missing {
            return stop(File::Segment(first), 0, DamageKind::Missing);
        }
        self.begin_head(0, parts);
        Ok(())
    }

    /// Reads the head of a segment, or the last segment whole.
    fn begin_head(&mut self, index: usize, parts: &mut Parts<'_>) {
        if index + 1 >= self.segments.len() {
            self.begin_tail(parts);
            return;
        }
        self.step = Step::Heads(index);
        let read = Operation::Read {
            file: File::Segment(self.segments[index]),
            offset: 0,
            length: HEAD,
        };
        self.lane.begin(parts.ops, [read]);
    }

    fn head(&mut self, index: usize, read: &Bytes, parts: &mut Parts<'_>) -> Result<(), Stop> {
        let first = self.segments[index];
        let file = File::Segment(first);
        let Next::Record(record, _) = record::next(read) else {
            return stop(file, 0, DamageKind::NotARecord);
        };
        let Some(Content::Head(head)) = Content::of(&record) else {
            return stop(file, 0, DamageKind::Misplaced);
        };
        let previous = index.checked_sub(1).map(|it| self.segments[it]);
        if let Err(kind) = tail::check(&head, parts.journal.epoch(), first, previous) {
            return stop(file, 0, kind);
        }
        parts.segments.push(Segment {
            first,
            published: head.published,
            bytes: self.sizes.get(&first).copied().unwrap_or_default(),
        });
        self.begin_head(index + 1, parts);
        Ok(())
    }

    fn begin_tail(&mut self, parts: &mut Parts<'_>) {
        let Some((first, before)) = self.segments.split_last() else {
            self.seal(None, 0, parts);
            return;
        };
        let epoch = parts.journal.epoch();
        let tail = Tail::new(*first, epoch, before.last().copied());
        // Nothing is read yet, so this asks for the first bytes.
        let mut scan = Scan::new(File::Segment(*first), 0);
        if let Found::Read(operation) = scan.next() {
            self.lane.begin(parts.ops, [operation]);
        }
        self.step = Step::Tail(scan, tail);
    }

    fn tail(&mut self, mut scan: Scan, mut tail: Tail, parts: &mut Parts<'_>) -> Result<(), Stop> {
        loop {
            match scan.next() {
                Found::Record(record, offset) => {
                    let producers = &mut parts.writer.producers;
                    if let Err(kind) = tail.take(&record, offset, scan.offset(), producers) {
                        return stop(scan.file(), offset, kind);
                    }
                }
                Found::Read(operation) => {
                    self.lane.begin(parts.ops, [operation]);
                    self.step = Step::Tail(scan, tail);
                    return Ok(());
                }
                Found::End | Found::Damaged => break,
            }
        }
        let mut search = Search::new(scan.file(), scan.offset(), tail.last + 1);
        let verdict = search.begin();
        self.tail_end(search, tail, verdict, parts)
    }

    fn tail_end(
        &mut self,
        search: Search,
        tail: Tail,
        verdict: Verdict,
        parts: &mut Parts<'_>,
    ) -> Result<(), Stop> {
        let end = match verdict {
            Verdict::Read(operation) => {
                self.lane.begin(parts.ops, [operation]);
                self.step = Step::TailEnd(search, tail);
                return Ok(());
            }
            Verdict::Damaged => {
                return stop(search.file(), search.begins(), DamageKind::NotARecord);
            }
            Verdict::Torn(end) => end,
        };
        let file = File::Segment(tail.first);
        if tail.first > parts.journal.bounds.tail && !tail.has_messages {
            // The journal had not taken note of it, so nothing was written to it, and its head may not be whole.
            self.segments.pop();
            // The one before is the last now, and is read whole.
            parts.segments.pop();
            self.step = Step::Dropping;
            let row = [Operation::Delete { file }, Operation::SyncDir];
            self.lane.begin(parts.ops, row);
            return Ok(());
        }
        if tail.head.is_none() {
            return stop(file, 0, DamageKind::NotARecord);
        }
        // Before anything is cut off: what groups have had was safe, and may stand behind.
        reaches_groups(tail.last, file, tail.end, parts.journal)?;
        self.torn_bytes = end.saturating_sub(tail.end);
        match tail.unsafe_from() {
            Some(at) => self.rewrite(at, false, tail, Bytes::new(), parts),
            None => self.seal(Some(tail), self.torn_bytes, parts),
        }
        Ok(())
    }

    /// Writes again what may be in the system's memory alone: after a sync that failed the system takes it for written,
    /// and no other sync would write it.
    fn rewrite(&mut self, at: u64, reads: bool, tail: Tail, read: Bytes, parts: &mut Parts<'_>) {
        let file = File::Segment(tail.first);
        let (at, operation) = if reads && !read.is_empty() {
            let next = at + read.len() as u64;
            let write = Operation::Write {
                file,
                offset: at,
                pieces: [read].into(),
            };
            (next, write)
        } else if at < tail.end && !reads {
            #[expect(clippy::cast_possible_truncation, reason = "at most a chunk")]
            let length = (tail.end - at).min(CHUNK as u64) as usize;
            let offset = at;
            let read = Operation::Read {
                file,
                offset,
                length,
            };
            (at, read)
        } else {
            self.seal(Some(tail), self.torn_bytes, parts);
            return;
        };
        let reads = matches!(operation, Operation::Read { .. });
        self.lane.begin(parts.ops, [operation]);
        self.step = Step::Rewriting { at, reads, tail };
    }

    fn seal(&mut self, tail: Option<Tail>, torn_bytes: u64, parts: &mut Parts<'_>) {
        let mut row = Vec::new();
        if let Some(tail) = &tail {
            let file = File::Segment(tail.first);
            if torn_bytes > 0 {
                let size = tail.end;
                row.push(Operation::Truncate { file, size });
            }
            row.push(Operation::Sync { file });
        }
        row.push(Operation::SyncDir);
        self.lane.begin(parts.ops, row);
        self.step = Step::Sealing(tail);
    }

    fn sealed(&mut self, mut tail: Option<Tail>, parts: &mut Parts<'_>) -> Result<(), Stop> {
        let last = match &mut tail {
            Some(tail) => {
                parts.segments.push(Segment {
                    first: tail.first,
                    published: tail.head.map_or(0, |it| it.published),
                    bytes: 0,
                });
                parts.writer.resume(End {
                    last: tail.last,
                    published: tail.published,
                    offset: tail.end,
                    head: tail.head_end,
                    index: core::mem::take(&mut tail.index),
                });
                tail.last
            }
            None => 0,
        };
        if tail.is_none() {
            reaches_groups(last, parts.journal.file(), 0, parts.journal)?;
        }
        let groups = parts.journal.groups();
        let known = groups.map(|(_, _, progress)| progress.highest()).max();
        let known = known.unwrap_or(0);
        if known > last {
            self.lost = Some(parts.writer.append_gap(known));
        }
        let tail = tail.map_or(0, |it| it.first);
        parts.journal.bounds.tail = tail;
        self.step = Step::Replacing;
        parts.journal.replace(parts.ops);
        Ok(())
    }

    /// The journal has been replaced: the log is open. Returns what a group has lost, the bytes of the torn tail, and
    /// the files that are not needed any more.
    pub(super) fn finish(self) -> (Option<Range>, u64, Vec<File>) {
        let journals = self.journals.into_iter().map(File::Journal);
        let mut files = self.leftovers;
        files.extend(journals);
        (self.lost, self.torn_bytes, files)
    }
}

/// Stops if a group has got farther than `last`, where the log ends, with messages that were safe.
fn reaches_groups(last: u64, file: File, offset: u64, journal: &Journal) -> Result<(), Stop> {
    let safe = journal.groups().filter(|(_, was_safe, _)| *was_safe);
    match safe.map(|(_, _, progress)| progress.highest()).max() {
        Some(highest) if highest > last => stop(file, offset, DamageKind::EndsBefore(highest)),
        Some(_) | None => Ok(()),
    }
}

fn stop(file: File, offset: u64, kind: DamageKind) -> Result<(), Stop> {
    Err(Stop::Damaged(Damage { file, offset, kind }))
}

/// All files of the segment that begins at `first`.
pub(super) const fn files_of(first: u64) -> [File; 2] {
    [File::Segment(first), File::Index(first)]
}

/// Deletes these files for good.
pub(super) fn deletion(files: Vec<File>) -> impl Iterator<Item = Operation> {
    let deletes = files.into_iter().map(|file| Operation::Delete { file });
    deletes.chain([Operation::SyncDir])
}
