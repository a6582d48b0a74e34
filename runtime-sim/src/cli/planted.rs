//! `planted`: each bug that the scenario has to catch is switched on, and the seeds are run until one finds it.
//! First by the checker alone, then with the broker checking its own invariants.

use super::seeds::Seeds;
use super::{CliError, Verdict};
use clap::Args;
use message_queue_core::planted::select;
use message_queue_sim::checker::Invariant;
use message_queue_sim::planted::{Catcher, bugs};
use message_queue_sim::scenario::{Options, Scenario};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[derive(Args)]
pub(super) struct PlantedArgs {
    /// Which seeds to look for each bug in: N for the first N, or FROM..TO (without TO).
    #[arg(long, value_name = "N|FROM..TO", default_value = "500")]
    seeds: Seeds,
    /// What to run; see `list`.
    #[arg(long, default_value_t)]
    scenario: Scenario,
}

/// How a bug was caught.
struct Caught {
    seed: u64,
    by: Vec<Invariant>,
}

pub(super) fn planted(args: &PlantedArgs) -> Result<Verdict, CliError> {
    // A panic is one of the ways to be caught. It is in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    let mut all_caught = true;
    writeln!(
        out,
        "{:26} {:46} with the broker's own checks",
        "bug", "by the checker alone"
    )?;
    for (number, bug) in bugs().iter().enumerate() {
        if bug.catcher != Catcher::Scenario(args.scenario) {
            continue;
        }
        select(Some(number));
        let [alone, with] = [false, true].map(|check_invariants| search(args, check_invariants));
        select(None);
        all_caught &= alone.is_some() && with.is_some();
        let (alone, with) = (describe(alone), describe(with));
        writeln!(out, "{:26} {alone:46} {with}", bug.name)?;
        out.flush()?;
    }
    Ok(if all_caught {
        Verdict::Kept
    } else {
        Verdict::Broken
    })
}

fn describe(caught: Option<Caught>) -> String {
    caught.map_or_else(
        || "NOT CAUGHT".to_owned(),
        |Caught { seed, by }| {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            format!("seed {seed}: {}", by.join(", "))
        },
    )
}

/// The first seed that finds the bug that is switched on.
fn search(args: &PlantedArgs, check_invariants: bool) -> Option<Caught> {
    let options = Options { check_invariants };
    let next = AtomicU64::new(args.seeds.0.start);
    let found_at = AtomicU64::new(args.seeds.0.end);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= found_at.load(Ordering::Relaxed) {
                return None;
            }
            let plan = args.scenario.plan(seed);
            let violations = args.scenario.run(&plan, options).violations;
            let by: Vec<Invariant> = violations.iter().map(|it| it.invariant).collect();
            // Without the broker's checks the history has to show it; a panic alone does not count.
            // What the core asserts of its driver is no check of the broker's own.
            let has_driver = [Scenario::Full, Scenario::Durable].contains(&args.scenario);
            let panics_count = check_invariants || has_driver;
            if by
                .iter()
                .any(|it| panics_count || *it != Invariant::NoPanic)
            {
                found_at.fetch_min(seed, Ordering::Relaxed);
                return Some(Caught { seed, by });
            }
        }
    };
    let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors.get()).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
        let found = joined.map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        found.flatten().min_by_key(|caught| caught.seed)
    })
}
