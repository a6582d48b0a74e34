//! What there is to do for a topic.

use super::Worker;
use crate::store::kafka::config::Properties;
use crate::store::kafka::consumer::Consumer;
use crate::store::kafka::group::{Group, State};
use crate::store::kafka::happened::{Happened, Opening, Tell};
use crate::store::kafka::producer::To;
use crate::store::kafka::topic::{Step, Topic};
use crate::store::shared::PieceState;
use message_queue_core::TopicId;
use tokio::task::spawn_blocking;

impl Worker {
    /// Does for one topic what there is to do, in this order: what a group is to have is published when it is committed where
    /// the group begins.
    pub(super) fn advance(&mut self, id: TopicId) {
        let (Some(topic), Some(admin), Some(producer)) =
            (self.topics.get_mut(&id), &self.admin, &self.producer)
        else {
            return;
        };
        let appended = topic.pieces.appended();
        self.answers.extend(appended.map(|it| (id, it)));
        self.answers.extend(topic.make_changes().map(|it| (id, it)));
        match topic.is_there {
            Step::Done => {}
            Step::UnderWay => return,
            Step::Wanted => {
                topic.is_there = Step::UnderWay;
                let (tell, admin) = (self.tell.clone(), admin.clone());
                let (name, partitions) = (topic.kafka.clone(), self.options.partitions);
                tokio::spawn(async move {
                    let made = admin.make(&name, partitions).await;
                    tell.send(Happened::Made(id, made));
                });
                return;
            }
        }
        topic.declare_groups(id, &self.properties, &self.tell);
        for failed in topic.advance_groups(id, &self.properties, &self.tell) {
            self.complaint.say(&failed);
        }
        // A commit of nothing is made at once.
        self.answers.extend(topic.make_changes().map(|it| (id, it)));
        if topic.is_refused || !topic.are_groups_placed() {
            return;
        }
        let to = To {
            topic: &topic.kafka,
            key: topic.key.as_deref(),
        };
        for piece in topic.pieces.waiting() {
            if !producer.has_room() {
                break;
            }
            piece.state = PieceState::Sent(producer.number);
            producer.send(id, to, piece, self.options.holds);
        }
    }
}

impl Topic {
    /// Has it committed where groups begin.
    fn declare_groups(&mut self, id: TopicId, properties: &Properties, tell: &Tell) {
        for (name, lasting) in &mut self.lasting {
            if lasting.is_made != Step::Wanted {
                continue;
            }
            lasting.is_made = Step::UnderWay;
            let (group, from) = (format!("{}/{name}", self.kafka), lasting.from);
            let (tell, name, kafka) = (tell.clone(), name.clone(), self.kafka.clone());
            let properties = properties.clone();
            spawn_blocking(move || {
                let declared = Consumer::declare(&properties, &group, &kafka, from, &tell);
                let declared = declared.map_err(|it| it.to_string());
                tell.send(Happened::Declared(id, name, declared));
            });
        }
    }

    /// Brings each group one step further. Returns what has failed at once.
    fn advance_groups(&mut self, id: TopicId, properties: &Properties, tell: &Tell) -> Vec<String> {
        let mut failed = Vec::new();
        for (group_id, group) in &mut self.groups {
            let opening = Opening {
                topic: id,
                group: *group_id,
                number: group.number,
            };
            match (&group.state, &group.name) {
                (State::Wanted, Some(name)) => {
                    let lasting = self.lasting.get(name);
                    if lasting.is_none_or(|it| it.is_made == Step::Done) {
                        let name = format!("{}/{name}", self.kafka);
                        let joined = group.join(&name, &self.kafka, opening, properties, tell);
                        failed.extend(joined.err());
                    }
                }
                (State::Wanted, None) => group.find(&self.kafka, opening, properties, tell),
                (State::Positioning { .. }, _) => group.ask_positions(opening, tell),
                (State::Open(_), _) => group.commit(opening, tell),
                (State::Finding | State::Joining(_), _) => {}
            }
        }
        failed
    }

    /// Whether it is sure for each group where it begins, so that what is published now is behind that.
    fn are_groups_placed(&self) -> bool {
        let mut groups = self.groups.values();
        let mut lasting = self.lasting.values();
        groups.all(|it| !it.is_being_found()) && lasting.all(|it| it.is_made == Step::Done)
    }
}

impl Group {
    /// Whether it is a consumer's own, and is not known to begin anywhere.
    const fn is_being_found(&self) -> bool {
        match self.state {
            State::Wanted => self.name.is_none(),
            State::Finding => true,
            State::Joining(_) | State::Positioning { .. } | State::Open(_) => false,
        }
    }

    fn join(
        &mut self,
        kafka_group: &str,
        kafka_topic: &str,
        opening: Opening,
        properties: &Properties,
        tell: &Tell,
    ) -> Result<(), String> {
        let joined = Consumer::join(properties, kafka_group, kafka_topic, opening, tell);
        let consumer =
            joined.map_err(|it| format!("group {kafka_group}: it cannot be joined: {it}"))?;
        self.state = State::Joining(consumer);
        Ok(())
    }

    fn find(&mut self, kafka_topic: &str, opening: Opening, properties: &Properties, tell: &Tell) {
        self.state = State::Finding;
        let (properties, kafka, from) = (properties.clone(), kafka_topic.to_owned(), self.from);
        let tell = tell.clone();
        spawn_blocking(move || {
            let found = Consumer::alone(&properties, &kafka, from, opening, &tell);
            let found = found.map_err(|it| it.to_string());
            tell.send(Happened::Found(opening, found));
        });
    }

    /// Asks how far it had got, if nobody does.
    fn ask_positions(&mut self, opening: Opening, tell: &Tell) {
        let State::Positioning {
            consumer,
            partitions,
            assignment,
            is_asked,
        } = &mut self.state
        else {
            return;
        };
        if std::mem::replace(is_asked, true) {
            return;
        }
        let (consumer, partitions) = (consumer.clone(), partitions.clone());
        let (assignment, tell) = (*assignment, tell.clone());
        spawn_blocking(move || {
            let positions = consumer.positions(&partitions);
            let positions = positions.map_err(|it| it.to_string());
            tell.send(Happened::Positions(opening, assignment, positions));
        });
    }

    /// Commits what is settled, if nobody does.
    fn commit(&mut self, opening: Opening, tell: &Tell) {
        let Some((consumer, up_to, positions)) = self.take_commit() else {
            return;
        };
        let tell = tell.clone();
        spawn_blocking(move || {
            let committed = consumer.commit(&positions);
            let committed = committed.map_err(|it| it.to_string());
            let partitions = positions.into_iter().map(|it| it.0).collect();
            tell.send(Happened::Committed(opening, up_to, partitions, committed));
        });
    }
}
