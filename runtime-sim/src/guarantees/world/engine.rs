//! The engine that topics are kept in, where other brokers share it: one model of it for each topic.

use super::World;
use super::peers::Machine;
use crate::guarantees::history::{EngineEvent, Event};
use crate::guarantees::plan::Begin;
use crate::guarantees::world::host::bodies;
use bytes::BytesMut;
use message_queue_core::names::Name;
use message_queue_core::store::{Answer, Engine, News, OpenFrom, Request};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Control;
use message_queue_core::{GroupId, TopicId};
use std::collections::BTreeMap;

/// The engine, topic by topic.
#[derive(Default)]
pub(super) struct Engines {
    topics: BTreeMap<TopicId, Engine>,
    /// The names of the groups that were opened.
    names: BTreeMap<GroupId, String>,
    /// How many messages other brokers have sent.
    sent_by_others: u64,
}

impl Engines {
    /// Whether it has nothing to do, and nothing is left that somebody is to settle.
    pub(super) fn is_done(&self) -> bool {
        let mut topics = self.topics.values();
        topics.all(|it| it.pieces() + it.changes() + it.fetches() + it.unsettled() == 0)
    }

    fn name_of(&self, group: GroupId) -> String {
        self.names.get(&group).cloned().unwrap_or_default()
    }

    fn topic(&mut self, id: TopicId) -> &mut Engine {
        self.topics.get_mut(&id).expect("it was opened")
    }
}

impl World<'_> {
    /// The broker asks for something.
    pub(super) fn ask_engine(&mut self, id: TopicId, request: Request) {
        let profile = self.settings.engine.expect("topics are kept in one");
        let event = match &request {
            Request::Open { name, .. } => {
                let engine = Engine::new(name.clone(), profile.profile());
                self.engines.topics.insert(id, engine);
                return;
            }
            Request::OpenGroup {
                group, name, from, ..
            } => {
                let name = match (group, name) {
                    (GroupId::Own(conn), _) => format!("own-{}", conn.0),
                    (_, name) => name.as_ref().map_or_else(String::new, Name::to_string),
                };
                self.engines.names.insert(*group, name.clone());
                let from = match from {
                    OpenFrom::New => Begin::New,
                    OpenFrom::First => Begin::First,
                    OpenFrom::Last => Begin::Last,
                    OpenFrom::Time(at) => Begin::After(at - super::STARTED_MS),
                };
                Some(EngineEvent::Opening { group: name, from })
            }
            Request::SaveGroup {
                group, progress, ..
            } => Some(EngineEvent::Saving {
                group: group.to_string(),
                up_to: progress.settled_up_to,
                above: progress.settled.clone(),
            }),
            Request::CloseGroup { group } => Some(EngineEvent::Closing {
                group: self.engines.name_of(*group),
            }),
            Request::Append { .. }
            | Request::Fetch { .. }
            | Request::RemoveGroup { .. }
            | Request::Change(_) => None,
        };
        self.engines.topic(id).ask(request);
        if let Some(event) = event {
            self.record_of_engine(id, event);
        }
    }

    fn record_of_engine(&mut self, id: TopicId, event: EngineEvent) {
        let topic = self.engines.topic(id).name().to_string();
        self.record(Event::Engine { topic, event });
    }

    /// Something was done with one topic: what has happened there is recorded, and the broker is told.
    fn done(&mut self, id: TopicId, answers: impl IntoIterator<Item = Answer>) {
        self.record_news(id, false);
        for answer in answers {
            if let Answer::GroupOpened { group, next } = &answer {
                let (group, next) = (self.engines.name_of(*group), *next);
                self.record_of_engine(id, EngineEvent::Opened { group, next });
            }
            self.broker.handle_answer(id, answer, self.now);
            self.outputs();
        }
    }

    fn record_news(&mut self, id: TopicId, is_of_others: bool) {
        for news in self.engines.topic(id).take_news() {
            let event = match news {
                News::Kept(batch, origin) => EngineEvent::Kept {
                    bodies: bodies(&batch),
                    origin: origin.map(|it| *it),
                    is_of_others,
                },
                News::Delivered {
                    group,
                    sequence,
                    copy,
                    message,
                } => EngineEvent::Delivered {
                    group: self.engines.name_of(group),
                    sequence,
                    copy,
                    attempts: message.attempts,
                    body: bodies(&message.batch).concat(),
                },
                News::Settled(group, sequences) => EngineEvent::Settled {
                    group: self.engines.name_of(group),
                    sequences,
                },
                News::SettledElsewhere(group, settled) => EngineEvent::SettledElsewhere {
                    group: group.to_string(),
                    bodies: settled.iter().flat_map(bodies).collect(),
                },
                News::Lost(group) => EngineEvent::Lost {
                    group: self.engines.name_of(group),
                },
            };
            self.record_of_engine(id, event);
        }
    }

    fn some_topic(&mut self) -> Option<TopicId> {
        let topics: Vec<TopicId> = self.engines.topics.keys().copied().collect();
        (!topics.is_empty()).then(|| self.rng.pick(&topics))
    }

    /// The engine does some of what it is asked to.
    pub(super) fn engine_works(&mut self) {
        for _ in 0..self.rng.within(4..=24) {
            let Some(id) = self.some_topic() else { return };
            let (act, some) = (self.rng.within(0..=9), self.rng.within(0..=2) as usize);
            let (number, partitions) = (self.rng.next_u64(), self.rng.within(0..=7));
            let engine = self.engines.topic(id);
            let pick = |groups: Vec<GroupId>| {
                let count = groups.len().max(1);
                groups.into_iter().nth(number as usize % count)
            };
            let answer = match act {
                0 => {
                    engine.write(some);
                    None
                }
                1 => engine.confirm(),
                2 => engine.change(),
                3 => pick(engine.wanted()).and_then(|it| engine.open(it, partitions)),
                4 | 5 => {
                    if let Some(group) = pick(engine.open_groups()) {
                        engine.deliver(group, 1 + 3 * some, partitions as usize);
                    }
                    None
                }
                6 => pick(engine.open_groups()).and_then(|it| engine.tell(it)),
                7 if some == 0 => engine.tell_late(),
                8 if some == 0 => engine.fail_to_fetch(0),
                _ => engine.fetch(some.min(engine.fetches().saturating_sub(1))),
            };
            self.done(id, answer);
        }
    }

    /// The engine takes something back.
    pub(super) fn engine_fails(&mut self) {
        if self.rng.chance(40) {
            // All topics have one connection.
            let ids: Vec<TopicId> = self.engines.topics.keys().copied().collect();
            let kind = self.rng.within(0..=2);
            let mut rng = self.rng.clone();
            for id in ids {
                let written = &mut |messages: usize| match kind {
                    0 => 0,
                    1 => messages,
                    _ => rng.within(0..=messages as u64) as usize,
                };
                let lost = self.engines.topic(id).lose(written);
                self.done(id, lost);
            }
            return;
        }
        let Some(id) = self.some_topic() else { return };
        let open = self.engines.topic(id).open_groups();
        if !open.is_empty() {
            let group = self.rng.pick(&open);
            let lost = self.engines.topic(id).lose_group(group);
            self.done(id, lost);
        }
    }

    /// The engine can be reached again.
    pub(super) fn engine_returns(&mut self) {
        self.engines.topics.values_mut().for_each(Engine::reach);
    }

    /// Other brokers publish, or take and settle.
    pub(super) fn others_work(&mut self) {
        for _ in 0..self.rng.within(1..=4) {
            self.others_do_something();
        }
    }

    fn others_do_something(&mut self) {
        let Some(id) = self.some_topic() else { return };
        let (act, some) = (self.rng.within(0..=4), self.rng.within(1..=4));
        let queue = self.rng.next_u64() as usize;
        let published = super::STARTED_MS + self.at() / crate::plan::MILLISECOND;
        let is_dead = self.engines.topic(id).name().as_str().ends_with(".dead");
        match act {
            // What others give up is theirs.
            0 if !is_dead => {
                let first = self.engines.sent_by_others;
                self.engines.sent_by_others += some;
                let messages = (first..first + some).map(|it| format!("other-{it}-"));
                let messages: Vec<String> = messages.collect();
                let batch = FrameBatch::encode(&messages).expect("small messages");
                self.engines.topic(id).publish(batch, published);
            }
            0 | 1 => self.engines.topic(id).end_elsewhere(queue, false),
            2 | 3 => self
                .engines
                .topic(id)
                .deliver_elsewhere(queue, some as usize),
            _ => self.engines.topic(id).end_elsewhere(queue, true),
        }
        self.record_news(id, true);
    }

    /// From now on this broker is the only one.
    pub(super) fn others_end(&mut self) {
        self.engine_returns();
        let ids: Vec<TopicId> = self.engines.topics.keys().copied().collect();
        for id in ids {
            let part = self.engines.topic(id).others_end();
            for group in part {
                let lost = self.engines.topic(id).lose_group(group);
                self.done(id, lost);
            }
        }
    }

    /// The engine does all that it is asked to.
    pub(super) fn engine_does_everything(&mut self) {
        let ids: Vec<TopicId> = self.engines.topics.keys().copied().collect();
        for id in ids {
            for number in 0..self.engines.topic(id).pieces() {
                self.engines.topic(id).write(number);
            }
            while let Some(appended) = self.engines.topic(id).confirm() {
                self.done(id, [appended]);
            }
            for _ in 0..self.engines.topic(id).changes() {
                let changed = self.engines.topic(id).change();
                self.done(id, changed);
            }
            for group in self.engines.topic(id).wanted() {
                let opened = self.engines.topic(id).open(group, u64::MAX);
                self.done(id, opened);
            }
            for group in self.engines.topic(id).open_groups() {
                self.engines.topic(id).deliver(group, usize::MAX, 0);
                let arrived = self.engines.topic(id).tell(group);
                self.done(id, arrived);
            }
            while let Some(fetched) = self.engines.topic(id).fetch(0) {
                self.done(id, [fetched]);
            }
        }
    }

    /// A consumer asks to be told when what it has settled is safe.
    pub(super) fn flush(&mut self, at: usize) {
        let Machine::Consumer { plan, .. } = &self.peers[at].machine else {
            return;
        };
        let settles = plan.ack;
        // What it has settled before stands before it.
        self.client_writes(at);
        let number = self.step;
        let link = self.peers[at].link.and_then(|it| self.links.get_mut(&it));
        if let Some(link) = link.filter(|link| settles && !link.is_ending) {
            let mut bytes = BytesMut::new();
            Control::Flush(number).encode(&mut bytes);
            link.to_broker.extend(bytes);
        }
    }

    /// What of all that was sent nobody has settled, is said.
    pub(super) fn record_what_is_left(&mut self) {
        let behind: Vec<(TopicId, u64)> = self.behind();
        for (id, behind) in behind {
            let unsettled = self.engines.topic(id).unsettled();
            self.record_of_engine(id, EngineEvent::Left { unsettled, behind });
        }
    }

    /// How much the groups of each topic of the engine are behind.
    pub(super) fn behind(&self) -> Vec<(TopicId, u64)> {
        let ids = self.engines.topics.keys();
        let behind = ids.map(|id| {
            let groups = self.broker.groups_of(*id, None);
            (*id, groups.map(|it| it.behind).sum())
        });
        behind.collect()
    }
}
