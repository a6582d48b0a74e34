//! The settings with their types.

use super::allowed::OFF;
use super::file::{self, FileError, Problem};
use crate::access::JwtIssuer;
use crate::access::tls::ClientAuth;
use crate::record::Payloads;
use message_queue_core::access::Rights;
use message_queue_core::log::Fsync;
use message_queue_core::names::{Pattern, TopicName};
use message_queue_core::{
    Config, DeliveryMode, Overflow, Storage, StoreSettings, TopicRule, TopicsConfig,
};
use serde::Deserialize;
use std::net::IpAddr;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

/// Every field is the setting of the same name. `envy` fills it from values that the list of
/// settings has allowed, with every default in its place, so a missing field, a field too many or
/// a type too small for its bounds is a defect, which a test would find.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    pub(super) tcp_port: Port,
    pub(super) http_port: u16,
    pub(super) bind_address: IpAddr,
    pub(super) tls_port: Port,
    pub(super) tls_cert_file: Option<PathBuf>,
    pub(super) tls_key_file: Option<PathBuf>,
    pub(super) tls_client_ca_file: Option<PathBuf>,
    #[serde(with = "ClientAuthWord")]
    pub(super) tls_client_auth: ClientAuth,
    pub(super) tls_handshake_timeout_ms: u64,
    pub(super) tls_max_handshakes: usize,
    pub(super) http_tls: Switch,
    #[serde(with = "DeliveryModeWord")]
    pub(super) delivery_mode: DeliveryMode,
    #[serde(with = "OverflowWord")]
    pub(super) overflow: Overflow,
    pub(super) max_consumers: usize,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: usize,
    pub(super) connection_rate_per_address: u32,
    pub(super) failed_handshakes_per_address: u32,
    pub(super) proxy_protocol: Switch,
    pub(super) proxy_trusted: Option<String>,
    pub(super) consumer_channel_buffer_size: usize,
    pub(super) queue_capacity: usize,
    pub(super) backlog_bytes: usize,
    pub(super) broker_bytes: usize,
    pub(super) default_topic: TopicName,
    pub(super) topic_creation: Switch,
    pub(super) topics_file: Option<PathBuf>,
    pub(super) max_topics: usize,
    pub(super) max_groups: usize,
    pub(super) max_producer_names: usize,
    pub(super) topic_idle_ms: u64,
    pub(super) group_idle_ms: u64,
    pub(super) producer_idle_ms: u64,
    #[serde(with = "StorageWord")]
    pub(super) storage: Storage,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) rabbitmq_url: Option<String>,
    pub(super) rabbitmq_ca_file: Option<PathBuf>,
    #[cfg_attr(
        not(feature = "rabbitmq"),
        expect(dead_code, reason = "another build reads it")
    )]
    pub(super) rabbitmq_prefix: String,
    pub(super) kafka_brokers: Option<String>,
    pub(super) kafka_topic_prefix: String,
    #[cfg_attr(
        not(feature = "kafka"),
        expect(dead_code, reason = "another build reads it")
    )]
    pub(super) kafka_partitions: u16,
    #[cfg_attr(
        not(feature = "kafka"),
        expect(dead_code, reason = "another build reads it")
    )]
    pub(super) kafka_record: KafkaRecord,
    pub(super) kafka_key_pattern: Option<Pattern>,
    pub(super) kafka_config_file: Option<PathBuf>,
    pub(super) fsync: FsyncValue,
    pub(super) segment_bytes: u64,
    pub(super) retention_ms: u64,
    pub(super) retention_bytes: u64,
    pub(super) retention_settled: Switch,
    pub(super) disk_reserve_bytes: u64,
    pub(super) max_http_connections: usize,
    pub(super) http_timeout_ms: u64,
    pub(super) metrics_topics: usize,
    pub(super) auth_tokens_file: Option<PathBuf>,
    pub(super) auth_jwks_file: Option<PathBuf>,
    pub(super) auth_jwt_issuer: Option<String>,
    pub(super) auth_jwt_audience: String,
    pub(super) auth_anonymous: Anonymous,
    pub(super) http_auth: HttpAuth,
    pub(super) role_timeout_ms: u64,
    pub(super) role_line_bytes: usize,
    pub(super) frame_timeout_ms: u64,
    pub(super) write_timeout_ms: u64,
    pub(super) min_consumer_rate: usize,
    pub(super) write_bytes: usize,
    pub(super) read_bytes: usize,
    pub(super) send_buffer_bytes: u32,
    pub(super) receive_buffer_bytes: u32,
    pub(super) keepalive_ms: u64,
    pub(super) tcp_user_timeout_ms: u64,
    pub(super) drain_timeout_ms: u64,
    pub(super) drain_delay_ms: u64,
    pub(super) worker_threads: usize,
    pub(super) log_level: LogLevel,
    pub(super) log_format: LogFormat,
    pub(super) rust_log: Option<String>,
    pub(super) record_dir: Option<PathBuf>,
    pub(super) record_bytes: u64,
    pub(super) record_payloads: Payloads,
}

impl Values {
    /// Whether there are clients that show tokens.
    pub(super) fn has_tokens(&self) -> bool {
        self.auth_tokens_file.is_some() || self.auth_jwks_file.is_some()
    }

    /// Who signs JSON Web Tokens, by the keys in a file.
    pub(super) fn issuer(&self, path: &Path) -> Result<JwtIssuer, FileError> {
        let issuer = self.auth_jwt_issuer.as_deref().unwrap_or_default();
        file::read("AUTH_JWKS_FILE", path, |text| {
            let issuer = JwtIssuer::new(text, issuer, &self.auth_jwt_audience);
            issuer.map_err(|error| vec![Problem::at(text, 0..0, error.to_string())])
        })
    }

    /// What of it concerns the core, with the rules of the topics file.
    pub(super) fn broker_config(&self, rules: Vec<TopicRule>) -> Config {
        let unless_zero = |millis| Some(Duration::from_millis(millis)).filter(|it| !it.is_zero());
        Config {
            delivery: self.delivery_mode,
            overflow: self.overflow,
            max_connections: self.max_connections,
            max_consumers: self.max_consumers,
            consumer_backlog: self.consumer_channel_buffer_size,
            queue_capacity: self.queue_capacity,
            backlog_bytes: self.backlog_bytes,
            broker_bytes: self.broker_bytes,
            role_timeout: Duration::from_millis(self.role_timeout_ms),
            write_timeout: Duration::from_millis(self.write_timeout_ms),
            min_consumer_rate: self.min_consumer_rate,
            write_bytes: self.write_bytes,
            topics: TopicsConfig {
                default_topic: self.default_topic.clone(),
                creation: self.topic_creation == Switch::On,
                max_topics: self.max_topics,
                max_groups: self.max_groups,
                max_producer_names: self.max_producer_names,
                topic_idle: unless_zero(self.topic_idle_ms),
                group_idle: unless_zero(self.group_idle_ms),
                producer_idle: unless_zero(self.producer_idle_ms),
                rules,
            },
            storage: self.storage,
            store: StoreSettings {
                fsync: self.fsync.0,
                segment_bytes: self.segment_bytes,
                retention: unless_zero(self.retention_ms),
                retention_bytes: Some(self.retention_bytes).filter(|it| *it > 0),
                retention_settled: self.retention_settled == Switch::On,
            },
            ..Config::default()
        }
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Switch {
    On,
    Off,
}

/// What whoever shows nothing of who it is may do.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Anonymous {
    Auto,
    None,
    Produce,
    Consume,
    All,
}

impl Anonymous {
    /// What that is, where others have tokens or not; none: nobody is asked who they are.
    pub(super) fn rights(self, others_have_tokens: bool) -> Option<Rights> {
        let (all, none) = (Rights::all(), Rights::default());
        Some(match self {
            Self::Auto if !others_have_tokens => return None,
            Self::Auto | Self::None => none,
            Self::Produce => Rights {
                produce: all.produce,
                ..none
            },
            Self::Consume => Rights {
                consume: all.consume,
                ..none
            },
            Self::All => all,
        })
    }
}

/// What is shown over HTTP to those who are no admins. Probes are answered to all in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum HttpAuth {
    /// Everything.
    #[default]
    Open,
    /// The metrics.
    Metrics,
    /// Nothing.
    All,
}

/// A port, or none.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) struct Port(pub(super) Option<u16>);

impl TryFrom<String> for Port {
    type Error = ParseIntError;

    fn try_from(text: String) -> Result<Self, ParseIntError> {
        if text == OFF {
            return Ok(Self(None));
        }
        text.parse().map(|port| Self(Some(port)))
    }
}

/// The value of `FSYNC`, and of `fsync` in a rule.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) struct FsyncValue(pub(super) Fsync);

impl TryFrom<String> for FsyncValue {
    type Error = ParseIntError;

    fn try_from(text: String) -> Result<Self, ParseIntError> {
        text.parse()
    }
}

impl FromStr for FsyncValue {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(Self(match text {
            "always" => Fsync::Always,
            "never" => Fsync::Never,
            millis => Fsync::Every(Duration::from_millis(millis.parse()?)),
        }))
    }
}

/// The words for [`ClientAuth`].
#[derive(Deserialize)]
#[serde(remote = "ClientAuth", rename_all = "lowercase")]
enum ClientAuthWord {
    Off,
    Optional,
    Required,
}

/// The words for [`DeliveryMode`]: the core knows nothing of serde.
#[derive(Deserialize)]
#[serde(remote = "DeliveryMode", rename_all = "lowercase")]
enum DeliveryModeWord {
    Broadcast,
    Queue,
}

/// The words for [`Overflow`].
#[derive(Deserialize)]
#[serde(remote = "Overflow", rename_all = "lowercase")]
enum OverflowWord {
    Drop,
    Block,
    Reject,
    #[serde(rename = "drop_oldest")]
    DropOldest,
}

/// The words for [`Storage`].
#[derive(Deserialize)]
#[serde(remote = "Storage", rename_all = "lowercase")]
enum StorageWord {
    Memory,
    Disk,
    RocksDb,
    RabbitMq,
    Kafka,
}

/// What a record of Kafka's holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum KafkaRecord {
    Message,
    Batch,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what happens rarely.
    Info,
    /// And what happens to each connection.
    Debug,
    /// And what happens to each batch.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
