//! A message as RabbitMQ has it. The body is the message alone, so any other client can read and write it.

use crate::store::shared::{
    ORIGIN_FAILURES, ORIGIN_GROUP, ORIGIN_PUBLISHED, ORIGIN_REASON, ORIGIN_SEQUENCE, ORIGIN_TOPIC,
};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use message_queue_core::store::Run;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Origin;
use std::collections::BTreeMap;

/// When it was published, in milliseconds since 1970.
const PUBLISHED: &str = "mq-published";

/// How often a quorum queue has delivered it before.
const DELIVERIES: &str = "x-delivery-count";

/// RabbitMQ writes it to its disk.
const PERSISTENT: u8 = 2;

/// What stands beside the bodies of messages that were published together.
pub(super) fn properties(published: u64, origin: Option<&Origin>) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut number = |name: &str, value: u64| {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        headers.insert(name.into(), AMQPValue::LongLongInt(value));
    };
    number(PUBLISHED, published);
    if let Some(origin) = origin {
        number(ORIGIN_SEQUENCE, origin.sequence);
        number(ORIGIN_FAILURES, origin.failures.into());
        number(ORIGIN_PUBLISHED, origin.published);
        for (name, text) in [
            (ORIGIN_TOPIC, &origin.topic),
            (ORIGIN_GROUP, &origin.group),
            (ORIGIN_REASON, &origin.reason),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(text.as_str().into()));
        }
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(published / 1000)
        .with_headers(headers)
}

/// A message that was delivered, and is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) published: u64,
    /// How often it was delivered before.
    pub(super) attempts: u32,
    pub(super) origin: Option<Box<Origin>>,
    pub(super) body: Vec<u8>,
}

impl Delivered {
    /// One that came with these properties. Whoever published it may not have said when.
    pub(super) fn new(properties: &BasicProperties, body: Vec<u8>, now: u64) -> Self {
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none).inner();
        let published = number(headers, PUBLISHED);
        let by_second = properties.timestamp().map(|it| it.saturating_mul(1000));
        let attempts = number(headers, DELIVERIES).unwrap_or_default();
        Self {
            published: published.or(by_second).unwrap_or(now),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            origin: origin(headers).map(Box::new),
            body,
        }
    }

    /// Whether it may stand in one run with another.
    fn is_like(&self, other: &Self) -> bool {
        (self.published, self.attempts) == (other.published, other.attempts)
            && self.origin.is_none()
            && other.origin.is_none()
    }
}

type Headers = BTreeMap<lapin::types::ShortString, AMQPValue>;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other type holds a whole number"
)]
fn number(headers: &Headers, name: &str) -> Option<u64> {
    let number = match headers.get(name)? {
        AMQPValue::LongLongInt(it) => *it,
        AMQPValue::LongInt(it) => (*it).into(),
        AMQPValue::LongUInt(it) => (*it).into(),
        AMQPValue::ShortInt(it) => (*it).into(),
        AMQPValue::ShortUInt(it) => (*it).into(),
        AMQPValue::ShortShortInt(it) => (*it).into(),
        AMQPValue::ShortShortUInt(it) => (*it).into(),
        _ => return None,
    };
    u64::try_from(number).ok()
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    let AMQPValue::LongString(text) = headers.get(name)? else {
        return None;
    };
    String::from_utf8(text.as_bytes().to_vec()).ok()
}

fn origin(headers: &Headers) -> Option<Origin> {
    Some(Origin {
        sequence: number(headers, ORIGIN_SEQUENCE)?,
        failures: u32::try_from(number(headers, ORIGIN_FAILURES)?).ok()?,
        published: number(headers, ORIGIN_PUBLISHED)?,
        topic: text(headers, ORIGIN_TOPIC)?,
        group: text(headers, ORIGIN_GROUP)?,
        reason: text(headers, ORIGIN_REASON)?,
    })
}

/// Messages in order, as runs, from this sequence on. Those that no client of ours may be sent are left out, and their
/// sequences with them.
pub(super) fn runs<'a>(first: u64, delivered: impl Iterator<Item = &'a Delivered>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut alike: Vec<&Delivered> = Vec::new();
    let mut sequence = first;
    for message in delivered {
        if alike.first().is_some_and(|it| !it.is_like(message)) {
            sequence = finish(&mut runs, sequence, &mut alike);
        }
        alike.push(message);
    }
    finish(&mut runs, sequence, &mut alike);
    runs
}

fn finish(runs: &mut Vec<Run>, first: u64, alike: &mut Vec<&Delivered>) -> u64 {
    let messages = std::mem::take(alike);
    let Some(front) = messages.first() else {
        return first;
    };
    // What is too large was refused when it came.
    if let Ok(batch) = FrameBatch::encode(messages.iter().map(|it| &it.body)) {
        runs.push(Run {
            first,
            published: front.published,
            batch,
            origin: front.origin.clone(),
            attempts: front.attempts,
        });
    }
    first + messages.len() as u64
}
