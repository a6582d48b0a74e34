//! The settings with their types.

use std::net::IpAddr;

use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

/// Every field is the setting of the same name. `envy` fills it from values that the list of
/// settings has allowed, with every default in its place, so a missing field, a field too many or
/// a type too small for its bounds is a defect, which a test would find.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    pub(super) tcp_port: u16,
    pub(super) http_port: u16,
    pub(super) bind_address: IpAddr,
    pub(super) delivery_mode: DeliveryMode,
    pub(super) overflow: Overflow,
    pub(super) max_consumers: usize,
    pub(super) max_connections: usize,
    pub(super) consumer_channel_buffer_size: usize,
    pub(super) queue_capacity: usize,
    pub(super) backlog_bytes: usize,
    pub(super) broker_bytes: usize,
    pub(super) role_timeout_ms: u64,
    pub(super) role_line_bytes: usize,
    pub(super) write_timeout_ms: u64,
    pub(super) write_bytes: usize,
    pub(super) read_bytes: usize,
    pub(super) send_buffer_bytes: usize,
    pub(super) drain_timeout_ms: u64,
    pub(super) drain_delay_ms: u64,
    pub(super) worker_threads: usize,
    pub(super) log_level: LogLevel,
    pub(super) log_format: LogFormat,
    pub(super) rust_log: Option<String>,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// Every consumer.
    Broadcast,
    /// Exactly one consumer.
    Queue,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Overflow {
    /// It is dropped and counted.
    Drop,
    /// Its producer is not read from until there is room.
    Block,
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
