//! What librdkafka is told: what the broker's promises rest on, what bounds its memory, and what the operator adds.

use message_queue_core::names::Pattern;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the broker sets, and nobody else: what it promises rests on it.
const OWNED: [&str; 20] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.required.acks",
];

/// The largest record: a message of 1 MiB, or frames of that, and what stands beside it.
pub(crate) const MAX_RECORD: &str = "2097152";

/// Where Kafka is, and how it is used.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `KAFKA_BROKERS`.
    pub(crate) brokers: String,
    /// `KAFKA_TOPIC_PREFIX`.
    pub(crate) prefix: String,
    /// `KAFKA_RECORD`.
    pub(crate) holds: super::Holds,
    /// `KAFKA_KEY_PATTERN`.
    pub(crate) keys: Option<Pattern>,
    /// `KAFKA_PARTITIONS`.
    pub(crate) partitions: i32,
    /// `KAFKA_CONFIG_FILE`.
    pub(crate) config_file: Option<PathBuf>,
}

/// A file of properties that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFile {
    #[error("KAFKA_CONFIG_FILE: {path}: {error}")]
    Unreadable { path: String, error: io::Error },
    // The line may be a part of a secret.
    #[error(
        "KAFKA_CONFIG_FILE: {path}, line {line}: this is not allowed: use NAME=VALUE, or # and a comment"
    )]
    Line { path: String, line: usize },
    #[error(
        "KAFKA_CONFIG_FILE: {path}, line {line}: {name} is the broker's own: take it out of the file"
    )]
    Owned {
        path: String,
        line: usize,
        name: String,
    },
    #[error("KAFKA_CONFIG_FILE: {path}, line {line}: librdkafka does not take {name}: {why}")]
    Refused {
        path: String,
        line: usize,
        name: String,
        why: String,
    },
}

/// Properties of librdkafka, of which each kind of client is made.
#[derive(Clone)]
pub(crate) struct Properties {
    common: ClientConfig,
    added: Vec<(String, String)>,
}

impl Properties {
    /// With what is in the file, if there is one.
    pub(crate) fn read(options: &Options) -> Result<Self, BadFile> {
        let mut common = ClientConfig::new();
        common
            .set("bootstrap.servers", &options.brokers)
            .set("client.id", "message-queue")
            .set("allow.auto.create.topics", "false")
            // Whoever does not answer for so long is not there.
            .set("socket.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "60000");
        let added = options
            .config_file
            .as_ref()
            .map(|it| file(it))
            .transpose()?;
        let properties = Self {
            common,
            added: added.unwrap_or_default(),
        };
        Ok(properties)
    }

    fn with(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.common.clone();
        for (name, value) in own {
            config.set(*name, *value);
        }
        for (name, value) in &self.added {
            config.set(name, value);
        }
        config
    }

    /// Of a client that asks, and makes topics.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.with(&[])
    }

    /// Of the one that publishes. What it holds is bounded by who gives it (`producer.rs`).
    pub(crate) fn producer(&self) -> ClientConfig {
        self.with(&[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // Producers wait for as long as Kafka is away.
            ("message.timeout.ms", "0"),
            ("message.max.bytes", MAX_RECORD),
            ("queue.buffering.max.messages", "0"),
            ("queue.buffering.max.kbytes", "1048576"),
            ("linger.ms", "1"),
            // Keys go where Kafka's own clients in Java send them.
            ("partitioner", "murmur2_random"),
        ])
    }

    /// Of one that reads for a group.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        self.with(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // Where a group begins is committed when it is made; so a partition without a commit is a new one.
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            // What is assigned goes to the rest when a broker dies.
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "1000"),
            ("queued.min.messages", "10000"),
            ("queued.max.messages.kbytes", "4096"),
            // Once that much is queued librdkafka would look again after a second, when all of it is long taken.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.max.bytes", "4194304"),
            ("fetch.wait.max.ms", "100"),
            ("message.max.bytes", MAX_RECORD),
        ])
    }
}

/// The properties in a file of lines `NAME=VALUE`.
fn file(path: &Path) -> Result<Vec<(String, String)>, BadFile> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| BadFile::Unreadable {
        path: shown.clone(),
        error,
    })?;
    let mut properties = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (path, at) = (shown.clone(), at + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(BadFile::Line { path, line: at });
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if OWNED.contains(&name.as_str()) {
            return Err(BadFile::Owned {
                path,
                line: at,
                name,
            });
        }
        let mut alone = ClientConfig::new();
        alone.set(&name, &value);
        if let Err(error) = alone.create_native_config() {
            return Err(BadFile::Refused {
                path,
                line: at,
                name,
                why: why(&error),
            });
        }
        properties.push((name, value));
    }
    Ok(properties)
}

/// What librdkafka says, without the value: that may be a secret.
fn why(error: &KafkaError) -> String {
    if let KafkaError::ClientConfig(_, description, _, _) = error {
        description.clone()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn with_file(text: &str) -> Result<Properties, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let options = Options {
            brokers: "localhost:9092".into(),
            prefix: "mq.".into(),
            holds: super::super::Holds::Message,
            keys: None,
            partitions: 1,
            config_file: Some(file.path().into()),
        };
        let error = |it: BadFile| it.to_string().replace(&options_path(&options), "FILE");
        Properties::read(&options).map_err(error)
    }

    fn options_path(options: &Options) -> String {
        options.config_file.as_ref().unwrap().display().to_string()
    }

    #[test]
    fn properties_of_the_file_are_passed_on() {
        let text = "# ours\n\nsecurity.protocol = sasl_ssl\nsession.timeout.ms=6000\n";
        let properties = with_file(text).unwrap();
        for config in [
            properties.admin(),
            properties.producer(),
            properties.consumer("g"),
        ] {
            assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
            assert_eq!(config.get("session.timeout.ms"), Some("6000"));
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_passed_on_is_named() {
        for (text, expected) in [
            (
                "\nacks=1",
                "KAFKA_CONFIG_FILE: FILE, line 2: acks is the broker's own: take it out of the file",
            ),
            (
                "sasl.password",
                "KAFKA_CONFIG_FILE: FILE, line 1: this is not allowed: use NAME=VALUE, or # and a comment",
            ),
            (
                "no.such=1",
                "KAFKA_CONFIG_FILE: FILE, line 1: librdkafka does not take no.such: No such configuration property: \
                 \"no.such\"",
            ),
        ] {
            assert_eq!(with_file(text).err().as_deref(), Some(expected));
        }
    }
}
