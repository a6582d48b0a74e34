//! Topics are made, found and forgotten.

use super::Broker;
use crate::error::{CloseReason, DropReason, NotTaken};
use crate::group::{Mark, Waiting};
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::TopicName;
use crate::session::Wanted;
use crate::shared::{Facts, Shared};
use crate::store::StoredTopic;
use crate::timers::Timeout;
use crate::topic::{Buried, Topic};
use crate::wire::control::Origin;
use crate::wire::handshake::Start;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

impl Broker {
    /// The topic of this name; if there is none, it is made.
    ///
    /// # Errors
    /// If it may not be made.
    pub(super) fn topic_for(&mut self, name: &TopicName) -> Result<TopicId, NotTaken> {
        if let Some(id) = self.names.get(name) {
            return Ok(*id);
        }
        let config = &self.shared.config.topics;
        if !config.creation && !config.rules.iter().any(|rule| rule.matches(name)) {
            return Err(NotTaken::UnknownTopic);
        }
        let dead = self.names.keys().filter(|it| it.is_dead_letter()).count();
        if self.names.len() - dead >= config.max_topics {
            return Err(NotTaken::TooManyTopics);
        }
        Ok(self.make_topic(name.clone()))
    }

    /// Makes a topic; consumers whose patterns match it are members from the start.
    pub(super) fn make_topic(&mut self, name: TopicName) -> TopicId {
        self.make_or_find_topic(name, None)
    }

    /// Makes a topic, with what was found in the store of it.
    pub(super) fn make_or_find_topic(
        &mut self,
        name: TopicName,
        found: Option<StoredTopic>,
    ) -> TopicId {
        let id = TopicId(self.next_topic);
        self.next_topic += 1;
        let settings = self.shared.config.topic(&name);
        let epoch = self.shared.first_epoch + u64::from(id.0) + 1;
        let facts = Facts {
            name: name.clone(),
            ack_timeout: settings.ack_timeout,
        };
        self.shared.facts.insert(id, facts);
        let topic = Topic::new(id, name.clone(), epoch, settings, found, &mut self.shared);
        self.topics.insert(id, topic);
        self.shared.stats.topics += 1;
        self.names.insert(name.clone(), id);
        let wanted = |conn: &ConnId| {
            let session = &self.shared.sessions[conn];
            let wanted = session.consumer().and_then(|it| it.pattern.as_ref());
            !session.is_closing() && wanted.is_some_and(|it| it.pattern.matches(&name))
        };
        let consumers = self.shared.patterns.iter();
        let matching: Vec<ConnId> = consumers.filter(|conn| wanted(conn)).copied().collect();
        for conn in matching {
            match self.join_by_pattern(conn, id) {
                Ok(()) => {
                    self.serve(conn);
                }
                Err(reason) => self.close(conn, reason),
            }
        }
        id
    }

    /// The consumer of a pattern becomes a member in one more topic.
    pub(super) fn join_by_pattern(&mut self, conn: ConnId, id: TopicId) -> Result<(), CloseReason> {
        let Some(Wanted { group, share, .. }) = self.shared.consumer(conn).pattern.clone() else {
            return Ok(());
        };
        self.join(conn, id, group.as_ref(), Some(share), Start::New)
            .map(|_| ())
    }

    /// A connection uses a topic from now on.
    pub(super) fn use_topic(&mut self, id: TopicId) {
        self.with_topic(id, |topic, shared| {
            topic.users += 1;
            if let Some(due) = topic.idle_timer.take() {
                shared.timers.clear(due, Timeout::TopicIdle(id));
            }
        });
    }

    /// A connection uses a topic no more.
    pub(super) fn leave_topic(&mut self, id: TopicId) {
        let default = self.default_topic;
        self.with_topic(id, |topic, shared| {
            topic.users -= 1;
            if topic.users == 0
                && id != default
                && let Some(idle) = shared.config.topics.topic_idle
            {
                let due = shared.now + idle;
                topic.idle_timer = Some(due);
                shared.timers.set(due, Timeout::TopicIdle(id));
            }
        });
    }

    /// Nobody has used a topic for so long: it is forgotten, unless something waits in it, or somebody may come
    /// back to it. Then it is looked at again as much later.
    pub(super) fn forget_idle_topic(&mut self, id: TopicId) {
        let now = self.shared.now;
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        topic.idle_timer = None;
        let holds_nothing = topic.flow().waiting.is_zero() && topic.parked().is_empty();
        if topic.stored().is_some() {
            // What it keeps somebody may want yet.
            return;
        }
        if topic.users == 0 && holds_nothing && !topic.has_groups_to_keep() {
            return self.forget_topic(id);
        }
        if topic.users == 0
            && let Some(idle) = self.shared.config.topics.topic_idle
        {
            topic.idle_timer = Some(now + idle);
            self.shared.timers.set(now + idle, Timeout::TopicIdle(id));
        }
    }

    fn forget_topic(&mut self, id: TopicId) {
        let Some(mut topic) = self.topics.remove(&id) else {
            return;
        };
        topic.clear_turn_timer(&mut self.shared);
        self.shared.stats.topics -= 1;
        self.names.remove(topic.name());
        self.shared.facts.remove(&id);
        self.shared.forgotten += topic.received();
        // Those that are declared are with it again when it is made again.
        let named = topic.groups().values().filter(|it| it.name().is_some());
        self.shared.stats.named_groups -= named.count();
        for (name, life) in topic.producers.iter() {
            let idle = (life.left, id, name.clone());
            self.shared.idle_names.remove(&idle);
            self.shared.stats.producer_names -= 1;
        }
    }

    /// Nobody has been a member of a group for too long, or an operator ends it. What it holds is lost.
    pub(super) fn end_group(&mut self, id: TopicId, group: GroupId) {
        self.with_topic(id, |topic, shared| {
            topic.end_group(group, DropReason::GroupEnded, shared);
        });
        self.admit_parked(id);
    }

    /// Moves what a group has given up to its dead-letter topic, as far as that has room.
    pub(super) fn bury(&mut self, id: TopicId, group: GroupId) {
        while let Some(bytes) = self.first_given_up(id, group) {
            let Some(dead) = self.dead_letter_topic(id) else {
                self.with_topic(id, |topic, shared| {
                    topic.with_group(group, shared, |it, books| it.lose_given_up(books))
                });
                continue;
            };
            if !self.topics[&dead].has_room(bytes, &self.shared) {
                self.with_topic(dead, |topic, _| topic.waiting_groups.insert((id, group)));
                return;
            }
            let moved = self.with_topic(id, |topic, shared| {
                let moved = topic.with_group(group, shared, |it, books| it.bury(books))?;
                Some(with_origin(topic, group, moved, shared))
            });
            if let Some(moved) = moved {
                let buried = Buried {
                    topic: id,
                    group,
                    sequence: moved.mark.sequence,
                };
                if self.with_topic(dead, |topic, shared| topic.take_in(moved, buried, shared)) {
                    self.note_buried(buried);
                }
            }
        }
    }

    fn first_given_up(&self, id: TopicId, group: GroupId) -> Option<usize> {
        let group = self.topics.get(&id)?.groups().get(&group)?;
        group.retry().first_given_up()
    }

    /// Where a topic's dead letters go; none if they go nowhere: its settings say so, or its name leaves no room
    /// for another token.
    fn dead_letter_topic(&mut self, id: TopicId) -> Option<TopicId> {
        let topic = &self.topics[&id];
        if !topic.settings.dead_letter {
            return None;
        }
        let name = TopicName::new(&format!("{}.dead", topic.name())).ok()?;
        match self.names.get(&name) {
            Some(dead) => Some(*dead),
            None => Some(self.make_topic(name)),
        }
    }

    /// A dead-letter topic may have gained room for what others have given up.
    pub(super) fn bury_waiting(&mut self, dead: TopicId) {
        let Some(topic) = self.topics.get_mut(&dead) else {
            return;
        };
        if topic.waiting_groups.is_empty() {
            return;
        }
        for (id, group) in mem::take(&mut topic.waiting_groups) {
            self.bury(id, group);
            self.admit_parked(id);
        }
    }
}

/// A dead letter, with where it came from.
fn with_origin(
    topic: &Topic,
    group: GroupId,
    (waiting, reason): (Waiting, String),
    shared: &Shared,
) -> Waiting {
    let Waiting { batch, mark } = waiting;
    let group = topic.groups()[&group].label();
    let published = mark.published.since_start().as_millis() as u64;
    let origin = Origin {
        sequence: mark.sequence,
        failures: mark.failures,
        published: shared.config.started_ms + published,
        topic: topic.name().to_string(),
        group,
        reason,
    };
    Waiting {
        batch,
        mark: Mark {
            origin: Some(Box::new(origin)),
            ..mark
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Input;
    use crate::config::Config;
    use crate::names::{Name, Pattern};
    use crate::time::Now;
    use crate::topic_settings::{TopicRule, TopicsConfig};
    use crate::wire::handshake::{ProducerOptions, RoleOptions};
    use alloc::vec;
    use core::time::Duration;

    #[test]
    fn a_topic_that_is_forgotten_takes_its_declared_groups_out_of_the_count() {
        let idle = Duration::from_secs(10);
        let declared = TopicRule {
            groups: Some(vec![Name::new("workers").expect("a name")]),
            ..TopicRule::new(Pattern::new("jobs.*").expect("a pattern"))
        };
        let mut broker = Broker::new(Config {
            topics: TopicsConfig {
                topic_idle: Some(idle),
                rules: vec![declared],
                ..TopicsConfig::default()
            },
            ..Config::default()
        });
        let (conn, topic) = (ConnId(1), TopicName::new("jobs.a").expect("a name"));
        broker.handle_input(conn, Input::Opened, Now::START);
        let options = RoleOptions::Producer(ProducerOptions {
            topic: Some(topic.clone()),
            ..ProducerOptions::default()
        });
        broker.handle_input(conn, Input::Options(options), Now::START);
        assert_eq!(broker.stats().named_groups, 1);
        broker.handle_input(conn, Input::PeerReset, Now::START);
        broker.handle_input(conn, Input::Sealed { written: 0 }, Now::START);
        broker.handle_timeout(Now::START + idle);
        assert!(!broker.names.contains_key(&topic));
        assert_eq!(broker.stats().named_groups, 0);
        broker.check_invariants();
    }
}
