//! So many messages a second, and no sleep for each.

use std::num::NonZeroU32;
use std::time::Duration;

/// How far apart the batches of a fast producer are: none is sent for the sake of a few messages.
const TICK: Duration = Duration::from_millis(10);

/// How much of what could not be sent in time is made up for at once.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Says how many messages may go now, and when to ask again. All times are since the start.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Messages a second.
    rate: NonZeroU32,
    /// When the next message is due.
    next: Duration,
}

impl Pace {
    pub(crate) const fn new(rate: NonZeroU32) -> Self {
        Self {
            rate,
            next: Duration::ZERO,
        }
    }

    /// How many of `wanted` messages may go now. They count as gone.
    pub(crate) fn take(&mut self, now: Duration, wanted: usize) -> usize {
        self.next = self.next.max(now.saturating_sub(CATCH_UP));
        let Some(late) = now.checked_sub(self.next) else {
            return 0;
        };
        let due = late.as_nanos() * u128::from(self.rate.get()) / NANOS + 1;
        let taken = usize::try_from(due).unwrap_or(usize::MAX).min(wanted);
        self.next += self.time_of(taken);
        taken
    }

    /// When to [`take`](Self::take) again with `wanted` messages at hand.
    pub(crate) fn wake(&self, wanted: usize) -> Duration {
        let tick = usize::try_from(u128::from(self.rate.get()) * TICK.as_nanos() / NANOS)
            .unwrap_or(usize::MAX);
        self.next + self.time_of(wanted.min(tick).saturating_sub(1))
    }

    /// How long so many messages take.
    fn time_of(&self, messages: usize) -> Duration {
        let nanos = messages as u128 * NANOS / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = Duration::from_secs(1).as_nanos();

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u32) -> Pace {
        Pace::new(NonZeroU32::new(rate).expect("not zero"))
    }

    /// Sends `wanted` messages and never wakes late: the wake-ups it took, and when the last was.
    fn run(rate: u32, mut wanted: usize) -> (usize, Duration) {
        let mut pace = pace(rate);
        let (mut wakes, mut now) = (0, Duration::ZERO);
        while wanted > 0 {
            now = pace.wake(wanted);
            let taken = pace.take(now, wanted);
            assert!(taken > 0, "woken for nothing at {now:?}");
            wanted -= taken;
            wakes += 1;
        }
        (wakes, now)
    }

    #[test]
    fn a_slow_producer_sends_messages_one_by_one_and_the_first_at_once() {
        assert_eq!(run(1, 1), (1, Duration::ZERO));
        assert_eq!(run(2, 4), (4, Duration::from_millis(1500)));
        let (wakes, end) = run(3, 31);
        assert_eq!(wakes, 31);
        assert!(
            end <= Duration::from_secs(10) && end > Duration::from_millis(9_999),
            "{end:?}"
        );
    }

    #[test]
    fn a_fast_producer_sends_a_batch_each_tick() {
        for rate in [1_000, 300_000, 7_777_777] {
            let (wakes, end) = run(rate, usize::try_from(rate).expect("fits") + 1);
            assert!(wakes <= 102, "{rate}: {wakes}");
            let late = Duration::from_secs(1).abs_diff(end);
            assert!(late < Duration::from_micros(1), "{rate}: {end:?}");
        }
    }

    #[test]
    fn no_rate_overflows_and_no_wake_is_for_nothing() {
        let (_, end) = run(u32::MAX, 1_000_000);
        assert!(end < TICK, "{end:?}");
        let mut pace = pace(u32::MAX);
        assert_eq!(pace.take(Duration::MAX, usize::MAX), 429_496_730);
    }

    #[test]
    fn a_long_stall_is_made_up_for_in_part_only() {
        let mut pace = pace(1_000);
        assert_eq!(pace.take(Duration::from_secs(60), 5_000), 101);
        assert_eq!(pace.take(Duration::from_secs(60), 5_000), 0);
        assert_eq!(pace.take(Duration::from_millis(60_001), 5_000), 1);
    }
}
