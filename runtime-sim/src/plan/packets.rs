//! What only a network of packets, and hosts that crash, can do: for the simulation of the whole
//! stack.

use super::{Conduct, MILLISECOND, Micros, Plan, SECOND};
use crate::hosts;
use crate::rng::{Concern, Rng};
use serde::{Deserialize, Serialize};

/// How long clients publish and faults strike.
const DURATION: Micros = 20 * SECOND;

/// What the whole stack adds to a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packets {
    /// What goes wrong.
    pub faults: Vec<PacketFault>,
    /// Bytes that a socket buffers in each direction: between 1 KiB and 64 KiB.
    pub socket_bytes: usize,
    /// Whether the broker's sockets read and write short and wake for nothing.
    pub chaos: bool,
}

impl Default for Packets {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            socket_bytes: 64 << 10,
            chaos: false,
        }
    }
}

/// Something that goes wrong with packets or hosts, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketFault {
    /// When it begins.
    pub at_us: Micros,
    /// How long it lasts.
    pub for_us: Micros,
    /// What.
    pub kind: PacketFaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketFaultKind {
    /// Packets are lost.
    Loss {
        /// Of a hundred: up to 30.
        percent: u64,
    },
    /// Packets arrive twice.
    Duplication {
        /// Of a hundred.
        percent: u64,
    },
    /// Every packet between a client and the broker is lost.
    Partition {
        /// The client.
        client: u32,
        /// In which direction.
        direction: Direction,
    },
    /// A client is killed, as by `kill -9`, and starts anew.
    KillClient {
        /// The client.
        client: u32,
    },
    /// A client's host loses its power: its peer hears nothing of it.
    ClientPowerCut {
        /// The client.
        client: u32,
    },
    /// The broker's host loses its power: its peers hear nothing of it.
    BrokerPowerCut,
}

/// A direction between a client and the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both.
    Both,
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    ToClient,
}

impl Plan {
    /// The plan of a seed for the whole stack: that of the core, over 20 s, and what packets and
    /// hosts can do.
    pub fn of_seed_with_packets(seed: u64) -> Self {
        let mut plan = Self::of_seed(seed);
        stretch(&mut plan);
        let mut rng = Rng::stream(seed ^ WITH_PACKETS, Concern::Faults);
        // A hostile client's end is its own; killing it would make it somebody else.
        let clients = plan.clients.iter();
        let steady = clients.filter(|it| !matches!(it.conduct, Conduct::Hostile(_)));
        let steady: Vec<u32> = steady.map(|client| client.id).collect();
        let faults = packet_faults(&mut rng, &steady, plan.duration_us);
        let largest = largest_write(&plan);
        let socket_bytes = if largest > MUCH {
            64 << 10
        } else {
            rng.pick(&[2 << 10, 8 << 10, 64 << 10])
        };
        let settings = &mut plan.settings;
        let least = least_write_timeout(largest, socket_bytes, plan.network.latency_max_us);
        settings.write_timeout_us = settings.write_timeout_us.max(least);
        plan.packets = Some(Packets {
            faults,
            socket_bytes,
            chaos: rng.chance(60),
        });
        plan
    }
}

/// A write that is larger takes small sockets too long.
const MUCH: usize = 10_000;

/// The largest write that can come to pass, in bytes.
fn largest_write(plan: &Plan) -> usize {
    let sizes = plan.clients.iter().map(|client| match &client.conduct {
        Conduct::Producer(producer) => producer.size_max,
        Conduct::Consumer(_) | Conduct::Hostile(_) => 0,
    });
    let largest = sizes.max().unwrap_or(0);
    let all_at_once = largest * plan.settings.backlog_messages;
    largest.max(plan.settings.write_bytes.min(all_at_once))
}

/// The time that the largest write takes on a network without faults, with time to spare. With
/// less, a message could be handed back for ever.
const fn least_write_timeout(largest: usize, socket_bytes: usize, latency: Micros) -> Micros {
    let round_trip = 2 * latency + hosts::RESTATED_EVERY.as_micros() as Micros;
    300 * MILLISECOND + 2 * round_trip * (largest / socket_bytes) as Micros
}

/// Tells the streams of this simulation from those of the core's.
const WITH_PACKETS: u64 = 0x0046_554C_4C00_0000;

/// The same plan over [`DURATION`].
fn stretch(plan: &mut Plan) {
    let factor = DURATION / plan.duration_us.max(1);
    plan.duration_us = DURATION;
    for client in &mut plan.clients {
        client.starts_us *= factor;
        if let Conduct::Producer(producer) = &mut client.conduct {
            producer.every_us *= factor;
        }
    }
    for fault in &mut plan.faults {
        fault.at_us *= factor;
    }
}

/// One kind of fault, before it has a moment.
type Make = fn(&mut Rng, u32) -> PacketFaultKind;

/// How likely each kind is to be among the faults of a seed, and how long it lasts at most.
const KINDS: [(u64, Micros, Make); 6] = [
    (40, 4 * SECOND, |rng, _| PacketFaultKind::Loss {
        percent: rng.within(1..=30),
    }),
    (25, 4 * SECOND, |rng, _| PacketFaultKind::Duplication {
        percent: rng.within(1..=30),
    }),
    (35, 6 * SECOND, |rng, client| PacketFaultKind::Partition {
        client,
        direction: rng.pick(&[Direction::Both, Direction::ToBroker, Direction::ToClient]),
    }),
    (25, 2 * SECOND, |_, client| PacketFaultKind::KillClient {
        client,
    }),
    (25, 2 * SECOND, |_, client| {
        PacketFaultKind::ClientPowerCut { client }
    }),
    (10, 2 * SECOND, |_, _| PacketFaultKind::BrokerPowerCut),
];

/// What goes wrong with packets and hosts; of clients, with these.
pub(crate) fn packet_faults(rng: &mut Rng, steady: &[u32], duration: Micros) -> Vec<PacketFault> {
    let mut faults = Vec::new();
    for (percent, longest, make) in KINDS {
        if !rng.chance(percent) || steady.is_empty() {
            continue;
        }
        for _ in 0..rng.within(1..=3) {
            let client = rng.pick(steady);
            faults.push(PacketFault {
                at_us: rng.within(0..=duration),
                for_us: rng.within(50 * MILLISECOND..=longest),
                kind: make(rng, client),
            });
        }
    }
    faults.sort_by_key(|fault| fault.at_us);
    faults
}

impl PacketFault {
    /// What happens, in words.
    pub fn describe(&self) -> String {
        let ms = self.for_us / MILLISECOND;
        match self.kind {
            PacketFaultKind::Loss { percent } => format!("{percent}% of packets lost for {ms} ms"),
            PacketFaultKind::Duplication { percent } => {
                format!("{percent}% of packets twice for {ms} ms")
            }
            PacketFaultKind::Partition { client, direction } => {
                let way = match direction {
                    Direction::Both => "client {} and broker cut off",
                    Direction::ToBroker => "client {} cut off on its way to the broker",
                    Direction::ToClient => "client {} cut off on the broker's way to it",
                };
                format!("{} for {ms} ms", way.replace("{}", &client.to_string()))
            }
            PacketFaultKind::KillClient { client } => format!("client {client} killed for {ms} ms"),
            PacketFaultKind::ClientPowerCut { client } => {
                format!("client {client} without power for {ms} ms")
            }
            PacketFaultKind::BrokerPowerCut => format!("broker without power for {ms} ms"),
        }
    }
}
