//! The command line.
//!
//! Exit codes: 0 if every promise was kept, 1 if one was broken or something could not be done, 2
//! for a flag or a plan that is not allowed.

mod determinism;
mod failure;
mod plant;
#[cfg(planted_bugs)]
mod planted;
mod replay;
mod run;
mod seeds;
mod shrink;

use clap::{Args, Parser, Subcommand};
use message_queue_sim::plan::PlanError;
use message_queue_sim::planted::PlantError;
use message_queue_sim::recording::ReplayError;
use message_queue_sim::scenario::{Options, Scenario};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The message broker in deterministic simulation: every run is a function of its seed.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds and check every promise in each.
    Run(run::RunArgs),
    /// Run one seed, a plan from a file, or a recording of a real broker, and show what happened,
    /// step by step.
    Replay(replay::ReplayArgs),
    /// Make a plan that breaks a promise smaller, as long as it breaks the same one.
    Shrink(shrink::ShrinkArgs),
    /// List the scenarios.
    List,
    /// Copy the source tree, with a bug planted in every place of the list. The copy, when it is built, has the command
    /// `planted`.
    Plant(plant::PlantArgs),
    /// Show that each of the bugs planted in this build is caught, and by what.
    #[cfg(planted_bugs)]
    Planted(planted::PlantedArgs),
}

/// What every command that runs something takes.
#[derive(Args, Clone, Copy)]
struct Common {
    /// What to run; see `list`.
    #[arg(long, default_value_t)]
    scenario: Scenario,
    /// Do not let the broker check its own invariants: the checker has to find everything.
    #[arg(long)]
    no_invariants: bool,
}

impl Common {
    const fn options(self) -> Options {
        Options {
            check_invariants: !self.no_invariants,
        }
    }
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("cannot start a run of its own for seed {seed}: {error}")]
    Spawn { seed: u64, error: io::Error },
    #[error(transparent)]
    Recording(ReplayError),
    #[error(transparent)]
    Plant(#[from] PlantError),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<ReplayError> for CliError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Output(error) => Self::Output(error),
            ReplayError::Directory { .. } | ReplayError::NothingThere(_) | ReplayError::Read(_) => {
                Self::Recording(error)
            }
        }
    }
}

impl CliError {
    /// Whether nobody reads the output any more, as with `| head`.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Plan(_) => ExitCode::from(2),
            Self::Output(_) if self.is_closed_pipe() => ExitCode::SUCCESS,
            Self::File { .. }
            | Self::Spawn { .. }
            | Self::Recording(_)
            | Self::Plant(_)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// Whether every promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    Broken,
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::List => list(),
        Command::Plant(args) => plant::plant(&args),
        #[cfg(planted_bugs)]
        Command::Planted(args) => planted::planted(&args),
    };
    match result {
        Ok(Verdict::Kept) => ExitCode::SUCCESS,
        Ok(Verdict::Broken) => ExitCode::FAILURE,
        Err(error) => {
            if !error.is_closed_pipe() {
                eprintln!("error: {error}");
            }
            error.exit_code()
        }
    }
}

fn list() -> Result<Verdict, CliError> {
    let mut out = io::stdout().lock();
    for scenario in Scenario::ALL {
        io::Write::write_fmt(
            &mut out,
            format_args!("{:8} {}\n", scenario.name(), scenario.about()),
        )?;
    }
    Ok(Verdict::Kept)
}
