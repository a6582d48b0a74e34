//! What has come for a group is read into its window.

use super::Worker;
use crate::store::clock::wall_clock;
use crate::store::kafka::happened::{Happened, Opening};
use crate::store::kafka::record::decode;
use message_queue_core::{GroupId, TopicId};
use rdkafka::message::Message;
use std::sync::atomic::Ordering;

/// The most records that are read of one group before others.
const MOST_READ: usize = 4_096;

impl Worker {
    /// Reads what is there for a group.
    pub(super) fn read(&mut self, topic: TopicId, id: GroupId) {
        let group = self.topics.get_mut(&topic);
        let Some(group) = group.and_then(|it| it.groups.get_mut(&id)) else {
            return;
        };
        let Some(consumer) = group.consumer().cloned() else {
            return;
        };
        for _ in 0..MOST_READ {
            if !group.may_read() {
                return;
            }
            let message = match consumer.read() {
                None => return,
                Some(Ok(message)) => message,
                // What matters comes from the client's own word, too.
                Some(Err(_)) => continue,
            };
            let (partition, offset) = (message.partition(), message.offset());
            match decode(&message) {
                Ok(content) => {
                    let published = message.timestamp().to_millis();
                    let published = published.and_then(|it| u64::try_from(it).ok());
                    let published = published.unwrap_or_else(wall_clock);
                    group.window.take(partition, offset, published, content);
                }
                Err(error) => {
                    group.window.pass_over(partition, offset);
                    self.status.unreadable.fetch_add(1, Ordering::Relaxed);
                    let topic = message.topic();
                    let what = format!(
                        "topic {topic}, partition {partition}, offset {offset}: the record is passed over: {error}"
                    );
                    self.unreadable.fail(&what);
                }
            }
        }
        // There may be more, after the others.
        let opening = Opening {
            topic,
            group: id,
            number: group.number,
        };
        self.tell.send(Happened::Readable(opening));
    }
}
