//! Where in a segment a sequence or a time is to be found, to within 64 KiB.
//!
//! The index of the last segment is in memory. It is written to a file when the segment is sealed, and is not synced: a
//! reader that finds none, or one that is not whole, walks through the segment from its beginning, and the index is made
//! again.

use super::progress::Fields;
use super::record::{self, MAX_CONTENT, Record};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// The least distance between two entries, in bytes.
const STEP: u64 = 64 << 10;

/// The bytes of an entry in a file.
const ENTRY: usize = 24;

/// A record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its first sequence.
    pub(super) first: u64,
    /// When it was published.
    pub(super) published: u64,
    /// Where it begins, in bytes.
    pub(super) offset: u64,
}

/// Some records of a segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index(Vec<Entry>);

impl Index {
    /// The next record; it is passed over where it is close to the last that was not.
    pub(super) fn note(&mut self, entry: Entry) {
        let is_far = |last: &Entry| entry.offset - last.offset >= STEP;
        if self.0.last().is_none_or(is_far) {
            self.0.push(entry);
        }
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().copied()
    }

    /// The last entry that is not behind this sequence.
    pub(super) fn at_sequence(&self, sequence: u64) -> Option<Entry> {
        let behind = self.0.partition_point(|it| it.first <= sequence);
        self.0.get(behind.checked_sub(1)?).copied()
    }

    /// The last entry before all that was published at this time or later.
    pub(super) fn before_time(&self, time: u64) -> Option<Entry> {
        let behind = self.0.partition_point(|it| it.published < time);
        self.0.get(behind.checked_sub(1)?).copied()
    }

    /// The file of the segment that begins at `segment`; none if there is too much to be said.
    pub(super) fn encode(&self, epoch: u64, segment: u64) -> Option<Bytes> {
        let length = 2 * 8 + ENTRY * self.0.len();
        if length > MAX_CONTENT {
            return None;
        }
        let mut content = BytesMut::with_capacity(length);
        content.put_u64(epoch);
        content.put_u64(segment);
        for entry in &self.0 {
            content.put_u64(entry.first);
            content.put_u64(entry.published);
            content.put_u64(entry.offset);
        }
        let mut file = BytesMut::with_capacity(record::MIN_CHECK + length);
        record::put_check(&mut file, &[&content], 0, Vec::new());
        file.extend_from_slice(&content);
        Some(file.freeze())
    }

    /// What the record in a file says, if it is of that segment.
    pub(super) fn decode(record: &Record, epoch: u64, segment: u64) -> Option<Self> {
        let mut fields = Fields(&record.content);
        if fields.u64()? != epoch || fields.u64()? != segment {
            return None;
        }
        let mut entries = Vec::with_capacity(fields.0.len() / ENTRY);
        while !fields.0.is_empty() {
            entries.push(Entry {
                first: fields.u64()?,
                published: fields.u64()?,
                offset: fields.u64()?,
            });
        }
        let is_sorted = entries.is_sorted_by(|one, next| one.first < next.first);
        is_sorted.then_some(Self(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record::Next;

    fn entry(first: u64, published: u64, offset: u64) -> Entry {
        Entry {
            first,
            published,
            offset,
        }
    }

    fn index() -> Index {
        let mut index = Index::default();
        index.note(entry(1, 10, 62));
        index.note(entry(5, 10, 62 + STEP - 1));
        index.note(entry(9, 20, 62 + STEP));
        index.note(entry(20, 20, 9 * STEP));
        index
    }

    #[test]
    fn what_is_looked_for_is_behind_what_is_found() {
        let index = index();
        let sequences = [0, 1, 8, 9, 19, 20, 100].map(|it| index.at_sequence(it));
        let firsts = sequences.map(|it| it.map(|it| it.first));
        assert_eq!(
            firsts,
            [None, Some(1), Some(1), Some(9), Some(9), Some(20), Some(20)]
        );
        let times = [10, 11, 20, 21].map(|it| index.before_time(it));
        let firsts = times.map(|it| it.map(|it| it.first));
        assert_eq!(firsts, [None, Some(1), Some(1), Some(20)]);
    }

    #[test]
    fn it_comes_back_from_its_file_and_is_of_one_segment() {
        let file = index().encode(25, 1).expect("it is short");
        let Next::Record(record, _) = record::next(&file) else {
            panic!("it is whole");
        };
        assert_eq!(Index::decode(&record, 25, 1), Some(index()));
        assert_eq!(Index::decode(&record, 25, 2), None);
        assert_eq!(Index::decode(&record, 26, 1), None);
    }
}
