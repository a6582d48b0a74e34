//! Whether a seed always gives the same run: two processes, compared byte for byte.

use super::{CliError, Common};
use std::process::Command;

/// Runs a seed in two processes of their own. Returns the line in which their traces differ, if
/// they do.
pub(super) fn first_difference(seed: u64, common: Common) -> Result<Option<String>, CliError> {
    let (first, second) = (trace(seed, common)?, trace(seed, common)?);
    if first.is_empty() {
        return Ok(Some("there is no trace".to_owned()));
    }
    if first == second {
        return Ok(None);
    }
    let mut lines = first.lines().zip(second.lines());
    let differing = lines.find(|(first, second)| first != second);
    Ok(Some(match differing {
        Some((first, second)) => format!("{first:?} and {second:?}"),
        None => "one trace is longer than the other".to_owned(),
    }))
}

fn trace(seed: u64, common: Common) -> Result<String, CliError> {
    let spawn = |error| CliError::Spawn { seed, error };
    let mut command = Command::new(std::env::current_exe().map_err(spawn)?);
    command.args(["replay", &seed.to_string()]);
    command.args(["--scenario", common.scenario.name()]);
    if common.no_invariants {
        command.arg("--no-invariants");
    }
    let output = command.output().map_err(spawn)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
