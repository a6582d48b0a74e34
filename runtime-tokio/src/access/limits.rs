//! How much one address may take of what there is for all.

use super::failures::network;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// What one address may have. An IPv6 network of 64 bits counts as one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// The most connections at a time; none: no limit.
    pub connections: Option<usize>,
    /// The most new connections a second, with as many at once after a while without any; none: no limit. At most
    /// 1,000,000.
    pub rate: Option<u32>,
}

/// Connections that were refused because of where they came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<AtomicU64>);

/// Who has how many connections. Memory: some 64 bytes for each address that has one, or had a new one in the last second.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    known: BTreeMap<IpAddr, Usage>,
    refusals: Refusals,
    /// Those that are not in the log yet, and where the last of them came from.
    unlogged: Option<(u64, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Usage {
    open: usize,
    /// When it may have as many new connections at once as ever. Each moves that further away.
    rested: Instant,
}

/// A connection's place among those of its address, to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(IpAddr);

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits, refusals: Refusals) -> Self {
        Self {
            limits,
            known: BTreeMap::new(),
            refusals,
            unlogged: None,
        }
    }

    /// A place for a connection from there, if it may have one.
    pub(crate) fn admit(&mut self, addr: IpAddr) -> Option<Place> {
        let addr = network(addr);
        let AddressLimits { connections, rate } = self.limits;
        if connections.is_none() && rate.is_none() {
            return Some(Place(addr));
        }
        let now = Instant::now();
        let usage = self.known.entry(addr).or_insert(Usage {
            open: 0,
            rested: now,
        });
        let has_place = connections.is_none_or(|most| usage.open < most);
        let rested = usage.rested.max(now) + rate.map_or(Duration::ZERO, |it| SECOND / it);
        let in_time = rate.is_none() || rested - now <= SECOND;
        if !has_place || !in_time {
            self.refusals.0.fetch_add(1, Ordering::Relaxed);
            let before = self.unlogged.map_or(0, |(count, _)| count);
            self.unlogged = Some((before + 1, addr));
            return None;
        }
        usage.open += 1;
        usage.rested = rested;
        Some(Place(addr))
    }

    /// A connection is over.
    pub(crate) fn release(&mut self, Place(addr): Place) {
        if let Some(usage) = self.known.get_mut(&addr) {
            usage.open -= 1;
        }
    }

    /// Forgets who has no connection and may have as many as ever, and logs one line for all that were refused since
    /// the last call. To be called once a second.
    pub(crate) fn tidy(&mut self) {
        let now = Instant::now();
        self.known
            .retain(|_, usage| usage.open > 0 || usage.rested > now);
        if let Some((connections, last)) = self.unlogged.take() {
            warn!(connections, %last, "refused: too many connections from one address");
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn limited(connections: Option<usize>, rate: Option<u32>) -> Addresses {
        let limits = AddressLimits { connections, rate };
        Addresses::new(limits, Refusals::default())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_connections_at_a_time() {
        let mut addresses = limited(Some(2), None);
        let first = addresses.admit(addr(1)).unwrap();
        assert!(addresses.admit(addr(1)).is_some());
        assert_eq!(addresses.admit("::ffff:192.0.2.1".parse().unwrap()), None);
        assert!(addresses.admit(addr(2)).is_some());
        addresses.release(first);
        assert!(addresses.admit(addr(1)).is_some());
        assert_eq!(addresses.refusals.count(), 1);
        let v6 = |last: &str| format!("2001:db8::{last}").parse().unwrap();
        assert!(addresses.admit(v6("1")).is_some() && addresses.admit(v6("2")).is_some());
        assert_eq!(addresses.admit(v6("3")), None);
        assert!(addresses.admit("2001:db8:0:1::".parse().unwrap()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_new_ones_a_second() {
        let mut addresses = limited(None, Some(10));
        let mut admitted = |n: u32| {
            (0..n)
                .filter(|_| addresses.admit(addr(1)).is_some())
                .count()
        };
        assert_eq!(admitted(100), 10);
        advance(Duration::from_millis(100)).await;
        assert_eq!(admitted(100), 1);
        advance(Duration::from_millis(550)).await;
        assert_eq!(admitted(100), 5);
        // However long it is quiet, no more are saved up.
        advance(Duration::from_secs(100)).await;
        assert_eq!(admitted(100), 10);
        assert!(addresses.admit(addr(2)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_none_is_forgotten() {
        let mut addresses = limited(Some(1), Some(10));
        let place = addresses.admit(addr(1)).unwrap();
        addresses.admit(addr(2));
        advance(SECOND).await;
        addresses.tidy();
        assert_eq!(addresses.known.len(), 2);
        addresses.release(place);
        addresses.tidy();
        assert_eq!(addresses.known.len(), 1);
        // Without limits nobody is remembered at all.
        let mut free = limited(None, None);
        let place = free.admit(addr(1)).unwrap();
        assert!(free.known.is_empty());
        free.release(place);
    }
}
