//! The broker under load: beside NATS and Redis, beside a consumer that is stuck, with many
//! connections. Prints the tables of `docs/BENCHMARKS.md`.
//!
//! ```text
//! cargo bench -p message-queue-tests --bench load -- peers        the same jobs, three brokers in turns
//! cargo bench -p message-queue-tests --bench load -- acked        confirmed and acknowledged, beside JetStream and Redis streams
//! cargo bench -p message-queue-tests --bench load -- stored       the same on the disk, where what is confirmed is safe
//! cargo bench -p message-queue-tests --bench load -- connections  CPU for each message, 1 to 1000 clients
//! cargo bench -p message-queue-tests --bench load -- stuck        a fast consumer, alone and beside a stuck one
//! cargo bench -p message-queue-tests --bench load -- idle         memory for 10000 connections
//! ```
//! `NATS_SERVER` and `REDIS_SERVER` name servers that are not on the `PATH`, `MESSAGE_QUEUE_BIN` a
//! binary of ours that is built already, `TMPDIR` the disk to store on, `SECONDS` (default 1) the time that producers send in each
//! run, `ROUNDS` (default 3) how often each run is repeated.
//!
//! In the order of a run: `job.rs` (what to do), `server.rs` (a broker to do it to) with `ours.rs`,
//! `nats.rs` and `redis.rs`, `run.rs` (one run), `reader.rs` (what consumers do), `tables.rs` (what
//! is run for each table). Producers write the same bytes again and again, up to 256 KiB at a
//! time; consumers count bytes. With `acked` both do as `acked.rs` says.

#[cfg(target_os = "linux")]
mod acked;
#[cfg(target_os = "linux")]
mod job;
#[cfg(target_os = "linux")]
mod nats;
#[cfg(target_os = "linux")]
mod ours;
#[cfg(target_os = "linux")]
mod reader;
#[cfg(target_os = "linux")]
mod redis;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod tables;

#[cfg(target_os = "linux")]
fn main() {
    // cargo adds --bench.
    let args: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let seconds = number("SECONDS", 1.0);
    let rounds = number("ROUNDS", 3);
    for arg in &args {
        println!("\n{}\n", machine());
        match arg.as_str() {
            "peers" => tables::peers(seconds, rounds),
            "acked" => tables::acked(seconds, rounds),
            "stored" => tables::stored(seconds, rounds),
            "connections" => tables::connections(seconds, rounds),
            "stuck" => tables::stuck(seconds, rounds),
            "idle" => tables::idle(),
            other => {
                eprintln!("{other:?}: use peers, acked, stored, connections, stuck or idle");
                std::process::exit(2);
            }
        }
    }
    if args.is_empty() {
        eprintln!("say what to measure: -- peers, acked, stored, connections, stuck or idle");
    }
}

/// What the machine is, and how busy.
#[cfg(target_os = "linux")]
fn machine() -> String {
    let line = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or("?").replace(['\t', ':'], "")
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{cores} cores, {}; {}; load average {}.",
        line("/proc/cpuinfo", "model name"),
        line("/proc/version", "Linux"),
        line("/proc/loadavg", ""),
    )
}

/// The number in this variable of the environment.
#[cfg(target_os = "linux")]
fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| {
            eprintln!("{name}: {text:?} is no number");
            std::process::exit(2)
        }),
        Err(_) => default,
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("SKIPPED: CPU time and memory of other processes are read from Linux's /proc");
}
