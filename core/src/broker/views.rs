//! What an operator may see of the inside.

use super::Broker;
use crate::budget::Backlogs;
use crate::group::{Group, Source};
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::{Name, TopicName};
use crate::session::{Consumer, Session, State};
use crate::stats::{Behind, Count, Flow};
use crate::store::Storage;
use crate::time::Now;
use crate::topic::{Blocker, Topic};
use core::ops::Bound;

/// One consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerView {
    /// Its connection.
    pub conn: ConnId,
    /// The group it is a member of: the first of several.
    pub group: GroupId,
    /// When its connection was opened.
    pub opened: Now,
    /// What its socket has taken in all.
    pub delivered: Count,
    /// The write in flight to it.
    pub in_flight: Count,
    /// Since when the oldest message of that write has been waiting.
    pub waiting_since: Option<Now>,
    /// What it holds unsettled.
    pub unsettled: Count,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// Its name.
    pub conn: ConnId,
    /// The topic that it sends to or receives from, once it has a role: the first of several.
    pub topic: TopicId,
    /// When it was opened.
    pub opened: Now,
    /// What it is as a consumer, if it is one.
    pub consumer: Option<ConsumerView>,
}

/// One topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// The bytes in the backlogs of its groups, if these hold up its producers; 0 where it is stored.
    pub backlog_bytes: usize,
    /// How many of them consumers hold and have yet to settle.
    pub unsettled_bytes: usize,
    /// Whether something is parked: a producer waits for room, or has left something that does.
    pub is_blocked: bool,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub id: GroupId,
    /// Its name, if it was given one.
    pub name: Option<Name>,
    /// How many members it has.
    pub members: usize,
    /// What became of the messages offered to it.
    pub flow: Flow,
    /// What is in its backlog: waiting, and not in flight.
    pub backlog: Count,
    /// What its members hold until they settle it.
    pub unsettled: Count,
    /// What has failed and is handed out again later.
    pub delayed: Count,
    /// What is given up and waits for room in its dead-letter topic.
    pub given_up: Count,
    /// Where the topic is stored: how many of the messages that it keeps are not in memory for this group.
    pub behind: u64,
}

/// What became of a topic's messages, and what holds it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The life of its sequences.
    pub epoch: u64,
    /// How many messages it has taken in.
    pub received: u64,
    /// What became of them, over all groups that it has had.
    pub flow: Flow,
    /// What keeps it.
    pub storage: Storage,
    /// How much its groups are behind; none if it is not stored.
    pub behind: Option<Behind>,
    /// The bytes in the backlogs of its groups.
    pub backlog_bytes: usize,
    /// How many groups it has.
    pub groups: usize,
    /// Who waits for room, if somebody does.
    pub blocked: Option<Blocked>,
}

/// Producers that wait for room in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// How many.
    pub producers: usize,
    /// Who has waited longest. It may have left.
    pub first: ConnId,
    /// The group that has no room for its message; none: the bytes of the whole broker are used up, or the topic's
    /// store has no room.
    pub by: Option<GroupId>,
}

impl Broker {
    /// The consumers, in the order of their connections.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView> {
        self.connections_after(None).filter_map(|it| it.consumer)
    }

    /// The connections in their order, from the one that follows `after` on: whoever looks at a
    /// part at a time goes on where the last part ended.
    pub fn connections_after(&self, after: Option<ConnId>) -> impl Iterator<Item = ConnectionView> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sessions = self.shared.sessions.range((after, Bound::Unbounded));
        sessions.map(|(conn, session)| ConnectionView {
            conn: *conn,
            topic: self.topic_of_session(session),
            opened: session.opened,
            consumer: session
                .consumer()
                .map(|consumer| consumer_view(*conn, session, consumer)),
        })
    }

    /// The groups, in the order of their topics and names.
    pub fn groups(&self) -> impl Iterator<Item = GroupView> {
        self.groups_after(None).map(|(_, group)| group)
    }

    /// The groups in their order, with their topics, from the one that follows `after` on.
    pub fn groups_after(
        &self,
        after: Option<(TopicId, GroupId)>,
    ) -> impl Iterator<Item = (TopicId, GroupView)> {
        let first = after.map_or(Bound::Unbounded, |(topic, _)| Bound::Included(topic));
        let topics = self.topics.range((first, Bound::Unbounded));
        topics.flat_map(move |(topic, state)| {
            let after = match after {
                Some((first, group)) if first == *topic => Bound::Excluded(group),
                Some(_) | None => Bound::Unbounded,
            };
            let groups = state.groups().range((after, Bound::Unbounded));
            groups.map(|(_, group)| (*topic, group_view(group)))
        })
    }

    /// The groups of this topic in their order, from the one that follows `after` on.
    pub fn groups_of(
        &self,
        topic: TopicId,
        after: Option<GroupId>,
    ) -> impl Iterator<Item = GroupView> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let topic = self.topics.get(&topic).into_iter();
        let groups = topic.flat_map(move |it| it.groups().range((after, Bound::Unbounded)));
        groups.map(|(_, group)| group_view(group))
    }

    /// The topics in the order in which they were made, from the one that follows `after` on.
    pub fn topics_after(&self, after: Option<TopicId>) -> impl Iterator<Item = TopicReport> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let topics = self.topics.range((after, Bound::Unbounded));
        topics.map(|(_, topic)| topic_report(topic))
    }

    /// What there is to tell of this topic.
    pub fn topic_report(&self, id: TopicId) -> Option<TopicReport> {
        self.topics.get(&id).map(topic_report)
    }

    /// The topic of this name.
    pub fn topic_named(&self, name: &TopicName) -> Option<TopicId> {
        self.names.get(name).copied()
    }

    /// The group of this name, in this topic.
    pub fn group_named(&self, topic: TopicId, name: &Name) -> Option<GroupId> {
        self.topics.get(&topic)?.group_named(name)
    }

    /// The group that a consumer is a member of, in this topic.
    pub fn group_of(&self, conn: ConnId, topic: TopicId) -> Option<GroupId> {
        let consumer = self.shared.sessions.get(&conn)?.consumer()?;
        let memberships = &consumer.memberships;
        let place = memberships.binary_search_by_key(&topic, |it| it.topic);
        place.ok().map(|place| memberships[place].group)
    }

    /// The label that a client has given itself.
    pub fn client_of(&self, conn: ConnId) -> Option<&Name> {
        let version2 = self.shared.sessions.get(&conn)?.version2.as_ref()?;
        version2.client.as_ref()
    }

    /// How many producers are to be told what is safe.
    pub const fn confirming_producers(&self) -> usize {
        self.shared.confirming
    }

    /// This group of this topic.
    pub fn group_view(&self, topic: TopicId, id: GroupId) -> Option<GroupView> {
        self.topics.get(&topic)?.groups().get(&id).map(group_view)
    }

    /// Since when the oldest message in the backlog of this group of this topic has been waiting.
    pub fn group_waiting_since(&self, topic: TopicId, id: GroupId) -> Option<Now> {
        let group = self.topics.get(&topic)?.groups().get(&id)?;
        group.waiting_since()
    }

    /// The topic that this connection sends to or receives from, once it has a role.
    pub fn topic_of(&self, conn: ConnId) -> Option<TopicId> {
        let session = self.shared.sessions.get(&conn)?;
        Some(self.topic_of_session(session))
    }

    /// This topic.
    pub fn topic_view(&self, id: TopicId) -> Option<TopicView> {
        self.topics.get(&id).map(|topic| {
            let held = if topic.stored().is_some() {
                Backlogs::default()
            } else {
                topic.backlogs()
            };
            TopicView {
                backlog_bytes: held.bytes,
                unsettled_bytes: held.unsettled,
                is_blocked: !topic.parked().is_empty(),
            }
        })
    }

    /// What is in all backlogs together: waiting, and not in flight.
    pub fn backlog(&self) -> Count {
        let mut sum = Count::ZERO;
        for group in self.all_groups() {
            sum += group.backlog().count();
        }
        sum
    }

    /// The bytes that count within [`Config::broker_bytes`](crate::Config::broker_bytes): of what
    /// waits, of what is parked and of partial frames.
    pub const fn held_bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// Since when the message that has waited longest has been waiting; one in flight is waiting.
    /// Looks at every group and consumer.
    pub fn waiting_since(&self) -> Option<Now> {
        let in_backlogs = self.all_groups().filter_map(Group::waiting_since);
        let sessions = self.shared.sessions.values();
        in_backlogs
            .chain(sessions.filter_map(|it| it.outbox.waiting_since()))
            .min()
    }

    fn topic_of_session(&self, session: &Session) -> TopicId {
        match &session.state {
            State::AwaitingRole { .. } => self.default_topic,
            State::Producer(producer) => producer.topic.unwrap_or(producer.home),
            State::Consumer(consumer) => {
                let first = consumer.memberships.first();
                first.map_or(self.default_topic, |it| it.topic)
            }
        }
    }

    fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.topics
            .values()
            .flat_map(|topic| topic.groups().values())
    }
}

fn consumer_view(conn: ConnId, session: &Session, consumer: &Consumer) -> ConsumerView {
    let first = consumer.memberships.first();
    let acks = consumer.acks.as_ref();
    ConsumerView {
        conn,
        group: first.map_or(GroupId::Own(conn), |it| it.group),
        opened: session.opened,
        delivered: session.outbox.delivered,
        in_flight: session.outbox.in_flight(),
        waiting_since: session.outbox.waiting_since(),
        unsettled: acks.map_or(Count::ZERO, |acks| acks.unsettled.count()),
    }
}

fn group_view(group: &Group) -> GroupView {
    GroupView {
        id: group.id(),
        name: group.name().cloned(),
        members: group.members().len(),
        flow: *group.flow(),
        backlog: group.backlog().count(),
        unsettled: group.unsettled(),
        delayed: group.retry().delayed(),
        given_up: group.retry().given_up(),
        behind: group.source().map_or(0, Source::behind),
    }
}

fn topic_report(topic: &Topic) -> TopicReport {
    let mut line = topic.parked().line();
    let producers = line.len();
    let blocked = line.next().map(|(first, _)| Blocked {
        producers,
        first: *first,
        by: match topic.parked().blocker() {
            Some(Blocker::Group(group)) => Some(group),
            Some(Blocker::Store | Blocker::Budget { .. }) | None => None,
        },
    });
    TopicReport {
        id: topic.id(),
        name: topic.name().clone(),
        epoch: topic.epoch(),
        received: topic.received(),
        flow: *topic.flow(),
        storage: topic.settings.storage,
        behind: topic.stored().map(|it| it.behind()),
        backlog_bytes: topic.backlogs().bytes,
        groups: topic.groups().len(),
        blocked,
    }
}
