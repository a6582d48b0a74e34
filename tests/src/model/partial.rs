//! What producers hold of frames that are not whole yet.

use super::Model;
use message_queue_core::wire::MAX_FRAME;
use message_queue_core::{CloseReason, ConnId};

impl Model {
    /// A producer has begun a frame, and holds so much of it.
    pub(super) fn hold_partial(&mut self, conn: ConnId, bytes: usize) {
        self.connection(conn).partial = bytes;
        self.offer_parked();
    }

    /// Where all bytes together are too many, or whole messages wait for bytes, whoever holds most of
    /// a frame is sent away, of several the one that came last. But they may hold an eighth of all
    /// the room in any case, if that leaves room for the largest message, and one largest frame even
    /// if not. Returns whether somebody was sent away.
    pub(super) fn give_up_a_partial(&mut self) -> bool {
        let all = self.waiting_bytes() + self.parked_bytes() + self.partial_bytes();
        let is_short = all > self.config.broker_bytes || self.waits_for_bytes();
        let beside_messages = self.config.broker_bytes - self.largest_message_for_all();
        let own_room = beside_messages.min(self.config.broker_bytes / 8);
        if !is_short || self.partial_bytes() <= own_room.max(MAX_FRAME) {
            return false;
        }
        let holders = self.connections.iter();
        let largest = holders.max_by_key(|(_, connection)| connection.partial);
        let (largest, _) = largest.expect("somebody holds something");
        self.begin_to_close(*largest, CloseReason::BrokerBytes);
        true
    }

    /// What all of them hold together.
    pub(super) fn partial_bytes(&self) -> usize {
        let all = self.connections.values();
        all.map(|connection| connection.partial).sum()
    }
}
