//! `message-queue completions`: what a shell needs to complete its flags.

use super::exit::Exit;
use super::{Cli, run, say};
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::process::ExitCode;

/// Print a script that completes commands and flags in a shell
///
/// For bash, with the package bash-completion:
///   message-queue completions bash > ~/.local/share/bash-completion/completions/message-queue
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell to print it for
    shell: Shell,
}

/// Prints the script. Exit codes: 0, or 1 where it cannot be written.
pub fn run(args: &CompletionsArgs) -> ExitCode {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    match say::answer(&String::from_utf8_lossy(&script)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => run::failure(&error),
    }
}
