//! An operator empties the queue.

use super::Broker;
use crate::id::DEFAULT_TOPIC;
use crate::stats::Count;
use crate::time::Now;
use crate::topic::Topic;

impl Broker {
    /// Drops what waits in the queue, under [`DropReason::Purged`](crate::DropReason::Purged). What
    /// is in flight is delivered. Producers that wait for room then have it, so that what they have
    /// parked may wait in the queue at once. Returns how much was dropped; none in `broadcast` mode,
    /// where there is no queue.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn purge(&mut self, now: Now) -> Option<Count> {
        self.advance_to(now);
        let purged = self.with_topic(DEFAULT_TOPIC, Topic::purge);
        self.admit_parked(DEFAULT_TOPIC);
        self.proceed_with_drain();
        purged
    }
}
