//! Frames that have begun and are not whole: what connections hold of them, largest first.

use crate::id::ConnId;
use alloc::collections::BTreeSet;

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
}
