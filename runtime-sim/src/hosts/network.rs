//! The network between the hosts: every packet passes here, and what goes wrong with it is decided
//! here.

use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use turmoil_net::Packet;

/// From one host to another. The way back is another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Where it begins.
    pub from: IpAddr,
    /// Where it ends.
    pub to: IpAddr,
}

impl Way {
    /// The way back.
    pub const fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }
}

/// Packets on their way, and what may happen to them.
///
/// Packets of one way arrive in the order in which they were sent; a duplicate may be late. Packets
/// of different ways overtake each other as their latencies have it.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    /// The time that a packet takes, in microseconds.
    latency_us: RangeInclusive<u64>,
    /// Of a million packets, how many are lost.
    loss_ppm: u64,
    /// Of a million packets, how many arrive twice.
    duplication_ppm: u64,
    /// Ways on which every packet is lost.
    cut: BTreeSet<Way>,
    /// Ways on which every packet waits.
    held: BTreeMap<Way, Vec<Packet>>,
    /// Hosts without power.
    dark: BTreeSet<IpAddr>,
    /// Packets on their way, by when they arrive; those of one moment in the order of sending.
    flying: BTreeMap<(Duration, u64), Packet>,
    /// When the last packet of a way arrives: no later one overtakes it.
    last: BTreeMap<Way, Duration>,
    sent: u64,
}

impl Network {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            latency_us: 0..=0,
            loss_ppm: 0,
            duplication_ppm: 0,
            cut: BTreeSet::new(),
            held: BTreeMap::new(),
            dark: BTreeSet::new(),
            flying: BTreeMap::new(),
            last: BTreeMap::new(),
            sent: 0,
        }
    }

    /// From now on packets take between these times, in microseconds. Default: none at all.
    pub const fn set_latency_us(&mut self, latency_us: RangeInclusive<u64>) {
        self.latency_us = latency_us;
    }

    /// From now on so many of a million packets are lost. Default: 0.
    pub const fn set_loss_ppm(&mut self, ppm: u64) {
        self.loss_ppm = ppm;
    }

    /// From now on so many of a million packets arrive twice. Default: 0.
    pub const fn set_duplication_ppm(&mut self, ppm: u64) {
        self.duplication_ppm = ppm;
    }

    /// From now on every packet of this way is lost, those included that are under way.
    pub fn cut(&mut self, way: Way) {
        self.flying.retain(|_, packet| way_of(packet) != way);
        self.cut.insert(way);
    }

    /// From now on no packet of this way arrives, and none is lost: they wait.
    pub fn hold(&mut self, way: Way) {
        self.held.entry(way).or_default();
    }

    /// Ends what [`cut`](Self::cut) and [`hold`](Self::hold) began. What was held sets out now.
    pub fn mend(&mut self, way: Way, now: Duration) {
        self.cut.remove(&way);
        for packet in self.held.remove(&way).unwrap_or_default() {
            self.fly(packet, now);
        }
    }

    /// Ends all that was wrong, but for hosts without power.
    pub fn heal(&mut self, now: Duration) {
        self.loss_ppm = 0;
        self.duplication_ppm = 0;
        self.cut.clear();
        let held: Vec<Way> = self.held.keys().copied().collect();
        for way in held {
            self.mend(way, now);
        }
    }

    pub(super) fn set_powered(&mut self, host: IpAddr, powered: bool) {
        if powered {
            self.dark.remove(&host);
            return;
        }
        self.dark.insert(host);
        self.flying.retain(|_, packet| packet.src != host);
        for (way, packets) in &mut self.held {
            if way.from == host {
                packets.clear();
            }
        }
    }

    /// A packet sets out.
    pub(super) fn send(&mut self, packet: Packet, now: Duration) {
        let way = way_of(&packet);
        let unlucky = self.happens(self.loss_ppm);
        if unlucky || self.cut.contains(&way) || self.dark.contains(&way.from) {
            return;
        }
        if let Some(held) = self.held.get_mut(&way) {
            return held.push(packet);
        }
        if self.happens(self.duplication_ppm) {
            self.fly(packet.clone(), now);
        }
        self.fly(packet, now);
    }

    /// The next packet that has arrived by `now`.
    pub(super) fn arrived(&mut self, now: Duration) -> Option<Packet> {
        loop {
            let first = self.flying.first_entry()?;
            if first.key().0 > now {
                return None;
            }
            let packet = first.remove();
            if !self.dark.contains(&packet.dst) {
                return Some(packet);
            }
        }
    }

    fn fly(&mut self, packet: Packet, now: Duration) {
        let way = way_of(&packet);
        let latency = Duration::from_micros(self.rng.within(self.latency_us.clone()));
        let last = self.last.entry(way).or_default();
        *last = (now + latency).max(*last);
        self.flying.insert((*last, self.sent), packet);
        self.sent += 1;
    }

    fn happens(&mut self, ppm: u64) -> bool {
        // Drawn even if it cannot happen: one fault less changes nothing else.
        self.rng.next_u64() % 1_000_000 < ppm
    }
}

const fn way_of(packet: &Packet) -> Way {
    Way {
        from: packet.src,
        to: packet.dst,
    }
}
