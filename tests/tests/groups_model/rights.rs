//! Who may do what, and what is refused.

use crate::lockstep::Lockstep;
use message_queue_core::ConnId;
use message_queue_core::access::{self, ConsumeRight, GroupPattern, Principal};
use message_queue_core::names::{Name, Pattern, TopicName};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Control;
use message_queue_tests::groups_model::{Person, Rights};

/// Somebody, as the broker is told.
fn principal(person: &Person) -> Principal {
    let pattern = |it: &String| Pattern::new(it).expect("a pattern");
    let group = |it: &String| GroupPattern::new(it).expect("a pattern of groups");
    let consume = |(topics, groups): &(String, Option<Vec<String>>)| ConsumeRight {
        topics: pattern(topics),
        groups: groups.as_ref().map(|it| it.iter().map(group).collect()),
    };
    let rights = &person.rights;
    Principal {
        name: Name::new(&person.name).expect("a name"),
        rights: access::Rights {
            produce: rights.produce.iter().map(pattern).collect(),
            consume: rights.consume.iter().map(consume).collect(),
            admin: rights.admin.iter().map(pattern).collect(),
        },
        expires: None,
    }
}

impl Lockstep {
    /// Somebody connects with this role line; none: somebody whom nobody asks who it is.
    pub(crate) fn connects(&mut self, who: Option<usize>, line: &str) -> ConnId {
        let known = who.map(|it| principal(&self.people[it]));
        let conn = self.world.connect_as(known, format!("{line}\n"));
        if let Some(who) = who {
            self.who.insert(conn, who);
        }
        conn
    }

    /// The answer is an error.
    pub(crate) fn is_refused(&mut self, conn: ConnId, code: &'static str) {
        let answer = self.world.answer(conn);
        assert!(answer.starts_with(&format!("ERROR {code} ")), "{answer}");
        assert_eq!(self.world.closed(conn), Some(code));
        self.seen.forbidden += 1;
    }

    /// Somebody has other rights from now on. What connections do and may not do any more ends them.
    pub(crate) fn rights_change(&mut self, who: usize, rights: &Rights) {
        self.people[who].rights = rights.clone();
        let person = self.people[who].clone();
        for conn in self.connections_of(who) {
            if self.is_gone(conn) {
                continue;
            }
            let stays = self.model.rights_are(conn, &person);
            self.world.identify(conn, principal(&person));
            if !stays {
                self.was_turned_away(conn, "forbidden");
            }
            self.compare();
        }
    }

    /// Nobody knows somebody any more.
    pub(crate) fn is_known_no_more(&mut self, who: usize) {
        for conn in self.connections_of(who) {
            if self.is_gone(conn) {
                continue;
            }
            self.model.is_turned_away(conn);
            self.world.is_known_no_more(conn);
            self.was_turned_away(conn, "unauthorized");
            self.compare();
        }
    }

    fn connections_of(&self, who: usize) -> Vec<ConnId> {
        let there = self.producers.values().chain(self.consumers.values());
        let mut all: Vec<ConnId> = there
            .copied()
            .filter(|conn| self.who.get(conn) == Some(&who))
            .collect();
        all.sort();
        all
    }

    /// Whether a connection has ended, perhaps because another one has.
    fn is_gone(&self, conn: ConnId) -> bool {
        !self.model.has_producer(conn) && !self.model.has_consumer(conn)
    }

    fn was_turned_away(&mut self, conn: ConnId, code: &'static str) {
        assert_eq!(self.world.closed(conn), Some(code));
        self.seen.turned_away += 1;
        self.producers.retain(|_, it| *it != conn);
        self.consumers.retain(|_, it| *it != conn);
        self.told.remove(&conn);
        self.streams.remove(&conn);
    }

    /// A producer sends some messages to another topic, if it has no right to that, and then goes on with its own.
    pub(crate) fn sends_elsewhere(&mut self, conn: ConnId, topic: &str, count: usize) {
        let person = self.who.get(&conn).map(|who| &self.people[*who]);
        if self.model.may_produce(person, topic)
            || self.model.waits_or_is_gone(conn)
            || self.model.has_name(conn)
        {
            return;
        }
        let own = self.model.topic_of(conn).to_owned();
        self.model.sends_where_it_may_not(conn, count);
        let bodies: Vec<String> = (0..count).map(|_| self.body()).collect();
        let batch = FrameBatch::encode(&bodies).expect("small messages");
        let name = TopicName::new(topic).expect("a topic");
        let was_there = self.world.broker.topic_named(&name).is_some();
        self.world.say(conn, &Control::Topic(topic.to_owned()));
        self.world.send(conn, batch.as_bytes());
        self.world.say(conn, &Control::Topic(own));
        let is_there = self.world.broker.topic_named(&name).is_some();
        assert_eq!(is_there, was_there, "{topic}");
        self.seen.sent_elsewhere += 1;
    }
}
