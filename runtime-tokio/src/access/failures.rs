//! Whoever could not show who it is waits for its answer, longer each time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the first failure waits for its answer. Each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait: well within the time that a role line has.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// An address from which nothing has failed for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The most addresses that are remembered: some 64 bytes each. Those beyond wait as if they failed for the first time.
const MOST: usize = 10_000;

/// Failures by address; those of an IPv6 network of 64 bits count as one.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<BTreeMap<IpAddr, Recent>>);

#[derive(Clone, Copy, Debug)]
struct Recent {
    failures: u32,
    last: Instant,
}

impl Failures {
    /// One more has come from there. Returns how long its answer waits.
    pub(super) fn note(&self, from: IpAddr) -> Duration {
        let now = Instant::now();
        let from = network(from);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&from) {
            known.retain(|_, recent| now - recent.last < FORGOTTEN_AFTER);
            if known.len() >= MOST {
                return FIRST_WAIT;
            }
        }
        let recent = known.entry(from).or_insert(Recent {
            failures: 0,
            last: now,
        });
        if now - recent.last >= FORGOTTEN_AFTER {
            recent.failures = 0;
        }
        recent.last = now;
        recent.failures = recent.failures.saturating_add(1);
        let doubled = 1_u32.checked_shl(recent.failures - 1);
        doubled
            .and_then(|times| FIRST_WAIT.checked_mul(times))
            .map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
    }
}

/// What counts as one address.
pub(super) fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => {
            let [a, b, c, d, ..] = addr.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn each_failure_from_an_address_waits_twice_as_long() {
        let failures = Failures::default();
        let (one, other) = (
            IpAddr::from([192, 0, 2, 1]),
            "::ffff:192.0.2.2".parse().unwrap(),
        );
        let waits: Vec<_> = (0..7).map(|_| failures.note(one).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(failures.note(other), FIRST_WAIT);
        for _ in 0..100 {
            failures.note(one);
        }
        assert_eq!(failures.note(one), LONGEST_WAIT);
        advance(FORGOTTEN_AFTER).await;
        assert_eq!(failures.note(one), FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_64_bits_is_one_address() {
        let failures = Failures::default();
        failures.note("2001:db8:1:2::1".parse().unwrap());
        let same = failures.note("2001:db8:1:2:ffff::9".parse().unwrap());
        assert_eq!(same, FIRST_WAIT * 2);
        let other = failures.note("2001:db8:1:3::1".parse().unwrap());
        assert_eq!(other, FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_addresses_are_remembered_than_may_be() {
        let failures = Failures::default();
        let addr = |n: usize| IpAddr::from(Ipv4Addr::from(n as u32));
        for n in 0..MOST + 10 {
            failures.note(addr(n));
        }
        let known = || failures.0.lock().unwrap().len();
        assert_eq!(known(), MOST);
        assert_eq!(failures.note(addr(MOST + 1)), FIRST_WAIT);
        assert_eq!(failures.note(addr(MOST + 1)), FIRST_WAIT);
        advance(FORGOTTEN_AFTER).await;
        failures.note(addr(MOST + 1));
        assert_eq!(known(), 1);
    }
}
