//! `message-queue bench`: measure a broker, or hold it against a relay.

use super::bench_storage::{self, StorageArgs};
use super::broker_args::{ADDRESS_VARIABLE, parse_address};
use super::exit::Exit;
use super::{run as command, say};
use crate::access::tls::{FileError, ServerFiles, ServerTls};
use crate::bench::{
    BenchError, Cell, Guarantees, Kind, Matrix, Pair, Pairs, Plan, PlanError, Progress, Reading,
    Round, Rounds, Storage, Target, Transport, Volume, WRITE_BYTES, Yardstick, relay,
    run as run_once,
};
use crate::settings::{broker_address_in_dotenv, parse_seconds, parse_size};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{DeliveryMode, Overflow};
use serde_json::json;
use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What ends a run where nothing is said, in seconds.
const SECONDS: f64 = 5.0;

/// The most that the relay reads at a time, in bytes.
const MAX_RELAY_READ: usize = 16 << 20;

/// How much the relay reads at a time over TLS where nothing is said, in bytes.
const TLS_RELAY_READ: usize = 64 << 10;

/// The most that a producer writes in one go, in bytes.
const MAX_WRITE: usize = 16 << 20;

/// How many ticks a progress bar has.
const TICKS: u64 = 1000;

/// Measure a broker: one that runs already (--addr), or one started for it
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// How many producers
    #[arg(long, default_value_t = 1)]
    producers: usize,

    /// How many consumers
    #[arg(long, default_value_t = 1)]
    consumers: usize,

    /// Size of each message, such as 128 (bytes) or 64KiB
    #[arg(long, default_value = "128", value_parser = message_size)]
    size: usize,

    /// How much a producer writes in one go, unless a message is larger, such as 64KiB: up to 16MiB
    #[arg(long, value_name = "SIZE", value_parser = write_size, default_value_t = WRITE_BYTES,
        hide_default_value = true)]
    write: usize,

    /// End after so many messages
    #[arg(long, conflicts_with = "seconds")]
    messages: Option<u64>,

    /// End after so many seconds, or a time such as 500ms or 1m [default: 5]
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,

    /// Messages a second, of all producers together [default: as many as they can]
    #[arg(long)]
    rate: Option<f64>,

    /// Whom a message goes to: all consumers, or one of them
    #[arg(long, default_value = "broadcast", value_parser = delivery_parser())]
    mode: DeliveryMode,

    /// What happens where there is no room: the message is dropped, or its producer waits
    #[arg(long, default_value = "block", value_parser = overflow_parser())]
    overflow: Overflow,

    /// Producers are told what is safe, and wait where --window messages are not yet
    #[arg(long)]
    confirm: bool,

    /// Consumers acknowledge what they receive, and hold at most --window messages until then
    #[arg(long)]
    ack: bool,

    /// With --confirm, --ack, --storage and --engine: how many messages may be on their way, 1 to 1000000
    #[arg(long, value_name = "MESSAGES", default_value_t = 1000)]
    window: u32,

    /// Measure the broker at this host and port, set up as --mode and --overflow say
    /// [default: BROKER_ADDR of this environment, or a broker started for it]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    addr: Option<String>,

    /// Process of the broker at --addr, to tell its CPU time and memory
    #[arg(long, requires = "addr")]
    pid: Option<u32>,

    /// Check content and order of every message, and that none comes twice
    #[arg(long, conflicts_with_all = ["relay", "matrix"])]
    verify: bool,

    /// Hold the broker against a relay that copies bytes and parses nothing, in turns
    #[arg(long, conflicts_with_all = ["addr", "confirm", "ack"])]
    relay: bool,

    /// The same over TLS, against a relay that decrypts and encrypts by bare rustls. For example
    /// --tls --write 64KiB --consumers 4 --seconds 1
    #[arg(long, conflicts_with_all = ["addr", "confirm", "ack", "relay", "verify", "version_1"])]
    tls: bool,

    /// Hold a plain flood beside so many TLS handshakes a second at the broker against the same beside
    /// them at a bare rustls acceptor, and against the flood alone. For example
    /// --handshakes 1000 --size 1KiB --seconds 2
    #[arg(long, value_name = "RATE",
        conflicts_with_all = ["addr", "relay", "tls", "version_1", "matrix", "storage", "engine"])]
    handshakes: Option<f64>,

    /// Hold --confirm and --ack against the same job without them, in turns
    #[arg(long, conflicts_with_all = ["addr", "relay"])]
    version_1: bool,

    /// Hold the broker against the relay in 15 jobs, with --tls in 8 or with --version-1 against that in 6,
    /// and print a table in Markdown
    #[arg(long, conflicts_with_all = ["relay", "addr", "size", "consumers", "mode"])]
    matrix: bool,

    /// With --relay, --tls, --handshakes, --version-1, --matrix, --storage or --engine: how many runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// With --relay, --tls or --matrix: how much the relay reads at a time, up to 16MiB [default: as much as the
    /// broker; with --tls 64KiB, which is what it is fastest with]
    #[arg(long, value_name = "SIZE", value_parser = read_size, env = "READ_BYTES", hide_env = true)]
    relay_read: Option<usize>,

    #[command(flatten)]
    stored: StorageArgs,

    /// Print the figures as JSON
    #[arg(long, conflicts_with = "matrix")]
    json: bool,
}

/// The relay that `bench --relay` starts
#[derive(Debug, clap::Args)]
pub struct BenchRelayArgs {
    #[arg(long, value_parser = delivery_parser())]
    mode: DeliveryMode,

    #[arg(long)]
    consumers: usize,

    #[arg(long, value_parser = read_size)]
    read: usize,

    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Measures, and prints the figures. Exit codes: 0 if something was measured, 2 where a flag is
/// not allowed, 1 where it came to nothing or a broker that blocks lost a message.
pub fn run(args: &BenchArgs) -> ExitCode {
    match measure(args) {
        Ok(()) => Exit::Done.into(),
        Err(BenchError::Plan(error)) => command::bad_usage(&error),
        Err(error) => command::failure(&error),
    }
}

/// Relays until the process is ended.
pub fn run_relay(args: &BenchRelayArgs) -> ExitCode {
    let tls = match relay_tls(args) {
        Ok(tls) => tls.map(|it| it.config()),
        Err(error) => return command::failure(&error),
    };
    let told = if tls.is_some() {
        "tls_address"
    } else {
        "tcp_address"
    };
    let relaying = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .and_then(|runtime| {
            runtime.block_on(relay(args.mode, args.consumers, args.read, tls, |addr| {
                tell(told, addr);
            }))
        });
    match relaying {
        Ok(()) => Exit::Done.into(),
        Err(error) => command::failure(&error),
    }
}

/// How the relay speaks TLS, if it does: as a broker with this certificate.
fn relay_tls(args: &BenchRelayArgs) -> Result<Option<ServerTls>, FileError> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    ServerTls::load(ServerFiles {
        cert: cert.clone(),
        key: key.clone(),
        ..ServerFiles::default()
    })
    .map(Some)
}

/// Where the relay listens, as the broker's log tells it.
fn tell(name: &str, addr: SocketAddr) {
    say::note(&json!({ name: addr.to_string() }).to_string());
}

fn measure(args: &BenchArgs) -> Result<(), BenchError> {
    let plan = plan(args)?;
    if args.stored.are_meant() {
        return bench_storage::measure(&args.stored, &plan, args.pairs, args.json);
    }
    if let Some(rate) = args.handshakes {
        let rounds = rounds(&plan, rate, args.pairs)?;
        if args.json {
            say::answer(&format!("{}\n", rounds.to_json()))?;
        } else {
            say::answer(&rounds.to_string())?;
        }
        return Ok(());
    }
    let yardstick = yardstick(args)?;
    if args.matrix {
        let yardstick = yardstick.unwrap_or(Yardstick::Relay);
        let mut matrix = Matrix {
            yardstick,
            cells: Vec::new(),
        };
        for cell in Cell::all(yardstick) {
            let pairs = pairs(&cell.plan(&plan), yardstick, args.pairs, &cell.name())?;
            matrix.cells.push((cell, pairs));
        }
        say::answer(&matrix.to_markdown())?;
    } else if let Some(yardstick) = yardstick {
        let pairs = pairs(&plan, yardstick, args.pairs, "pair")?;
        if args.json {
            say::answer(&format!("{}\n", pairs.to_json()))?;
        } else {
            say::answer(&pairs.to_string())?;
        }
    } else {
        let target = match broker_address(args)? {
            Some(addr) => Target::at(&addr, args.pid)?,
            None => Target::start(Kind::Broker, &plan)?,
        };
        let bar = Bar::new("broker");
        let outcome = run_once(&plan, &target, |progress| bar.show(&plan, progress))?;
        bar.end();
        if args.json {
            say::answer(&format!("{}\n", outcome.to_json()))?;
        } else {
            say::answer(&outcome.to_string())?;
        }
        if args.overflow == Overflow::Block && outcome.lost() > 0 {
            return Err(BenchError::Lost(outcome.lost()));
        }
    }
    Ok(())
}

/// What the broker is to be held against, if it is.
fn yardstick(args: &BenchArgs) -> Result<Option<Yardstick>, PlanError> {
    match (args.version_1, args.confirm || args.ack) {
        (true, false) => Err(PlanError::NoGuarantee),
        (true, true) => Ok(Some(Yardstick::Version1)),
        (false, true) if args.matrix => Err(PlanError::NoYardstick),
        (false, _) if args.tls => Ok(Some(Yardstick::TlsRelay)),
        (false, _) => Ok(args.relay.then_some(Yardstick::Relay)),
    }
}

/// Where the broker is, if there is one already.
fn broker_address(args: &BenchArgs) -> Result<Option<String>, PlanError> {
    if args.addr.is_some() {
        return Ok(args.addr.clone());
    }
    let named = env::var(ADDRESS_VARIABLE).ok();
    match named.or_else(broker_address_in_dotenv) {
        Some(addr) if !addr.trim().is_empty() => {
            let checked = parse_address(&addr).map_err(PlanError::Address);
            checked.map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

fn pairs(plan: &Plan, yardstick: Yardstick, count: u32, name: &str) -> Result<Pairs, BenchError> {
    let mut pairs = Pairs::new(yardstick);
    for number in 1..=count {
        let name = format!("{name} {number}/{count}");
        pairs.pairs.push(one_pair(plan, yardstick, number, &name)?);
    }
    Ok(pairs)
}

fn rounds(plan: &Plan, rate: f64, count: u32) -> Result<Rounds, BenchError> {
    let mut rounds = Rounds::default();
    for number in 1..=count {
        let bar = Bar::new(&format!("round {number}/{count}"));
        let round = Round::run(plan, rate, number, |progress| bar.show(plan, progress))?;
        bar.end();
        rounds.0.push(round);
    }
    Ok(rounds)
}

/// Runs pair number `number`: the broker is first in every other.
pub(super) fn one_pair(
    plan: &Plan,
    yardstick: Yardstick,
    number: u32,
    name: &str,
) -> Result<Pair, BenchError> {
    let bar = Bar::new(name);
    let pair = Pair::run(plan, yardstick, number % 2 == 1, |progress| {
        bar.show(plan, progress);
    })?;
    bar.end();
    Ok(pair)
}

fn plan(args: &BenchArgs) -> Result<Plan, PlanError> {
    let seconds = args.seconds.unwrap_or(SECONDS);
    let volume = match args.messages {
        Some(messages) => Volume::Messages(messages),
        None => Volume::Time(
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| PlanError::Seconds(seconds.to_string()))?,
        ),
    };
    let plan = Plan {
        delivery: args.mode,
        overflow: args.overflow,
        producers: args.producers,
        consumers: args.consumers,
        size: args.size,
        volume,
        write_bytes: args.write,
        rate: args.rate,
        reading: if args.verify {
            Reading::Verify
        } else {
            Reading::Walk
        },
        relay_read: args.relay_read.unwrap_or(if args.tls {
            TLS_RELAY_READ
        } else {
            DecoderConfig::default().read_bytes
        }),
        guarantees: Guarantees {
            confirm: args.confirm,
            ack: args.ack,
            window: args.window,
        },
        storage: Storage::AsSet,
        transport: Transport::Plain,
    };
    plan.check()?;
    Ok(plan)
}

pub(super) fn message_size(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    usize::try_from(size).map_err(|_| "it is larger than memory".to_owned())
}

/// What the relay may read at a time: the bounds are those of READ_BYTES.
fn read_size(text: &str) -> Result<usize, String> {
    match message_size(text)? {
        size @ 4096..=MAX_RELAY_READ => Ok(size),
        _ => Err("use 4KiB to 16MiB".to_owned()),
    }
}

/// How much a producer may write in one go.
fn write_size(text: &str) -> Result<usize, String> {
    match message_size(text)? {
        size @ 1..=MAX_WRITE => Ok(size),
        _ => Err("use 1B to 16MiB".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => parse_seconds(text).map(|time| time.as_secs_f64()),
    }
}

fn delivery_parser() -> impl TypedValueParser<Value = DeliveryMode> {
    PossibleValuesParser::new(["broadcast", "queue"]).map(|name| match name.as_str() {
        "queue" => DeliveryMode::Queue,
        _ => DeliveryMode::Broadcast,
    })
}

fn overflow_parser() -> impl TypedValueParser<Value = Overflow> {
    PossibleValuesParser::new(["block", "drop"]).map(|name| match name.as_str() {
        "drop" => Overflow::Drop,
        _ => Overflow::Block,
    })
}

/// How far a run is, on a terminal; elsewhere nothing is shown.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(super) fn new(name: &str) -> Self {
        let bar = ProgressBar::new(TICKS).with_prefix(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3}% {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest whole number there is"
    )]
    pub(super) fn show(&self, plan: &Plan, progress: Progress) {
        let done = match plan.volume {
            Volume::Messages(messages) => progress.sent as f64 / messages as f64,
            Volume::Time(time) => progress.elapsed.as_secs_f64() / time.as_secs_f64(),
        };
        self.bar.set_position((done * TICKS as f64) as u64);
        let rate = progress.delivered as f64 / progress.elapsed.as_secs_f64().max(0.001);
        let rate = HumanCount(rate as u64);
        self.bar.set_message(format!("{rate} messages/s"));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
