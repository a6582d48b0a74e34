//! The command line.

mod asking;
pub mod bench;
mod bench_storage;
mod broker_args;
pub mod completions;
mod connector;
pub mod consume;
mod consume_acked;
mod container;
pub mod dead_letters;
mod delivery_args;
mod exit;
mod export;
pub mod health;
mod http;
mod input;
mod json;
mod literal;
pub mod log;
mod output;
mod pace;
mod pages;
pub mod produce;
mod produce_confirmed;
mod produce_error;
mod progress;
mod receiver;
mod run;
mod say;
mod sender;
pub mod serve;
mod sink;
mod table;
mod terminal;
pub mod tls;
mod tls_args;
pub mod token;
mod token_args;
pub mod topics;
mod until_empty;
mod watch;

use crate::settings::settings_help;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// How many batches may wait between two tasks of a client: read and not sent, or received and not
/// written. A slow reader or writer then holds the other side back, and the broker's bounds are what
/// counts.
const WAITING_BATCHES: usize = 4;

const EXAMPLES: &str = "\
Examples:
  message-queue                                     run a broker: TCP 9080, HTTP 8080
  message-queue consume                             print what is published, a line a message
  message-queue produce examples/telemetry.csv      publish the rows, a JSON object a row
  message-queue produce export.csv --delimiter ';'  publish rows with semicolons between fields
  journalctl -f | message-queue produce             publish lines as they come
  message-queue produce big.txt --rate 1000         publish 1,000 messages a second
  message-queue produce -m hello -m world           publish two messages
  message-queue consume --output got.txt --append   keep what comes
  message-queue consume --count 10                  take ten messages, leave the rest to others
  message-queue produce --topic orders --name may orders.csv --retry
                                                    publish each row once, and know that the broker has it
  message-queue consume --topic orders --group billing
                                                    be one of a group that shares the work and loses none
  message-queue topics                              what each topic holds, and who waits for whom
  message-queue groups orders                       who reads orders, and how far behind each group is
  message-queue dead-letters list orders            what groups gave up, and why; or redrive, or purge it
  message-queue log verify /var/lib/message-queue   whether stored topics are whole; or inspect, repair, export them
  message-queue token new collector --produce 'gpu.>'
                                                    a secret for a client, and what it may do
  message-queue tls init certificates               certificates to try TLS out, and the commands that use them
  message-queue bench --consumers 4 --relay         how close to the limit the broker is here";

/// A message broker in one binary, and its clients
#[derive(Debug, Parser)]
#[command(
    name = "message-queue",
    version,
    args_conflicts_with_subcommands = true
)]
#[command(
    after_help = format!("{EXAMPLES}\n\n{}", exit::help()),
    after_long_help = format!("{EXAMPLES}\n\n{}\n\n{}", exit::help(), settings_help())
)]
pub struct Cli {
    /// Without a command: `serve`, with its flags.
    #[command(flatten)]
    serve: serve::ServeArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Topics(topics::TopicsArgs),
    Groups(topics::GroupsArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Log(log::LogCommand),
    Health(health::HealthArgs),
    Bench(bench::BenchArgs),
    Token(token::TokenCommand),
    Tls(tls::TlsCommand),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    BenchRelay(bench::BenchRelayArgs),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            None => serve::run(&self.serve),
            Some(Command::Serve(args)) => serve::run(args),
            Some(Command::Produce(args)) => produce::run(args),
            Some(Command::Consume(args)) => consume::run(args),
            Some(Command::Topics(args)) => topics::run_topics(args),
            Some(Command::Groups(args)) => topics::run_groups(args),
            Some(Command::DeadLetters(args)) => dead_letters::run(args),
            Some(Command::Log(args)) => log::run(args),
            Some(Command::Health(args)) => health::run(args),
            Some(Command::Bench(args)) => bench::run(args),
            Some(Command::Token(args)) => token::run(args),
            Some(Command::Tls(args)) => tls::run(args),
            Some(Command::Completions(args)) => completions::run(args),
            Some(Command::BenchRelay(args)) => bench::run_relay(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_broker_runs_and_takes_its_flags() {
        for flags in [&["message-queue"][..], &["message-queue", "--check-config"]] {
            let cli = Cli::try_parse_from(flags).expect("the flags of serve");
            assert!(cli.command.is_none(), "{flags:?}");
        }
        let both = Cli::try_parse_from(["message-queue", "--check-config", "consume"]);
        assert!(both.is_err());
    }
}
