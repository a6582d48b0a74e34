//! One posting for all the sums that a message is counted in.

use crate::error::DropReason;
use crate::stats::{Count, Flow};

/// What became of some messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// They were offered, and wait.
    Offered(Count),
    /// They waited, and a consumer's socket has taken them whole or a consumer has settled them as done.
    Delivered(Count),
    /// They waited, and are lost.
    Lost(Count, DropReason),
    /// They waited, and have moved to the dead-letter topic.
    Buried(Count),
    /// They waited, and are left in the store, to be offered again.
    Kept(Count),
}

/// Posts an entry to every sum that it belongs to: of the group, of the topic, of the broker.
pub(crate) fn post<const SUMS: usize>(entry: Entry, sums: [&mut Flow; SUMS]) {
    for sum in sums {
        match entry {
            Entry::Offered(count) => sum.offer(count),
            Entry::Delivered(count) => sum.deliver(count),
            Entry::Lost(count, reason) => sum.lose(count, reason),
            Entry::Buried(count) => sum.bury(count),
            Entry::Kept(count) => sum.keep(count),
        }
    }
}
