//! The last segment: where it ends, and what it says.

use crate::log::content::{Content, FORMAT, Head};
use crate::log::damage::DamageKind;
use crate::log::index::{Entry, Index};
use crate::log::producers::Producers;
use crate::log::record::Record;

/// What the last segment has said so far.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where it begins, by its name.
    pub(super) first: u64,
    /// What has to stand in its head: the epoch, and where the one before begins, if there is one.
    epoch: u64,
    previous: Option<u64>,
    pub(super) head: Option<Head>,
    /// The size of all that stands before the messages.
    pub(super) head_end: u64,
    /// The last sequence, and when it was published.
    pub(super) last: u64,
    pub(super) published: u64,
    /// All up to here was safe, it says.
    safe: u64,
    /// The end of its records.
    pub(super) end: u64,
    pub(super) has_messages: bool,
    pub(super) index: Index,
}

impl Tail {
    pub(super) fn new(first: u64, epoch: u64, previous: Option<u64>) -> Self {
        Self {
            first,
            epoch,
            previous,
            head: None,
            head_end: 0,
            last: first.saturating_sub(1),
            published: 0,
            safe: 0,
            end: 0,
            has_messages: false,
            index: Index::default(),
        }
    }

    /// The next record was read; it ends at `end`.
    pub(super) fn take(
        &mut self,
        record: &Record,
        offset: u64,
        end: u64,
        producers: &mut Producers,
    ) -> Result<(), DamageKind> {
        let content = Content::of(record).ok_or(DamageKind::Misplaced)?;
        if let Content::Head(head) = &content {
            self.begin(*head, offset)?;
        } else if self.head.is_none() {
            return Err(DamageKind::Misplaced);
        }
        if let Some(range) = content.range() {
            if range.from != self.last + 1 {
                return Err(DamageKind::Misplaced);
            }
            self.last = range.to;
            self.has_messages = true;
        }
        if let Content::Run {
            first, published, ..
        } = content
        {
            self.published = published;
            self.index.note(Entry {
                first,
                published,
                offset,
            });
        }
        for mark in &record.producers {
            producers.mark(mark);
        }
        self.safe = self.safe.max(record.safe);
        self.end = end;
        if !self.has_messages {
            self.head_end = end;
        }
        Ok(())
    }

    fn begin(&mut self, head: Head, offset: u64) -> Result<(), DamageKind> {
        check(&head, self.epoch, self.first, self.previous)?;
        if offset > 0 {
            return Err(DamageKind::Misplaced);
        }
        self.published = head.published;
        self.head = Some(head);
        Ok(())
    }

    /// Where what may be in memory alone begins; none if all is known to be on the disk.
    pub(super) fn unsafe_from(&self) -> Option<u64> {
        if self.safe >= self.last {
            return None;
        }
        let at = self.index.at_sequence(self.safe + 1);
        Some(at.map_or(0, |it| it.offset))
    }
}

/// Whether a head is that of the segment that begins at `first`.
pub(super) fn check(
    head: &Head,
    epoch: u64,
    first: u64,
    previous: Option<u64>,
) -> Result<(), DamageKind> {
    if head.format > FORMAT {
        return Err(DamageKind::NewerFormat(head.format));
    }
    let belongs = head.epoch == epoch
        && head.first == first
        && head.previous < first
        && previous.is_none_or(|it| it == head.previous);
    if belongs {
        Ok(())
    } else {
        Err(DamageKind::Misplaced)
    }
}
