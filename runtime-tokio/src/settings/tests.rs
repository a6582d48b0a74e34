//! What users may write, and what they are told.

use super::*;
use message_queue_core::log::Fsync;
use message_queue_core::{DeliveryMode, Overflow, Storage, StoreSettings, TopicsConfig};
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;

pub(super) fn settings<const N: usize>(variables: [(&str, &str); N]) -> Settings {
    Settings::from_variables(variables).unwrap()
}

/// The lines that a user would see.
pub(super) fn errors<const N: usize>(variables: [(&str, &str); N]) -> Vec<String> {
    let error = Settings::from_variables(variables).unwrap_err();
    error.to_string().lines().map(str::to_owned).collect()
}

pub(super) fn error<const N: usize>(variables: [(&str, &str); N]) -> String {
    let lines = errors(variables);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

fn in_file<const N: usize>(variables: [(&str, &str); N]) -> DotEnv {
    DotEnv {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ignored: Vec::new(),
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    let settings = settings([]);
    assert_eq!(
        settings.tcp_address(),
        Some((Ipv6Addr::UNSPECIFIED, 9080).into())
    );
    assert_eq!(settings.tls_address(), None);
    assert_eq!(settings.tls_files(), None);
    assert_eq!(
        settings.http_address(),
        (Ipv6Addr::UNSPECIFIED, 8080).into()
    );
    assert_eq!(settings.broker_config(), Config::default());
    assert_eq!(settings.decoder_config(), DecoderConfig::default());
    let options = SocketOptions {
        send_buffer: None,
        receive_buffer: None,
        keepalive: Some(Duration::from_secs(30)),
        user_timeout: Some(Duration::from_secs(60)),
    };
    assert_eq!(settings.socket_options(), options);
    assert_eq!(settings.http_socket_options(), options);
    assert_eq!(settings.drain_timeout(), Duration::from_secs(20));
    assert_eq!(settings.drain_delay(), Duration::ZERO);
    assert!(!settings.stores_anything());
    assert_eq!(settings.data_dir(), None);
    assert_eq!(settings.disk_reserve(), 256 << 20);
    assert_eq!(settings.worker_threads(), 1);
    assert_eq!(settings.log_level(), LogLevel::Info);
    assert_eq!(settings.log_format(), LogFormat::Auto);
    assert_eq!(settings.rust_log(), None);
    assert!(settings.warnings().is_empty());
    assert!(
        settings
            .effective()
            .iter()
            .all(|effective| effective.origin() == Origin::Default)
    );
}

/// The types of the fields hold whatever the list allows: the least and the most of every number,
/// and every word.
#[test]
fn every_allowed_value_fits_its_field() {
    for setting in SETTINGS {
        let values = match &setting.allowed {
            Allowed::Size {
                min,
                max,
                or_zero: true,
            }
            | Allowed::Time {
                min,
                max,
                or_zero: true,
            } => {
                vec!["0".to_owned(), min.to_string(), max.to_string()]
            }
            Allowed::Number { min, max, .. }
            | Allowed::Size { min, max, .. }
            | Allowed::Time { min, max, .. } => vec![min.to_string(), max.to_string()],
            Allowed::Port { or_off } => {
                let mut values = vec!["0".to_owned(), "65535".to_owned()];
                // One of both must be there.
                values.extend((*or_off && setting.name != "TCP_PORT").then(|| "off".to_owned()));
                values
            }
            Allowed::OneOf(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            Allowed::WordOrTime { words, min, max } => {
                let words = words.iter().map(|word| (*word).to_owned());
                words.chain([min.to_string(), max.to_string()]).collect()
            }
            Allowed::IpAddress => vec!["::1".to_owned(), "127.0.0.1".to_owned()],
            Allowed::Directory => vec!["/var/lib/message queue".to_owned()],
            Allowed::Topic => vec!["orders.eu".to_owned()],
            Allowed::Wildcards => vec!["gpu.>".to_owned()],
            Allowed::File => {
                let file = match setting.name {
                    "AUTH_TOKENS_FILE" => "tokens.toml",
                    "AUTH_JWKS_FILE" => "jwks.json",
                    _ => "topics.toml",
                };
                vec![format!("{}/../examples/{file}", env!("CARGO_MANIFEST_DIR"))]
            }
            Allowed::Networks => vec!["10.0.0.0/8,192.0.2.1/32,2001:db8::/32".to_owned()],
            Allowed::Text => vec!["https://issuer:1/a?b=c#d".to_owned()],
            Allowed::LogFilter => vec!["debug,a::b=trace".to_owned()],
        };
        let missing = [
            ("rocksdb", cfg!(feature = "rocksdb")),
            ("rabbitmq", cfg!(feature = "rabbitmq")),
            ("kafka", cfg!(feature = "kafka")),
        ];
        let has = |it: &String| !missing.contains(&(it, false));
        for value in values.into_iter().filter(has) {
            // Enough for whatever BACKLOG_BYTES is, so that no rule is in the way.
            let mut variables = vec![("BROKER_BYTES", (1_u64 << 40).to_string())];
            variables.retain(|(name, _)| *name != setting.name);
            if setting.name == "BROKER_BYTES" {
                variables.push(("BACKLOG_BYTES", "1048580".to_owned()));
            }
            if setting.name == "PROXY_PROTOCOL" {
                variables.push(("PROXY_TRUSTED", "::1".to_owned()));
            }
            if setting.name == "AUTH_JWKS_FILE" {
                variables.push(("AUTH_JWT_ISSUER", "https://issuer".to_owned()));
            }
            if setting.name == "STORAGE" {
                variables.push(("DATA_DIR", "/data".to_owned()));
                variables.push(("RABBITMQ_URL", "amqp://localhost".to_owned()));
                variables.push(("KAFKA_BROKERS", "localhost:9092".to_owned()));
            }
            if setting.name == "HTTP_AUTH" {
                let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tokens.toml");
                variables.push(("AUTH_TOKENS_FILE", file.to_owned()));
            }
            if setting.name.starts_with("TLS_") || setting.name == "HTTP_TLS" {
                let files = ["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"];
                let others = files.iter().filter(|name| **name != setting.name);
                variables.extend(others.map(|name| (*name, "file.pem".to_owned())));
            }
            variables.push((setting.name, value.clone()));
            let settings = Settings::from_variables(variables).unwrap();
            let effective = settings
                .effective()
                .iter()
                .find(|it| it.setting().name == setting.name)
                .unwrap();
            assert_eq!(effective.value(), value);
            assert_eq!(effective.origin(), Origin::Environment);
            assert_eq!(settings.broker_config().check(), Ok(()));
        }
    }
}

#[test]
fn what_concerns_the_broker_reaches_it() {
    let settings = settings([
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("MAX_CONNECTIONS", "2"),
        ("MAX_CONSUMERS", "3"),
        ("CONSUMER_CHANNEL_BUFFER_SIZE", "4"),
        ("QUEUE_CAPACITY", "5"),
        ("BACKLOG_BYTES", "1048586"),
        ("BROKER_BYTES", "2 MiB"),
        ("ROLE_TIMEOUT_MS", "1.5s"),
        ("WRITE_TIMEOUT_MS", "9"),
        ("MIN_CONSUMER_RATE", "10"),
        ("WRITE_BYTES", "4106"),
        ("ROLE_LINE_BYTES", "17"),
        ("READ_BYTES", "4107"),
        ("DEFAULT_TOPIC", "orders"),
        ("TOPIC_CREATION", "off"),
        ("MAX_TOPICS", "11"),
        ("MAX_GROUPS", "0"),
        ("MAX_PRODUCER_NAMES", "12"),
        ("TOPIC_IDLE_MS", "0"),
        ("GROUP_IDLE_MS", "1h"),
        ("PRODUCER_IDLE_MS", "2days"),
        ("STORAGE", "disk"),
        ("DATA_DIR", "data"),
        ("FSYNC", "250ms"),
        ("SEGMENT_BYTES", "1MiB"),
        ("RETENTION_MS", "7days"),
        ("RETENTION_BYTES", "10GiB"),
        ("RETENTION_SETTLED", "on"),
        ("DISK_RESERVE_BYTES", "1GiB"),
    ]);
    let config = Config {
        delivery: DeliveryMode::Queue,
        overflow: Overflow::Block,
        max_connections: 2,
        max_consumers: 3,
        consumer_backlog: 4,
        queue_capacity: 5,
        backlog_bytes: 1_048_586,
        broker_bytes: 2_097_152,
        role_timeout: Duration::from_millis(1500),
        write_timeout: Duration::from_millis(9),
        min_consumer_rate: 10,
        write_bytes: 4_106,
        topics: TopicsConfig {
            default_topic: TopicName::new("orders").unwrap(),
            creation: false,
            max_topics: 11,
            max_groups: 0,
            max_producer_names: 12,
            topic_idle: None,
            group_idle: Some(Duration::from_secs(3600)),
            producer_idle: Some(Duration::from_secs(2 * 86_400)),
            rules: Vec::new(),
        },
        storage: Storage::Disk,
        store: StoreSettings {
            fsync: Fsync::Every(Duration::from_millis(250)),
            segment_bytes: 1 << 20,
            retention: Some(Duration::from_secs(7 * 86_400)),
            retention_bytes: Some(10 << 30),
            retention_settled: true,
        },
        ..Config::default()
    };
    assert_eq!(settings.broker_config(), config);
    assert!(settings.stores_anything());
    assert_eq!(settings.data_dir(), Some(Path::new("data")));
    assert_eq!(settings.disk_reserve(), 1 << 30);
    assert_eq!(settings.decoder_config().role_line_bytes, 17);
    assert_eq!(settings.decoder_config().read_bytes, 4_107);
}

#[test]
fn spaces_and_letter_case_do_not_matter_and_empty_means_the_default() {
    let settings = settings([
        ("TCP_PORT", " 1234\t"),
        ("HTTP_PORT", ""),
        ("MAX_CONSUMERS", "  \n"),
        ("DELIVERY_MODE", " QuEuE "),
        ("OVERFLOW", "BLOCK"),
        ("LOG_LEVEL", "Debug"),
        ("LOG_FORMAT", "JSON"),
        ("RUST_LOG", " warn "),
        ("SEND_BUFFER_BYTES", "4096"),
        ("RECEIVE_BUFFER_BYTES", "8KiB"),
        ("KEEPALIVE_MS", " 1m "),
        ("TCP_USER_TIMEOUT_MS", "0"),
    ]);
    assert_eq!(settings.tcp_address().unwrap().port(), 1234);
    assert_eq!(settings.http_address().port(), 8080);
    assert_eq!(settings.broker_config().max_consumers, 10);
    assert_eq!(settings.broker_config().delivery, DeliveryMode::Queue);
    assert_eq!(settings.broker_config().overflow, Overflow::Block);
    assert_eq!(settings.log_level(), LogLevel::Debug);
    assert_eq!(settings.log_format(), LogFormat::Json);
    assert_eq!(settings.rust_log(), Some("warn"));
    let options = SocketOptions {
        send_buffer: Some(4096),
        receive_buffer: Some(8192),
        keepalive: Some(Duration::from_secs(60)),
        user_timeout: None,
    };
    assert_eq!(settings.socket_options(), options);
}

#[test]
fn a_bad_value_is_one_line_that_names_what_is_allowed() {
    assert_eq!(
        error([("TCP_PORT", "abc")]),
        r#"TCP_PORT: "abc" is not allowed: use a whole number from 0 to 65535, or off"#
    );
    assert_eq!(
        error([("TCP_PORT", "65536")]),
        r#"TCP_PORT: "65536" is not allowed: use a whole number from 0 to 65535, or off"#
    );
    assert_eq!(
        error([("MAX_CONSUMERS", "-1")]),
        r#"MAX_CONSUMERS: "-1" is not allowed: use a whole number from 1 to 1000000"#
    );
    assert_eq!(
        error([("CONSUMER_CHANNEL_BUFFER_SIZE", "0")]),
        "CONSUMER_CHANNEL_BUFFER_SIZE: \"0\" is not allowed: \
         use a whole number of messages from 1 to 100000000"
    );
    assert_eq!(
        error([("QUEUE_CAPACITY", "99999999999999999999999")]),
        "QUEUE_CAPACITY: \"99999999999999999999999\" is not allowed: \
         use a whole number of messages from 1 to 100000000"
    );
    assert_eq!(
        error([("SEND_BUFFER_BYTES", "1")]),
        "SEND_BUFFER_BYTES: \"1\" is not allowed: \
         use 0, or a size from 4KiB to 1GiB"
    );
    assert_eq!(
        error([("WRITE_TIMEOUT_MS", "2h")]),
        "WRITE_TIMEOUT_MS: \"2h\" is not allowed: \
         use a time from 1ms to 1h"
    );
    assert_eq!(
        error([("DELIVERY_MODE", "fanout")]),
        r#"DELIVERY_MODE: "fanout" is not allowed: use one of broadcast, queue"#
    );
    assert_eq!(
        error([("BIND_ADDRESS", "localhost")]),
        "BIND_ADDRESS: \"localhost\" is not allowed: \
         use an IP address such as ::, 0.0.0.0 or 127.0.0.1"
    );
    assert_eq!(
        error([("RUST_LOG", "a=b=c")]),
        "RUST_LOG: \"a=b=c\" is not allowed: \
         use log directives such as debug or message_queue_tokio=debug,warn"
    );
}

/// Past the edges of what may be; the edges themselves are allowed for every setting.
#[test]
fn what_is_stored_keeps_its_bounds() {
    for (name, wrong, allowed) in [
        (
            "STORAGE",
            "tape",
            "one of memory, disk, rocksdb, rabbitmq, kafka",
        ),
        ("FSYNC", "0", "always, never, or a time from 1ms to 1m"),
        ("FSYNC", "60001", "always, never, or a time from 1ms to 1m"),
        ("FSYNC", "on", "always, never, or a time from 1ms to 1m"),
        ("SEGMENT_BYTES", "1048575B", "a size from 1MiB to 1GiB"),
        ("SEGMENT_BYTES", "1073741825B", "a size from 1MiB to 1GiB"),
        ("RETENTION_MS", "-1", "0, or a time from 1ms to 10years"),
        (
            "RETENTION_MS",
            "10years1ms",
            "0, or a time from 1ms to 10years",
        ),
        (
            "RETENTION_BYTES",
            "1048575B",
            "0, or a size from 1MiB to 1024TiB",
        ),
        (
            "RETENTION_BYTES",
            "1025TiB",
            "0, or a size from 1MiB to 1024TiB",
        ),
        ("RETENTION_SETTLED", "1", "one of on, off"),
        ("DISK_RESERVE_BYTES", "1B", "0, or a size from 1MiB to 1TiB"),
        (
            "DISK_RESERVE_BYTES",
            "2TiB",
            "0, or a size from 1MiB to 1TiB",
        ),
    ] {
        assert_eq!(
            error([(name, wrong)]),
            format!("{name}: {wrong:?} is not allowed: use {allowed}")
        );
    }
    let fsync = |value| settings([("FSYNC", value)]).broker_config().store.fsync;
    assert_eq!(fsync("Never"), Fsync::Never);
    assert_eq!(fsync("ALWAYS"), Fsync::Always);
    assert_eq!(fsync("1"), Fsync::Every(Duration::from_millis(1)));
}

#[test]
fn a_value_cannot_break_the_line() {
    assert_eq!(
        error([("WORKER_THREADS", "1\n2\u{1b}[31m")]),
        r#"WORKER_THREADS: "1\n2\u{1b}[31m" is not allowed: use a whole number from 1 to 1024"#
    );
}

#[test]
fn every_bad_variable_is_told_at_once() {
    let lines = errors([
        ("MAX_CONSUMERS", "x"),
        ("TCP_PORT", "y"),
        ("LOG_FORMAT", "xml"),
    ]);
    let names: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(names, ["TCP_PORT", "MAX_CONSUMERS", "LOG_FORMAT"]);
}

#[test]
fn a_value_that_is_not_text_is_told_not_panicked_over() {
    let variables = [("TCP_PORT", OsString::from_vec(b"90\xff80".to_vec()))];
    assert_eq!(
        Settings::from_variables(variables).unwrap_err().to_string(),
        "TCP_PORT: \"90\\xFF80\" is not allowed: use a whole number from 0 to 65535, or off; \
         this value is not valid UTF-8"
    );
    let unrelated = [("OTHER", OsString::from_vec(b"\xff".to_vec()))];
    assert!(Settings::from_variables(unrelated).is_ok());
}

#[test]
fn what_kubernetes_injects_is_traced_to_its_service() {
    assert_eq!(
        error([("TCP_PORT", "tcp://10.0.0.1:80")]),
        "TCP_PORT: \"tcp://10.0.0.1:80\" is not allowed: use a whole number from 0 to 65535, or off; \
         Kubernetes sets this value for a Service named tcp in the same namespace: \
         set enableServiceLinks: false on the pod, or rename the Service"
    );
    assert!(error([("HTTP_PORT", "udp://[fd00::1]:80")]).contains("a Service named http "));
    assert!(!error([("TCP_PORT", "http://10.0.0.1:80")]).contains("Kubernetes"));
    assert!(!error([("QUEUE_CAPACITY", "tcp://10.0.0.1:80")]).contains("Kubernetes"));
}

#[test]
fn variables_of_others_are_not_our_business() {
    let settings = settings([
        ("TCP_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("HTTPS_PORT", "abc"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(settings.tcp_address().unwrap().port(), 9080);
    assert_eq!(settings.warnings(), [""; 0]);
}

#[test]
fn a_misspelt_name_is_a_warning_and_so_is_what_else_the_file_holds() {
    let environment = [("tcp_port".to_owned(), "abc".into())].into();
    let dotenv = DotEnv {
        variables: [
            "QUEUE_CAPACTY",
            "DB_PASSWORD",
            "BROKER_ADDR",
            "MAX_CONSUMERS",
        ]
        .map(|name| (name.to_owned(), "5".to_owned()))
        .into(),
        ignored: vec![3, 7],
    };
    let settings = Settings::from_sources(&environment, &dotenv).unwrap();
    assert!(settings.has_misspelt());
    assert_eq!(
        settings.warnings(),
        [
            "\"tcp_port\" (environment) is not a setting, so it has no effect: \
             did you mean TCP_PORT?",
            "\"QUEUE_CAPACTY\" (.env) is not a setting, so it has no effect: \
             did you mean QUEUE_CAPACITY?",
            ".env: not settings of message-queue: DB_PASSWORD",
            ".env: not understood, and ignored: line 3, 7; a line is KEY=value or a comment \
             after #, and a value with spaces needs quotes",
        ]
    );
    assert_eq!(settings.broker_config().max_consumers, 5);
}

#[test]
fn the_environment_wins_over_the_file_even_where_it_is_empty() {
    let dotenv = in_file([
        ("TCP_PORT", "1"),
        ("HTTP_PORT", "2"),
        ("MAX_CONSUMERS", "3"),
        ("QUEUE_CAPACITY", ""),
    ]);
    let environment = [("TCP_PORT", ""), ("HTTP_PORT", "4")]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
    let settings = Settings::from_sources(&environment, &dotenv).unwrap();
    assert_eq!(settings.tcp_address().unwrap().port(), 9080);
    assert_eq!(settings.http_address().port(), 4);
    assert_eq!(settings.broker_config().max_consumers, 3);
    let origins: Vec<_> = ["TCP_PORT", "HTTP_PORT", "MAX_CONSUMERS", "QUEUE_CAPACITY"]
        .iter()
        .filter_map(|name| {
            settings
                .effective()
                .iter()
                .find(|it| it.setting().name == *name)
        })
        .map(Effective::origin)
        .collect();
    assert_eq!(
        origins,
        [
            Origin::Default,
            Origin::Environment,
            Origin::DotEnv,
            Origin::Default
        ]
    );
}

#[test]
fn a_bad_value_in_the_file_is_told_as_such() {
    let dotenv = in_file([("TCP_PORT", "abc")]);
    assert_eq!(
        Settings::from_sources(&BTreeMap::new(), &dotenv)
            .unwrap_err()
            .to_string(),
        r#"TCP_PORT: "abc" (from .env) is not allowed: use a whole number from 0 to 65535, or off"#
    );
}
