//! What no single setting can break: rules between settings.

use super::units::{format_size, format_time};
use super::values::Values;
use message_queue_core::DeliveryMode;
use message_queue_core::wire::MAX_FRAME;
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
pub(super) fn broken(values: &Values) -> Vec<Broken> {
    [two_ports(values), places(values), room(values)]
        .into_iter()
        .flatten()
        .collect()
}

fn two_ports(values: &Values) -> Option<Broken> {
    (values.http_port == values.tcp_port && values.http_port != 0).then(|| Broken {
        name: "HTTP_PORT",
        others: &["TCP_PORT"],
        allowed: "a port other than TCP_PORT, or 0 for any free port".to_owned(),
    })
}

/// Where producers block, a place is kept for a consumer.
fn places(values: &Values) -> Option<Broken> {
    let config = values.broker_config();
    (config.max_connections < config.least_connections()).then(|| Broken {
        name: "MAX_CONNECTIONS",
        others: &["OVERFLOW"],
        allowed: "at least 2 with OVERFLOW=block: one place is kept for a consumer".to_owned(),
    })
}

/// `BROKER_BYTES` holds one full backlog and, where producers wait for every consumer to have
/// room, one of the largest messages for each: with less, one consumer's backlog could keep
/// another from ever having room.
fn room(values: &Values) -> Option<Broken> {
    let config = values.broker_config();
    let least = config.least_broker_bytes();
    if config.broker_bytes >= least {
        None
    } else if least > config.backlog_bytes {
        Some(Broken {
            name: "BROKER_BYTES",
            others: &["MAX_CONSUMERS", "OVERFLOW", "DELIVERY_MODE"],
            allowed: format!(
                "at least MAX_CONSUMERS x {MAX_FRAME} ({}) with OVERFLOW=block and \
                 DELIVERY_MODE=broadcast: a producer blocks until every consumer has room for its \
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

/// What is allowed but may surprise, one line for each.
pub(super) fn warnings(values: &Values) -> Vec<String> {
    [shared_room(values), cut_short(values)]
        .into_iter()
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
