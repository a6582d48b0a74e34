//! Rules between the settings for what is kept in RabbitMQ.

use super::super::values::Values;
use super::Broken;
use super::storage::without_effect;
use message_queue_core::{Config, Storage};

fn is_used(config: &Config) -> bool {
    config.engines().any(|it| it == Storage::RabbitMq)
}

/// What is kept in RabbitMQ needs to know where that is. Who is there is not looked at here.
pub(super) fn broken(values: &Values, config: &Config) -> Option<Broken> {
    let is_url = values.rabbitmq_url.as_deref().is_some_and(is_url);
    (is_used(config) && !is_url).then(|| Broken {
        name: "RABBITMQ_URL",
        others: &["STORAGE"],
        allowed: "amqp://USER:PASSWORD@HOST:5672/%2f, or amqps:// for TLS: STORAGE=rabbitmq keeps topics there"
            .to_owned(),
    })
}

/// Whether that says a scheme, and where RabbitMQ is.
fn is_url(url: &str) -> bool {
    #[cfg(feature = "rabbitmq")]
    let can_be_parsed = url.parse::<lapin::uri::AMQPUri>().is_ok();
    #[cfg(not(feature = "rabbitmq"))]
    let can_be_parsed = true;
    ["amqp://", "amqps://"].iter().any(|it| url.starts_with(it)) && can_be_parsed
}

/// Without a topic that is kept there these settings mean nothing.
pub(super) fn unused(values: &Values, config: &Config) -> Option<String> {
    if is_used(config) {
        let is_plain = !values.rabbitmq_url.as_deref()?.starts_with("amqps://");
        return (is_plain && values.rabbitmq_ca_file.is_some())
            .then(|| "RABBITMQ_URL is not amqps://, so RABBITMQ_CA_FILE has no effect".to_owned());
    }
    let settings = [
        ("RABBITMQ_URL", values.rabbitmq_url.is_some()),
        ("RABBITMQ_CA_FILE", values.rabbitmq_ca_file.is_some()),
    ];
    without_effect("RabbitMQ", Storage::RabbitMq, &settings)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::settings;

    #[test]
    fn what_means_nothing_without_the_engine_is_a_warning() {
        let url = ("RABBITMQ_URL", "amqp://localhost");
        let file = ("RABBITMQ_CA_FILE", "ca.crt");
        assert_eq!(
            settings([url, file]).warnings(),
            [
                "no topic is kept in RabbitMQ, so this has no effect: RABBITMQ_URL, RABBITMQ_CA_FILE; set \
                 STORAGE=rabbitmq"
            ]
        );
    }

    #[cfg(feature = "rabbitmq")]
    #[test]
    fn where_rabbitmq_is_has_to_be_said() {
        use super::super::super::tests::error;
        let stored = ("STORAGE", "rabbitmq");
        for bad in ["", "http://localhost", "localhost:5672", "amqp://a:b:c"] {
            let told = error([stored, ("RABBITMQ_URL", bad)]);
            assert!(told.starts_with("RABBITMQ_URL: "), "{told}");
            assert!(
                told.contains("use amqp://USER:PASSWORD@HOST:5672/%2f"),
                "{told}"
            );
            // What may be a secret is not shown, and nothing is none.
            assert_eq!(told.contains("the secret value"), !bad.is_empty(), "{told}");
        }
        for good in ["amqp://localhost", "amqps://u:p@rabbit:5671/%2f"] {
            assert_eq!(
                settings([stored, ("RABBITMQ_URL", good)]).warnings(),
                [""; 0]
            );
        }
    }

    #[cfg(feature = "rabbitmq")]
    #[test]
    fn what_rabbitmq_does_not_need_is_a_warning() {
        let stored = [
            ("STORAGE", "rabbitmq"),
            ("RABBITMQ_URL", "amqp://localhost"),
        ];
        let [storage, url] = stored;
        assert_eq!(
            settings([storage, url, ("DATA_DIR", "/data"), ("FSYNC", "1s")]).warnings(),
            [
                "STORAGE=rabbitmq keeps nothing on a disk of the broker, so this has no effect: DATA_DIR, FSYNC"
            ]
        );
        assert_eq!(
            settings([storage, url, ("RABBITMQ_CA_FILE", "ca.crt")]).warnings(),
            ["RABBITMQ_URL is not amqps://, so RABBITMQ_CA_FILE has no effect"]
        );
    }
}
