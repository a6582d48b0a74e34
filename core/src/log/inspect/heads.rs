//! Which file is which segment.
//!
//! A file is the segment that its head says, even if its name says another: files may have been swapped. One whose head
//! cannot be read is what its name says.

use super::{Inspection, JournalState, Note, SegmentSeen};
use crate::log::content::{FORMAT, Head};
use crate::log::damage::DamageKind;
use crate::log::disk::File;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

impl Inspection {
    /// All heads have been read.
    pub(super) fn order_segments(&mut self) {
        let heads = core::mem::take(&mut self.heads);
        self.epoch = self.find_epoch(&heads);
        let mut segments = BTreeMap::new();
        let mut others = Vec::new();
        for (file, head) in heads {
            match (file, head) {
                (_, Some(head)) if head.format > FORMAT => {
                    self.report(file, 0, DamageKind::NewerFormat(head.format));
                }
                (_, Some(head))
                    if Some(head.epoch) != self.epoch || head.previous >= head.first =>
                {
                    self.report(file, 0, DamageKind::Misplaced);
                    self.foreign.push(file);
                }
                (File::Segment(name), Some(head)) if head.first == name => {
                    segments.insert(name, (file, Some(head)));
                }
                (File::Segment(0), _) => {
                    self.report(file, 0, DamageKind::Misplaced);
                    self.foreign.push(file);
                }
                _ => others.push((file, head)),
            }
        }
        // What has another name, and then what has lost its head, where nothing else is there.
        others.sort_by_key(|(_, head)| head.is_none());
        for (file, head) in others {
            let File::Segment(name) = file else {
                continue;
            };
            if head.is_some() {
                self.report(file, 0, DamageKind::Misplaced);
            }
            let first = head.map_or(name, |it| it.first);
            match segments.entry(first) {
                Entry::Vacant(free) => drop(free.insert((file, head))),
                Entry::Occupied(_) => self.foreign.push(file),
            }
        }
        self.pass_trimmed(&mut segments);
        let limits = segments.keys().copied().skip(1);
        let limits: Vec<_> = limits.chain([u64::MAX]).collect();
        let segments = segments.into_iter().zip(limits);
        self.segments = segments
            .map(|((first, (file, head)), limit)| SegmentSeen::new(file, first, limit, head))
            .collect();
    }

    /// The epoch that the journal says, or else most segments.
    fn find_epoch(&self, heads: &[(File, Option<Head>)]) -> Option<u64> {
        if self.journal_state != JournalState::Lost && self.journal.has_head() {
            return Some(self.journal.epoch());
        }
        let mut count = BTreeMap::<u64, usize>::new();
        for (_, head) in heads {
            if let Some(head) = head.filter(|it| it.format <= FORMAT) {
                *count.entry(head.epoch).or_default() += 1;
            }
        }
        let most = count.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(epoch, _)| epoch)
    }

    /// What was to be deleted, and may have been.
    fn pass_trimmed(&mut self, segments: &mut BTreeMap<u64, (File, Option<Head>)>) {
        let begin = self.bounds().map_or(0, |it| it.begin);
        while let Some(next) = segments.keys().nth(1)
            && *next <= begin
            && let Some((_, (file, _))) = segments.pop_first()
        {
            self.notes.push(Note::Leftover(file));
        }
    }
}
