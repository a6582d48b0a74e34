//! The settings: environment variables, and the file `.env`.
//!
//! ```text
//! environment ─▶ resolve ─▶ trimmed, allowed ─▶ envy ─▶ Values ─▶ rules ─▶ Settings
//! .env ────────▶ (source.rs, table.rs)             (values.rs)   (rules.rs)
//! ```
//!
//! The list in `table.rs` decides what is allowed (`allowed.rs`) and names it in errors, which
//! `envy` cannot; `envy` gives what was allowed its types.

mod allowed;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod documents;
mod dotenv;
mod error;
mod render;
mod rules;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use allowed::Allowed;
pub use dotenv::DotEnvError;
pub use error::{NotAllowed, SettingsError};
pub use render::settings_help;
pub use source::{Effective, Origin};
pub use table::{SETTINGS, Setting};
pub use values::{LogFormat, LogLevel};

use crate::record;
use crate::serve::net::SocketBuffers;
use message_queue_core::Config;
use message_queue_core::wire::DecoderConfig;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use values::Values;

/// The settings in force. Bounds, defaults and costs: `docs/SETTINGS.md`, from [`SETTINGS`].
///
/// [`load`](Self::load) makes one, the getters read it, [`print_config`](Self::print_config) and
/// [`summary`](Self::summary) show it.
#[derive(Clone, Debug)]
pub struct Settings {
    values: Values,
    effective: Vec<Effective>,
}

impl Settings {
    /// Loads the settings from the environment of the process and from `.env` in the working
    /// directory. A variable of the environment wins over `.env`, even where it is empty: an empty
    /// one means the default. The environment is only read, never changed.
    ///
    /// # Errors
    /// Every value that is not allowed, at once; or the one thing that is wrong with `.env`.
    pub fn load() -> Result<Self, SettingsError> {
        Self::from_sources(|name| env::var_os(name), &dotenv::read(Path::new(".env"))?)
    }

    /// The settings that `variables` give, as if they were the whole environment.
    ///
    /// # Errors
    /// Every value that is not allowed, at once.
    pub fn from_variables<N, V>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, SettingsError>
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        let variables: BTreeMap<String, OsString> = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self::from_sources(|name| variables.get(name).cloned(), &BTreeMap::new())
    }

    fn from_sources(
        environment: impl Fn(&str) -> Option<OsString>,
        dotenv: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        let (effective, mut problems) = source::resolve(environment, dotenv);
        let values: Values = envy::from_iter(
            effective
                .iter()
                .filter(|effective| !effective.value.is_empty())
                .map(|effective| (effective.setting.name.to_owned(), effective.value.clone())),
        )?;
        // A rule says nothing of use about a default that stands in for a bad value.
        let sound = |name: &str| problems.iter().all(|problem| problem.name != name);
        let broken = rules::broken(&values)
            .into_iter()
            .filter(|rule| sound(rule.name) && rule.others.iter().all(|name| sound(name)))
            .filter_map(|rule| {
                let Effective {
                    setting,
                    value,
                    origin,
                } = effective
                    .iter()
                    .find(|effective| effective.setting.name == rule.name)?;
                Some(NotAllowed {
                    name: setting.name,
                    value: format!("{value:?}"),
                    origin: *origin,
                    allowed: rule.allowed,
                    hint: None,
                })
            })
            .collect::<Vec<_>>();
        problems.extend(broken);
        if problems.is_empty() {
            Ok(Self { values, effective })
        } else {
            Err(SettingsError::NotAllowed(problems))
        }
    }

    /// What is allowed but may surprise: one line for each, to be logged at the start.
    pub fn warnings(&self) -> Vec<String> {
        rules::warnings(&self.values)
    }

    /// Every setting with its value and where that comes from, in the order of [`SETTINGS`].
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What of it concerns the broker itself: `DELIVERY_MODE`, `OVERFLOW`, `MAX_CONSUMERS`,
    /// `MAX_CONNECTIONS`, `CONSUMER_CHANNEL_BUFFER_SIZE`, `QUEUE_CAPACITY`, `BACKLOG_BYTES`,
    /// `BROKER_BYTES`, `ROLE_TIMEOUT_MS`, `WRITE_TIMEOUT_MS` and `WRITE_BYTES`. It keeps the bounds
    /// that the core asks for.
    pub fn broker_config(&self) -> Config {
        self.values.broker_config()
    }

    /// What of it concerns reading from connections: `ROLE_LINE_BYTES` and `READ_BYTES`.
    pub fn decoder_config(&self) -> DecoderConfig {
        DecoderConfig {
            role_line_bytes: self.values.role_line_bytes,
            read_bytes: self.values.read_bytes,
        }
    }

    /// `TCP_PORT` on `BIND_ADDRESS`: where producers and consumers connect.
    pub fn tcp_address(&self) -> SocketAddr {
        SocketAddr::new(self.values.bind_address, self.values.tcp_port)
    }

    /// `HTTP_PORT` on `BIND_ADDRESS`: where health, metrics and consumers are served.
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.values.bind_address, self.values.http_port)
    }

    /// `SEND_BUFFER_BYTES` and `RECEIVE_BUFFER_BYTES`: `SO_SNDBUF` and `SO_RCVBUF` of a connection.
    pub fn socket_buffers(&self) -> SocketBuffers {
        let given = |bytes| Some(bytes).filter(|&bytes| bytes > 0);
        SocketBuffers {
            send: given(self.values.send_buffer_bytes),
            receive: given(self.values.receive_buffer_bytes),
        }
    }

    /// `DRAIN_TIMEOUT_MS`: time to deliver, at shutdown, what was received.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.values.drain_timeout_ms)
    }

    /// `DRAIN_DELAY_MS`: time between the signal to stop, from which on `/ready` fails, and the
    /// drain.
    pub fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.values.drain_delay_ms)
    }

    /// `WORKER_THREADS`: threads that serve connections, at least 1.
    pub fn worker_threads(&self) -> usize {
        self.values.worker_threads
    }

    /// `LOG_LEVEL`: the least severe level that is logged, unless [`rust_log`](Self::rust_log) is
    /// set.
    pub fn log_level(&self) -> LogLevel {
        self.values.log_level
    }

    /// `LOG_FORMAT`: the form of a log line.
    pub fn log_format(&self) -> LogFormat {
        self.values.log_format
    }

    /// `RUST_LOG`: directives for what is logged, in place of [`log_level`](Self::log_level).
    pub fn rust_log(&self) -> Option<&str> {
        self.values.rust_log.as_deref()
    }

    /// `RECORD_DIR`, `RECORD_BYTES` and `RECORD_PAYLOADS`: the recording to be made, if any.
    pub fn recording(&self) -> Option<record::Options> {
        let directory = self.values.record_dir.clone()?;
        Some(record::Options {
            directory,
            bytes: self.values.record_bytes,
            payloads: self.values.record_payloads,
        })
    }
}
