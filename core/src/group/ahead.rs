//! How far ahead a group that is behind reads of its members, by how fast they take what there is.

use crate::time::Now;
use core::time::Duration;

/// What a window begins with, in bytes of messages; it has one message in any case.
const LEAST: usize = 32 << 10;

/// Who takes what was read within this time is read twice as much for the next time.
const QUICK: Duration = Duration::from_secs(1);

/// Who takes longer than this is read half as much.
const SLOW: Duration = Duration::from_secs(4);

/// How many bytes of messages are read at a time for one group: about what its members take in one to four seconds,
/// within bounds. So many groups that are behind take little memory, unless they are quick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Ahead {
    /// How often [`LEAST`] is doubled.
    doublings: u8,
    /// When something came last.
    came: Option<Now>,
}

impl Ahead {
    /// The bytes to read at a time, at most `most`.
    pub(super) fn bytes(self, most: usize) -> usize {
        (LEAST << self.doublings).min(most)
    }

    /// How much is kept of what has come, which is in the pieces in which it was appended: what was read in vain is read
    /// again. Who is so quick that it reads `most` keeps all of it.
    pub(super) fn kept(self, most: usize) -> usize {
        let bytes = self.bytes(most);
        if bytes < most { bytes } else { usize::MAX }
    }

    /// More is wanted, now.
    pub(super) fn wanted(&mut self, most: usize, now: Now) {
        let Some(came) = self.came else {
            return;
        };
        let took = now.since(came);
        if took < QUICK && self.bytes(most) < most {
            self.doublings += 1;
        } else if took > SLOW {
            self.doublings = self.doublings.saturating_sub(1);
        }
    }

    /// What was read has come.
    pub(super) const fn came(&mut self, now: Now) {
        self.came = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    /// What is read at a time after more was wanted so often, each time so long after it had come.
    fn after(ahead: &mut Ahead, times: u32, took: Duration) -> usize {
        for _ in 0..times {
            let came = ahead.came.unwrap_or(Now::START);
            ahead.came(came);
            ahead.wanted(MOST, came + took);
            ahead.came(came + took);
        }
        ahead.bytes(MOST)
    }

    #[test]
    fn who_is_quick_is_read_more_up_to_the_bound_and_who_is_slow_less() {
        let mut ahead = Ahead::default();
        ahead.wanted(MOST, Now::START);
        assert_eq!(ahead.bytes(MOST), 32 << 10, "nothing has come yet");
        assert_eq!(ahead.bytes(100), 100);
        let quick = Duration::from_millis(1);
        assert_eq!(after(&mut ahead, 1, quick), 64 << 10);
        assert_eq!(after(&mut ahead, 1, Duration::from_secs(2)), 64 << 10);
        assert_eq!(after(&mut ahead, 4, quick), MOST);
        assert_eq!(after(&mut ahead, 9, quick), MOST);
        let slow = Duration::from_secs(5);
        assert_eq!(after(&mut ahead, 1, slow), MOST / 2, "it begins at once");
        assert_eq!(after(&mut ahead, 99, slow), 32 << 10);
    }
}
