//! From where too many handshakes have failed, nobody is let in for a while.

use super::failures::network;
use super::seldom::Seldom;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The time that the limit is for.
const MINUTE: Duration = Duration::from_secs(60);

/// The most addresses that are remembered: some 64 bytes each. The failures of further ones do not count.
const MOST: usize = 10_000;

/// How many handshakes of one address may fail in a minute: of TLS, and those of clients whose token is not known. An
/// IPv6 network of 64 bits counts as one address. A clone is the same one. By default there is no limit.
#[derive(Clone, Debug, Default)]
pub struct FailureLimit(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    most: NonZeroU32,
    /// When an address may have as many failures at once as ever. Each moves that further away.
    rested: Mutex<BTreeMap<IpAddr, Instant>>,
    refusals: AtomicU64,
    lines: Mutex<Seldom>,
}

impl FailureLimit {
    /// So many a minute, at once or spread; none: no limit.
    pub fn new(most: Option<NonZeroU32>) -> Self {
        let inner = |most| Inner {
            most,
            rested: Mutex::default(),
            refusals: AtomicU64::new(0),
            lines: Mutex::default(),
        };
        Self(most.map(|most| Arc::new(inner(most))))
    }

    /// One from there has failed.
    pub(super) fn note(&self, from: IpAddr) {
        let Some(inner) = &self.0 else {
            return;
        };
        let (from, now) = (network(from), Instant::now());
        let mut known = inner.rested.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&from) {
            known.retain(|_, rested| *rested > now);
            if known.len() >= MOST {
                return;
            }
        }
        let rested = known.entry(from).or_insert(now);
        // Those that were under way together may all fail; whoever comes later has waited a minute at most.
        *rested = ((*rested).max(now) + inner.each()).min(now + MINUTE);
    }

    /// Whether a connection from there is to be refused; then it is counted, and told to the log.
    pub(crate) fn refuses(&self, from: IpAddr) -> bool {
        let Some(inner) = &self.0 else {
            return false;
        };
        let (from, now) = (network(from), Instant::now());
        let known = inner.rested.lock().unwrap_or_else(PoisonError::into_inner);
        let refuses = known
            .get(&from)
            .is_some_and(|rested| *rested + inner.each() > now + MINUTE);
        drop(known);
        if refuses {
            inner.refusals.fetch_add(1, Ordering::Relaxed);
            let mut lines = inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(others) = lines.one_more() {
                let connections = others + 1;
                warn!(connections, last = %from, "refused: too many failed handshakes from one address");
            }
        }
        refuses
    }

    /// How many connections were refused.
    pub fn refusals(&self) -> u64 {
        let inner = self.0.as_ref();
        inner.map_or(0, |it| it.refusals.load(Ordering::Relaxed))
    }
}

impl Inner {
    /// How long a failure counts.
    fn each(&self) -> Duration {
        MINUTE / self.most.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::time::advance;

    fn limit(most: u32) -> FailureLimit {
        FailureLimit::new(NonZeroU32::new(most))
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn after_so_many_failures_an_address_is_refused_until_time_has_passed() {
        let limit = limit(6);
        let (one, other) = (addr("192.0.2.1"), addr("192.0.2.2"));
        for _ in 0..6 {
            assert!(!limit.refuses(one));
            limit.note(one);
        }
        assert!(limit.refuses(one) && limit.refuses(addr("::ffff:192.0.2.1")));
        assert!(!limit.refuses(other));
        assert_eq!(limit.refusals(), 2);
        advance(MINUTE / 6).await;
        assert!(!limit.refuses(one));
        limit.note(one);
        assert!(limit.refuses(one));
        // However many fail at once, it is a minute at most until there is none to be held against it.
        for _ in 0..1000 {
            limit.note(one);
        }
        advance(MINUTE).await;
        for _ in 0..6 {
            assert!(!limit.refuses(one));
            limit.note(one);
        }
        assert!(limit.refuses(one));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_64_bits_is_one_address() {
        let limit = limit(2);
        limit.note(addr("2001:db8:1:2::1"));
        limit.note(addr("2001:db8:1:2:ffff::9"));
        assert!(limit.refuses(addr("2001:db8:1:2::3")));
        assert!(!limit.refuses(addr("2001:db8:1:3::1")));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_is_refused_and_nothing_is_kept() {
        let none = FailureLimit::default();
        for _ in 0..1000 {
            none.note(addr("192.0.2.1"));
        }
        assert!(!none.refuses(addr("192.0.2.1")));
        assert_eq!(none.refusals(), 0);
        assert!(FailureLimit::new(None).0.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_addresses_are_remembered_than_may_be() {
        let limit = limit(1);
        let nth = |n: usize| IpAddr::from(Ipv4Addr::from(n as u32));
        for n in 0..MOST + 10 {
            limit.note(nth(n));
        }
        let known = || limit.0.as_ref().unwrap().rested.lock().unwrap().len();
        assert_eq!(known(), MOST);
        assert!(limit.refuses(nth(MOST - 1)) && !limit.refuses(nth(MOST + 1)));
        advance(MINUTE).await;
        limit.note(nth(MOST + 1));
        assert_eq!(known(), 1);
        assert!(limit.refuses(nth(MOST + 1)));
    }
}
