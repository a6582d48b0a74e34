//! An operator empties the queue.

use super::{Effect, Model};
use message_queue_core::{DropReason, GroupId, Now};

impl Model {
    /// What the broker must do when the queue is emptied: what waits in it is lost, what is on its
    /// way to a consumer is not, and whoever waited for room goes on. Without a queue it does nothing.
    pub fn purge(&mut self, now: Now) -> Vec<Effect> {
        self.now = now;
        if self.groups.contains_key(&GroupId::Shared) {
            self.lose_backlog(GroupId::Shared, DropReason::Purged);
            self.offer_parked();
        }
        self.go_on_draining();
        std::mem::take(&mut self.effects)
    }
}
