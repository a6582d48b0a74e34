//! The `config` line.

use super::Script;
use super::text::{duration, seconds};
use message_queue_core::{DeliveryMode, Overflow};
use std::time::Duration;

/// A setting: how it is named, and where it is.
enum Setting<'a> {
    Delivery(&'a mut DeliveryMode),
    Overflow(&'a mut Overflow),
    Number(&'a mut usize),
    Time(&'a mut Duration),
}

const NAMES: [&str; 14] = [
    "delivery",
    "overflow",
    "max_connections",
    "max_consumers",
    "consumer_backlog",
    "queue_capacity",
    "backlog_bytes",
    "broker_bytes",
    "role_timeout",
    "write_timeout",
    "min_consumer_rate",
    "write_bytes",
    "role_line_bytes",
    "read_bytes",
];

impl Script {
    fn setting(&mut self, name: &str) -> Option<Setting<'_>> {
        let (config, decoder) = (&mut self.config, &mut self.decoder);
        Some(match name {
            "delivery" => Setting::Delivery(&mut config.delivery),
            "overflow" => Setting::Overflow(&mut config.overflow),
            "max_connections" => Setting::Number(&mut config.max_connections),
            "max_consumers" => Setting::Number(&mut config.max_consumers),
            "consumer_backlog" => Setting::Number(&mut config.consumer_backlog),
            "queue_capacity" => Setting::Number(&mut config.queue_capacity),
            "backlog_bytes" => Setting::Number(&mut config.backlog_bytes),
            "broker_bytes" => Setting::Number(&mut config.broker_bytes),
            "role_timeout" => Setting::Time(&mut config.role_timeout),
            "write_timeout" => Setting::Time(&mut config.write_timeout),
            "min_consumer_rate" => Setting::Number(&mut config.min_consumer_rate),
            "write_bytes" => Setting::Number(&mut config.write_bytes),
            "role_line_bytes" => Setting::Number(&mut decoder.role_line_bytes),
            "read_bytes" => Setting::Number(&mut decoder.read_bytes),
            _ => return None,
        })
    }

    /// Sets one setting. None if there is no such setting or no such value.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match self.setting(name)? {
            Setting::Delivery(delivery) => {
                *delivery = match value {
                    "broadcast" => DeliveryMode::Broadcast,
                    "queue" => DeliveryMode::Queue,
                    _ => return None,
                };
            }
            Setting::Overflow(overflow) => {
                *overflow = match value {
                    "drop" => Overflow::Drop,
                    "block" => Overflow::Block,
                    "reject" => Overflow::Reject,
                    "drop_oldest" => Overflow::DropOldest,
                    _ => return None,
                };
            }
            Setting::Number(number) => *number = value.parse().ok()?,
            Setting::Time(time) => *time = duration(value)?,
        }
        Some(())
    }

    fn value(&mut self, name: &str) -> Option<String> {
        Some(match self.setting(name)? {
            Setting::Delivery(DeliveryMode::Broadcast) => "broadcast".to_owned(),
            Setting::Delivery(DeliveryMode::Queue) => "queue".to_owned(),
            Setting::Overflow(Overflow::Drop) => "drop".to_owned(),
            Setting::Overflow(Overflow::Block) => "block".to_owned(),
            Setting::Overflow(Overflow::Reject) => "reject".to_owned(),
            Setting::Overflow(Overflow::DropOldest) => "drop_oldest".to_owned(),
            Setting::Number(number) => number.to_string(),
            Setting::Time(time) => seconds(*time),
        })
    }

    /// The settings that do not have their default, as `name=value`.
    pub(super) fn settings(&self) -> Vec<String> {
        let (mut own, mut default) = (self.clone(), Self::default());
        let differs = |name: &'static str| {
            let value = own.value(name)?;
            (default.value(name)? != value).then(|| format!("{name}={value}"))
        };
        NAMES.into_iter().filter_map(differs).collect()
    }
}
