//! What has happened is taken in: what Kafka said, and what came of what it was asked.

use super::Worker;
use crate::store::kafka::consumer::{Consumer, Position, offsets};
use crate::store::kafka::group::{Group, State};
use crate::store::kafka::happened::{Happened, Opening};
use crate::store::kafka::producer::Producer;
use crate::store::kafka::topic::Step;
use message_queue_core::store::Answer;
use message_queue_core::{Count, TopicId};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::atomic::Ordering;

impl Worker {
    pub(super) fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Said {
                is_away,
                is_refused,
                what,
            } => {
                if is_refused {
                    self.out_of_reach(&what);
                } else if is_away {
                    self.probe();
                } else {
                    self.complaint.say(&format!("Kafka says: {what}"));
                }
            }
            Happened::Probed(probed) => {
                self.is_probing = false;
                match probed {
                    Ok(()) => self.in_reach(),
                    Err(error) => self.out_of_reach(&error),
                }
            }
            Happened::Made(id, made) => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.is_there = Step::ended(made.is_ok());
                    if let Err(error) = &made {
                        let what =
                            format!("topic {}: Kafka does not make it: {error}", topic.kafka);
                        self.complaint.say(&what);
                    }
                }
                self.touch_if(id, made.is_ok());
            }
            Happened::Declared(id, name, declared) => {
                if let Some(topic) = self.topics.get_mut(&id)
                    && let Some(lasting) = topic.lasting.get_mut(&name)
                {
                    lasting.is_made = Step::ended(declared.is_ok());
                    if let Err(error) = &declared {
                        let group = topic.kafka_group(&name);
                        let what = format!("group {group}: Kafka does not make it: {error}");
                        self.complaint.say(&what);
                    }
                }
                self.touch_if(id, declared.is_ok());
            }
            Happened::Confirmed {
                topic,
                last,
                producer,
                refused,
            } => self.confirmed(topic, last, producer, refused),
            Happened::Readable(opening) => {
                self.readable.insert((opening.topic, opening.group));
            }
            Happened::Found(opening, found) => self.found(opening, found),
            Happened::Assigned(opening, partitions) => {
                self.lose(opening);
                self.assignments += 1;
                let assignment = self.assignments;
                let Some(group) = self.opening(opening) else {
                    return;
                };
                if let Some(consumer) = group.take_consumer() {
                    group.state = State::Positioning {
                        consumer,
                        partitions,
                        assignment,
                        is_asked: false,
                    };
                }
                self.touched.insert(opening.topic);
            }
            Happened::Positions(opening, assignment, positions) => {
                self.positioned(opening, assignment, positions);
            }
            Happened::Revoked(opening) => {
                self.lose(opening);
                self.go_on(opening);
            }
            Happened::Committed(opening, up_to, partitions, committed) => {
                let Some(group) = self.opening(opening) else {
                    return;
                };
                group.is_committing = false;
                if committed.is_ok() {
                    group.committed(up_to);
                } else {
                    group.window.not_committed(&partitions);
                }
                self.touch_if(opening.topic, committed.is_ok());
                if let Err(error) = committed {
                    let what =
                        format!("Kafka does not commit what is tried again each second: {error}");
                    self.complaint.say(&what);
                }
            }
        }
    }

    /// What has failed is tried again when it is looked.
    fn touch_if(&mut self, id: TopicId, is_done: bool) {
        if is_done {
            self.touched.insert(id);
        }
    }

    fn opening(&mut self, opening: Opening) -> Option<&mut Group> {
        self.topics.get_mut(&opening.topic)?.opening(opening)
    }

    /// A group has its partitions no more.
    fn lose(&mut self, opening: Opening) {
        if let Some(group) = self.opening(opening) {
            let lost = group.lose(opening.group);
            if lost.is_some() {
                self.status.rebalances.fetch_add(1, Ordering::Relaxed);
            }
            self.answers.extend(lost.map(|it| (opening.topic, it)));
            self.touched.insert(opening.topic);
        }
    }

    /// What happened to the assignment of a group is taken in, and it is read on.
    fn go_on(&mut self, opening: Opening) {
        if let Some(group) = self.opening(opening)
            && let Some(consumer) = group.consumer()
        {
            consumer.go_on();
            self.readable.insert((opening.topic, opening.group));
        }
    }

    fn found(&mut self, opening: Opening, found: Result<(Consumer, Vec<Position>), String>) {
        match (self.opening(opening), found) {
            (Some(group), Ok((consumer, positions))) => {
                group.state = State::Open(consumer);
                group.window.assign(offsets(positions));
                self.opened(opening);
            }
            (None, Ok((consumer, _))) => {
                self.closing.spawn_blocking(move || drop(consumer));
            }
            (Some(group), Err(error)) => {
                group.state = State::Wanted;
                let what = format!("Kafka does not say where a group begins: {error}");
                self.complaint.say(&what);
            }
            (None, Err(_)) => {}
        }
    }

    fn positioned(
        &mut self,
        opening: Opening,
        current: u64,
        positions: Result<Vec<Position>, String>,
    ) {
        let Some(group) = self.opening(opening) else {
            return;
        };
        let State::Positioning {
            assignment,
            is_asked,
            ..
        } = &mut group.state
        else {
            return;
        };
        if *assignment != current {
            return;
        }
        match positions {
            Ok(positions) => {
                if let Some(consumer) = group.take_consumer() {
                    group.state = State::Open(consumer);
                }
                group.window.assign(offsets(positions));
                self.opened(opening);
            }
            Err(error) => {
                *is_asked = false;
                let what = format!("Kafka does not say how far a group has got: {error}");
                self.complaint.say(&what);
            }
        }
    }

    fn opened(&mut self, opening: Opening) {
        if let Some(group) = self.opening(opening) {
            let opened = Answer::GroupOpened {
                group: opening.group,
                next: group.window.next,
            };
            self.answers.push((opening.topic, opened));
        }
        self.go_on(opening);
        self.touched.insert(opening.topic);
    }

    fn confirmed(&mut self, id: TopicId, last: u64, producer: u64, refused: Option<KafkaError>) {
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        // Kafka keeps what it has, whether there is a group or not.
        let unrouted = refused.is_none().then_some(Count::ZERO);
        topic.pieces.confirmed(last, producer, unrouted);
        match refused.as_ref().map(KafkaError::rdkafka_error_code) {
            None => {
                self.touched.insert(id);
            }
            // A producer that has failed has let go of it.
            Some(Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)) => {}
            Some(code) => {
                topic.is_refused = true;
                let is_gone = matches!(
                    code,
                    Some(
                        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition
                    )
                );
                if is_gone {
                    topic.is_there = Step::Wanted;
                }
                if let Some(error) = refused {
                    let what = format!(
                        "topic {}: Kafka refuses what is sent again each second: {error}",
                        topic.kafka
                    );
                    self.complaint.say(&what);
                }
            }
        }
        // Others may have waited for room.
        if self.producer.as_ref().is_some_and(Producer::has_room) {
            let waiting = self.topics.iter_mut();
            let waiting = waiting.filter_map(|(id, it)| it.is_waiting().then_some(*id));
            self.touched.extend(waiting);
        }
    }
}
