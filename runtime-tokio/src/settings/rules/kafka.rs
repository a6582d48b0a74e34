//! Rules between the settings for what is kept in Kafka.

use super::super::values::Values;
use super::Broken;
use super::storage::without_effect;
use message_queue_core::{Config, Storage};

/// Kafka's names of topics have up to 249 bytes, and those of the broker up to 200.
const MOST_PREFIX: usize = 49;

fn is_used(config: &Config) -> bool {
    config.engines().any(|it| it == Storage::Kafka)
}

/// What is kept in Kafka needs to know where that is. Who is there is not looked at here.
pub(super) fn broken(values: &Values, config: &Config) -> Option<Broken> {
    if !is_used(config) {
        return None;
    }
    let brokers = values.kafka_brokers.as_deref().unwrap_or_default();
    if !brokers.split(',').all(is_broker) {
        return Some(Broken {
            name: "KAFKA_BROKERS",
            others: &["STORAGE"],
            allowed: "HOST:PORT,HOST:PORT: STORAGE=kafka keeps topics there".to_owned(),
        });
    }
    let prefix = &values.kafka_topic_prefix;
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    (prefix.len() > MOST_PREFIX || !prefix.chars().all(is_allowed)).then(|| Broken {
        name: "KAFKA_TOPIC_PREFIX",
        others: &[],
        allowed: format!(
            "at most {MOST_PREFIX} of A-Z a-z 0-9 _ - . as in the names of topics in Kafka"
        ),
    })
}

/// Whether that says where a broker of Kafka's is.
fn is_broker(it: &str) -> bool {
    let parts = it.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Without a topic that is kept there these settings mean nothing.
pub(super) fn unused(values: &Values, config: &Config) -> Option<String> {
    if is_used(config) {
        return None;
    }
    let settings = [
        ("KAFKA_BROKERS", values.kafka_brokers.is_some()),
        ("KAFKA_KEY_PATTERN", values.kafka_key_pattern.is_some()),
        ("KAFKA_CONFIG_FILE", values.kafka_config_file.is_some()),
    ];
    without_effect("Kafka", Storage::Kafka, &settings)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::settings;

    #[test]
    fn what_means_nothing_without_the_engine_is_a_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let brokers = ("KAFKA_BROKERS", "localhost:9092");
        let file = ("KAFKA_CONFIG_FILE", file.path().to_str().unwrap());
        let keys = ("KAFKA_KEY_PATTERN", "gpu.*");
        assert_eq!(
            settings([brokers, file, keys]).warnings(),
            [
                "no topic is kept in Kafka, so this has no effect: KAFKA_BROKERS, KAFKA_KEY_PATTERN, KAFKA_CONFIG_FILE; \
                 set STORAGE=kafka"
            ]
        );
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn where_kafka_is_has_to_be_said() {
        use super::super::super::tests::error;
        let stored = ("STORAGE", "kafka");
        for bad in ["", "localhost", ":9092", "a:1,b", "a:1,,b:2", "a:70000"] {
            let told = error([stored, ("KAFKA_BROKERS", bad)]);
            assert!(told.starts_with("KAFKA_BROKERS: "), "{told}");
            assert!(told.contains("use HOST:PORT,HOST:PORT"), "{told}");
        }
        let good = ("KAFKA_BROKERS", "localhost:9092,[::1]:9092");
        assert_eq!(settings([stored, good]).warnings(), [""; 0]);
        let told = error([stored, good, ("KAFKA_TOPIC_PREFIX", "a/b")]);
        assert!(told.starts_with("KAFKA_TOPIC_PREFIX: "), "{told}");
    }
}
