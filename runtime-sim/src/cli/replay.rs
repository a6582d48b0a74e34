//! `replay`: one run, shown.

use super::seeds::Source;
use super::{CliError, Common, Verdict};
use clap::Args;
use std::io::{self, BufWriter, Write};

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// A seed, or the file of a plan.
    #[arg(value_name = "SEED|plan.json")]
    source: Source,
    /// Print the plan and run nothing.
    #[arg(long)]
    plan: bool,
    /// Leave out what happened; print the verdict alone.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Verdict, CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let plan = args.source.plan(args.common.scenario)?;
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
