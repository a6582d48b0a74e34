//! Frames that have begun and are not whole: what connections hold of them, largest first.

use crate::config::Config;
use crate::id::ConnId;
use crate::wire::MAX_FRAME;
use alloc::collections::BTreeSet;

/// Partial frames may hold this part of the byte budget, or one largest frame if that is more,
/// however much waits in the backlogs. Beyond that they hold what is free.
const RESERVE_RATIO: usize = 8;

/// The partial frames of all connections that hold one large enough to be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PartialFrames {
    by_size: BTreeSet<(usize, ConnId)>,
    bytes: usize,
}

impl PartialFrames {
    /// What they take together.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A connection that held `before` bytes holds `after`.
    pub(crate) fn replace(&mut self, conn: ConnId, before: usize, after: usize) {
        if before > 0 {
            self.by_size.remove(&(before, conn));
        }
        if after > 0 {
            self.by_size.insert((after, conn));
        }
        self.bytes = self.bytes - before + after;
    }

    /// The connection that holds most; of several the one that came last.
    pub(crate) fn largest(&self) -> Option<ConnId> {
        self.by_size.last().map(|(_, conn)| *conn)
    }

    /// Whether they hold more than what is theirs in any case.
    pub(crate) fn exceed_reserve(&self, config: &Config) -> bool {
        self.bytes > MAX_FRAME.max(config.broker_bytes / RESERVE_RATIO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_named_and_of_several_the_one_that_came_last() {
        let mut partial = PartialFrames::default();
        assert_eq!(partial.largest(), None);
        for (conn, before, after) in [(1, 0, 20), (2, 0, 30), (3, 0, 30), (1, 20, 10)] {
            partial.replace(ConnId(conn), before, after);
        }
        assert_eq!(partial.bytes(), 70);
        for (conn, bytes) in [(3, 30), (2, 30), (1, 10)] {
            assert_eq!(partial.largest(), Some(ConnId(conn)));
            partial.replace(ConnId(conn), bytes, 0);
        }
        assert_eq!(partial, PartialFrames::default());
    }

    #[test]
    fn one_largest_frame_is_within_the_reserve_of_any_budget() {
        let exceeds = |broker_bytes, bytes| {
            let mut partial = PartialFrames::default();
            partial.replace(ConnId(1), 0, bytes);
            let config = Config {
                broker_bytes,
                ..Config::default()
            };
            partial.exceed_reserve(&config)
        };
        assert!(!exceeds(MAX_FRAME, MAX_FRAME));
        assert!(exceeds(MAX_FRAME, MAX_FRAME + 1));
        assert!(!exceeds(64 << 20, 8 << 20));
        assert!(exceeds(64 << 20, (8 << 20) + 1));
    }
}
