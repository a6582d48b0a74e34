//! What is run for each table, and the tables in Markdown.

use crate::acked::{self, JetStream, Streams};
use crate::job::{Delivery, Figures, Job};
use crate::nats::Nats;
use crate::ours::Ours;
use crate::redis::Redis;
use crate::run::run;
use crate::server::version;
use message_queue_tests::process::Broker;
use message_queue_tests::usage::Memory;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Who gets what in the runs beside NATS and Redis: delivery, consumers, bytes.
const JOBS: [(Delivery, usize, usize); 7] = [
    (Delivery::Broadcast, 1, 128),
    (Delivery::Broadcast, 4, 128),
    (Delivery::Broadcast, 10, 128),
    (Delivery::Broadcast, 4, 1024),
    (Delivery::Broadcast, 4, 16 << 10),
    (Delivery::Queue, 4, 128),
    (Delivery::Queue, 4, 16 << 10),
];

/// How many clients there are on the curve.
const CLIENTS: [usize; 6] = [1, 4, 16, 64, 256, 1000];

/// How often a producer with a pace writes 256 KiB: slowly enough for one consumer to follow.
const PACE: Duration = Duration::from_millis(1);

/// How many connections are idle.
const IDLE: usize = 10_000;

/// The smallest, the middle and the largest of some figures.
#[derive(Clone, Copy, Debug)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (lower, upper) = ((figures.len() - 1) / 2, figures.len() / 2);
        Self {
            min: figures[0],
            median: f64::midpoint(figures[lower], figures[upper]),
            max: figures[figures.len() - 1],
        }
    }
}

/// The same jobs on this broker, NATS and Redis, in turns.
pub(crate) fn peers(seconds: f64, rounds: usize) {
    let time = Duration::from_secs_f64(seconds);
    let peers = Peers::find();
    peers.head(["NATS", "Redis"]);
    for job in JOBS.map(Job::of) {
        peers.row(
            &job,
            rounds,
            || run(&Ours::start(&job), &job, time),
            |nats| run(&Nats::start(nats), &job, time),
            |redis| run(&Redis::start(redis), &job, time),
        );
    }
}

/// Likewise, confirmed and acknowledged: JetStream and streams.
pub(crate) fn acked(seconds: f64, rounds: usize) {
    acknowledging(&acked::JOBS.map(Job::of), seconds, rounds);
}

/// The same on the disk, where what is confirmed is safe: ours with `FSYNC=always`, JetStream with `sync_interval: always`,
/// Redis with `appendfsync always`.
pub(crate) fn stored(seconds: f64, rounds: usize) {
    let stored = |job| Job {
        stored: true,
        ..Job::of(job)
    };
    acknowledging(&acked::STORED_JOBS.map(stored), seconds, rounds);
}

fn acknowledging(jobs: &[Job], seconds: f64, rounds: usize) {
    let time = Duration::from_secs_f64(seconds);
    let peers = Peers::find();
    peers.head(["JetStream", "Redis streams"]);
    for &job in jobs {
        peers.row(
            &job,
            rounds,
            || acked::run(&acked::Ours(Ours::start(&job)), &job, time),
            |nats| acked::run(&JetStream::start(nats, &job), &job, time),
            |redis| acked::run(&Streams::start(redis, &job), &job, time),
        );
    }
}

/// The servers of other brokers, as far as they are installed.
struct Peers {
    nats: Option<PathBuf>,
    redis: Option<PathBuf>,
}

impl Peers {
    fn find() -> Self {
        Self {
            nats: Nats::program(),
            redis: Redis::program(),
        }
    }

    /// Who is compared, and the head of the table.
    fn head(&self, [nats, redis]: [&str; 2]) {
        println!("Versions: {};", Ours::version());
        for (name, program) in [("NATS", &self.nats), ("Redis", &self.redis)] {
            match program {
                Some(program) => println!("{name}: {};", version(program)),
                None => println!("SKIPPED: {name} is not installed, so it is not compared"),
            }
        }
        println!();
        println!(
            "| job | message-queue, messages/s, CPU-s per million | {nats} | {redis} \
             | rate to {nats} (min to max) | CPU to {nats} | rate to {redis} | CPU to {redis} | peak memory, MiB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
    }

    /// A job, on all of them in turns.
    fn row(
        &self,
        job: &Job,
        rounds: usize,
        ours: impl Fn() -> Figures,
        nats: impl Fn(&PathBuf) -> Figures,
        redis: impl Fn(&PathBuf) -> Figures,
    ) {
        let (mut by_ours, mut by_nats, mut by_redis) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            by_ours.push(ours());
            by_nats.extend(self.nats.as_ref().map(&nats));
            by_redis.extend(self.redis.as_ref().map(&redis));
        }
        println!(
            "| {job} | {} | {} | {} | {} | {} | {} |",
            medians(&by_ours),
            medians(&by_nats),
            medians(&by_redis),
            ratios(&by_ours, &by_nats),
            ratios(&by_ours, &by_redis),
            [&by_ours, &by_nats, &by_redis]
                .map(|figures| peak(figures))
                .join(" / "),
        );
    }
}

/// CPU for each message against the number of consumers, and of producers.
pub(crate) fn connections(seconds: f64, rounds: usize) {
    let time = Duration::from_secs_f64(seconds);
    println!(
        "| clients | fan-out to so many: CPU-s per million (min to max), messages/s \
         | queue to so many | queue to so many, 16 KiB | fan-out from so many to 1 |"
    );
    println!("|---|---|---|---|---|");
    for clients in CLIENTS {
        let jobs = [
            Job {
                consumers: clients,
                ..Job::new(Delivery::Broadcast)
            },
            Job {
                consumers: clients,
                ..Job::new(Delivery::Queue)
            },
            Job {
                consumers: clients,
                size: 16 << 10,
                ..Job::new(Delivery::Queue)
            },
            Job {
                producers: clients,
                ..Job::new(Delivery::Broadcast)
            },
        ];
        let cells = jobs.map(|job| {
            let runs = (0..rounds).map(|_| run(&Ours::start(&job), &job, time));
            let runs: Vec<_> = runs.collect();
            let cpu = spread(Spread::of(runs.iter().map(Figures::cpu_per_million)), 3);
            let rate = Spread::of(runs.iter().map(Figures::rate)).median;
            format!("{cpu}, {:.2}M{}", rate / 1e6, lost(&runs))
        });
        println!("| {clients} | {} |", cells.join(" | "));
    }
}

/// A fast consumer, alone and beside one that is stuck.
pub(crate) fn stuck(seconds: f64, rounds: usize) {
    let time = Duration::from_secs_f64(seconds);
    println!(
        "| producer | alone: messages/s, CPU-s per million | beside a stuck one \
         | rate (min to max) | CPU (min to max) |"
    );
    println!("|---|---|---|---|---|");
    for (size, pace) in [
        (128, None),
        (1024, None),
        (16 << 10, None),
        (128, Some(PACE)),
        (1024, Some(PACE)),
        (16 << 10, Some(PACE)),
    ] {
        let alone = Job {
            size,
            pace,
            drops: true,
            ..Job::new(Delivery::Broadcast)
        };
        let beside = Job { stuck: 1, ..alone };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // In turns, and each of them first half of the time.
            let of = |job: &Job| run(&Ours::start(job), job, time);
            if round % 2 == 0 {
                one.push(of(&alone));
                two.push(of(&beside));
            } else {
                two.push(of(&beside));
                one.push(of(&alone));
            }
        }
        let speed = pace.map_or("as fast as it can", |_| "256 MB/s");
        println!(
            "| {size} B, {speed} | {} | {} | {} |",
            medians(&one),
            medians(&two),
            ratios(&two, &one)
        );
    }
}

/// Memory for connections that do nothing.
pub(crate) fn idle() {
    println!("| connections | resident before, KiB | after, KiB | for each, bytes |");
    println!("|---|---|---|---|");
    let count = IDLE.to_string();
    let settings = [
        ("MAX_CONNECTIONS", &*count),
        ("MAX_CONSUMERS", &*count),
        ("ROLE_TIMEOUT_MS", "600000"),
    ];
    let kinds: [(&str, &[u8]); 2] = [("producers", b"PRODUCER\n"), ("consumers", b"CONSUMER\n")];
    for (kind, line) in kinds {
        let broker = Broker::start(&settings);
        let before = Memory::of(broker.pid()).resident;
        let connections: Vec<TcpStream> = (0..IDLE).map(|_| broker.connect_with(line)).collect();
        while broker.metric("message_queue_connections", "") < IDLE as f64 {}
        let after = Memory::of(broker.pid()).resident;
        println!(
            "| {} {kind} | {} | {} | {} |",
            connections.len(),
            before >> 10,
            after >> 10,
            (after - before) / IDLE
        );
    }
}

/// The medians of the rate and of the CPU.
fn medians(figures: &[Figures]) -> String {
    if figures.is_empty() {
        return "-".to_owned();
    }
    let rate = Spread::of(figures.iter().map(Figures::rate)).median;
    let cpu = Spread::of(figures.iter().map(Figures::cpu_per_million)).median;
    let rate = if rate < 1e4 {
        format!("{rate:.0}")
    } else if rate < 1e6 {
        format!("{:.0}k", rate / 1e3)
    } else {
        format!("{:.2}M", rate / 1e6)
    };
    format!("{rate}, {cpu:.3}{}", lost(figures))
}

/// How much was lost in the worst of these runs, if anything was.
fn lost(figures: &[Figures]) -> String {
    let shares = figures
        .iter()
        .map(|figures| figures.lost() as f64 / figures.expected as f64);
    let worst = shares.fold(0.0, f64::max);
    if worst > 0.0 {
        format!(" (up to {:.1} % lost)", worst * 100.0)
    } else {
        String::new()
    }
}

/// The ratios of the rate and of the CPU, round by round.
fn ratios(ours: &[Figures], theirs: &[Figures]) -> String {
    if theirs.is_empty() {
        return "- | -".to_owned();
    }
    let ratio = |figure: fn(&Figures) -> f64| {
        let pairs = ours.iter().zip(theirs);
        spread(
            Spread::of(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs))),
            2,
        )
    };
    format!(
        "{} | {}",
        ratio(Figures::rate),
        ratio(Figures::cpu_per_million)
    )
}

fn spread(Spread { min, median, max }: Spread, digits: usize) -> String {
    format!("**{median:.digits$}** ({min:.digits$} to {max:.digits$})")
}

fn peak(figures: &[Figures]) -> String {
    let peak = figures.iter().map(|figures| figures.peak).max();
    peak.map_or("-".to_owned(), |peak| (peak >> 20).to_string())
}
