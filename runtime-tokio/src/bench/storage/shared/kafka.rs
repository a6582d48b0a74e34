//! Kafka without a broker of ours: rdkafka alone. Its producer is set up as the broker's, and has a thread that hears of what was
//! delivered, which is rdkafka's way to publish much; its consumer is set up as the library is by itself.

use super::Did;
use super::meter::Meter;
use super::place::{Names, Place};
use crate::bench::error::BenchError;
use crate::bench::plan::Plan;
use crate::bench::run::Progress;
use crate::store::{KAFKA_MAX_RECORD, KafkaOptions, KafkaProperties};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long Kafka may take to answer, or to deliver the first message to a group.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to answer the first time.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// How long a producer or a consumer waits until it looks whether it waits in vain.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Kafka {
    prefix: String,
    partitions: i32,
    properties: KafkaProperties,
    admin: AdminClient<DefaultClientContext>,
    runtime: Runtime,
}

impl Kafka {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, BenchError> {
        let properties =
            KafkaProperties::read(options).map_err(|error| failed(&error.to_string()))?;
        let admin = AdminClient::from_config_and_context(&properties.admin(), DefaultClientContext);
        let admin = admin.map_err(of_kafka)?;
        // A broker would wait for it.
        let asked = admin.inner().fetch_metadata(None, FIRST_ANSWER);
        asked.map_err(of_kafka)?;
        Ok(Self {
            prefix: options.prefix.clone(),
            partitions: options.partitions,
            properties,
            admin,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }
}

fn failed(what: &str) -> BenchError {
    BenchError::Engine {
        engine: "kafka",
        what: what.to_owned(),
    }
}

fn of_kafka(error: KafkaError) -> BenchError {
    failed(&error.to_string())
}

/// What came of what was sent.
struct Delivered {
    messages: AtomicU64,
    /// The sender wants to be woken at so many.
    wake_at: AtomicU64,
    sender: Thread,
    refused: Mutex<Option<KafkaError>>,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert(error.clone());
        }
        // Its sender stores the one and loads the other, too: one of both sees that it is time.
        let messages = self.messages.fetch_add(1, Ordering::SeqCst) + 1;
        if messages == self.wake_at.load(Ordering::SeqCst) {
            self.sender.unpark();
        }
    }
}

impl Delivered {
    fn new() -> Self {
        Self {
            messages: AtomicU64::new(0),
            wake_at: AtomicU64::new(0),
            sender: thread::current(),
            refused: Mutex::default(),
        }
    }

    /// Waits until so many are delivered.
    fn wait(&self, messages: u64) -> Result<(), BenchError> {
        self.wake_at.store(messages, Ordering::SeqCst);
        while self.messages.load(Ordering::SeqCst) < messages {
            let refused = self.refused.lock();
            let refused = refused.unwrap_or_else(PoisonError::into_inner).take();
            refused.map_or(Ok(()), |it| Err(of_kafka(it)))?;
            thread::park_timeout(LOOK_EVERY);
        }
        let refused = self.refused.lock();
        let refused = refused.unwrap_or_else(PoisonError::into_inner).take();
        refused.map_or(Ok(()), |it| Err(of_kafka(it)))
    }
}

impl Place for Kafka {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn settings(&self, names: &Names) -> Vec<(&'static str, OsString)> {
        vec![
            ("STORAGE", "kafka".into()),
            ("KAFKA_TOPIC_PREFIX", names.prefix.clone().into()),
        ]
    }

    fn make(&self, names: &Names) -> Result<(), BenchError> {
        let topic = names.topic();
        // The replication factor that Kafka is set to.
        let replication = TopicReplication::Fixed(-1);
        let new = NewTopic::new(&topic, self.partitions, replication)
            .set("max.message.bytes", KAFKA_MAX_RECORD);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = self
            .runtime
            .block_on(self.admin.create_topics([&new], &options));
        for topic in made.map_err(of_kafka)? {
            topic.map_err(|(topic, error)| failed(&format!("{topic}: {error}")))?;
        }
        Ok(())
    }

    fn publish(
        &self,
        names: &Names,
        plan: &Plan,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError> {
        let topic = names.topic();
        let config = self.properties.producer();
        let producer: ThreadedProducer<Delivered> =
            ThreadedProducer::from_config_and_context(&config, Delivered::new())
                .map_err(of_kafka)?;
        let delivered = producer.context();
        let body = vec![b'x'; plan.size];
        let send = || {
            let record = BaseRecord::<(), [u8]>::to(&topic).payload(&body);
            producer.send(record).map_err(|(error, _)| of_kafka(error))
        };
        send()?;
        delivered.wait(1)?;
        let window = u64::from(plan.guarantees.window);
        let mut meter = Meter::start();
        let mut sent = 0;
        loop {
            let left = plan.volume.left(sent, meter.elapsed());
            if left == 0 {
                break;
            }
            let on_their_way = sent + 1 - delivered.messages.load(Ordering::SeqCst);
            let room = window.saturating_sub(on_their_way).min(left);
            for _ in 0..room {
                send()?;
            }
            sent += room;
            // Half of the window is on its way while the other is delivered.
            delivered.wait(sent + 1 - window.min(sent) / 2)?;
            meter.tell(sent, sent - window / 2, progress);
        }
        delivered.wait(sent + 1)?;
        Ok(meter.stop(sent))
    }

    fn drain(
        &self,
        names: &Names,
        _plan: &Plan,
        messages: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Did, BenchError> {
        let mut config = self.properties.admin();
        config
            .set("group.id", names.group())
            .set("auto.offset.reset", "earliest")
            // What is stored is committed now and then by the library: its documentation's way to lose nothing.
            .set("enable.auto.offset.store", "false");
        let mut meter = Meter::start();
        let consumer: BaseConsumer = config.create().map_err(of_kafka)?;
        consumer.subscribe(&[&names.topic()]).map_err(of_kafka)?;
        let mut taken = 0;
        while taken < messages {
            match consumer.poll(LOOK_EVERY) {
                Some(Ok(message)) => {
                    if taken == 0 {
                        meter.restart_clock();
                    }
                    taken += 1;
                    consumer
                        .store_offset_from_message(&message)
                        .map_err(of_kafka)?;
                    meter.tell(taken, taken, progress);
                }
                Some(Err(error)) => return Err(of_kafka(error)),
                None if meter.elapsed() < PATIENCE => {}
                None => return Err(failed("a group gets nothing of what is there")),
            }
        }
        let did = meter.stop(taken);
        let committed = consumer.commit_consumer_state(CommitMode::Sync);
        committed.map_err(of_kafka)?;
        Ok(did)
    }

    fn delete(&self, names: &Names) -> Result<(), BenchError> {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let (topic, group) = (names.topic(), names.group());
        let topics = [topic.as_str()];
        let deleted = self
            .runtime
            .block_on(self.admin.delete_topics(&topics, &options));
        for topic in deleted.map_err(of_kafka)? {
            match topic {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, error)) => return Err(failed(&format!("{topic}: {error}"))),
            }
        }
        let groups = [group.as_str()];
        let deleted = self
            .runtime
            .block_on(self.admin.delete_groups(&groups, &options));
        for group in deleted.map_err(of_kafka)? {
            match group {
                // One that still has the member of a broker that was ended goes when Kafka has missed that, by itself: the
                // topic is gone.
                Ok(_)
                | Err((_, RDKafkaErrorCode::GroupIdNotFound | RDKafkaErrorCode::NonEmptyGroup)) => {
                }
                Err((group, error)) => return Err(failed(&format!("{group}: {error}"))),
            }
        }
        Ok(())
    }
}
