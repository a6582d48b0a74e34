//! `message-queue bench --storage`: what stored topics cost.

use super::bench::{Bar, message_size, one_pair};
use super::say;
use crate::bench::{
    BenchError, BesideAClient, ConfirmedPairs, Guarantees, Job, Pairs, Plan, PlanError, Progress,
    Scratch, Yardstick, catch_up, recover,
};
use crate::settings::{Engine, FolderEngine, SharedEngine};
use clap::{ArgGroup, ValueEnum};
use std::path::{Path, PathBuf};

/// How much is stored first where nothing is said, in bytes: 1 GiB to be read, and 10 GB to be found at a start.
const TO_READ: u64 = 1 << 30;
const TO_FIND: u64 = 10_000_000_000;

/// Flags for stored topics.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("stored topics").args(["storage", "engine"]).multiple(true))]
pub(super) struct StorageArgs {
    /// Measure stored topics, in new folders in this one that are deleted afterwards. For example
    /// --storage /var/tmp --job confirmed --size 1KiB
    #[arg(long, value_name = "DIR",
        conflicts_with_all = ["addr", "relay", "tls", "version_1", "matrix", "verify", "messages"])]
    storage: Option<PathBuf>,

    /// With --storage, or instead: what to hold against what
    #[arg(
        long,
        requires = "stored topics",
        value_enum,
        default_value = "confirmed"
    )]
    job: StorageJob,

    /// What keeps the topics: disk and rocksdb with --storage; kafka and rabbitmq run already, where the settings of a
    /// broker say, and are without --storage. Topics have names of the run's own, and are deleted afterwards. For
    /// example KAFKA_BROKERS=localhost:9092 message-queue bench --engine kafka --size 1KiB
    /// [default: disk]
    #[arg(long, value_enum,
        conflicts_with_all = ["addr", "relay", "tls", "version_1", "matrix", "verify", "messages"])]
    engine: Option<Engine>,

    /// With --job catch-up and recovery: how much is stored first, such as 4GiB
    /// [default: 1GiB; 10 GB for recovery]
    #[arg(long, requires = "storage", value_name = "SIZE", value_parser = message_size)]
    stored: Option<usize>,
}

/// What to measure of stored topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StorageJob {
    /// What is confirmed: with FSYNC=always against a loop that writes and syncs the same pieces to a file, or a database;
    /// with kafka and rabbitmq against a bare client of the same library, messages and CPU
    Confirmed,
    /// With kafka and rabbitmq: what a consumer of a group takes and acknowledges of what was confirmed before
    Drain,
    /// As confirmed, with one message at a time, and how long a confirm takes
    OneByOne,
    /// FSYNC=never against topics in memory, confirmed and acknowledged
    Never,
    /// A reader from the first message against the relay, and what it costs those that are up to date
    CatchUp,
    /// How long a start takes, and the memory of 1,000 groups that are behind
    Recovery,
}

impl StorageArgs {
    /// Whether stored topics are to be measured.
    pub(super) const fn are_meant(&self) -> bool {
        self.storage.is_some() || self.engine.is_some()
    }
}

/// Does the job, and prints the figures.
pub(super) fn measure(
    args: &StorageArgs,
    plan: &Plan,
    count: u32,
    is_json: bool,
) -> Result<(), BenchError> {
    let default = Engine::Folder(FolderEngine::default());
    let engine = args.engine.unwrap_or(default);
    let name = engine.storage().name();
    if !engine.is_built() {
        return Err(PlanError::NoEngine(name).into());
    }
    match (engine, &args.storage) {
        (Engine::Folder(engine), Some(folder)) => {
            in_folder(args, engine, folder, plan, count, is_json)
        }
        (Engine::Shared(engine), None) => {
            let job = match args.job {
                StorageJob::Confirmed => Job::Confirmed,
                StorageJob::Drain => Job::Drain,
                StorageJob::OneByOne
                | StorageJob::Never
                | StorageJob::CatchUp
                | StorageJob::Recovery => {
                    return Err(PlanError::NotOfEngine(name, "confirmed or drain").into());
                }
            };
            beside_a_client(plan, engine, job, count, is_json)
        }
        (Engine::Folder(_), None) => Err(PlanError::NeedsFolder(name).into()),
        (Engine::Shared(_), Some(_)) => Err(PlanError::NoFolder(name).into()),
    }
}

fn in_folder(
    args: &StorageArgs,
    engine: FolderEngine,
    parent: &Path,
    plan: &Plan,
    count: u32,
    is_json: bool,
) -> Result<(), BenchError> {
    let stored = |default| args.stored.map_or(default, |it| it as u64);
    match (args.job, engine) {
        (StorageJob::Confirmed, _) => against_a_loop(plan, engine, parent, count, is_json),
        (StorageJob::OneByOne, _) => {
            let mut plan = plan.clone();
            plan.guarantees.window = 1;
            against_a_loop(&plan, engine, parent, count, is_json)
        }
        (StorageJob::Never, _) => print(
            &never(plan, engine, parent, count)?,
            Pairs::to_json,
            is_json,
        ),
        (StorageJob::CatchUp, FolderEngine::Disk) => {
            for number in 1..=count {
                let mut bars = Bars::new(format!("{number}/{count}"));
                let outcome = catch_up(
                    plan,
                    parent,
                    stored(TO_READ),
                    &mut |name, plan, progress| {
                        bars.show(name, plan, progress);
                    },
                )?;
                bars.end();
                print(&outcome, |it| it.to_json(), is_json)?;
            }
            Ok(())
        }
        (StorageJob::Recovery, FolderEngine::Disk) => {
            let mut bars = Bars::new(String::new());
            let outcome = recover(
                plan,
                parent,
                stored(TO_FIND),
                count,
                &mut |name, plan, progress| {
                    bars.show(name, plan, progress);
                },
            )?;
            bars.end();
            print(&outcome, |it| it.to_json(), is_json)
        }
        // They look into the files of a log.
        (StorageJob::CatchUp | StorageJob::Recovery, FolderEngine::RocksDb) => {
            Err(PlanError::NotOfEngine("rocksdb", "confirmed, one-by-one or never").into())
        }
        (StorageJob::Drain, FolderEngine::Disk) => Err(PlanError::NotOfEngine(
            "disk",
            "confirmed, one-by-one, never, catch-up or recovery",
        )
        .into()),
        (StorageJob::Drain, FolderEngine::RocksDb) => {
            Err(PlanError::NotOfEngine("rocksdb", "confirmed, one-by-one or never").into())
        }
    }
}

/// Brokers beside a bare client of the engine.
fn beside_a_client(
    plan: &Plan,
    engine: SharedEngine,
    job: Job,
    count: u32,
    is_json: bool,
) -> Result<(), BenchError> {
    let mut all = BesideAClient::new(plan, engine, job)?;
    for number in 1..=count {
        let mut bars = Bars::new(format!("{number}/{count}"));
        all.run(&mut |name, plan, progress| bars.show(name, plan, progress))?;
        bars.end();
    }
    print(&all, BesideAClient::to_json, is_json)
}

fn print<T: std::fmt::Display>(
    figures: &T,
    to_json: impl FnOnce(&T) -> serde_json::Value,
    is_json: bool,
) -> Result<(), BenchError> {
    if is_json {
        say::answer(&format!("{}\n", to_json(figures)))?;
    } else {
        say::answer(&figures.to_string())?;
    }
    Ok(())
}

fn against_a_loop(
    plan: &Plan,
    engine: FolderEngine,
    parent: &Path,
    count: u32,
    is_json: bool,
) -> Result<(), BenchError> {
    let plan = Plan {
        guarantees: Guarantees {
            confirm: true,
            ack: false,
            ..plan.guarantees
        },
        ..plan.clone()
    };
    let mut all = ConfirmedPairs::new(plan.clone(), engine);
    for number in 1..=count {
        let bar = Bar::new(&format!("pair {number}/{count}"));
        all.run(parent, |progress| bar.show(&plan, progress))?;
        bar.end();
    }
    print(&all, ConfirmedPairs::to_json, is_json)
}

/// The job of the plan, confirmed and acknowledged, stored and in memory.
fn never(
    plan: &Plan,
    engine: FolderEngine,
    parent: &Path,
    count: u32,
) -> Result<Pairs, BenchError> {
    let mut all = Pairs::new(Yardstick::Memory);
    for number in 1..=count {
        let scratch = Scratch::new(parent)?;
        let plan = Plan {
            storage: scratch.storage(engine, "never"),
            guarantees: Guarantees {
                confirm: true,
                ack: true,
                ..plan.guarantees
            },
            ..plan.clone()
        };
        let name = format!("pair {number}/{count}");
        all.pairs
            .push(one_pair(&plan, Yardstick::Memory, number, &name)?);
    }
    Ok(all)
}

/// A bar for each part of a measurement, one after the other.
struct Bars {
    number: String,
    name: String,
    bar: Option<Bar>,
}

impl Bars {
    const fn new(number: String) -> Self {
        Self {
            number,
            name: String::new(),
            bar: None,
        }
    }

    fn show(&mut self, name: &str, plan: &Plan, progress: Progress) {
        if self.name != name {
            name.clone_into(&mut self.name);
            self.end();
        }
        let bar = self
            .bar
            .get_or_insert_with(|| Bar::new(&format!("{name} {}", self.number)));
        bar.show(plan, progress);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.end();
        }
    }
}
