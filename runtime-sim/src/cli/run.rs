//! `run`: many seeds, in parallel. Each run is single-threaded and a function of its seed.

use super::determinism::first_difference;
use super::failure::Failure;
use super::seeds::Seeds;
use super::{CliError, Common, Verdict};
use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// After so many seeds that fail, the rest would tell nothing new.
const ENOUGH: usize = 10;

#[derive(Args)]
pub(super) struct RunArgs {
    /// Which seeds: N for the first N, or FROM..TO (without TO).
    #[arg(long, value_name = "N|FROM..TO", default_value = "100")]
    seeds: Seeds,
    /// Runs at a time. Default: one for each processor.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Run each seed in two processes and compare their traces byte for byte, instead of looking
    /// for broken promises.
    #[arg(long)]
    determinism: bool,
    /// Where the plans of seeds that fail are written.
    #[arg(long, value_name = "DIRECTORY", default_value = "sim-failures")]
    failures: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// What all threads share.
struct Progress {
    bar: ProgressBar,
    total: u64,
    /// The next seed to run.
    next: AtomicU64,
    done: AtomicU64,
    /// In all runs together, in microseconds.
    simulated: AtomicU64,
    failed: Mutex<Vec<u64>>,
}

pub(super) fn run(args: &RunArgs) -> Result<Verdict, CliError> {
    let seeds = &args.seeds.0;
    let total = seeds.end - seeds.start;
    let progress = Progress {
        bar: progress_bar(total),
        total,
        next: AtomicU64::new(seeds.start),
        done: AtomicU64::new(0),
        simulated: AtomicU64::new(0),
        failed: Mutex::new(Vec::new()),
    };
    let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let jobs = args.jobs.unwrap_or(processors).get();
    let results: Vec<Result<(), CliError>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| scope.spawn(|| progress.work(args)))
            .collect();
        let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|worker| worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    progress.bar.finish_and_clear();
    results.into_iter().collect::<Result<(), CliError>>()?;
    progress.sum_up(args)
}

fn progress_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{bar:30} {pos}/{len} seeds, {per_sec}, {msg}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Progress {
    /// Runs seeds until there are none left, or enough have failed.
    fn work(&self, args: &RunArgs) -> Result<(), CliError> {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.seeds.0.end || self.failed().len() >= ENOUGH {
                return Ok(());
            }
            if args.determinism {
                self.compare(seed, args)?;
            } else {
                self.check(seed, args)?;
            }
            self.one_more();
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.failed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn check(&self, seed: u64, args: &RunArgs) -> Result<(), CliError> {
        let scenario = args.common.scenario;
        let plan = scenario.plan(seed);
        let outcome = scenario.run(&plan, args.common.options());
        self.simulated
            .fetch_add(outcome.simulated(), Ordering::Relaxed);
        if outcome.violations.is_empty() {
            return Ok(());
        }
        self.failed().push(seed);
        let failure = Failure::new(scenario, &plan, &outcome);
        let file = failure.write(&args.failures, &plan)?;
        let broken = failure.violations.join("\n  ");
        let replay = &failure.replay;
        self.say(&format!(
            "FAILED seed {seed}\n  {broken}\n  again: {replay}\n  plan:  {}",
            file.display()
        ))
    }

    fn compare(&self, seed: u64, args: &RunArgs) -> Result<(), CliError> {
        let Some(difference) = first_difference(seed, args.common)? else {
            return Ok(());
        };
        self.failed().push(seed);
        self.say(&format!(
            "FAILED seed {seed}: two runs differ: {difference}"
        ))
    }

    fn one_more(&self) {
        self.bar.set_message(self.simulated_time());
        self.bar.inc(1);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let in_a_pipe = !io::stderr().is_terminal();
        if in_a_pipe && done.is_multiple_of(self.total.div_ceil(10)) && done < self.total {
            eprintln!("{done}/{} seeds, {}", self.total, self.simulated_time());
        }
    }

    fn simulated_time(&self) -> String {
        let simulated = Duration::from_micros(self.simulated.load(Ordering::Relaxed));
        format!("{} simulated", HumanDuration(simulated))
    }

    /// Prints above the bar.
    fn say(&self, text: &str) -> Result<(), CliError> {
        let printed = self.bar.suspend(|| writeln!(io::stdout().lock(), "{text}"));
        Ok(printed?)
    }

    fn sum_up(&self, args: &RunArgs) -> Result<Verdict, CliError> {
        let (done, failed) = (self.done.load(Ordering::Relaxed), self.failed().len());
        let seconds = self.bar.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(f64::EPSILON);
        let what = if args.determinism {
            "each run in two processes".to_owned()
        } else {
            self.simulated_time()
        };
        self.say(&format!(
            "{}: {done} seeds, {failed} failed; {what} in {seconds:.1} s ({rate:.0} seeds/s)",
            args.common.scenario
        ))?;
        Ok(if failed == 0 {
            Verdict::Kept
        } else {
            Verdict::Broken
        })
    }
}
