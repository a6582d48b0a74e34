//! What the core has settled, as offsets to commit.

use super::Window;
use message_queue_core::log::Progress;

impl Window {
    /// These are settled by now.
    pub(in super::super) fn settle(&mut self, progress: &Progress) {
        let up_to = [(0, progress.settled_up_to)];
        let ranges = progress.settled.iter().map(|it| (it.from, it.to));
        let ranges: Vec<_> = up_to.into_iter().chain(ranges).collect();
        let mut at = 0;
        for held in &self.held {
            let last = held.first + held.messages - 1;
            while at < ranges.len() && ranges[at].1 < held.first {
                at += 1;
            }
            let Some(offsets) = self.offsets.get_mut(&held.partition) else {
                continue;
            };
            for (from, to) in ranges[at..].iter().take_while(|(from, _)| *from <= last) {
                let (from, to) = ((*from).max(held.first), (*to).min(last));
                if !held.is_one {
                    let begin = held.offset + (from - held.first).cast_signed();
                    let end = held.offset + (to + 1 - held.first).cast_signed();
                    offsets.settle(begin, end);
                } else if (from, to) == (held.first, last) {
                    offsets.settle(held.offset, held.offset + 1);
                }
            }
        }
        while let Some(held) = self.held.front()
            && held.first + held.messages - 1 <= progress.settled_up_to
        {
            self.held.pop_front();
        }
    }

    /// What is to be committed of each partition: of all, or of those where something was settled since the last time.
    pub(in super::super) fn take_commits(&mut self, all: bool) -> Vec<(i32, i64, String)> {
        let offsets = self.offsets.iter_mut();
        let changed = offsets.filter_map(|(partition, offsets)| {
            let is_changed = offsets.take_changed();
            (is_changed || all).then(|| {
                let (offset, metadata) = offsets.commit();
                (*partition, offset, metadata)
            })
        });
        changed.collect()
    }

    /// A commit has failed: it is to be made again.
    pub(in super::super) fn not_committed(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(offsets) = self.offsets.get_mut(partition) {
                offsets.not_committed();
            }
        }
    }
}
