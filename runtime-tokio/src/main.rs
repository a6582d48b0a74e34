//! The binary.
use clap::Parser;
#[derive(Parser)]
struct C {
    #[command(subcommand)]
    c: Option<S>,
}
#[derive(clap::Subcommand)]
enum S {
    Serve(message_queue_tokio::cli::serve::ServeArgs),
}
fn main() -> std::process::ExitCode {
    match C::parse().c {
        Some(S::Serve(a)) => message_queue_tokio::cli::serve::run(&a),
        None => message_queue_tokio::cli::serve::run(&Default::default()),
    }
}
