//! The binary: see [`message_queue_tokio::cli`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use message_queue_tokio::cli::Cli;
use std::process::ExitCode;
#[cfg(target_os = "linux")]
use tikv_jemallocator::Jemalloc;

/// Gives memory that is not used any more back to the system, within twenty seconds. That of glibc
/// keeps what a long queue took for as long as anything behind it in the heap is in use.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
