//! A seed becomes a plan.
//!
//! Each seed gets a random subset of the kinds of faults: with all of them always on, the faults
//! would hide each other, and nothing would ever run long enough to fill a buffer.

use super::{
    Client, Conduct, Consumer, Ending, Fault, FaultKind, Hostile, MILLISECOND, Micros, Network,
    Plan, Producer, SECOND, Settings,
};
use crate::rng::{Concern, Rng};
use message_queue_core::wire::{MAX_FRAME, MAX_FRAME_BODY};
use message_queue_core::{DeliveryMode, Overflow};

/// How long clients publish and faults strike.
const DURATION: Micros = 10 * SECOND;

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, Concern::Settings);
        let bulk = rng.chance(15);
        let ending = if rng.chance(20) {
            Ending::DrainUnderLoad
        } else {
            Ending::HealThenDrain
        };
        let settings = settings(&mut rng, bulk);
        let clients = clients(&mut Rng::stream(seed, Concern::Clients), bulk);
        let mut network = network(&mut Rng::stream(seed, Concern::Network), bulk);
        // Large messages byte by byte would be many events that show nothing new.
        let largest = clients.iter().map(largest_message).max().unwrap_or(0);
        network.chunk_bytes = network.chunk_bytes.max(largest / 8);
        let everybody: Vec<u32> = clients.iter().map(|client| client.id).collect();
        let mut rng = Rng::stream(seed, Concern::Faults);
        let faults = faults(&mut rng, &everybody, DURATION);
        Self {
            seed,
            duration_us: DURATION,
            ending,
            settings,
            network,
            clients,
            faults,
            packets: None,
        }
    }
}

fn settings(rng: &mut Rng, bulk: bool) -> Settings {
    let max_consumers = rng.pick(&[1, 2, 3, 5, 10]);
    let overflow = rng.pick(&[Overflow::Drop, Overflow::Drop, Overflow::Block]);
    let backlog_bytes = MAX_FRAME * rng.within(1..=3) as usize;
    let least_broker_bytes = backlog_bytes.max(max_consumers * MAX_FRAME);
    Settings {
        delivery: rng.pick(&[DeliveryMode::Broadcast, DeliveryMode::Queue]),
        overflow,
        max_connections: rng.pick(&[5, 20, 1000]),
        max_consumers,
        // In bulk the bounds in bytes are to be met, and else the bounds in messages.
        backlog_messages: if bulk {
            10_000
        } else {
            rng.pick(&[1, 2, 7, 50, 200, 10_000])
        },
        backlog_bytes,
        broker_bytes: match overflow {
            Overflow::Drop | Overflow::Reject | Overflow::DropOldest => {
                backlog_bytes + rng.within(0..=MAX_FRAME as u64) as usize
            }
            Overflow::Block => least_broker_bytes,
        },
        write_bytes: rng.pick(&[1, 64, 1_000, 4_096, 262_144]),
        role_timeout_us: rng.within(200..=2_000) * MILLISECOND,
        write_timeout_us: rng.within(300..=3_000) * MILLISECOND,
        min_consumer_rate: rng.pick(&[0, 1_000, 100_000]),
        drain_timeout_us: rng.within(0..=5_000) * MILLISECOND,
        role_line_bytes: rng.pick(&[16, 1_024]),
        read_bytes: rng.pick(&[16, 4_096, 262_144]),
    }
}

fn network(rng: &mut Rng, bulk: bool) -> Network {
    let latency_min_us = rng.within(10..=2_000);
    Network {
        latency_min_us,
        latency_max_us: latency_min_us + rng.pick(&[0, 100, 5_000, 50_000]),
        chunk_bytes: if bulk {
            rng.pick(&[8_192, 65_536])
        } else {
            rng.pick(&[7, 100, 1_460, 65_536])
        },
        upward_bytes: rng.within(if bulk { 32_768 } else { 100 }..=65_536) as usize,
        reports_progress: rng.chance(50),
    }
}

fn clients(rng: &mut Rng, bulk: bool) -> Vec<Client> {
    let mut clients = Vec::new();
    let mut add = |rng: &mut Rng, starts_us, conduct| {
        clients.push(Client {
            id: clients.len() as u32,
            starts_us,
            stream: rng.next_u64(),
            conduct,
        });
    };
    for _ in 0..rng.within(1..=4) {
        let starts_us = rng.within(0..=SECOND);
        let conduct = Conduct::Producer(producer(rng, bulk));
        add(rng, starts_us, conduct);
    }
    for _ in 0..rng.within(0..=6) {
        // Most are there from the start; some come late.
        let latest = rng.pick(&[1, MILLISECOND, DURATION]);
        let starts_us = rng.within(0..=latest);
        let conduct = Conduct::Consumer(consumer(rng, bulk));
        add(rng, starts_us, conduct);
    }
    if rng.chance(30) {
        for _ in 0..rng.within(1..=8) {
            let starts_us = rng.within(0..=DURATION);
            let conduct = Conduct::Hostile(hostile(rng));
            add(rng, starts_us, conduct);
        }
    }
    clients
}

fn producer(rng: &mut Rng, bulk: bool) -> Producer {
    let (messages, size_max) = if bulk {
        let size_max = rng.pick(&[20_000, 200_000, MAX_FRAME_BODY]);
        (rng.within(1..=4_000_000 / size_max as u64), size_max)
    } else {
        (rng.within(1..=800), rng.pick(&[0, 8, 40, 300, 3_000]))
    };
    let burst = rng.pick(&[1, 1, 10, 100]);
    let bursts = messages.div_ceil(u64::from(burst));
    Producer {
        messages: messages as u32,
        size_min: rng.pick(&[0, 8, size_max]).min(size_max),
        size_max,
        burst,
        every_us: (DURATION / bursts).clamp(MILLISECOND, SECOND),
        stays: rng.chance(50),
    }
}

fn consumer(rng: &mut Rng, bulk: bool) -> Consumer {
    let slow = rng.chance(40);
    let scale = if bulk { 20 } else { 1 };
    Consumer {
        read_bytes: if slow {
            rng.within(20..=2_000) as usize * scale
        } else {
            65_536
        },
        every_us: if slow {
            rng.within(5..=100) * MILLISECOND
        } else {
            100
        },
        buffer_bytes: rng.pick(&[10, 500, 4_096, 65_536]) * scale,
    }
}

fn largest_message(client: &Client) -> usize {
    match &client.conduct {
        Conduct::Producer(producer) => producer.size_max,
        Conduct::Consumer(_) | Conduct::Hostile(_) => 0,
    }
}

fn hostile(rng: &mut Rng) -> Hostile {
    match rng.within(0..=6) {
        0 => Hostile::Silent,
        1 => Hostile::DripsRole {
            every_us: rng.within(10..=300) * MILLISECOND,
        },
        2 => Hostile::UnknownRole,
        3 => Hostile::EndlessRole,
        4 => Hostile::TruncatesFrame {
            messages: rng.within(0..=20) as u32,
        },
        5 => Hostile::OversizesFrame {
            messages: rng.within(0..=20) as u32,
            length: rng.pick(&[MAX_FRAME_BODY as u32 + 1, 1 << 31, u32::MAX]),
        },
        _ => Hostile::Talks,
    }
}

/// One kind of fault, before it has a victim and a moment.
type Make = fn(&mut Rng, u32) -> FaultKind;

const KINDS: [(u64, Make); 8] = [
    (40, |rng, client| FaultKind::Reset {
        client,
        away_us: rng.within(1..=1_000) * MILLISECOND,
    }),
    (40, |rng, client| FaultKind::Leave {
        client,
        away_us: rng.within(1..=1_000) * MILLISECOND,
    }),
    (40, |rng, client| FaultKind::Stall {
        client,
        for_us: rng.within(10..=6_000) * MILLISECOND,
    }),
    (30, |rng, client| FaultKind::Hold {
        client,
        for_us: rng.within(10..=4_000) * MILLISECOND,
    }),
    (20, |rng, _| FaultKind::Lag {
        extra_us: rng.within(1..=300) * MILLISECOND,
        for_us: rng.within(100..=3_000) * MILLISECOND,
    }),
    (10, |rng, _| FaultKind::Restart {
        down_us: rng.within(1..=500) * MILLISECOND,
    }),
    (8, |_, client| FaultKind::EndedByOperator { client }),
    (8, |_, _| FaultKind::Purge),
];

/// What goes wrong with these clients, and with the network.
pub(crate) fn faults(rng: &mut Rng, clients: &[u32], duration: Micros) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (likely, make) in KINDS {
        // Drawn in any case, so that one kind does not change the next.
        let mut own = Rng::new(rng.next_u64());
        if !own.chance(likely) {
            continue;
        }
        for _ in 0..own.within(1..=6) {
            let victim = own.within(0..=clients.len() as u64 - 1) as usize;
            faults.push(Fault {
                at_us: own.within(0..=duration),
                kind: make(&mut own, clients[victim]),
            });
        }
    }
    faults.sort_by_key(|fault| fault.at_us);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_differ_in_mode_ending_and_faults() {
        let plans: Vec<Plan> = (0..100).map(Plan::of_seed).collect();
        let count = |wanted: fn(&Plan) -> bool| plans.iter().filter(|plan| wanted(plan)).count();
        let common = 10..=90;
        assert!(common.contains(&count(|plan| plan.settings.delivery == DeliveryMode::Queue)));
        assert!(common.contains(&count(|plan| plan.settings.overflow == Overflow::Block)));
        assert!(common.contains(&count(|plan| plan.ending == Ending::DrainUnderLoad)));
        assert!(common.contains(&count(|plan| plan.faults.is_empty())));
    }

    #[test]
    fn now_and_then_an_operator_does_something() {
        let plans: Vec<Plan> = (0..100).map(Plan::of_seed).collect();
        let with = |wanted: fn(&FaultKind) -> bool| {
            let faults = plans.iter().map(|plan| &plan.faults);
            let struck = faults.filter(|faults| faults.iter().any(|fault| wanted(&fault.kind)));
            struck.count()
        };
        let rarely = 1..=20;
        assert!(rarely.contains(&with(|kind| matches!(kind, FaultKind::Purge))));
        assert!(rarely.contains(&with(|kind| matches!(
            kind,
            FaultKind::EndedByOperator { .. }
        ))));
    }

    #[test]
    fn a_seed_always_gives_the_same_plan() {
        assert_eq!(Plan::of_seed(42), Plan::of_seed(42));
        assert_ne!(Plan::of_seed(42).clients, Plan::of_seed(43).clients);
    }
}
