//! The settings: environment variables, and the file `.env`.
//!
//! ```text
//! environment ─▶ resolve ─▶ trimmed, allowed ─▶ envy ─▶ Values ─▶ rules ─▶ Settings
//! .env ────────▶ (source.rs, table/)               (values.rs)   (rules.rs)
//! ```
//!
//! The list in `table/` decides what is allowed (`allowed.rs`, `units.rs`) and names it in errors,
//! which `envy` cannot; `envy` gives what was allowed its types. What is written and is no setting is
//! told (`unknown.rs`). Two settings name files: how some topics differ from the others (`topics`), and who may do
//! what (`principals`). While the broker runs, some settings can change (`reload.rs`).

mod allowed;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod documents;
mod dotenv;
mod engines;
mod error;
mod file;
mod origin;
mod principals;
mod reload;
mod render;
mod rules;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod topics;
mod units;
mod unknown;
mod values;

pub use allowed::Allowed;
pub use dotenv::DotEnvError;
pub use engines::{Engine, FolderEngine, SharedEngine};
pub use error::{NotAllowed, SettingsError};
pub use file::{FileError, Problem};
pub use origin::{Effective, Origin};
pub use reload::Reload;
pub use render::settings_help;
pub use table::{SETTINGS, Setting};
pub use units::{TimeUnit, format_size, format_time, parse_seconds, parse_size, parse_time};
pub use values::{HttpAuth, LogFormat, LogLevel};

use crate::access::tls::ServerFiles;
use crate::access::{AddressLimits, FailureLimit, Policy, ProxyOptions};
use crate::record;
use crate::serve::net::SocketOptions;
#[cfg(feature = "kafka")]
use crate::store::KafkaOptions;
#[cfg(feature = "rabbitmq")]
use crate::store::RabbitMqOptions;
use dotenv::{BROKER_ADDR, DotEnv};
use message_queue_core::Config;
use message_queue_core::names::TopicName;
use message_queue_core::wire::DecoderConfig;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;
use unknown::Unknown;
use values::{Port, Switch, Values};

/// The settings in force. Bounds, defaults and costs: `docs/SETTINGS.md`, from [`SETTINGS`].
///
/// [`load`](Self::load) makes one, the getters read it, [`print_config`](Self::print_config) and
/// [`differences`](Self::differences) show it.
#[derive(Clone)]
pub struct Settings {
    values: Values,
    /// What `TOPICS_FILE` says.
    topics: topics::Rules,
    /// What `AUTH_TOKENS_FILE` and `AUTH_JWKS_FILE` say.
    principals: principals::Principals,
    effective: Vec<Effective>,
    unknown: Unknown,
}

/// `BROKER_ADDR` as `.env` sets it, for a client of the command line; the environment is its own
/// business. A file that holds none, or that cannot be read, says nothing.
pub fn broker_address_in_dotenv() -> Option<String> {
    let ours = |name: &str| name == BROKER_ADDR;
    let mut dotenv = dotenv::read(Path::new(DOT_ENV), &ours).ok()?;
    dotenv.variables.remove(BROKER_ADDR)
}

/// The file of settings, in the working directory.
const DOT_ENV: &str = ".env";

impl Settings {
    /// Loads the settings from the environment of the process and from `.env` in the working
    /// directory. A variable of the environment wins over `.env`, even where it is empty: an empty
    /// one means the default. The environment is only read, never changed.
    ///
    /// # Errors
    /// Every value that is not allowed, at once; or the one thing that is wrong with `.env`.
    pub fn load() -> Result<Self, SettingsError> {
        // None of our names is anything but UTF-8.
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        let dotenv = dotenv::read(Path::new(DOT_ENV), &unknown::is_ours)?;
        Self::from_sources(&environment, &dotenv)
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
        Self::from_sources(&variables, &DotEnv::default())
    }

    fn from_sources(
        environment: &BTreeMap<String, OsString>,
        dotenv: &DotEnv,
    ) -> Result<Self, SettingsError> {
        let (effective, mut problems) = source::resolve(SETTINGS, environment, &dotenv.variables);
        let values: Values = envy::from_iter(
            effective
                .iter()
                .filter(|effective| !effective.value.is_empty())
                .map(|effective| (effective.setting.name.to_owned(), effective.value.clone())),
        )?;
        // What is wrong with the variables is told first: it may be the reason.
        let mut files = Vec::new();
        let topics = read(values.topics_file.as_deref(), topics::read, &mut files);
        let file = values.auth_tokens_file.as_deref();
        let mut principals = read(file, principals::read, &mut files);
        let file = values.auth_jwks_file.as_deref();
        let issuer = read(file, |path| values.issuer(path).map(Some), &mut files);
        if let Some(issuer) = issuer {
            principals.policy = principals.policy.with_issuer(issuer);
        }
        let config = values.broker_config(topics.rules.clone());
        // A rule says nothing of use about a default that stands in for a bad value.
        let sound = |name: &str| problems.iter().all(|problem| problem.name != name);
        let broken = rules::broken(&values, &config)
            .into_iter()
            .filter(|rule| sound(rule.name) && rule.others.iter().all(|name| sound(name)))
            .filter_map(|rule| {
                let effective = effective
                    .iter()
                    .find(|effective| effective.setting.name == rule.name)?;
                let setting = effective.setting;
                Some(NotAllowed {
                    name: setting.name,
                    value: error::quoted(setting, &setting.allowed.shown(&effective.value)),
                    origin: effective.origin,
                    allowed: rule.allowed,
                    hint: None,
                })
            })
            .collect::<Vec<_>>();
        problems.extend(broken);
        if !problems.is_empty() {
            Err(SettingsError::NotAllowed { problems, files })
        } else if !files.is_empty() {
            Err(SettingsError::Files(files))
        } else {
            let unknown = Unknown::find(environment, dotenv);
            Ok(Self {
                values,
                topics,
                principals,
                effective,
                unknown,
            })
        }
    }

    /// What is allowed but may surprise, and what has no effect: one line for each, to be logged at
    /// the start.
    pub fn warnings(&self) -> Vec<String> {
        let Unknown { misspelt, ignored } = &self.unknown;
        let mut warnings = misspelt.clone();
        warnings.extend(ignored.iter().cloned());
        warnings.extend(rules::warnings(&self.values, &self.broker_config()));
        warnings.extend(self.principals.plain.iter().map(|name| {
            format!(
                "AUTH_TOKENS_FILE: the token of {name} stands there as it is: whoever reads the file has it; \
                 `message-queue token new {name}` prints one and the digest to keep instead"
            )
        }));
        warnings
    }

    /// Whether a variable, of the environment or in `.env`, looks like a setting that is misspelt:
    /// one of the [`warnings`](Self::warnings).
    pub fn has_misspelt(&self) -> bool {
        !self.unknown.misspelt.is_empty()
    }

    /// The settings in force as `KEY=value` lines, each below a comment that tells where its value
    /// comes from. It can be used as a `.env` file. A secret is not shown.
    pub fn print_config(&self) -> String {
        render::print_config(&self.effective)
    }

    /// What is in force for one topic, as a rule of `TOPICS_FILE`, and which rule or setting says so.
    pub fn print_topic(&self, topic: &TopicName) -> String {
        topics::explain(topic, &self.topics, &self.broker_config(), &self.effective)
    }

    /// What differs from the defaults, on one line, for the log; `None` where nothing does. A secret
    /// is not shown.
    pub fn differences(&self) -> Option<String> {
        render::differences(&self.effective)
    }

    /// Every setting with its value and where that comes from, in the order of [`SETTINGS`].
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What of it concerns the broker itself: `DELIVERY_MODE`, `OVERFLOW`, `MAX_CONSUMERS`,
    /// `MAX_CONNECTIONS`, `CONSUMER_CHANNEL_BUFFER_SIZE`, `QUEUE_CAPACITY`, `BACKLOG_BYTES`,
    /// `BROKER_BYTES`, `ROLE_TIMEOUT_MS`, `WRITE_TIMEOUT_MS`, `MIN_CONSUMER_RATE`, `WRITE_BYTES`,
    /// what concerns topics, and how they are stored. It keeps the bounds that the core asks for.
    pub fn broker_config(&self) -> Config {
        self.values.broker_config(self.topics.rules.clone())
    }

    /// What of it concerns reading from connections: `ROLE_LINE_BYTES` and `READ_BYTES`.
    pub fn decoder_config(&self) -> DecoderConfig {
        DecoderConfig {
            role_line_bytes: self.values.role_line_bytes,
            read_bytes: self.values.read_bytes,
        }
    }

    /// `FRAME_TIMEOUT_MS`: how long the rest of a frame that has begun is waited for.
    pub const fn frame_timeout(&self) -> Duration {
        Duration::from_millis(self.values.frame_timeout_ms)
    }

    /// `TCP_PORT` on `BIND_ADDRESS`: where producers and consumers connect without TLS. None if it is off.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.address(self.values.tcp_port)
    }

    /// `TLS_PORT` on `BIND_ADDRESS`: where they connect with TLS. None if it is off; there is always one of
    /// the two.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.address(self.values.tls_port)
    }

    fn address(&self, port: Port) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.values.bind_address, port.0?))
    }

    /// `TLS_CERT_FILE`, `TLS_KEY_FILE`, `TLS_CLIENT_CA_FILE` and `TLS_CLIENT_AUTH`: where the certificate
    /// is. None if no port speaks TLS.
    pub fn tls_files(&self) -> Option<ServerFiles> {
        if self.values.tls_port.0.is_none() && !self.has_http_tls() {
            return None;
        }
        Some(ServerFiles {
            cert: self.values.tls_cert_file.clone()?,
            key: self.values.tls_key_file.clone()?,
            client_ca: self.values.tls_client_ca_file.clone(),
            client_auth: self.values.tls_client_auth,
        })
    }

    /// `TLS_HANDSHAKE_TIMEOUT_MS`: time in which a handshake must be done.
    pub fn tls_handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.values.tls_handshake_timeout_ms)
    }

    /// `TLS_MAX_HANDSHAKES`: the most handshakes under way on a port, at least 1.
    pub fn tls_max_handshakes(&self) -> usize {
        self.values.tls_max_handshakes
    }

    /// `HTTP_TLS`: whether `HTTP_PORT` speaks TLS.
    pub fn has_http_tls(&self) -> bool {
        self.values.http_tls == Switch::On
    }

    /// `HTTP_PORT` on `BIND_ADDRESS`: where health, metrics and consumers are served.
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.values.bind_address, self.values.http_port)
    }

    /// `SEND_BUFFER_BYTES`, `RECEIVE_BUFFER_BYTES`, `KEEPALIVE_MS` and `TCP_USER_TIMEOUT_MS`: what is
    /// asked of the kernel for each connection.
    pub fn socket_options(&self) -> SocketOptions {
        let size = |bytes| Some(bytes).filter(|&bytes| bytes > 0);
        SocketOptions {
            send_buffer: size(self.values.send_buffer_bytes),
            receive_buffer: size(self.values.receive_buffer_bytes),
            ..self.http_socket_options()
        }
    }

    /// What of the [`socket_options`](Self::socket_options) concerns HTTP: how long a peer that has
    /// vanished is waited for.
    pub fn http_socket_options(&self) -> SocketOptions {
        let time = |millis| Some(Duration::from_millis(millis)).filter(|time| !time.is_zero());
        SocketOptions {
            keepalive: time(self.values.keepalive_ms),
            user_timeout: time(self.values.tcp_user_timeout_ms),
            ..SocketOptions::default()
        }
    }

    /// `MAX_CONNECTIONS_PER_ADDRESS` and `CONNECTION_RATE_PER_ADDRESS`: how much one address may take.
    pub fn address_limits(&self) -> AddressLimits {
        AddressLimits {
            connections: Some(self.values.max_connections_per_address).filter(|it| *it > 0),
            rate: Some(self.values.connection_rate_per_address).filter(|it| *it > 0),
        }
    }

    /// `FAILED_HANDSHAKES_PER_ADDRESS`: how many handshakes of one address may fail in a minute.
    pub fn failure_limit(&self) -> FailureLimit {
        FailureLimit::new(NonZeroU32::new(self.values.failed_handshakes_per_address))
    }

    /// `PROXY_PROTOCOL` and `PROXY_TRUSTED`: who may say whose connection it passes on, and within `ROLE_TIMEOUT_MS`;
    /// none: nobody.
    pub fn proxy(&self) -> Option<ProxyOptions> {
        if self.values.proxy_protocol == Switch::Off {
            return None;
        }
        let trusted = self.values.proxy_trusted.as_deref();
        Some(ProxyOptions {
            trusted: allowed::networks(trusted.unwrap_or_default())?,
            timeout: Duration::from_millis(self.values.role_timeout_ms),
        })
    }

    /// Whether any topic is, or may be, stored: by `STORAGE` or by a rule of `TOPICS_FILE`. Then there is a
    /// [`data_dir`](Self::data_dir), unless brokers share the engine.
    pub fn stores_anything(&self) -> bool {
        self.broker_config().may_store()
    }

    /// `RABBITMQ_URL`, `RABBITMQ_PREFIX` and `RABBITMQ_CA_FILE`, if it is said where RabbitMQ is.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn rabbitmq(&self) -> Option<RabbitMqOptions> {
        Some(RabbitMqOptions {
            url: self.values.rabbitmq_url.clone()?,
            prefix: self.values.rabbitmq_prefix.clone(),
            ca_file: self.values.rabbitmq_ca_file.clone(),
        })
    }

    /// `KAFKA_BROKERS` and the other settings of Kafka, if it is said where Kafka is.
    #[cfg(feature = "kafka")]
    pub(crate) fn kafka(&self) -> Option<KafkaOptions> {
        Some(KafkaOptions {
            brokers: self.values.kafka_brokers.clone()?,
            prefix: self.values.kafka_topic_prefix.clone(),
            partitions: self.values.kafka_partitions.into(),
            holds: match self.values.kafka_record {
                values::KafkaRecord::Message => crate::store::KafkaRecord::Message,
                values::KafkaRecord::Batch => crate::store::KafkaRecord::Batch,
            },
            keys: self.values.kafka_key_pattern.clone(),
            config_file: self.values.kafka_config_file.clone(),
        })
    }

    /// `DATA_DIR`: the folder of what is stored; none, or of no use, unless
    /// [something is stored](Self::stores_anything).
    pub fn data_dir(&self) -> Option<&Path> {
        self.values.data_dir.as_deref()
    }

    /// `DISK_RESERVE_BYTES`: the free space that is left on the file system of [`data_dir`](Self::data_dir); 0: none
    /// is asked for.
    pub const fn disk_reserve(&self) -> u64 {
        self.values.disk_reserve_bytes
    }

    /// `MAX_HTTP_CONNECTIONS`: the most HTTP connections at a time, at least 1.
    pub fn max_http_connections(&self) -> usize {
        self.values.max_http_connections
    }

    /// `HTTP_TIMEOUT_MS`: time in which an HTTP request must come.
    pub fn http_timeout(&self) -> Duration {
        Duration::from_millis(self.values.http_timeout_ms)
    }

    /// `AUTH_TOKENS_FILE`, `AUTH_JWKS_FILE` and `AUTH_ANONYMOUS`: who may do what; none: everybody may do everything.
    pub fn policy(&self) -> Option<Policy> {
        let others_have_tokens = self.values.has_tokens();
        let anonymous = self.values.auth_anonymous.rights(others_have_tokens)?;
        Some(self.principals.policy.clone().with_anonymous(anonymous))
    }

    /// `HTTP_AUTH`: what is shown over HTTP to those who are no admins.
    pub const fn http_auth(&self) -> HttpAuth {
        self.values.http_auth
    }

    /// `METRICS_TOPICS`: the most topics that have metrics of their own.
    pub fn metrics_topics(&self) -> usize {
        self.values.metrics_topics
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

/// What the file says that a setting may name. What is wrong with it goes to `errors`.
fn read<T: Default>(
    path: Option<&Path>,
    read: impl FnOnce(&Path) -> Result<T, FileError>,
    errors: &mut Vec<FileError>,
) -> T {
    let Some(path) = path else {
        return T::default();
    };
    read(path).unwrap_or_else(|error| {
        errors.push(error);
        T::default()
    })
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values with their types would show secrets.
        f.debug_list().entries(&self.effective).finish()
    }
}
