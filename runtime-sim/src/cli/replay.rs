//! `replay`: one run, shown: simulated, or recorded by a broker.

use super::seeds::Source;
use super::{CliError, Common, Verdict};
use clap::Args;
use message_queue_sim::recording;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// A seed, the file of a plan, or what a broker's flight recorder wrote: a file (its name ends
    /// in `.recording`), or a directory, of which the last run is replayed.
    #[arg(value_name = "SEED|plan.json|RECORDING")]
    source: Replayed,
    /// Print the plan and run nothing.
    #[arg(long)]
    plan: bool,
    /// Leave out what happened; print the verdict alone.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

/// What is replayed.
#[derive(Clone)]
enum Replayed {
    Simulated(Source),
    Recorded(PathBuf),
}

impl FromStr for Replayed {
    type Err = <Source as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        if path.is_dir() || path.extension().is_some_and(|it| it == "recording") {
            return Ok(Self::Recorded(path.to_owned()));
        }
        text.parse().map(Self::Simulated)
    }
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Verdict, CliError> {
    match &args.source {
        Replayed::Simulated(source) => replay_simulated(args, source),
        Replayed::Recorded(path) => replay_recorded(args, path),
    }
}

fn replay_recorded(args: &ReplayArgs, path: &Path) -> Result<Verdict, CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut nothing = io::sink();
    let trace: &mut dyn Write = if args.quiet { &mut nothing } else { &mut out };
    let replayed = recording::replay(path, trace)?;
    writeln!(out, "{replayed}")?;
    out.flush()?;
    Ok(if replayed.is_sound() {
        Verdict::Kept
    } else {
        Verdict::Broken
    })
}

fn replay_simulated(args: &ReplayArgs, source: &Source) -> Result<Verdict, CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let plan = source.plan(args.common.scenario)?;
    if args.plan {
        writeln!(out, "{}", plan.to_json())?;
        out.flush()?;
        return Ok(Verdict::Kept);
    }
    let outcome = args.common.scenario.run(&plan, args.common.options());
    if !args.quiet {
        write!(out, "{}", outcome.history)?;
    }
    writeln!(out, "trace hash {:016x}", outcome.history.hash())?;
    for violation in &outcome.violations {
        writeln!(out, "BROKEN {violation}")?;
    }
    if outcome.violations.is_empty() {
        writeln!(out, "every promise was kept")?;
    }
    out.flush()?;
    Ok(if outcome.violations.is_empty() {
        Verdict::Kept
    } else {
        Verdict::Broken
    })
}
