//! `message-queue-sim`: runs seeds, replays them, makes failures smaller.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
