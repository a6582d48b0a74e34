//! The engine's task: brings the connection to where the core wants it, and tells the core what has come of it.

use super::link::{Failure, Happened, Heard, Link};
use super::message::Delivered;
use super::topic::{Change, ChangeState, Group, Topic};
use super::{PATIENCE, Target, connect};
use crate::store::clock::wall_clock;
use crate::store::engine::{Listener, Order};
use crate::store::shared::{Complaint, PieceState};
use crate::store::status::StoreStatus;
use message_queue_core::store::{Answer, Request};
use message_queue_core::wire::MAX_FRAME_BODY;
use message_queue_core::{GroupId, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{interval, sleep, timeout};
use tracing::{error, info};

/// How often it is looked whether the connection stands, and what RabbitMQ has refused is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long it takes until it is tried again to connect: so long at first, and twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The most that is taken in before the core is told.
const MOST_AT_ONCE: usize = 256;

pub(super) struct Worker {
    target: Target,
    status: Arc<StoreStatus>,
    listener: Box<dyn Listener>,
    orders: UnboundedReceiver<Order>,
    happened: UnboundedReceiver<Happened>,
    tell: UnboundedSender<Happened>,
    topics: BTreeMap<TopicId, Topic>,
    link: Option<Link>,
    /// How many connections there were, and consumers.
    links: u64,
    consumers: u64,
    wait: Duration,
    /// Topics for which there may be something to do.
    touched: BTreeSet<TopicId>,
    answers: Vec<(TopicId, Answer)>,
    complaint: Complaint,
}

impl Worker {
    pub(super) fn new(
        target: Target,
        status: Arc<StoreStatus>,
        listener: Box<dyn Listener>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        let (tell, happened) = unbounded_channel();
        Self {
            target,
            status,
            listener,
            orders,
            happened,
            tell,
            topics: BTreeMap::new(),
            link: None,
            links: 0,
            consumers: 0,
            wait: Duration::ZERO,
            touched: BTreeSet::new(),
            answers: Vec::new(),
            complaint: Complaint::default(),
        }
    }

    /// Works until nothing more is asked for.
    pub(super) async fn run(mut self) {
        self.connect();
        let mut looks = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Request(topic, request)) => self.ask(topic, request).await,
                    Some(Order::Settings(_)) => {}
                    Some(Order::End) | None => break,
                },
                Some(happened) = self.happened.recv() => {
                    self.take(happened).await;
                    for _ in 0..MOST_AT_ONCE {
                        let Ok(happened) = self.happened.try_recv() else { break };
                        self.take(happened).await;
                    }
                }
                _ = looks.tick() => self.touched.extend(self.topics.keys()),
            }
            let touched = mem::take(&mut self.touched);
            self.proceed(&touched).await;
            self.tell_core(&touched);
        }
        if let Some(link) = self.link.take() {
            // It takes its time, or does not.
            let _ = timeout(LOOK_EVERY, link.close()).await;
        }
    }

    fn connect(&self) {
        let (target, tell, wait) = (self.target.clone(), self.tell.clone(), self.wait);
        tokio::spawn(async move {
            sleep(wait).await;
            // When the worker is gone nobody wants to know.
            let _ = tell.send(Happened::Connected(connect(&target).await));
        });
    }

    fn connect_later(&mut self) {
        let doubled = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        self.wait = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.connect();
    }

    async fn ask(&mut self, id: TopicId, request: Request) {
        match request {
            Request::Open { name, .. } => {
                self.topics.insert(id, Topic::new(name));
            }
            Request::CloseGroup { group } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.close(group);
                }
                self.close_group(id, group).await;
            }
            request @ (Request::Append { .. }
            | Request::Fetch { .. }
            | Request::SaveGroup { .. }
            | Request::RemoveGroup { .. }
            | Request::Change(_)
            | Request::OpenGroup { .. }) => {
                let topic = self.topics.get_mut(&id);
                let answer = topic.and_then(|it| it.ask(request));
                self.answers.extend(answer.map(|it| (id, it)));
            }
        }
        self.touched.insert(id);
    }

    async fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Connected(Ok(connection)) => {
                self.links += 1;
                let (prefix, tell) = (self.target.prefix.clone(), self.tell.clone());
                match timeout(PATIENCE, Link::new(self.links, connection, prefix, tell)).await {
                    Ok(Ok(link)) => {
                        info!("connected to RabbitMQ");
                        self.link = Some(link);
                        self.wait = Duration::ZERO;
                        self.status.out_of_reach.store(false, Ordering::Relaxed);
                        self.touched.extend(self.topics.keys());
                    }
                    Ok(Err(error)) => self.not_connected(&error),
                    Err(_) => self.not_connected("it does not answer"),
                }
            }
            Happened::Connected(Err(error)) => self.not_connected(&error),
            Happened::Opened(topic, id, consumer) => {
                if let Some(group) = self.group(topic, id)
                    && group.opening == Some(consumer)
                {
                    let opened = group.opened(id, consumer);
                    self.answers.push((topic, opened));
                }
            }
            Happened::NotOpened(topic, id, consumer) => {
                let is_news = self
                    .group(topic, id)
                    .is_some_and(|it| it.opening == Some(consumer));
                if is_news && let Some(topic) = self.topics.get(&topic) {
                    let topic = topic.name.clone();
                    self.complaint.say(&format!(
                        "topic {topic}: the queue of a group does not answer; it may have no leader in RabbitMQ"
                    ));
                }
            }
            Happened::Delivered(topic, group, consumer, delivery) => {
                self.deliver(topic, group, consumer, *delivery).await;
            }
            Happened::Ended(topic, id, consumer, why) => {
                let group = self.group(topic, id);
                let Some(group) = group.filter(|it| it.is_by(consumer)) else {
                    return;
                };
                let lost = group.lose(id).map(|it| (topic, it));
                self.answers.extend(lost);
                self.close_group(topic, id).await;
                self.complaint
                    .say(&format!("a group is delivered nothing more: {why}"));
            }
            Happened::Confirmed(id, last, link, unrouted) => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.pieces.confirmed(last, link, unrouted);
                    self.touched.insert(id);
                }
            }
            Happened::Heard(id, change, number, heard) => {
                let is_current = self.link.as_ref().is_some_and(|it| it.number == number);
                if heard == Heard::Unanswered && is_current {
                    self.lose("it does not answer");
                } else if let Some(topic) = self.topics.get_mut(&id) {
                    topic.heard(change, number, heard == Heard::Yes);
                    self.touched.insert(id);
                }
            }
        }
    }

    fn group(&mut self, topic: TopicId, id: GroupId) -> Option<&mut Group> {
        self.topics.get_mut(&topic)?.groups.get_mut(&id)
    }

    async fn close_group(&mut self, topic: TopicId, id: GroupId) {
        if let Some(link) = &mut self.link {
            let closing = timeout(PATIENCE, link.close_group(topic, id));
            if closing.await.is_err() {
                self.lose("it does not answer");
            }
        }
    }

    fn not_connected(&mut self, error: &str) {
        self.complaint.say(&format!(
            "RabbitMQ is out of reach, and nothing is confirmed: {error}"
        ));
        self.connect_later();
    }

    async fn deliver(
        &mut self,
        topic: TopicId,
        id: GroupId,
        consumer: u64,
        delivery: lapin::message::Delivery,
    ) {
        let group = self.group(topic, id);
        let Some(group) = group.filter(|it| it.open == Some(consumer)) else {
            return;
        };
        let (tag, size) = (delivery.delivery_tag, delivery.data.len());
        if size > MAX_FRAME_BODY {
            error!(
                size,
                "a message in RabbitMQ is larger than a client may be sent: it is rejected there"
            );
            if let Some(link) = &self.link {
                link.reject((topic, id), tag).await;
            }
            return;
        }
        let delivered = Delivered::new(&delivery.properties, delivery.data, wall_clock());
        group.take_delivery(tag, delivered);
        self.touched.insert(topic);
    }

    /// Brings the connection to where the core wants it.
    async fn proceed(&mut self, touched: &BTreeSet<TopicId>) {
        if self.link.as_ref().is_some_and(|it| !it.is_connected()) {
            self.lose("the connection has ended");
        }
        for &id in touched {
            let (Some(topic), Some(link)) = (self.topics.get_mut(&id), &mut self.link) else {
                continue;
            };
            let mut answers = Vec::new();
            let consumers = &mut self.consumers;
            let done = timeout(PATIENCE, advance(id, topic, link, consumers, &mut answers)).await;
            self.answers.extend(answers.into_iter().map(|it| (id, it)));
            match done {
                Ok(Ok(())) => {}
                Ok(Err(Failure::Refused(error))) => {
                    let topic = topic.name.clone();
                    self.complaint.say(&format!(
                        "topic {topic}: RabbitMQ refuses what is tried again each second: {error}"
                    ));
                }
                Ok(Err(Failure::Lost(error))) => self.lose(&error),
                Err(_) => self.lose("it does not answer"),
            }
        }
    }

    fn lose(&mut self, why: &str) {
        let Some(link) = self.link.take() else {
            return;
        };
        // What RabbitMQ has not heard of its end it hands out again all the sooner if it can be told.
        tokio::spawn(timeout(LOOK_EVERY, link.close()));
        self.status.out_of_reach.store(true, Ordering::Relaxed);
        self.complaint
            .say(&format!("the connection to RabbitMQ is lost: {why}"));
        for (id, topic) in &mut self.topics {
            let lost = topic.lose_connection();
            self.answers.extend(lost.into_iter().map(|it| (*id, it)));
        }
        self.connect_later();
    }

    /// What is delivered touches its topic.
    fn tell_core(&mut self, touched: &BTreeSet<TopicId>) {
        for id in touched {
            let Some(topic) = self.topics.get_mut(id) else {
                continue;
            };
            let arrived = topic.groups.iter_mut();
            let arrived = arrived.filter_map(|(group, it)| it.arrived(*group));
            self.answers.extend(arrived.map(|it| (*id, it)));
        }
        if !self.answers.is_empty() {
            self.listener.answered(mem::take(&mut self.answers));
        }
    }
}

/// Does for one topic what there is to do, in this order: what a group is to have is published when its queue is there.
async fn advance(
    id: TopicId,
    topic: &mut Topic,
    link: &mut Link,
    consumers: &mut u64,
    answers: &mut Vec<Answer>,
) -> Result<(), Failure> {
    answers.extend(topic.pieces.appended());
    link.declare_topic(id, &topic.name).await?;
    for name in &topic.lasting {
        link.declare_group(id, &topic.name, name).await?;
    }
    let wanted = topic.changes.iter_mut();
    for change in wanted.filter(|it| it.state == ChangeState::Wanted) {
        change.state = tell_of(change, id, &mut topic.groups, link).await?;
    }
    answers.extend(topic.saved());
    for (group, it) in &mut topic.groups {
        if !it.is_open_or_opening() {
            *consumers += 1;
            let name = it.name.as_ref();
            link.open_group((id, *group), &topic.name, name, it.most, *consumers)
                .await?;
            it.opening = Some(*consumers);
        } else if it.name.is_none()
            && let Some(tag) = it.taken()
        {
            link.acknowledge((id, *group), Some(tag), Vec::new())
                .await?;
        }
    }
    for piece in topic.pieces.waiting() {
        link.publish(id, &topic.name, piece).await?;
        piece.state = PieceState::Sent(link.number);
    }
    Ok(())
}

/// Tells RabbitMQ of a change. Returns how far that is then.
async fn tell_of(
    change: &Change,
    topic: TopicId,
    groups: &mut BTreeMap<GroupId, Group>,
    link: &Link,
) -> Result<ChangeState, Failure> {
    let Some((name, progress)) = &change.settled else {
        return Ok(ChangeState::Made);
    };
    let mut groups = groups.iter_mut();
    let Some((id, group)) = groups.find(|(_, it)| it.name.as_ref() == Some(name)) else {
        return Ok(ChangeState::Made);
    };
    let (key, (up_to, others)) = ((topic, *id), group.settle(progress));
    if up_to.is_none() && others.is_empty() {
        return Ok(ChangeState::Made);
    }
    link.acknowledge(key, up_to, others).await?;
    let is_asked = link.ask_whether_heard(key, group.most, change.number);
    Ok(if is_asked {
        ChangeState::Told(link.number)
    } else {
        ChangeState::Made
    })
}
