//! What is published: records on their way to Kafka, and word of each piece when all of its records are there.

use super::context::Said;
use super::happened::{Happened, Tell};
use super::record::{Holds, encode};
use crate::store::shared::Piece;
use message_queue_core::TopicId;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What may be on its way, in bytes; a piece more in any case.
const MOST_ON_THE_WAY: usize = 32 << 20;

/// What a record costs librdkafka beside its value, or so.
const RECORD_COST: usize = 256;

/// Publishes, and has a thread on which librdkafka says what came of it.
pub(super) struct Producer {
    /// Of all that there were.
    pub(super) number: u64,
    producer: ThreadedProducer<Context>,
    /// The bytes of what is on its way.
    on_the_way: Arc<AtomicUsize>,
    tell: Tell,
}

struct Context(Said);

/// Where records go.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    /// The topic's name in Kafka.
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a str>,
}

/// A piece on its way: when the last of its records is through, word is sent of it.
struct OnTheWay {
    topic: TopicId,
    last: u64,
    producer: u64,
    bytes: usize,
    of_all: Arc<AtomicUsize>,
    /// Why a record was not taken.
    refused: Mutex<Option<KafkaError>>,
    tell: Tell,
}

impl OnTheWay {
    fn refuse(&self, error: KafkaError) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert(error);
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
        let refused = self
            .refused
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.tell.send(Happened::Confirmed {
            topic: self.topic,
            last: self.last,
            producer: self.producer,
            refused: refused.take(),
        });
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<OnTheWay>;

    fn delivery(&self, result: &DeliveryResult<'_>, piece: Arc<OnTheWay>) {
        if let Err((error, _)) = result {
            piece.refuse(error.clone());
        }
    }
}

impl Producer {
    /// # Errors
    /// If librdkafka makes none.
    pub(super) fn new(
        number: u64,
        config: &rdkafka::ClientConfig,
        tell: &Tell,
    ) -> Result<Self, KafkaError> {
        let context = Context(Said::new(tell.clone()));
        Ok(Self {
            number,
            producer: ThreadedProducer::from_config_and_context(config, context)?,
            on_the_way: Arc::default(),
            tell: tell.clone(),
        })
    }

    /// Whether Kafka is there. It waits for Kafka.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn probe(&self, time: Duration) -> Result<(), String> {
        let answered = self.producer.client().fetch_metadata(None, time);
        answered.map(drop).map_err(|it| it.to_string())
    }

    /// Whether it takes another piece now.
    pub(super) fn has_room(&self) -> bool {
        self.on_the_way.load(Ordering::Relaxed) < MOST_ON_THE_WAY
    }

    /// Whether it can do nothing any more: another one has to take its place.
    pub(super) fn has_failed(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }

    /// Sends a piece. [`Happened::Confirmed`] follows in any case.
    pub(super) fn send(&self, topic: TopicId, to: To<'_>, piece: &Piece, holds: Holds) {
        let records = match holds {
            Holds::Message => piece.batch.messages(),
            Holds::Batch => 1,
        };
        let bytes = piece.batch.byte_len() + records * RECORD_COST;
        self.on_the_way.fetch_add(bytes, Ordering::Relaxed);
        let on_the_way = Arc::new(OnTheWay {
            topic,
            last: piece.last,
            producer: self.number,
            bytes,
            of_all: Arc::clone(&self.on_the_way),
            refused: Mutex::default(),
            tell: self.tell.clone(),
        });
        let published = i64::try_from(piece.published).unwrap_or(i64::MAX);
        let sent = encode(piece, holds, |value, headers| {
            let mut record =
                BaseRecord::<'_, str, [u8], _>::with_opaque_to(to.topic, Arc::clone(&on_the_way))
                    .payload(value)
                    .timestamp(published);
            record.key = to.key;
            record.headers = headers;
            self.producer.send(record).map_err(|(error, _)| error)
        });
        if let Err(error) = sent {
            on_the_way.refuse(error);
        }
    }
}
