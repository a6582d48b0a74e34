//! The headers that say, beside a dead letter in any engine, where it came from.

pub(in crate::store) const ORIGIN_TOPIC: &str = "mq-origin-topic";
pub(in crate::store) const ORIGIN_GROUP: &str = "mq-origin-group";
pub(in crate::store) const ORIGIN_REASON: &str = "mq-origin-reason";
pub(in crate::store) const ORIGIN_SEQUENCE: &str = "mq-origin-sequence";
pub(in crate::store) const ORIGIN_FAILURES: &str = "mq-origin-failures";
pub(in crate::store) const ORIGIN_PUBLISHED: &str = "mq-origin-published";
