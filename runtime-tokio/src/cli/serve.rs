//! `message-queue serve`: from the settings to a broker that listens.

use crate::access::tls::{FileError, ServerTls};
use crate::operate::logging::{self, LoggingError};
use crate::operate::process::{self, Ended, Listeners, NotServed};
use crate::operate::signals::Signals;
use crate::record::{self, Recorder};
use crate::serve::net::{self, SocketOptions};
use crate::settings::{Settings, SettingsError, settings_help};
use crate::store::{NotOpened, Taken};
use message_queue_core::names::TopicName;
use message_queue_core::{Config, Storage};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// The exit code for settings that are not allowed; clap uses the same for bad flags.
const BAD_SETTINGS: u8 = 2;

/// Run the broker
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Settings are environment variables; --help lists them.",
    after_long_help = settings_help()
)]
pub struct ServeArgs {
    /// Check the settings and end: with 0, or with 2 and one line for each variable that is bad or misspelt
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,

    /// Print the settings in force and where each comes from, as a .env file, and end; with a topic, how
    /// that topic works and which rule of TOPICS_FILE says so
    #[arg(long, value_name = "TOPIC", num_args = 0..=1, value_parser = topic)]
    #[expect(
        clippy::option_option,
        reason = "clap's type for a flag with an optional value"
    )]
    print_config: Option<Option<TopicName>>,
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// Logging could not be set up.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Signals could not be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// The runtime could not be made.
    #[error("WORKER_THREADS: cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// The flight recorder could not begin.
    #[error(transparent)]
    Recording(#[from] record::StartError),
    /// The certificate for TLS, or its key, cannot be used.
    #[error(transparent)]
    Tls(#[from] FileError),
    /// The folder of stored topics cannot be used.
    #[error(transparent)]
    Store(#[from] NotOpened),
    /// A log in it was not opened.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// It started, and what keeps topics has failed since.
    #[error(
        "{} has failed, as the broker's log says; what is stored is found out when it is started again", failed(*.0)
    )]
    StoreFailed(Storage),
    /// A port could not be taken.
    #[error("{name}: cannot listen on {address}: {source}")]
    Listen {
        /// The setting that chose the port.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// What has failed where topics are kept in this way.
const fn failed(storage: Storage) -> &'static str {
    match storage {
        Storage::Memory | Storage::Disk => "the log of a topic",
        Storage::RocksDb => "RocksDB",
        Storage::RabbitMq => "RabbitMQ",
        Storage::Kafka => "Kafka",
    }
}

impl StartError {
    /// Whether other settings are needed.
    const fn is_of_settings(&self) -> bool {
        match self {
            Self::Store(error) | Self::NotServed(NotServed::Store(error)) => error.is_of_settings(),
            #[cfg(feature = "rabbitmq")]
            Self::NotServed(NotServed::Refused(_)) => true,
            #[cfg(feature = "kafka")]
            Self::NotServed(NotServed::RefusedByKafka(_)) => true,
            _ => false,
        }
    }
}

/// Runs the broker until it is told to stop. Exit codes: 0 after an orderly end, 2 where a setting
/// is not allowed, 1 where the broker could not start or go on.
pub fn run(args: &ServeArgs) -> ExitCode {
    // First of all: until then a signal kills the process, or is lost where it is a container's first.
    let signals = Signals::install();
    let settings = match prepare(args, Settings::load(), &mut io::stdout(), &mut io::stderr()) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match signals
        .map_err(StartError::Signals)
        .and_then(|signals| start(&settings, signals))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&mut io::stderr(), &error.to_string());
            if error.is_of_settings() {
                ExitCode::from(BAD_SETTINGS)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The settings to run with, or the exit code where there is nothing to run.
fn prepare(
    args: &ServeArgs,
    loaded: Result<Settings, SettingsError>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Settings, ExitCode> {
    let settings = loaded.map_err(|error| {
        complain(err, &error.to_string());
        ExitCode::from(BAD_SETTINGS)
    })?;
    let answer = if let Some(topic) = &args.print_config {
        match topic {
            Some(topic) => settings.print_topic(topic),
            None => settings.print_config(),
        }
    } else if args.check_config {
        for warning in settings.warnings() {
            complain(err, &format!("warning: {warning}"));
        }
        if settings.has_misspelt() {
            return Err(ExitCode::from(BAD_SETTINGS));
        }
        "ok: the settings are valid\n".to_owned()
    } else {
        return Ok(settings);
    };
    match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Err(ExitCode::SUCCESS),
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ExitCode::SUCCESS),
        Err(error) => {
            complain(err, &format!("standard output: {error}"));
            Err(ExitCode::FAILURE)
        }
    }
}

fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

/// One line to the user. Where even that fails there is nobody left to tell.
fn complain(err: &mut dyn Write, line: &str) {
    // In one write, so that two programs on one terminal do not tear each other's lines.
    let _ = err.write_all(format!("{line}\n").as_bytes());
}

fn start(settings: &Settings, signals: Signals) -> Result<(), StartError> {
    let log = logging::init(settings)?;
    let runtime = runtime(settings.worker_threads()).map_err(StartError::Runtime)?;
    let since_1970 = since_1970();
    let mut config = Config {
        started_ms: since_1970.as_millis() as u64,
        ..settings.broker_config()
    };
    let engine = config.engines().next().unwrap_or_default();
    let stores = |folder: &&Path| {
        settings.stores_anything() && !engine.is_shared() || Taken::holds_topics(folder)
    };
    let taken = match settings.data_dir().filter(stores) {
        Some(folder) => {
            // What was published in another life of the broker has a moment, too.
            config.started_ms = 0;
            Some(Taken::take(
                folder,
                settings.disk_reserve(),
                &config,
                since_1970,
            )?)
        }
        None => None,
    };
    // Sockets belong to the runtime in which they are opened.
    let _in_runtime = runtime.enter();
    let recorder = match settings.recording() {
        Some(options) => Some(Recorder::start(options, config.clone())?),
        None => None,
    };
    let tls = match settings.tls_files() {
        Some(files) => Some(Arc::new(ServerTls::load(files)?)),
        None => None,
    };
    let options = settings.socket_options();
    let of_clients = |name, address: Option<SocketAddr>| {
        address
            .map(|address| listen(name, address, options))
            .transpose()
    };
    let listeners = Listeners {
        tcp: of_clients("TCP_PORT", settings.tcp_address())?,
        tls_port: of_clients("TLS_PORT", settings.tls_address())?,
        http: listen(
            "HTTP_PORT",
            settings.http_address(),
            settings.http_socket_options(),
        )?,
        tls,
    };
    let outcome = runtime.block_on(process::run(
        settings, config, signals, &log, listeners, recorder, taken,
    ));
    if log.lost_lines() > 0 {
        tracing::warn!(
            lines = log.lost_lines(),
            "log lines were lost: nobody read them in time"
        );
    }
    match outcome? {
        Ended::Orderly => Ok(()),
        Ended::StoreFailed => Err(StartError::StoreFailed(engine)),
    }
}

/// The time of day at which the broker starts.
pub(super) fn since_1970() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "an input of the core, like any other: read once, before the broker is made"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// One thread needs no locks and no stealing between queues, which is faster for most loads.
fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    match worker_threads {
        1 => Builder::new_current_thread().enable_all().build(),
        n => Builder::new_multi_thread()
            .worker_threads(n)
            .enable_all()
            .build(),
    }
}

/// Listens on `address`, which the setting `name` chose.
fn listen(
    name: &'static str,
    address: SocketAddr,
    options: SocketOptions,
) -> Result<TcpListener, StartError> {
    net::listen(address, options).map_err(|source| StartError::Listen {
        name,
        address,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    /// Exit code, standard output and standard error of a run that ends before the broker starts.
    fn ended(flags: &[&str], variables: &[(&str, &str)]) -> (ExitCode, String, String) {
        let args = Command::parse_from([&["message-queue"], flags].concat()).serve;
        let loaded = Settings::from_variables(variables.iter().copied());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = prepare(&args, loaded, &mut out, &mut err).unwrap_err();
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn settings_are_checked_whatever_the_flags() {
        for flags in [&[][..], &["--check-config"], &["--print-config"]] {
            let (code, out, err) = ended(flags, &[("TCP_PORT", "x"), ("MAX_CONSUMERS", "0")]);
            assert_eq!(code, ExitCode::from(2));
            assert_eq!(out, "");
            assert_eq!(
                err,
                "TCP_PORT: \"x\" is not allowed: use a whole number from 0 to 65535, or off\n\
                 MAX_CONSUMERS: \"0\" is not allowed: use a whole number from 1 to 1000000\n"
            );
        }
    }

    #[test]
    fn check_config_says_ok_and_warns() {
        let (code, out, err) = ended(&["--check-config"], &[("MAX_CONSUMERS", "17")]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(out, "ok: the settings are valid\n");
        assert!(err.starts_with("warning: BROKER_BYTES "), "{err}");
    }

    #[test]
    fn a_misspelt_setting_is_a_warning_that_check_config_does_not_let_pass() {
        let misspelt = [("QUEUE_CAPACTY", "5")];
        let (code, out, err) = ended(&["--check-config"], &misspelt);
        assert_eq!(code, ExitCode::from(2));
        assert_eq!(out, "");
        assert_eq!(
            err,
            "warning: \"QUEUE_CAPACTY\" (environment) is not a setting, so it has no effect: \
             did you mean QUEUE_CAPACITY?\n"
        );
        let settings = Settings::from_variables(misspelt).unwrap();
        assert_eq!(settings.warnings().len(), 1);
    }

    #[test]
    fn print_config_prints_what_is_in_force() {
        let (code, out, err) = ended(&["--print-config"], &[("MAX_CONSUMERS", "7")]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(out.contains("# environment\nMAX_CONSUMERS=7\n"), "{out}");
        assert_eq!(err, "");
    }

    #[test]
    fn print_config_with_a_topic_says_which_rule_gave_each_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rules = "[[rule]]\ntopics = \"jobs.*\"\nmode = \"queue\"\n";
        std::fs::write(&file, rules).unwrap();
        let path = file.path().to_str().unwrap();
        let (code, out, err) = ended(&["--print-config", "jobs.a"], &[("TOPICS_FILE", path)]);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let told = "# the rule for \"jobs.*\" in line 1\nmode = \"queue\"\n";
        assert!(out.contains(told), "{out}");
        let flags = ["message-queue", "--print-config", "a..b"];
        let error = Command::try_parse_from(flags).unwrap_err().to_string();
        assert!(error.contains("an empty token"), "{error}");
    }

    #[test]
    fn a_broken_file_of_topics_ends_with_2_and_one_line_a_problem() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[[rule]]\ntopics = \"a\"\ncapacty = 1\nbytes = 5\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (code, out, err) = ended(&[], &[("TOPICS_FILE", path)]);
        assert_eq!((code, out.as_str()), (ExitCode::from(2), ""));
        assert_eq!(
            err,
            format!(
                "TOPICS_FILE: {path}: line 3, column 1: \"capacty\" is no key of a rule: did you mean \
                 capacity?\n\
                 TOPICS_FILE: {path}: line 4, column 9: bytes: 5 is not allowed: use a size from \
                 1048580B to 1TiB\n"
            )
        );
    }

    #[test]
    fn without_flags_the_broker_runs_with_the_settings() {
        let loaded = Settings::from_variables([("MAX_CONSUMERS", "7")]);
        let settings = prepare(
            &ServeArgs::default(),
            loaded,
            &mut io::sink(),
            &mut io::sink(),
        )
        .unwrap();
        assert_eq!(settings.broker_config().max_consumers, 7);
    }

    #[test]
    fn help_lists_the_settings() {
        let long = Command::command().render_long_help().to_string();
        assert!(long.contains(&settings_help()), "{long}");
        let short = Command::command().render_help().to_string();
        assert!(short.contains("--help lists them"), "{short}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let taken = listen("TCP_PORT", any, SocketOptions::default()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen("TCP_PORT", address, SocketOptions::default())
            .unwrap_err()
            .to_string();
        let start = format!("TCP_PORT: cannot listen on {address}: Address already in use");
        assert!(error.starts_with(&start), "{error}");
    }

    #[test]
    fn one_worker_is_the_calling_thread() {
        use tokio::runtime::RuntimeFlavor::{CurrentThread, MultiThread};
        assert_eq!(runtime(1).unwrap().handle().runtime_flavor(), CurrentThread);
        let four = runtime(4).unwrap();
        assert_eq!(four.handle().runtime_flavor(), MultiThread);
        assert_eq!(four.metrics().num_workers(), 4);
    }
}
