//! The engine's task: brings Kafka to where the core wants it, and tells the core what has come of it.
//!
//! ```text
//! what is asked, or has happened (outcome.rs) ─▶ read.rs, advance.rs: what there is to do ─▶ what the core is told
//! ```
//!
//! `reach.rs` sees to it that there is somebody to do it with.

mod advance;
mod outcome;
mod reach;
mod read;

use super::Options;
use super::admin::Admin;
use super::config::Properties;
use super::happened::{Happened, Tell};
use super::producer::Producer;
use super::topic::Topic;
use crate::store::engine::{Listener, Order};
use crate::store::shared::Complaint;
use crate::store::status::StoreStatus;
use message_queue_core::store::{Answer, Request};
use message_queue_core::{GroupId, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// How often it is looked what is to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most that is taken in before the core is told.
const MOST_AT_ONCE: usize = 256;

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
            let Ok(happened) = self.happened.try_recv() else {
                return;
            };
            self.take(happened);
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
            let topic = Topic::new(name, &self.options);
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

    /// Does what there is to do, and tells the core.
    fn proceed(&mut self) {
        for (topic, group) in mem::take(&mut self.readable) {
            self.read(topic, group);
            let arrived = self.arrived(topic, group);
            self.answers.extend(arrived.map(|it| (topic, it)));
        }
        for id in mem::take(&mut self.touched) {
            self.advance(id);
        }
        if !self.answers.is_empty() {
            self.listener.answered(mem::take(&mut self.answers));
        }
    }

    /// What has come for a group since the core was told last.
    fn arrived(&mut self, topic: TopicId, id: GroupId) -> Option<Answer> {
        let group = self.topics.get_mut(&topic)?.groups.get_mut(&id)?;
        group.is_open().then(|| group.window.arrived(id))?
    }
}
