//! What stored topics ask of their stores, and what becomes of the answers.

use super::Broker;
use crate::error::CloseReason;
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::{Name, TopicName};
use crate::session::State;
use crate::store::{Answer, Request, StoredTopic};
use crate::time::Now;
use crate::topic::{Buried, Consequence};
use crate::wire::control::Mark;
use crate::wire::handshake::RoleOptions;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

/// So many groups ask their stores at a time.
const MAX_ASKING: usize = 8;

impl Broker {
    /// Makes the topics that were found in the store, and the one that is always there.
    pub(super) fn take_in_stored(&mut self, stored: Vec<StoredTopic>) {
        let mut found: BTreeMap<TopicName, StoredTopic> = BTreeMap::new();
        for topic in stored {
            found.insert(topic.name.clone(), topic);
        }
        let mut producers: Vec<(TopicId, Vec<Mark>)> = Vec::new();
        let default = self.shared.config.topics.default_topic.clone();
        let first = found.remove(&default);
        for (name, mut found) in [(default, first)]
            .into_iter()
            .chain(found.into_iter().map(|(name, topic)| (name, Some(topic))))
        {
            let marks = found.as_mut().map(|it| mem::take(&mut it.producers));
            let id = self.make_or_find_topic(name, found);
            producers.push((id, marks.unwrap_or_default()));
        }
        for (id, marks) in producers {
            for mark in marks {
                self.recover_producer(id, &mark);
            }
        }
        self.forget_producers();
    }

    /// A producer had got so far in a topic, in another life of the broker.
    fn recover_producer(&mut self, id: TopicId, mark: &Mark) {
        let (name, home) = match mark.name.split_once('@') {
            None => (mark.name.as_str(), Some(id)),
            Some((name, home)) => {
                let home = TopicName::new(home).ok();
                let home = home.and_then(|home| self.names.get(&home).copied());
                (name, home)
            }
        };
        let (Ok(name), Some(home)) = (Name::new(name), home) else {
            return;
        };
        let now = self.shared.now;
        let is_new = self.with_topic(home, |topic, _| {
            topic.producers.recover(name.clone(), mark, now)
        });
        if is_new {
            self.shared.stats.producer_names += 1;
            self.shared.idle_names.insert((now, home, name));
        }
    }

    /// The store has failed: it answers nothing more. Every connection is closed, and no producer takes its end for
    /// success. Whoever runs the broker ends it.
    ///
    /// # Panics
    /// If time ran backwards.
    pub fn store_failed(&mut self, now: Now) {
        self.advance_to(now);
        let everybody: Vec<ConnId> = self.shared.sessions.keys().copied().collect();
        for conn in everybody {
            self.close(conn, CloseReason::StoreFailed);
        }
        self.tell();
    }

    /// A topic's store has done something.
    pub(super) fn answered(&mut self, id: TopicId, answer: Answer) {
        let mut consequences = Vec::new();
        match answer {
            Answer::Appended { up_to, unrouted } => {
                consequences =
                    self.with_topic(id, |topic, shared| topic.appended(up_to, unrouted, shared));
            }
            Answer::Fetched { group, runs, next } => {
                self.asks_no_more();
                let has_given_up =
                    self.with_topic(id, |topic, shared| topic.fetched(group, runs, next, shared));
                if has_given_up {
                    self.bury(id, group);
                }
            }
            Answer::NotFetched { group } => {
                self.asks_no_more();
                self.with_topic(id, |topic, shared| topic.not_fetched(group, shared));
            }
            Answer::GroupSaved { up_to } => {
                self.with_topic(id, |topic, shared| topic.group_saved(up_to, shared));
            }
            Answer::Trimmed { first } => {
                self.with_topic(id, |topic, _| topic.trimmed(first));
            }
            Answer::GroupOpened { group, next } => {
                self.with_topic(id, |topic, shared| topic.group_opened(group, next, shared));
            }
            Answer::Arrived { group, up_to } => {
                self.with_topic(id, |topic, shared| topic.arrived(group, up_to, shared));
            }
            Answer::GroupLost { group } => self.group_lost(id, group),
        }
        for consequence in consequences {
            match consequence {
                Consequence::Reached(reached) => {
                    self.with_topic(reached.home, |topic, _| {
                        let producers = &mut topic.producers;
                        producers.reach(&reached.name, &reached.session, reached.position);
                    });
                }
                Consequence::Buried(buried) => self.note_buried(buried),
            }
        }
        self.admit_parked(id);
        for conn in mem::take(&mut self.shared.stored_all) {
            self.let_go_stored(conn);
        }
        for (conn, options) in mem::take(&mut self.shared.waiting_roles) {
            let session = self.shared.sessions.get(&conn);
            if session.is_some_and(|it| !it.is_closing()) {
                self.introduce(conn, options);
            }
        }
    }

    /// A group that has asked is answered: another may ask.
    const fn asks_no_more(&mut self) {
        self.shared.asking -= 1;
        self.shared.budget.answer();
    }

    /// A dead letter is where it belongs.
    pub(super) fn note_buried(&mut self, buried: Buried) {
        let Buried {
            topic,
            group,
            sequence,
        } = buried;
        self.with_topic(topic, |it, shared| it.settle(group, sequence, 1, shared));
    }

    /// Ends a producer with `reason` when all is stored that it sent. Returns whether that is later.
    pub(super) fn ends_when_stored(&mut self, conn: ConnId, reason: CloseReason) -> bool {
        let Some(producer) = self.shared.session(conn).producer_mut() else {
            return false;
        };
        let is_later = producer.line.storing() > 0;
        if is_later {
            producer.ends.get_or_insert(reason);
        }
        is_later
    }

    fn let_go_stored(&mut self, conn: ConnId) {
        let producer = self.shared.sessions.get(&conn).and_then(|it| it.producer());
        let Some(producer) = producer else { return };
        if let Some(reason) = producer.ends
            && producer.line.storing() == 0
        {
            self.finish(conn, reason);
        }
    }

    /// Whether a producer has to wait for the answer to its role line: something that was sent under its name is not
    /// stored yet. Whoever has the name now sends nothing more.
    pub(super) fn has_to_wait(&mut self, conn: ConnId, options: &RoleOptions) -> bool {
        let RoleOptions::Producer(options) = options else {
            return false;
        };
        let Some(identity) = &options.identity else {
            return false;
        };
        let topic = match &options.topic {
            Some(name) => self.names.get(name).copied(),
            None => Some(self.default_topic),
        };
        let Some(topic) = topic else { return false };
        let name = self.topics[&topic].name().clone();
        if self.may_produce(conn, &name).is_err()
            || self.may_take_name(conn, topic, &identity.name).is_err()
        {
            return false;
        }
        let Some(life) = self.topics[&topic].producers.get(&identity.name) else {
            return false;
        };
        let (holder, is_connected) = (life.conn, life.is_connected);
        if is_connected && holder < conn && self.is_storing(holder) {
            self.close(holder, CloseReason::TakenOver);
        }
        let life = self.topics[&topic].producers.get(&identity.name);
        life.is_some_and(|it| !it.is_connected && it.storing > it.accepted)
    }

    fn is_storing(&self, conn: ConnId) -> bool {
        let session = self.shared.sessions.get(&conn);
        let producer = session.and_then(|it| it.producer());
        producer.is_some_and(|it| it.line.storing() > 0)
    }

    /// Whether all that a connection has sent has taken effect. If not, it is told later, by this number.
    pub(super) fn is_flushed(&mut self, conn: ConnId, number: u64) -> bool {
        match &mut self.shared.session(conn).state {
            State::AwaitingRole { .. } => true,
            State::Producer(producer) => producer.flush(number),
            State::Consumer(consumer) => {
                let memberships = consumer.memberships.clone();
                let mut unsaved = 0;
                for it in &memberships {
                    let is_unsaved = self.with_topic(it.topic, |topic, shared| {
                        topic.flush_group(it.group, conn, number, shared)
                    });
                    unsaved += usize::from(is_unsaved);
                }
                let consumer = self.shared.consumer(conn);
                if unsaved > 0 || !consumer.flushes.is_empty() {
                    consumer.flushes.push_back((number, unsaved));
                    return false;
                }
                true
            }
        }
    }

    /// Whether stores have done all that they were asked to, but reading.
    pub(super) fn has_stored_all(&self) -> bool {
        let mut stored = self.topics.values().filter_map(|topic| topic.stored());
        self.shared.stats.storing.is_zero() && stored.all(|it| it.unsaved() == 0)
    }

    /// Asks stores for what groups want, and to save how far they have got.
    pub(super) fn ask_stores(&mut self) {
        for (topic, group) in mem::take(&mut self.shared.dirty) {
            self.with_topic(topic, |it, shared| it.save_if_dirty(group, shared));
        }
        while self.shared.asking < MAX_ASKING
            && let Some((topic, group)) = self.shared.to_fetch.pop_front()
        {
            self.fetch_for(topic, group);
        }
    }

    fn fetch_for(&mut self, topic: TopicId, group: GroupId) {
        if !self.shared.budget.ask() {
            return self.shared.budget.queue_group(topic, group);
        }
        let write_bytes = self.shared.config.write_bytes;
        let wanted = self
            .topics
            .get_mut(&topic)
            .and_then(|it| it.ask_for(group, write_bytes));
        match wanted {
            None => self.shared.budget.answer(),
            Some((from, bytes)) => {
                self.shared.asking += 1;
                self.shared
                    .ask(topic, Request::Fetch { group, from, bytes });
            }
        }
    }
}
