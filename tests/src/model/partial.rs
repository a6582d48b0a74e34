//! What producers hold of frames that are not whole yet.

use super::Model;
use message_queue_core::wire::MAX_FRAME;
use message_queue_core::{CloseReason, ConnId};

impl Model {
    /// It counts as if it waited. Where there is no room for it, whoever holds most is sent away,
    /// of several the one that came last; but one largest frame, or an eighth of all the room if
    /// that is more, they may hold together in any case.
    pub(super) fn hold_partial(&mut self, conn: ConnId, bytes: usize) {
        self.connection(conn).partial = bytes;
        let own_room = MAX_FRAME.max(self.config.broker_bytes / 8);
        while self.partial_bytes() > own_room && self.held_bytes() > self.config.broker_bytes {
            let holders = self.connections.iter();
            let largest = holders.max_by_key(|(_, connection)| connection.partial);
            let (largest, _) = largest.expect("somebody holds something");
            self.close(*largest, CloseReason::BrokerBytes);
        }
        self.offer_parked();
    }

    /// What all of them hold together.
    pub(super) fn partial_bytes(&self) -> usize {
        let all = self.connections.values();
        all.map(|connection| connection.partial).sum()
    }
}
