//! A consumer of Kafka's: of a group that brokers share, or of a consumer's own.

use super::config::Properties;
use super::context::Said;
use super::happened::{Happened, Opening, Tell};
use super::offsets::Offsets;
use message_queue_core::store::OpenFrom;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long Kafka may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a call that does not wait looks again whether something is there: an event that is no message looks like
/// nothing.
const LOOKS: usize = 8;

/// How far a group has got in a partition: the offset that is committed, and its metadata.
pub(super) type Position = (i32, i64, String);

/// One that reads; others may commit by it, and hold it until they have.
#[derive(Clone)]
pub(super) struct Consumer {
    consumer: Arc<BaseConsumer<Context>>,
    topic: Arc<str>,
}

struct Context {
    said: Said,
    tell: Tell,
    /// None for one that reads nothing.
    opening: Option<Opening>,
    /// What is read next may belong to another assignment: this one has to be looked at first.
    is_interrupted: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.said.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.said.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Some(opening) = self.opening else { return };
        self.is_interrupted.store(true, Ordering::Relaxed);
        self.tell.send(match rebalance {
            Rebalance::Assign(partitions) => {
                let partitions = partitions.elements();
                let partitions = partitions.iter().map(|it| it.partition()).collect();
                Happened::Assigned(opening, partitions)
            }
            Rebalance::Revoke(_) | Rebalance::Error(_) => Happened::Revoked(opening),
        });
    }
}

impl Consumer {
    fn new(
        properties: &Properties,
        kafka_group: &str,
        topic: &str,
        opening: Option<Opening>,
        tell: &Tell,
    ) -> KafkaResult<Self> {
        let context = Context {
            said: Said::new(tell.clone()),
            tell: tell.clone(),
            opening,
            is_interrupted: AtomicBool::new(false),
        };
        let config = properties.consumer(kafka_group);
        let mut consumer = BaseConsumer::from_config_and_context(&config, context)?;
        if let Some(opening) = opening {
            let tell = tell.clone();
            consumer.set_nonempty_callback(move || tell.send(Happened::Readable(opening)));
        }
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: topic.into(),
        })
    }

    /// Joins a group. [`Happened::Assigned`] follows when Kafka gives it partitions.
    ///
    /// # Errors
    /// If librdkafka makes none.
    pub(super) fn join(
        properties: &Properties,
        kafka_group: &str,
        topic: &str,
        opening: Opening,
        tell: &Tell,
    ) -> KafkaResult<Self> {
        let consumer = Self::new(properties, kafka_group, topic, Some(opening), tell)?;
        consumer.consumer.subscribe(&[topic])?;
        Ok(consumer)
    }

    /// Reads all partitions from there on. It waits for Kafka.
    ///
    /// # Errors
    /// If Kafka does not say where that is.
    pub(super) fn alone(
        properties: &Properties,
        topic: &str,
        from: OpenFrom,
        opening: Opening,
        tell: &Tell,
    ) -> KafkaResult<(Self, Vec<Position>)> {
        // It is a member of no group, and commits nothing; librdkafka wants a name in any case.
        let consumer = Self::new(properties, "message-queue-own", topic, Some(opening), tell)?;
        let begins = consumer.begins(from)?;
        consumer.consumer.assign(&consumer.list(&begins)?)?;
        let positions = begins
            .into_iter()
            .map(|(partition, offset)| (partition, offset, String::new()));
        Ok((consumer, positions.collect()))
    }

    /// Sees to it that it is committed where a group begins: there, if it is new. It waits for Kafka.
    ///
    /// # Errors
    /// If Kafka does not do that.
    pub(super) fn declare(
        properties: &Properties,
        kafka_group: &str,
        topic: &str,
        from: OpenFrom,
        tell: &Tell,
    ) -> KafkaResult<()> {
        let consumer = Self::new(properties, kafka_group, topic, None, tell)?;
        // Where it begins comes first: another broker may make the group meanwhile, and what it then publishes is behind
        // that.
        let begins = consumer.begins(from)?;
        let partitions = begins.iter().map(|(partition, _)| *partition);
        let committed = consumer.committed(partitions)?;
        if committed.iter().any(|(_, offset, _)| offset.is_some()) {
            return Ok(());
        }
        let begins = consumer.list(&begins)?;
        match consumer.consumer.commit(&begins, CommitMode::Sync) {
            // Another broker has members of it already, and so has made it.
            Err(KafkaError::ConsumerCommit(rdkafka::error::RDKafkaErrorCode::UnknownMemberId)) => {
                Ok(())
            }
            other => other,
        }
    }

    /// The offset of each partition at which a group begins.
    fn begins(&self, from: OpenFrom) -> KafkaResult<Vec<(i32, i64)>> {
        let kept = self.kept()?;
        let found = match from {
            OpenFrom::Time(at) => self.since(&kept, at)?,
            OpenFrom::New | OpenFrom::First | OpenFrom::Last => BTreeMap::new(),
        };
        let begins = kept.into_iter().map(|(partition, (first, end))| {
            let begin = match from {
                OpenFrom::New => end,
                OpenFrom::First => first,
                OpenFrom::Last => first.max(end - 1),
                OpenFrom::Time(_) => found.get(&partition).copied().unwrap_or(end),
            };
            (partition, begin)
        });
        Ok(begins.collect())
    }

    /// The offset of the first record of each partition that was published then or later, if there is one.
    fn since(&self, kept: &BTreeMap<i32, (i64, i64)>, at: u64) -> KafkaResult<BTreeMap<i32, i64>> {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let asked: Vec<_> = kept.keys().map(|partition| (*partition, at)).collect();
        let found = self
            .consumer
            .offsets_for_times(self.list(&asked)?, PATIENCE)?;
        let mut offsets = BTreeMap::new();
        for it in found.elements() {
            it.error()?;
            if let Offset::Offset(offset) = it.offset() {
                offsets.insert(it.partition(), offset);
            }
        }
        Ok(offsets)
    }

    fn list(&self, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
        }
        Ok(list)
    }

    /// The offset of the first record of each partition that is kept, and that after the last.
    fn kept(&self) -> KafkaResult<BTreeMap<i32, (i64, i64)>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), PATIENCE)?;
        let topic = metadata.topics().first().filter(|it| it.error().is_none());
        let partitions = topic.map_or(&[][..], |it| it.partitions());
        if partitions.is_empty() {
            let missing = rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(KafkaError::MetadataFetch(missing));
        }
        let partitions = partitions.iter().map(|it| {
            let kept = self
                .consumer
                .fetch_watermarks(&self.topic, it.id(), PATIENCE)?;
            Ok((it.id(), kept))
        });
        partitions.collect()
    }

    fn committed(
        &self,
        partitions: impl Iterator<Item = i32>,
    ) -> KafkaResult<Vec<(i32, Option<i64>, String)>> {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted.add_partition(&self.topic, partition);
        }
        let committed = self.consumer.committed_offsets(wanted, PATIENCE)?;
        let committed = committed.elements().into_iter().map(|it| {
            it.error()?;
            let offset = match it.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            };
            Ok((it.partition(), offset, it.metadata().to_owned()))
        });
        committed.collect()
    }

    /// How far the group has got in partitions that it was given. It waits for Kafka.
    ///
    /// # Errors
    /// If Kafka does not say.
    pub(super) fn positions(&self, partitions: &[i32]) -> KafkaResult<Vec<Position>> {
        let committed = self.committed(partitions.iter().copied())?;
        let committed = committed.into_iter().map(|(partition, offset, metadata)| {
            let offset = match offset {
                Some(offset) => offset,
                // One that is new: it is read from its begin.
                None => {
                    self.consumer
                        .fetch_watermarks(&self.topic, partition, PATIENCE)?
                        .0
                }
            };
            Ok((partition, offset, metadata))
        });
        committed.collect()
    }

    /// Commits. It waits for Kafka.
    ///
    /// # Errors
    /// If Kafka does not take it.
    pub(super) fn commit(&self, positions: &[Position]) -> KafkaResult<()> {
        let mut partitions = TopicPartitionList::new();
        for (partition, offset, metadata) in positions {
            let mut element = partitions.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            element.set_metadata(metadata.as_str());
        }
        self.consumer.commit(&partitions, CommitMode::Sync)
    }

    /// The next record that is there, if there is one, and no other assignment was made meanwhile.
    pub(super) fn read(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        for _ in 0..LOOKS {
            if self
                .consumer
                .context()
                .is_interrupted
                .load(Ordering::Relaxed)
            {
                return None;
            }
            let read = self.consumer.poll(Duration::ZERO);
            if read.is_some() {
                return read;
            }
        }
        None
    }

    /// The assignment was looked at, and reading goes on.
    pub(super) fn go_on(&self) {
        let context = self.consumer.context();
        context.is_interrupted.store(false, Ordering::Relaxed);
    }

    /// Has nothing more fetched of these partitions, or goes on with them.
    pub(super) fn pause(&self, partitions: impl Iterator<Item = i32>, is_paused: bool) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        // One that is not there any more needs neither.
        let _ = if is_paused {
            self.consumer.pause(&list)
        } else {
            self.consumer.resume(&list)
        };
    }
}

/// What a group has settled of partitions in which it had got so far.
pub(super) fn offsets(positions: Vec<Position>) -> BTreeMap<i32, Offsets> {
    let offsets = positions.into_iter();
    let offsets = offsets
        .map(|(partition, offset, metadata)| (partition, Offsets::committed(offset, &metadata)));
    offsets.collect()
}
