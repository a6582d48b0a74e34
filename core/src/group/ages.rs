//! What has waited for as long as it may is dropped.

use super::{Books, Group};
use crate::error::DropReason;
use crate::id::GroupId;
use crate::shared::Shared;
use crate::timers::Timeout;
use crate::wire::control::Range;
use alloc::vec::Vec;

impl Group {
    /// Drops what has waited in the backlog for as long as it may.
    pub(crate) fn expire(&mut self, books: &mut Books<'_>) {
        self.age_timer = None;
        let mut ranges: Vec<Range> = Vec::new();
        let is_tracked = self.is_tracked();
        let taken = self.backlog.take_expired(books.shared.now, &mut |old| {
            ranges.extend(old.range().filter(|_| is_tracked));
        });
        let Some((expired, end)) = taken else {
            return;
        };
        for range in ranges {
            self.note_settled(range.from, range.to - range.from + 1, books.shared);
        }
        self.drop_held(expired, DropReason::Expired, books);
        if let GroupId::Own(member) = self.id {
            // What had come back may be from before others that have expired since.
            let membership = books.shared.consumer(member).membership(self.topic);
            membership.expired = membership.expired.max(end);
        }
        // A member may have been kept free for one of them.
        self.dispatch(books.shared);
    }

    /// Sees to it that what waits is looked at when it is too old.
    pub(crate) fn arm_age_timer(&mut self, shared: &mut Shared) {
        let Some(due) = self.backlog.expires() else {
            return;
        };
        if let Some(set) = self.age_timer {
            if set <= due {
                return;
            }
            shared.timers.clear(set, Timeout::Age(self.topic, self.id));
        }
        self.age_timer = Some(due);
        shared.timers.set(due, Timeout::Age(self.topic, self.id));
    }
}
