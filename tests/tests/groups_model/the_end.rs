//! The orderly end of the broker.

use crate::lockstep::Lockstep;
use message_queue_core::ConnId;
use std::time::Duration;

impl Lockstep {
    pub(crate) fn drain(&mut self, millis: u64) {
        // At no moment at which something else is due.
        let time = Duration::from_millis(millis) + Duration::from_micros(500);
        self.model.drain(time);
        self.world.drain(time);
        self.seen.drains += 1;
    }

    /// The runtime finds nothing more to read of a producer.
    pub(crate) fn is_silent(&mut self, place: usize) {
        if self.model.is_draining()
            && let Some(conn) = self.producers.get(&place).copied()
            && !self.model.waits_or_is_gone(conn)
        {
            self.model.producer_is_silent(conn);
            self.world.is_silent(conn);
            self.producers.remove(&place);
        }
    }

    /// Whether a connection that comes now is refused without an answer, as it has to be.
    pub(crate) fn comes_too_late(&mut self, conn: ConnId, is_let_in: bool) -> bool {
        if !is_let_in {
            assert_eq!(self.world.closed(conn), Some("draining"));
            assert!(self.world.bytes(conn).is_empty());
            self.seen.too_late += 1;
        }
        !is_let_in
    }

    /// Who is gone by now was told why, and the end of the broker is the model's.
    pub(crate) fn compare_the_end(&mut self) {
        let there: Vec<(usize, ConnId)> = self
            .consumers
            .iter()
            .map(|(place, conn)| (*place, *conn))
            .collect();
        for (place, conn) in there {
            let closed = self.world.closed(conn);
            if self.model.has_consumer(conn) {
                assert_eq!(closed, None, "{conn}");
                let was_asked = self.streams[&conn].is_going;
                assert_eq!(was_asked, self.model.is_going(conn), "{conn}");
                continue;
            }
            self.seen.let_go += u64::from(closed == Some("drained"));
            assert!(
                matches!(closed, Some("drained" | "drain_timeout")),
                "{conn}: {closed:?}"
            );
            self.consumers.remove(&place);
            self.streams.remove(&conn);
        }
        assert_eq!(self.world.broker.is_drained(), self.model.is_drained());
    }
}
