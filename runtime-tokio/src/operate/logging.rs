//! Log lines: for people on a terminal, as JSON elsewhere; always on standard error, so that
//! standard output is free for data.
//!
//! A thread of its own writes them: whoever reads the log may stop doing so, and the broker must not
//! stop with him. Past `WAITING_LINES` the newest lines are lost, and counted.

use crate::settings::{LogFormat, Settings};
use std::env;
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` holds no directives. ([`Settings`] has checked them already.)
    #[error("RUST_LOG: {0}")]
    Filter(#[from] ParseError),
    /// The log is gone.
    #[error("logging: {0}")]
    Gone(#[from] reload::Error),
    /// This process has logging already.
    #[error("logging: {0}")]
    AlreadySet(#[from] SetGlobalDefaultError),
}

/// How many lines wait for a reader of the log that is slow; a line is some hundred bytes.
const WAITING_LINES: usize = 10_000;

/// Writes what waits when it is dropped, if anybody reads it.
#[must_use = "dropped, it ends the log"]
#[derive(Debug)]
pub struct Log {
    filter: FilterHandle,
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Log {
    /// What decides which lines are logged.
    pub fn filter(&self) -> FilterHandle {
        self.filter.clone()
    }

    /// How many lines nobody read in time.
    pub fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }
}

/// Decides which lines are logged. It can change its mind while the process runs.
#[derive(Clone, Debug)]
pub struct FilterHandle(reload::Handle<EnvFilter, Registry>);

impl FilterHandle {
    /// From now on `LOG_LEVEL` and `RUST_LOG` of `settings` decide.
    ///
    /// # Errors
    /// Where the process has no log any more.
    pub fn set(&self, settings: &Settings) -> Result<(), LoggingError> {
        self.0.reload(filter(settings)?)?;
        Ok(())
    }
}

/// Sets up logging for the whole process, as `LOG_LEVEL`, `LOG_FORMAT` and `RUST_LOG` say.
///
/// # Errors
/// Where the process has logging already.
pub fn init(settings: &Settings) -> Result<Log, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let style = Style::new(settings.log_format(), terminal, no_color());
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let lost = writer.error_counter();
    let (subscriber, filter) = subscriber(style, filter(settings)?, writer);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(Log {
        filter,
        lost,
        _writer: guard,
    })
}

/// Whether the user has asked for no colours, by the convention of <https://no-color.org>.
fn no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Parts of the program that say nothing unless `RUST_LOG` names them: the libraries that speak to RabbitMQ and Kafka. What they have to
/// say the engine says, in the broker's words.
const SILENT: &str = "lapin=off,rdkafka=off,librdkafka=off";

fn filter(settings: &Settings) -> Result<EnvFilter, ParseError> {
    let directives = match settings.rust_log() {
        Some(directives) => directives.to_owned(),
        None => LevelFilter::from(settings.log_level()).to_string(),
    };
    // Of two directives for one part the last counts.
    EnvFilter::builder().parse(format!("{SILENT},{directives}"))
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// One JSON object.
    Json,
    /// Text without escape sequences.
    Plain,
    /// Text with colours.
    Coloured,
}

impl Style {
    fn new(format: LogFormat, terminal: bool, no_color: bool) -> Self {
        match (format, terminal) {
            (LogFormat::Json, _) | (LogFormat::Auto, false) => Self::Json,
            (LogFormat::Text | LogFormat::Auto, true) if !no_color => Self::Coloured,
            (LogFormat::Text, _) | (LogFormat::Auto, true) => Self::Plain,
        }
    }
}

fn subscriber<W>(
    style: Style,
    filter: EnvFilter,
    writer: W,
) -> (impl Subscriber + Send + Sync, FilterHandle)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(writer);
    let lines = match style {
        Style::Json => lines.json().flatten_event(true).boxed(),
        // People read what happened; which module said so stands in the JSON.
        Style::Plain => lines.with_target(false).with_ansi(false).boxed(),
        Style::Coloured => lines.with_target(false).with_ansi(true).boxed(),
    };
    (
        Registry::default().with(filter).with(lines),
        FilterHandle(handle),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What is logged while `events` runs.
    fn logged(style: Style, variables: &[(&str, &str)], events: impl FnOnce()) -> String {
        let settings = Settings::from_variables(variables.iter().copied()).unwrap();
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let writer = Buffer(Arc::clone(&buffer));
        let (subscriber, _) = subscriber(style, filter(&settings).unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(buffer.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_its_top() {
        let text = logged(Style::Json, &[], || {
            tracing::warn!(peer = "a\nb", dropped = 3, "dropped messages");
            tracing::info!("two");
        });
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "dropped messages");
        assert_eq!(lines[0]["peer"], "a\nb");
        assert_eq!(lines[0]["dropped"], 3);
        assert!(lines[0]["timestamp"].is_string());
        assert_eq!(lines[1]["message"], "two");
    }

    #[test]
    fn text_has_escape_sequences_only_where_colours_are_wanted() {
        let event = || tracing::info!(port = 9080, "listening");
        let plain = logged(Style::Plain, &[], event);
        assert!(plain.ends_with(" INFO listening port=9080\n"), "{plain:?}");
        assert!(!plain.contains('\u{1b}'));
        assert!(logged(Style::Coloured, &[], event).contains('\u{1b}'));
    }

    #[test]
    fn the_format_follows_the_terminal_unless_it_is_set() {
        let cases = [
            (LogFormat::Auto, true, false, Style::Coloured),
            (LogFormat::Auto, true, true, Style::Plain),
            (LogFormat::Auto, false, false, Style::Json),
            (LogFormat::Text, true, false, Style::Coloured),
            (LogFormat::Text, true, true, Style::Plain),
            (LogFormat::Text, false, false, Style::Plain),
            (LogFormat::Json, true, false, Style::Json),
            (LogFormat::Json, false, true, Style::Json),
        ];
        for (format, terminal, no_color, style) in cases {
            assert_eq!(
                Style::new(format, terminal, no_color),
                style,
                "{format:?} {terminal}"
            );
        }
    }

    #[test]
    fn the_filter_can_change_while_the_process_runs() {
        let settings = |level| Settings::from_variables([("LOG_LEVEL", level)]).expect("a level");
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let writer = Buffer(Arc::clone(&buffer));
        let before = filter(&settings("warn")).unwrap();
        let (subscriber, handle) = subscriber(Style::Plain, before, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for level in ["warn", "debug", "error"] {
                handle.set(&settings(level)).unwrap();
                tracing::debug!("debug at {level}");
                tracing::warn!("warn at {level}");
            }
        });
        let text = String::from_utf8(buffer.lock().unwrap().clone()).unwrap();
        let told: Vec<_> = text
            .lines()
            .filter_map(|line| Some(line.split_once("WARN ").or(line.split_once("DEBUG "))?.1))
            .collect();
        assert_eq!(told, ["warn at warn", "debug at debug", "warn at debug"]);
    }

    #[test]
    fn what_the_broker_says_in_its_own_words_is_not_said_twice() {
        let events = || {
            tracing::error!(target: "lapin::io_loop", "lapin");
            tracing::error!("ours");
        };
        for (variables, says_both) in [
            (&[][..], false),
            (&[("LOG_LEVEL", "debug")], false),
            (&[("RUST_LOG", "info")], false),
            (&[("RUST_LOG", "info,lapin=error")], true),
        ] {
            let text = logged(Style::Plain, variables, events);
            assert!(text.contains("ours"), "{text}");
            assert_eq!(text.contains("lapin"), says_both, "{variables:?}: {text}");
        }
    }

    #[test]
    fn rust_log_wins_over_the_level() {
        let events = || {
            tracing::error!("error");
            tracing::info!("info");
            tracing::debug!("debug");
            tracing::debug!(target: "other", "other");
        };
        let words = |variables: &[(&str, &str)]| {
            logged(Style::Plain, variables, events)
                .lines()
                .filter_map(|line| line.rsplit(' ').next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&[]), ["error", "info"]);
        assert_eq!(words(&[("LOG_LEVEL", "error")]), ["error"]);
        assert_eq!(
            words(&[("LOG_LEVEL", "trace")]),
            ["error", "info", "debug", "other"]
        );
        let both = [("LOG_LEVEL", "trace"), ("RUST_LOG", "error,other=debug")];
        assert_eq!(words(&both), ["error", "other"]);
    }
}
