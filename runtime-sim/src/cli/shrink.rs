//! `shrink`: a smaller plan that breaks the same promise.

use super::seeds::Source;
use super::{CliError, Common, Verdict};
use clap::Args;
use message_queue_sim::shrink::shrink as shrink_plan;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct ShrinkArgs {
    /// A seed that fails, or the file of its plan.
    #[arg(value_name = "SEED|plan.json")]
    source: Source,
    /// The most runs to spend on it.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    runs: usize,
    /// Where to write the smaller plan.
    #[arg(long, value_name = "FILE", default_value = "shrunk.plan.json")]
    output: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn shrink(args: &ShrinkArgs) -> Result<Verdict, CliError> {
    let mut out = io::stdout().lock();
    let (scenario, options) = (args.common.scenario, args.common.options());
    let plan = args.source.plan(scenario)?;
    let outcome = scenario.run(&plan, options);
    let Some(first) = outcome.violations.first() else {
        writeln!(out, "every promise was kept: there is nothing to shrink")?;
        return Ok(Verdict::Kept);
    };
    writeln!(out, "BROKEN {first}")?;
    let smallest = shrink_plan(
        scenario,
        &plan,
        options,
        first.invariant,
        args.runs,
        |plan, runs| {
            eprintln!("after {runs} runs: {}", plan.size());
        },
    );
    fs::write(&args.output, smallest.to_json()).map_err(|error| CliError::File {
        path: args.output.clone(),
        error,
    })?;
    let file = args.output.display();
    writeln!(
        out,
        "again: message-queue-sim replay {file} --scenario {scenario}"
    )?;
    Ok(Verdict::Broken)
}
