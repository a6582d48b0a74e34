//! So many messages a second, and no sleep for each.

use super::progress::Progress;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// How far apart the batches of a fast producer are: none is sent for the sake of a few messages.
const TICK: Duration = Duration::from_millis(10);

/// How much of what could not be sent in time is made up for at once.
const CATCH_UP: Duration = Duration::from_millis(100);

/// A number of messages a second: 0.000001 (one in eleven days) to 4,294,967,295.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Messages in a million seconds.
    micros: NonZeroU64,
}

impl FromStr for Rate {
    type Err = String;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is rounded, and checked before"
    )]
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = 1e-6..=f64::from(u32::MAX);
        let rate = text.parse::<f64>().ok();
        let rate = rate.filter(|rate| allowed.contains(rate));
        rate.and_then(|rate| NonZeroU64::new((rate * 1e6).round() as u64))
            .map(|micros| Self { micros })
            .ok_or_else(|| {
                "use a number of messages a second, 0.000001 to 4294967295, such as 1000 or 0.5"
                    .to_owned()
            })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.micros.get() as f64 / 1e6)
    }
}

/// Says how many messages may go now, and when to ask again. All times are since the start.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    /// When the next message is due.
    next: Duration,
}

impl Pace {
    pub(crate) const fn new(rate: Rate) -> Self {
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
        let due = self.in_time(late) + 1;
        let taken = usize::try_from(due).unwrap_or(usize::MAX).min(wanted);
        self.next += self.time_of(taken);
        taken
    }

    /// When to [`take`](Self::take) again with `wanted` messages at hand.
    pub(crate) fn wake(&self, wanted: usize) -> Duration {
        let tick = usize::try_from(self.in_time(TICK)).unwrap_or(usize::MAX);
        self.next + self.time_of(wanted.min(tick).saturating_sub(1))
    }

    /// Waits until at least one of `wanted` messages may go; how many may.
    pub(crate) async fn allowance(&mut self, progress: &Progress, wanted: usize) -> usize {
        loop {
            let wait = self.wake(wanted).saturating_sub(progress.elapsed());
            tokio::time::sleep(wait).await;
            let due = self.take(progress.elapsed(), wanted);
            if due > 0 {
                return due;
            }
        }
    }

    /// How many messages go in so long a time.
    fn in_time(&self, time: Duration) -> u128 {
        let micros = u128::from(self.rate.micros.get());
        time.as_nanos().saturating_mul(micros) / MEGASECOND
    }

    /// How long so many messages take.
    fn time_of(&self, messages: usize) -> Duration {
        let nanos = messages as u128 * MEGASECOND / u128::from(self.rate.micros.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A million seconds, in nanoseconds.
const MEGASECOND: u128 = Duration::from_secs(1_000_000).as_nanos();

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u32) -> Pace {
        Pace::new(rate.to_string().parse().expect("a rate"))
    }

    #[test]
    fn a_rate_may_be_below_one_and_is_a_positive_number() {
        for good in ["0.5", "1", "1e3", "0.000001", "4294967295"] {
            let rate: Rate = good.parse().expect(good);
            let number: f64 = good.parse().expect("a number");
            assert_eq!(rate.to_string(), number.to_string());
        }
        for bad in ["0", "-1", "0.0000001", "4294967296", "nan", "inf", "", "x"] {
            let error = bad.parse::<Rate>().expect_err(bad);
            assert!(error.contains("0.000001 to 4294967295"), "{error}");
        }
    }

    #[test]
    fn half_a_message_a_second_is_one_in_two_seconds() {
        let mut pace = Pace::new("0.5".parse().expect("a rate"));
        for message in 0..3 {
            let due = Duration::from_secs(2 * message);
            assert_eq!(pace.wake(10), due);
            assert_eq!(pace.take(due, 10), 1);
        }
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
