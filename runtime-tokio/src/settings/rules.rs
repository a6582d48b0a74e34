//! What no single setting can break: rules between settings.

mod kafka;
mod rabbitmq;
mod storage;
mod tls;

use super::units::{format_size, format_time};
use super::values::{HttpAuth, Switch, Values};
use message_queue_core::wire::MAX_FRAME;
use message_queue_core::{Config, DeliveryMode};
use std::time::Duration;

/// A rule between settings that is broken.
pub(super) struct Broken {
    /// The setting to change.
    pub(super) name: &'static str,
    /// The other settings that take part.
    pub(super) others: &'static [&'static str],
    /// What is allowed, given the others.
    pub(super) allowed: String,
}

/// Every rule that `values` break, at most one for each setting.
pub(super) fn broken(values: &Values, config: &Config) -> Vec<Broken> {
    [
        two_ports(values),
        places(config),
        room(config),
        admins(values),
        issuer(values),
        proxies(values),
    ]
    .into_iter()
    .chain(tls::broken(values))
    .chain([storage::engine(config), storage::broken(values, config)])
    .flatten()
    .collect()
}

fn two_ports(values: &Values) -> Option<Broken> {
    let taken = Some(values.http_port).filter(|port| *port != 0);
    (taken.is_some() && taken == values.tcp_port.0).then(|| Broken {
        name: "HTTP_PORT",
        others: &["TCP_PORT"],
        allowed: "a port other than TCP_PORT, or 0 for any free port".to_owned(),
    })
}

/// Where producers block, a place is kept for a consumer.
fn places(config: &Config) -> Option<Broken> {
    (config.max_connections < config.least_connections()).then(|| Broken {
        name: "MAX_CONNECTIONS",
        others: &["OVERFLOW"],
        allowed:
            "at least 2 with OVERFLOW=block, be it in TOPICS_FILE: one place is kept for a consumer"
                .to_owned(),
    })
}

/// `BROKER_BYTES` holds one full backlog and, where producers wait for every consumer to have
/// room, one of the largest messages for each: with less, one consumer's backlog could keep
/// another from ever having room.
fn room(config: &Config) -> Option<Broken> {
    let least = config.least_broker_bytes();
    let of_rules = config.topics.rules.iter().filter_map(|rule| rule.bytes);
    let of_rules = of_rules.max().unwrap_or(0);
    if config.broker_bytes >= least {
        None
    } else if least == of_rules && of_rules > config.backlog_bytes {
        Some(Broken {
            name: "BROKER_BYTES",
            others: &["TOPICS_FILE"],
            allowed: format!(
                "at least the bytes of every rule in TOPICS_FILE ({}), so that one full backlog fits",
                size(of_rules)
            ),
        })
    } else if least > config.backlog_bytes {
        Some(Broken {
            name: "BROKER_BYTES",
            others: &["MAX_CONSUMERS", "OVERFLOW", "DELIVERY_MODE"],
            allowed: format!(
                "at least MAX_CONSUMERS x {MAX_FRAME} ({}) with OVERFLOW=block and \
                 DELIVERY_MODE=broadcast, be it in TOPICS_FILE: a producer blocks until every consumer has room for its \
                 message, so there must be room for one of the largest for each",
                size(least)
            ),
        })
    } else {
        Some(Broken {
            name: "BROKER_BYTES",
            others: &["BACKLOG_BYTES"],
            allowed: format!(
                "at least BACKLOG_BYTES ({}), so that one full backlog fits",
                size(config.backlog_bytes)
            ),
        })
    }
}

/// Whoever signs a token must be known by name: one key may sign for several.
fn issuer(values: &Values) -> Option<Broken> {
    (values.auth_jwks_file.is_some() && values.auth_jwt_issuer.is_none()).then(|| Broken {
        name: "AUTH_JWT_ISSUER",
        others: &["AUTH_JWKS_FILE"],
        allowed: "the iss of the tokens that the keys of AUTH_JWKS_FILE sign".to_owned(),
    })
}

/// Whoever says whose connection it passes on must be trusted.
fn proxies(values: &Values) -> Option<Broken> {
    (values.proxy_protocol == Switch::On && values.proxy_trusted.is_none()).then(|| Broken {
        name: "PROXY_TRUSTED",
        others: &["PROXY_PROTOCOL"],
        allowed: "the networks that load balancers connect from, such as 10.0.0.0/8: anybody else could say that \
                  a connection is somebody else's"
            .to_owned(),
    })
}

/// Who is asked to be an admin must be able to be one.
fn admins(values: &Values) -> Option<Broken> {
    (values.http_auth != HttpAuth::Open && values.auth_tokens_file.is_none()).then(|| Broken {
        name: "HTTP_AUTH",
        others: &["AUTH_TOKENS_FILE"],
        allowed: "open, or AUTH_TOKENS_FILE with a principal that has the right admin".to_owned(),
    })
}

/// What is allowed but may surprise, one line for each.
pub(super) fn warnings(values: &Values, config: &Config) -> Vec<String> {
    [shared_room(values), cut_short(values)]
        .into_iter()
        .chain(tls::warnings(values))
        .chain(storage::warnings(values, config))
        .flatten()
        .collect()
}

fn shared_room(values: &Values) -> Option<String> {
    let all_full = values.max_consumers.saturating_mul(values.backlog_bytes);
    let shared = values.delivery_mode == DeliveryMode::Broadcast && values.broker_bytes < all_full;
    shared.then(|| {
        format!(
            "BROKER_BYTES ({}) is less than MAX_CONSUMERS x BACKLOG_BYTES ({}): \
             consumers that are stuck can use up the room of those that are not",
            size(values.broker_bytes),
            size(all_full)
        )
    })
}

/// The kernel counts a peer whose receive buffer stays full as one that acknowledges nothing.
fn cut_short(values: &Values) -> Option<String> {
    let (kernels, ours) = (values.tcp_user_timeout_ms, values.write_timeout_ms);
    (kernels != 0 && kernels < ours).then(|| {
        format!(
            "TCP_USER_TIMEOUT_MS ({}) is less than WRITE_TIMEOUT_MS ({}): \
             the kernel ends a consumer that is stuck before the broker would",
            format_time(Duration::from_millis(kernels)),
            format_time(Duration::from_millis(ours))
        )
    })
}

fn size(bytes: usize) -> String {
    format_size(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::tests::{error, errors, settings};

    #[test]
    fn the_ports_differ_unless_the_kernel_picks_them() {
        assert_eq!(
            error([("TCP_PORT", "8080")]),
            "HTTP_PORT: \"8080\" (the default) is not allowed: \
             use a port other than TCP_PORT, or 0 for any free port"
        );
        assert_eq!(
            settings([("TCP_PORT", "0"), ("HTTP_PORT", "0")])
                .http_address()
                .port(),
            0
        );
    }

    #[test]
    fn the_broker_holds_at_least_one_full_backlog() {
        assert_eq!(
            error([("BROKER_BYTES", "2000000"), ("BACKLOG_BYTES", "2000001")]),
            "BROKER_BYTES: \"2MB\" is not allowed: \
             use at least BACKLOG_BYTES (2000001B), so that one full backlog fits"
        );
        let equal = [("BROKER_BYTES", "2000001"), ("BACKLOG_BYTES", "2000001")];
        assert_eq!(settings(equal).broker_config().broker_bytes, 2_000_001);
    }

    #[test]
    fn a_blocking_broadcast_has_room_for_a_largest_message_to_everyone() {
        let blocking = |broker_bytes, delivery_mode, overflow| {
            Settings::from_variables([
                ("BACKLOG_BYTES", "1048580"),
                ("MAX_CONSUMERS", "100"),
                ("BROKER_BYTES", broker_bytes),
                ("DELIVERY_MODE", delivery_mode),
                ("OVERFLOW", overflow),
            ])
        };
        assert_eq!(
            blocking("104857999", "broadcast", "block")
                .unwrap_err()
                .to_string(),
            "BROKER_BYTES: \"104857999B\" is not allowed: \
             use at least MAX_CONSUMERS x 1048580 (104858KB) with OVERFLOW=block and \
             DELIVERY_MODE=broadcast, be it in TOPICS_FILE: a producer blocks until every consumer has room for its \
             message, so there must be room for one of the largest for each"
        );
        assert!(blocking("104858000", "broadcast", "block").is_ok());
        assert!(blocking("104857999", "queue", "block").is_ok());
        assert!(blocking("104857999", "broadcast", "drop").is_ok());
    }

    #[test]
    fn a_setting_that_breaks_two_rules_is_told_once() {
        let line = error([
            ("OVERFLOW", "block"),
            ("MAX_CONSUMERS", "2"),
            ("BACKLOG_BYTES", "5000000"),
            ("BROKER_BYTES", "2000000"),
        ]);
        assert!(line.contains("BACKLOG_BYTES (5MB)"), "{line}");
        let line = error([
            ("OVERFLOW", "block"),
            ("MAX_CONSUMERS", "5"),
            ("BACKLOG_BYTES", "5000000"),
            ("BROKER_BYTES", "2000000"),
        ]);
        assert!(line.contains("(5242900B)"), "{line}");
    }

    #[test]
    fn no_rule_is_applied_to_a_bad_value_and_every_rule_to_the_rest() {
        let lines = errors([
            ("BACKLOG_BYTES", "lots"),
            ("BROKER_BYTES", "1048580"),
            ("TCP_PORT", "8080"),
        ]);
        let names: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(names, ["BACKLOG_BYTES", "HTTP_PORT"]);
    }

    #[test]
    fn one_that_is_stuck_could_cost_others_is_a_warning() {
        let tight = |delivery_mode| {
            settings([("MAX_CONSUMERS", "17"), ("DELIVERY_MODE", delivery_mode)]).warnings()
        };
        assert_eq!(
            tight("broadcast"),
            [
                "BROKER_BYTES (512MiB) is less than MAX_CONSUMERS x BACKLOG_BYTES (544MiB): \
              consumers that are stuck can use up the room of those that are not"
            ]
        );
        assert!(tight("queue").is_empty());
        assert!(settings([("MAX_CONSUMERS", "16")]).warnings().is_empty());
    }

    #[test]
    fn a_kernel_that_is_less_patient_than_the_broker_is_a_warning() {
        let patient = settings([("WRITE_TIMEOUT_MS", "2m")]);
        assert_eq!(
            patient.warnings(),
            [
                "TCP_USER_TIMEOUT_MS (1m) is less than WRITE_TIMEOUT_MS (2m): \
              the kernel ends a consumer that is stuck before the broker would"
            ]
        );
        for kernel in ["0", "2m"] {
            let both = [("WRITE_TIMEOUT_MS", "2m"), ("TCP_USER_TIMEOUT_MS", kernel)];
            assert!(settings(both).warnings().is_empty());
        }
    }
}
