//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Waits that double with every attempt that fails, up to a bound.
///
/// ```
/// # use message_queue_tokio::client::Backoff;
/// # use std::time::Duration;
/// let mut backoff = Backoff::new();
/// let refused = Duration::ZERO;
/// assert_eq!(backoff.next_wait(refused), Duration::from_millis(100));
/// assert_eq!(backoff.next_wait(refused), Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The first wait.
    pub const FIRST: Duration = Duration::from_millis(100);

    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// A connection that lived this long was a success: the waits start over after it.
    ///
    /// To connect alone is none: a broker without a free place accepts a consumer and closes it.
    pub const SETTLED: Duration = Duration::from_secs(1);

    /// Nothing has failed yet.
    pub const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// How long to wait now that a connection has ended. `lived` is how long it lasted: zero if
    /// there was none.
    pub fn next_wait(&mut self, lived: Duration) -> Duration {
        if lived >= Self::SETTLED {
            self.next = Self::FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        wait
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

    fn waits(backoff: &mut Backoff, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| backoff.next_wait(Duration::ZERO).as_millis())
            .collect()
    }

    #[test]
    fn the_waits_double_up_to_the_longest() {
        let waits = waits(&mut Backoff::new(), 8);
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn only_a_connection_that_held_starts_them_over() {
        let mut backoff = Backoff::new();
        waits(&mut backoff, 3);
        let short = Backoff::SETTLED - Duration::from_nanos(1);
        assert_eq!(backoff.next_wait(short), Duration::from_millis(800));
        assert_eq!(backoff.next_wait(Backoff::SETTLED), Backoff::FIRST);
        assert_eq!(backoff.next_wait(Duration::ZERO), 2 * Backoff::FIRST);
    }
}
