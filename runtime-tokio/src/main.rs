//! The binary: see [`message_queue_tokio::cli`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use message_queue_tokio::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run()
}
