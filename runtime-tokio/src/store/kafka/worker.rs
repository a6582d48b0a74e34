//! The engine's task: brings Kafka to where the core wants it, and tells the core what has come of it.

use super::Options;
use super::admin::Admin;
use super::config::Properties;
use super::consumer::{Consumer, offsets};
use super::happened::{Happened, Opening, Tell};
use super::producer::Producer;
use super::record::decode;
use super::topic::{State, Step, Topic};
use crate::store::clock::wall_clock;
use crate::store::engine::{Listener, Order};
use crate::store::shared::{Complaint, PieceState};
use crate::store::status::StoreStatus;
use message_queue_core::store::{Answer, Request};
use message_queue_core::{GroupId, TopicId};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, timeout};
use tracing::info;

/// How often it is looked what is to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most that is taken in before the core is told, and the most records that are read of one group before others.
const MOST_AT_ONCE: usize = 256;
const MOST_READ: usize = 4_096;

/// How long an end waits for what is under way, and then for consumers to say that they go.
const END: Duration = Duration::from_secs(2);

pub(super) struct Worker {
    options: Options,
    properties: Properties,
    status: Arc<StoreStatus>,
    listener: Box<dyn Listener>,
    orders: UnboundedReceiver<Order>,
    happened: UnboundedReceiver<Happened>,
    tell: Tell,
    topics: BTreeMap<TopicId, Topic>,
    admin: Option<Admin>,
    producer: Option<Producer>,
    /// How many producers there were, openings of groups, and assignments of partitions.
    producers: u64,
    openings: u64,
    assignments: u64,
    is_probing: bool,
    /// What has to be closed is, elsewhere.
    closing: JoinSet<()>,
    /// Topics for which there may be something to do, and groups of which something may be read.
    touched: BTreeSet<TopicId>,
    readable: BTreeSet<(TopicId, GroupId)>,
    answers: Vec<(TopicId, Answer)>,
    complaint: Complaint,
    unreadable: Complaint,
}

impl Worker {
    pub(super) fn new(
        options: Options,
        properties: Properties,
        status: Arc<StoreStatus>,
        listener: Box<dyn Listener>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        let (tell, happened) = unbounded_channel();
        Self {
            options,
            properties,
            status,
            listener,
            orders,
            happened,
            tell: Tell(tell),
            topics: BTreeMap::new(),
            admin: None,
            producer: None,
            producers: 0,
            openings: 0,
            assignments: 0,
            is_probing: false,
            closing: JoinSet::new(),
            touched: BTreeSet::new(),
            readable: BTreeSet::new(),
            answers: Vec::new(),
            complaint: Complaint::default(),
            unreadable: Complaint::default(),
        }
    }

    /// Works until nothing more is asked for.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Request(topic, request)) => {
                        self.ask(topic, request);
                        self.take_more();
                    }
                    Some(Order::Settings(_)) => {}
                    Some(Order::End) | None => break,
                },
                Some(happened) = self.happened.recv() => {
                    self.take(happened);
                    self.take_more();
                }
                _ = looks.tick() => self.look(),
            }
            self.proceed();
        }
        // It takes its time, or does not.
        let _ = timeout(END, self.finish()).await;
        self.close();
        let _ = timeout(END, async {
            while self.closing.join_next().await.is_some() {}
        })
        .await;
    }

    /// Takes in what is there already.
    fn take_more(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let mut is_none = true;
            if let Ok(happened) = self.happened.try_recv() {
                self.take(happened);
                is_none = false;
            }
            if is_none {
                break;
            }
        }
    }

    /// Goes on until all that was asked for is done.
    async fn finish(&mut self) {
        while !self.topics.values().all(Topic::is_done) {
            let Some(happened) = self.happened.recv().await else {
                return;
            };
            self.take(happened);
            self.proceed();
        }
    }

    /// Lets go of all clients.
    fn close(&mut self) {
        for (_, mut topic) in mem::take(&mut self.topics) {
            let groups: Vec<_> = topic.groups.keys().copied().collect();
            for id in groups {
                self.close_group(&mut topic, id);
            }
        }
        let clients = (self.producer.take(), self.admin.take());
        self.closing.spawn_blocking(move || drop(clients));
    }

    fn ask(&mut self, id: TopicId, request: Request) {
        if let Request::Open { name, .. } = &request {
            let topic = Topic::new(name, &self.options.prefix);
            self.topics.insert(id, topic);
        } else if let Request::CloseGroup { group } = request {
            if let Some(mut topic) = self.topics.remove(&id) {
                self.close_group(&mut topic, group);
                self.topics.insert(id, topic);
            }
        } else {
            let fetching = if let Request::Fetch { group, .. } = &request {
                Some(*group)
            } else {
                None
            };
            self.openings += 1;
            let topic = self.topics.get_mut(&id);
            let answer = topic.and_then(|it| it.ask(request, self.openings));
            self.answers.extend(answer.map(|it| (id, it)));
            if let Some(group) = fetching {
                // There is room now.
                self.readable.insert((id, group));
                return;
            }
        }
        self.touched.insert(id);
    }

    fn close_group(&mut self, topic: &mut Topic, id: GroupId) {
        let Some(mut group) = topic.close(id) else {
            return;
        };
        let positions = group.window.take_commits(true);
        let Some(consumer) = group.take_consumer() else {
            return;
        };
        self.closing.spawn_blocking(move || {
            if group.name.is_some() && !positions.is_empty() {
                // What could not be committed comes again.
                let _ = consumer.commit(&positions);
            }
            drop(consumer);
        });
    }

    fn take(&mut self, happened: Happened) {
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

    fn opening(&mut self, opening: Opening) -> Option<&mut super::topic::Group> {
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

    fn found(
        &mut self,
        opening: Opening,
        found: Result<(Consumer, Vec<super::consumer::Position>), String>,
    ) {
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
        positions: Result<Vec<super::consumer::Position>, String>,
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
        topic.pieces.confirmed(last, producer, refused.is_none());
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

    fn out_of_reach(&mut self, error: &str) {
        self.status.out_of_reach.store(true, Ordering::Relaxed);
        let what = format!("Kafka is out of reach, and nothing is confirmed: {error}");
        self.complaint.say(&what);
    }

    fn in_reach(&mut self) {
        if self.status.out_of_reach.swap(false, Ordering::Relaxed) {
            info!("connected to Kafka");
        }
        self.touched.extend(self.topics.keys());
    }

    /// Looks whether Kafka is there, if that is not being looked.
    fn probe(&mut self) {
        let Some(admin) = self.admin.clone().filter(|_| !self.is_probing) else {
            return;
        };
        self.is_probing = true;
        let tell = self.tell.clone();
        spawn_blocking(move || tell.send(Happened::Probed(admin.probe())));
    }

    /// Tries again what has failed.
    fn look(&mut self) {
        if let Err(error) = self.make_clients() {
            self.out_of_reach(&error.to_string());
        }
        if self.status.out_of_reach().is_some() {
            self.probe();
        }
        for (id, topic) in &mut self.topics {
            topic.is_refused = false;
            self.touched.insert(*id);
            self.readable
                .extend(topic.groups.keys().map(|it| (*id, *it)));
        }
        while self.closing.try_join_next().is_some() {}
    }

    /// Makes the clients that are not there, and another producer for one that has failed.
    fn make_clients(&mut self) -> Result<(), KafkaError> {
        if self.admin.is_none() {
            self.admin = Some(Admin::new(&self.properties, &self.tell)?);
        }
        if let Some(failed) = self.producer.take_if(|it| it.has_failed()) {
            self.closing.spawn_blocking(move || drop(failed));
            for topic in self.topics.values_mut() {
                topic.pieces.lose_connection();
            }
        }
        if self.producer.is_none() {
            self.producers += 1;
            let config = self.properties.producer();
            self.producer = Some(Producer::new(self.producers, &config, &self.tell)?);
        }
        Ok(())
    }

    /// Does what there is to do, and tells the core.
    fn proceed(&mut self) {
        for (topic, group) in mem::take(&mut self.readable) {
            self.read(topic, group);
        }
        for id in mem::take(&mut self.touched) {
            self.advance(id);
        }
        for (id, topic) in &mut self.topics {
            let groups = topic.groups.iter_mut().filter(|(_, it)| it.is_open());
            let arrived = groups.filter_map(|(group, it)| it.window.arrived(*group));
            self.answers.extend(arrived.map(|it| (*id, it)));
        }
        if !self.answers.is_empty() {
            self.listener.answered(mem::take(&mut self.answers));
        }
    }

    /// Reads what is there for a group.
    fn read(&mut self, topic: TopicId, id: GroupId) {
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

    /// Does for one topic what there is to do, in this order: what a group is to have is published when it is committed where
    /// the group begins.
    fn advance(&mut self, id: TopicId) {
        let (Some(topic), Some(admin), Some(producer)) =
            (self.topics.get_mut(&id), &self.admin, &self.producer)
        else {
            return;
        };
        let appended = topic.pieces.appended();
        let saved = topic.make_changes();
        self.answers
            .extend(appended.into_iter().chain(saved).map(|it| (id, it)));
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
        for (name, lasting) in &mut topic.lasting {
            if lasting.is_made == Step::Wanted {
                lasting.is_made = Step::UnderWay;
                let (group, from) = (format!("{}/{name}", topic.kafka), lasting.from);
                let (tell, name, kafka) = (self.tell.clone(), name.clone(), topic.kafka.clone());
                let properties = self.properties.clone();
                spawn_blocking(move || {
                    let declared = Consumer::declare(&properties, &group, &kafka, from, &tell);
                    let declared = declared.map_err(|it| it.to_string());
                    tell.send(Happened::Declared(id, name, declared));
                });
            }
        }
        let mut are_found = true;
        for (group_id, group) in &mut topic.groups {
            let opening = Opening {
                topic: id,
                group: *group_id,
                number: group.number,
            };
            let tell = self.tell.clone();
            let (properties, kafka) = (&self.properties, &topic.kafka);
            match (&mut group.state, &group.name) {
                (State::Wanted, Some(name)) => {
                    if topic
                        .lasting
                        .get(name)
                        .is_some_and(|it| it.is_made != Step::Done)
                    {
                        continue;
                    }
                    let name = format!("{kafka}/{name}");
                    match Consumer::join(properties, &name, kafka, opening, &tell) {
                        Ok(consumer) => group.state = State::Joining(consumer),
                        Err(error) => {
                            let what = format!("group {name}: it cannot be joined: {error}");
                            self.complaint.say(&what);
                        }
                    }
                }
                (State::Wanted, None) => {
                    group.state = State::Finding;
                    let (properties, kafka, from) = (properties.clone(), kafka.clone(), group.from);
                    spawn_blocking(move || {
                        let found = Consumer::alone(&properties, &kafka, from, opening, &tell);
                        let found = found.map_err(|it| it.to_string());
                        tell.send(Happened::Found(opening, found));
                    });
                    are_found = false;
                }
                (State::Finding, _) => are_found = false,
                (
                    State::Positioning {
                        consumer,
                        partitions,
                        assignment,
                        is_asked,
                    },
                    _,
                ) if !*is_asked => {
                    *is_asked = true;
                    let (consumer, partitions) = (consumer.clone(), partitions.clone());
                    let assignment = *assignment;
                    spawn_blocking(move || {
                        let positions = consumer.positions(&partitions);
                        let positions = positions.map_err(|it| it.to_string());
                        tell.send(Happened::Positions(opening, assignment, positions));
                    });
                }
                (State::Joining(_) | State::Positioning { .. }, _) => {}
                (State::Open(_), _) => {
                    if let Some((consumer, up_to, positions)) = group.take_commit() {
                        spawn_blocking(move || {
                            let committed = consumer.commit(&positions);
                            let committed = committed.map_err(|it| it.to_string());
                            let partitions = positions.into_iter().map(|it| it.0).collect();
                            tell.send(Happened::Committed(opening, up_to, partitions, committed));
                        });
                    }
                }
            }
        }
        // A commit of nothing is made at once.
        self.answers.extend(topic.make_changes().map(|it| (id, it)));
        if topic.is_refused || !are_found || !topic.are_all_made() {
            return;
        }
        for piece in topic.pieces.waiting() {
            if !producer.has_room() {
                break;
            }
            piece.state = PieceState::Sent(producer.number);
            producer.send(id, &topic.kafka, piece, self.options.holds);
        }
    }
}
