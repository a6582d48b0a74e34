//! How long to wait before the next attempt to connect.

use fastrand::Rng;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double with every attempt that fails, up to a bound.
///
/// Each is a random part of it, the half at least: many clients that lost one broker do not come
/// back to it all at once.
///
/// ```
/// # use message_queue_tokio::client::Backoff;
/// # use std::time::Duration;
/// let mut backoff = Backoff::new();
/// let refused = Duration::ZERO;
/// let wait = backoff.next_wait(refused).as_millis();
/// assert!((50..=100).contains(&wait));
/// let wait = backoff.next_wait(refused).as_millis();
/// assert!((100..=200).contains(&wait));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    random: Rng,
}

impl Backoff {
    /// The first wait, at most.
    pub const FIRST: Duration = Duration::from_millis(100);

    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// A connection that lived this long was a success: the waits start over after it.
    ///
    /// To connect alone is none: a broker without a free place accepts a consumer and closes it.
    pub const SETTLED: Duration = Duration::from_secs(1);

    /// Nothing has failed yet. The system chooses the seed.
    pub fn new() -> Self {
        // The standard library's keys against collisions are random, and the system's.
        Self::with_seed(RandomState::new().hash_one(0))
    }

    /// Nothing has failed yet. The waits are a function of `seed`: for a simulation or a test.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            next: Self::FIRST,
            random: Rng::with_seed(seed),
        }
    }

    /// How long to wait now that a connection has ended. `lived` is how long it lasted: zero if
    /// there was none.
    pub fn next_wait(&mut self, lived: Duration) -> Duration {
        if lived >= Self::SETTLED {
            self.next = Self::FIRST;
        }
        let most = self.next;
        self.next = (most * 2).min(Self::LONGEST);
        most.mul_f64(1.0 - self.random.f64() / 2.0)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, count: usize) -> Vec<Duration> {
        (0..count)
            .map(|_| backoff.next_wait(Duration::ZERO))
            .collect()
    }

    fn assert_within_half(wait: Duration, most: Duration) {
        assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
    }

    #[test]
    fn the_waits_double_up_to_the_longest() {
        for seed in 0..100 {
            let waits = waits(&mut Backoff::with_seed(seed), 8);
            let most = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
            for (wait, most) in waits.into_iter().zip(most) {
                assert_within_half(wait, Duration::from_millis(most));
            }
        }
    }

    #[test]
    fn the_waits_are_a_function_of_the_seed_and_differ_between_seeds() {
        let of = |seed| waits(&mut Backoff::with_seed(seed), 8);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert_ne!(waits(&mut Backoff::new(), 8), waits(&mut Backoff::new(), 8));
    }

    #[test]
    fn only_a_connection_that_held_starts_them_over() {
        let mut backoff = Backoff::with_seed(1);
        waits(&mut backoff, 3);
        let short = Backoff::SETTLED - Duration::from_nanos(1);
        assert_within_half(backoff.next_wait(short), Duration::from_millis(800));
        assert_within_half(backoff.next_wait(Backoff::SETTLED), Backoff::FIRST);
        assert_within_half(backoff.next_wait(Duration::ZERO), 2 * Backoff::FIRST);
    }
}
