//! What is kept of a seed that breaks a promise.

use super::CliError;
use message_queue_sim::scenario::{Outcome, Plan, Scenario};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A run that broke a promise: enough to see it again.
#[derive(Serialize)]
pub(super) struct Failure {
    scenario: &'static str,
    pub(super) seed: u64,
    /// The commit of the working directory, if there is one.
    commit: Option<String>,
    /// The hash of the history, to tell whether a replay went the same way.
    trace_hash: String,
    /// The promises broken, in words, in the order of time.
    pub(super) violations: Vec<String>,
    /// The command that shows it.
    pub(super) replay: String,
}

impl Failure {
    pub(super) fn new(scenario: Scenario, plan: &Plan, outcome: &Outcome) -> Self {
        Self {
            scenario: scenario.name(),
            seed: plan.seed(),
            commit: commit(),
            trace_hash: format!("{:016x}", outcome.history.hash()),
            violations: outcome.violations.iter().map(ToString::to_string).collect(),
            replay: format!(
                "message-queue-sim replay {} --scenario {scenario}",
                plan.seed()
            ),
        }
    }

    /// Writes itself and the plan into a directory. Returns the file of the plan.
    pub(super) fn write(&self, directory: &Path, plan: &Plan) -> Result<PathBuf, CliError> {
        let name = format!("{}-{}", self.scenario, self.seed);
        let plan_file = directory.join(format!("{name}.plan.json"));
        let in_file = |path: &Path| {
            let path = path.to_owned();
            move |error| CliError::File { path, error }
        };
        fs::create_dir_all(directory).map_err(in_file(directory))?;
        fs::write(&plan_file, plan.to_json()).map_err(in_file(&plan_file))?;
        let file = directory.join(format!("{name}.failure.json"));
        let text = serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string());
        fs::write(&file, text).map_err(in_file(&file))?;
        Ok(plan_file)
    }
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    (output.status.success() && !commit.is_empty()).then(|| commit.to_owned())
}
