//! What will happen in a run: settings, clients, a network, a disk and faults, all of it listed.

use crate::guarantees::plan::{TOPICS, consumer};
use crate::guarantees::{Client, Consumer, Ending, Producer, Settings, WhichGroup};
use crate::plan::{
    Fault, MILLISECOND, Micros, Network, PacketFault, PacketFaultKind, Packets, PlanError,
    PlanFile, SECOND, faults, packet_faults, within,
};
use crate::rng::{Concern, Rng};
use message_queue_core::Overflow;
use serde::{Deserialize, Serialize};

/// How long clients publish and faults strike.
const DURATION: Micros = 8 * SECOND;

/// Tells the streams of this simulation from those of others.
const DURABLE: u64 = 0x4455_5241_424C_4500;

/// The most of anything that a plan can ask for.
const MOST: u64 = 10_000_000_000;

/// A run, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed that it was expanded from.
    pub seed: u64,
    /// How long clients publish and faults strike. Then all is healed.
    pub duration_us: Micros,
    /// How it ends.
    pub ending: Ending,
    /// The broker's settings.
    pub settings: Settings,
    /// The most bytes in one read of the broker's.
    pub read_bytes: usize,
    /// The network when nothing is wrong with it.
    pub network: Network,
    /// What goes wrong with packets and hosts, and how sockets are.
    pub packets: Packets,
    /// Who takes part.
    pub actors: Vec<Actor>,
    /// What goes wrong with connections and the broker.
    pub faults: Vec<Fault>,
    /// The broker's disk. Of no effect where topics are in memory.
    pub disk: DiskPlan,
}

/// A client on a host of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Its number: no other actor has it.
    pub id: u32,
    /// When it first connects.
    pub starts_us: Micros,
    /// How long it waits between two acts: sending, or settling.
    pub every_us: Micros,
    /// How many messages a producer sends in all.
    pub messages: usize,
    /// What its small choices are drawn from.
    pub stream: u64,
    /// What it is.
    pub client: Client,
}

/// The broker's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// The longest time that it takes to make a file safe; all else takes up to a quarter of it.
    pub longest_us: Micros,
    /// In a power cut, whole blocks of so many bytes are kept of what was written and not made safe, as many of each write as
    /// may be; none: nothing of it.
    pub block_bytes: Option<u64>,
    /// Of a hundred writes, how many are made safe at once, without being asked for.
    pub written_back_percent: u64,
    /// Of a hundred writes, how many write less than they should.
    pub short_percent: u64,
    /// The size of a segment, in bytes.
    pub segment_bytes: u64,
    /// Whether segments are deleted that every group has settled.
    pub retention_settled: bool,
    /// What goes wrong with it.
    pub faults: Vec<DiskFault>,
}

/// Something that goes wrong with the disk, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFault {
    /// When it begins.
    pub at_us: Micros,
    /// How long it lasts.
    pub for_us: Micros,
    /// What.
    pub kind: DiskFaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFaultKind {
    /// There is no room (`ENOSPC`).
    NoSpace,
    /// Nothing is made safe (`EIO`).
    SyncFails,
    /// Every operation takes a third of a second more.
    Slow,
    /// What is read is not what is there.
    Flips {
        /// Of a hundred reads.
        percent: u64,
    },
}

impl DiskFault {
    /// What happens, in words.
    pub fn describe(&self) -> String {
        let ms = self.for_us / MILLISECOND;
        match self.kind {
            DiskFaultKind::NoSpace => format!("no room on the disk for {ms} ms"),
            DiskFaultKind::SyncFails => format!("syncs fail for {ms} ms"),
            DiskFaultKind::Slow => format!("a slow disk for {ms} ms"),
            DiskFaultKind::Flips { percent } => {
                format!("{percent}% of reads with a wrong bit for {ms} ms")
            }
        }
    }
}

impl Plan {
    /// The plan of a seed. Of five, four have stored topics.
    pub fn of_seed(seed: u64) -> Self {
        let stored = !seed.is_multiple_of(5);
        let stream = |concern| Rng::stream(seed ^ DURABLE, concern);
        let mut rng = stream(Concern::Settings);
        let (fails, share_one) = (rng.chance(50), rng.chance(20));
        let settings = settings(&mut rng, stored);
        let ending = if rng.chance(15) {
            Ending::DrainUnderLoad
        } else {
            Ending::Finish
        };
        let actors = actors(&mut stream(Concern::Clients), fails, share_one);
        let everybody: Vec<u32> = actors.iter().map(|it| it.id).collect();
        let mut rng = stream(Concern::Network);
        let latency_min_us = rng.within(10..=2_000);
        let network = Network {
            latency_min_us,
            latency_max_us: latency_min_us + rng.pick(&[0, 100, 5_000, 20_000]),
            chunk_bytes: rng.pick(&[7, 100, 1_460, 65_536]),
            upward_bytes: 65_536,
            reports_progress: true,
        };
        let (socket_bytes, chaos) = (rng.pick(&[2 << 10, 8 << 10, 64 << 10]), rng.chance(50));
        let read_bytes = rng.pick(&[64, 4_096, 262_144]);
        let mut rng = stream(Concern::Faults);
        let mut faults = faults(&mut rng, &everybody, DURATION);
        let mut packets = packet_faults(&mut rng, &everybody, DURATION);
        if rng.chance(80) {
            deaths(&mut rng, &mut faults, &mut packets);
        }
        Self {
            seed,
            duration_us: DURATION,
            ending,
            settings,
            read_bytes,
            network,
            packets: Packets {
                faults: packets,
                socket_bytes,
                chaos,
            },
            actors,
            faults,
            disk: disk(&mut stream(Concern::Disk)),
        }
    }
}

impl PlanFile for Plan {
    fn check(&self) -> Result<(), PlanError> {
        let least_one = [
            ("settings.capacity", self.settings.capacity as u64),
            ("settings.dead_capacity", self.settings.dead_capacity as u64),
            ("settings.write_bytes", self.settings.write_bytes as u64),
            ("read_bytes", self.read_bytes as u64),
            ("network.chunk_bytes", self.network.chunk_bytes as u64),
            ("duration_us", self.duration_us),
        ];
        for (field, value) in least_one {
            within(field, value, 1, MOST)?;
        }
        let network = &self.network;
        let (least, longest) = (network.latency_min_us, network.latency_max_us);
        within("network.latency_max_us", longest, least, MOST)?;
        within(
            "packets.socket_bytes",
            self.packets.socket_bytes as u64,
            1 << 10,
            64 << 10,
        )?;
        within("disk.segment_bytes", self.disk.segment_bytes, 4096, MOST)?;
        for actor in &self.actors {
            within("actors.every_us", actor.every_us, MILLISECOND, MOST)?;
            let same = self.actors.iter().filter(|it| it.id == actor.id);
            within("actors.id (how many have it)", same.count() as u64, 1, 1)?;
        }
        Ok(())
    }
}

fn settings(rng: &mut Rng, stored: bool) -> Settings {
    Settings {
        overflow: rng.pick(&[
            Overflow::Block,
            Overflow::Drop,
            Overflow::DropOldest,
            Overflow::Reject,
        ]),
        capacity: rng.pick(&[3, 10, 50]),
        dead_capacity: rng.pick(&[3, 1000]),
        max_failures: rng.pick(&[2, 4, 6]),
        backoff_max_ms: rng.pick(&[20, 50, 400]),
        ack_timeout_ms: rng.pick(&[0, 0, 0, 700]),
        max_age_ms: 0,
        write_bytes: rng.pick(&[1, 100, 1 << 20]),
        heartbeat: rng.pick(&[1, 3]),
        stored,
        engine: None,
        // The driver looks at its sockets for 10 ms before it judges by the clock.
        late_us: 13 * MILLISECOND,
    }
}

fn actors(rng: &mut Rng, fails: bool, share_one: bool) -> Vec<Actor> {
    let mut actors = Vec::new();
    let mut add = |rng: &mut Rng, starts_us, client: Client| {
        let messages = match &client {
            Client::Producer(_) => rng.within(20..=250) as usize,
            Client::Consumer(_) => 0,
        };
        actors.push(Actor {
            id: actors.len() as u32,
            starts_us,
            every_us: rng.within(2..=60) * MILLISECOND,
            messages,
            stream: rng.next_u64(),
            client,
        });
    };
    for _ in 0..rng.within(1..=3) {
        let producer = Producer {
            topic: rng.pick(&TOPICS).to_owned(),
            named: rng.chance(65),
            confirms: true,
            window: rng.within(1..=40) as usize,
        };
        let starts_us = rng.within(0..=SECOND);
        add(rng, starts_us, Client::Producer(producer));
    }
    for place in 0..rng.within(1..=4) {
        let topic = rng.pick(&TOPICS).to_owned();
        let group = if place > 0 && rng.chance(20) {
            WhichGroup::Own
        } else {
            WhichGroup::Declared
        };
        let is_own = group == WhichGroup::Own;
        let consumer = Consumer {
            share_one,
            // Nobody is left to say what became of its dead letters.
            fails: fails && !is_own,
            ..consumer(rng, topic, group)
        };
        let starts_us = rng.within(0..=DURATION / 2);
        add(rng, starts_us, Client::Consumer(consumer));
    }
    // In the end there is somebody for everything.
    for topic in TOPICS {
        let consumer_of = |rng: &mut Rng, topic: String, group| Consumer {
            share_one: share_one && group == WhichGroup::Declared,
            ..consumer(rng, topic, group)
        };
        let of_topic = consumer_of(rng, topic.to_owned(), WhichGroup::Declared);
        add(rng, DURATION, Client::Consumer(of_topic));
        let of_the_dead = consumer_of(rng, format!("{topic}.dead"), WhichGroup::Queue);
        let starts_us = rng.pick(&[0, DURATION]);
        add(rng, starts_us, Client::Consumer(of_the_dead));
    }
    actors
}

/// The broker dies a few times, with its host's power or alone.
fn deaths(rng: &mut Rng, faults: &mut Vec<Fault>, packets: &mut Vec<PacketFault>) {
    for _ in 0..rng.within(1..=4) {
        let at_us = rng.within(0..=DURATION);
        let for_us = rng.within(1..=800) * MILLISECOND;
        if rng.chance(65) {
            packets.push(PacketFault {
                at_us,
                for_us,
                kind: PacketFaultKind::BrokerPowerCut,
            });
        } else {
            faults.push(Fault {
                at_us,
                kind: crate::plan::FaultKind::Restart { down_us: for_us },
            });
        }
    }
    packets.sort_by_key(|it| it.at_us);
    faults.sort_by_key(|it| it.at_us);
}

/// One kind of fault, before it has a moment.
type Make = fn(&mut Rng) -> DiskFaultKind;

/// How likely each kind is to be among the faults of a seed, and how long it lasts at most.
const KINDS: [(u64, Micros, Make); 4] = [
    (25, 2 * SECOND, |_| DiskFaultKind::NoSpace),
    (20, 100 * MILLISECOND, |_| DiskFaultKind::SyncFails),
    (20, 2 * SECOND, |_| DiskFaultKind::Slow),
    (30, 2 * SECOND, |rng| DiskFaultKind::Flips {
        percent: rng.within(1..=50),
    }),
];

fn disk(rng: &mut Rng) -> DiskPlan {
    let mut faults = Vec::new();
    for (percent, longest, make) in KINDS {
        let mut own = Rng::new(rng.next_u64());
        if !own.chance(percent) {
            continue;
        }
        for _ in 0..own.within(1..=3) {
            faults.push(DiskFault {
                at_us: own.within(0..=DURATION),
                for_us: own.within(5 * MILLISECOND..=longest),
                kind: make(&mut own),
            });
        }
    }
    faults.sort_by_key(|it| it.at_us);
    DiskPlan {
        longest_us: rng.pick(&[0, 1, 4, 20]) * MILLISECOND,
        block_bytes: rng.pick(&[None, Some(512), Some(512), Some(4096)]),
        written_back_percent: rng.pick(&[0, 0, 20]),
        short_percent: rng.pick(&[0, 10]),
        segment_bytes: rng.pick(&[4096, 8192, 65_536]),
        retention_settled: rng.chance(30),
        faults,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed_and_survives_its_file() {
        for seed in 0..100 {
            let plan = Plan::of_seed(seed);
            assert_eq!(plan, Plan::of_seed(seed));
            assert_eq!(plan.check().map_err(|it| it.to_string()), Ok(()));
            let read = serde_json::from_str::<Plan>(&plan.to_json());
            assert_eq!(read.ok(), Some(plan));
        }
        assert_ne!(Plan::of_seed(3).actors, Plan::of_seed(4).actors);
    }

    #[test]
    fn a_bound_that_is_not_kept_is_named() {
        let mut plan = Plan::of_seed(3);
        plan.actors[0].id = plan.actors[1].id;
        let refused = plan.check().expect_err("two actors have a number");
        assert!(refused.to_string().contains("actors.id"), "{refused}");
    }
}
