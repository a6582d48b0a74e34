//! A client that asks whether Kafka is there, and makes topics.

use super::config::{MAX_RECORD, Properties};
use super::context::Said;
use super::happened::{Happened, Tell};
use super::producer::Producer;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long it is waited for Kafka to say that it is there: at the start, and later.
const FIRST_PROBE: Duration = Duration::from_secs(5);
const PROBE: Duration = Duration::from_secs(2);

/// How long Kafka may take to make a topic.
const PATIENCE: Duration = Duration::from_secs(10);

/// The replication factor that Kafka is set to.
const AS_SET: i32 = -1;

/// A clone is a reference count.
#[derive(Clone)]
pub(super) struct Admin(Arc<AdminClient<Context>>);

struct Context(Said);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl Admin {
    /// # Errors
    /// If librdkafka makes none.
    pub(super) fn new(properties: &Properties, tell: &Tell) -> KafkaResult<Self> {
        let context = Context(Said::new(tell.clone()));
        let client = AdminClient::from_config_and_context(&properties.admin(), context)?;
        Ok(Self(Arc::new(client)))
    }

    /// Whether Kafka is there. It waits for Kafka.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn probe(&self) -> Result<(), String> {
        let answered = self.0.inner().fetch_metadata(None, PROBE);
        answered.map(drop).map_err(|it| it.to_string())
    }

    /// Sees to it that a topic is there. One that is there already is used as it is.
    ///
    /// # Errors
    /// If Kafka does not make it.
    pub(super) async fn make(&self, topic: &str, partitions: i32) -> Result<(), String> {
        // librdkafka is to answer by then; a topic that nobody answers for would hold up its producers for ever.
        let making = timeout(PATIENCE * 2, self.try_to_make(topic, partitions));
        making
            .await
            .unwrap_or_else(|_| Err("it does not answer".to_owned()))
    }

    async fn try_to_make(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(AS_SET))
            .set("max.message.bytes", MAX_RECORD);
        let options = AdminOptions::new()
            .request_timeout(Some(PATIENCE))
            .operation_timeout(Some(PATIENCE));
        let made = self.0.create_topics([&new], &options).await;
        let made = made.map_err(|it| it.to_string())?;
        for result in made {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                // Whoever may not make it may be allowed to use it.
                Err((_, error)) if !self.has(topic).await => return Err(error.to_string()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a topic is there.
    async fn has(&self, topic: &str) -> bool {
        let (admin, topic) = (Arc::clone(&self.0), topic.to_owned());
        let asked = spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(Some(&topic), PROBE).ok()?;
            let topic = metadata.topics().first()?;
            Some(topic.error().is_none() && !topic.partitions().is_empty())
        });
        asked.await.ok().flatten().unwrap_or(false)
    }
}

/// Why Kafka cannot be used.
pub(super) enum Absent {
    /// librdkafka does not take its properties together.
    Properties(String),
    /// It is there, and refuses the connection.
    Refused(String),
    Away(String),
}

/// Looks whether Kafka is there.
///
/// # Errors
/// If it is not, or cannot be used.
pub(super) async fn look(properties: Properties) -> Result<(), Absent> {
    let (tell, mut told) = unbounded_channel();
    let looking = spawn_blocking(move || {
        // What Kafka does not like is heard by a client that publishes, and by no other that has nothing to do.
        let producer = Producer::new(0, &properties.producer(), &Tell(tell));
        let producer = producer.map_err(|it| Absent::Properties(it.to_string()))?;
        producer.probe(FIRST_PROBE).map_err(Absent::Away)
    });
    let absent = match looking.await {
        Ok(Err(absent)) => absent,
        Ok(Ok(())) | Err(_) => return Ok(()),
    };
    while let Ok(happened) = told.try_recv() {
        if let Happened::Said {
            is_refused: true,
            what,
            ..
        } = happened
        {
            return Err(Absent::Refused(what));
        }
    }
    Err(absent)
}
